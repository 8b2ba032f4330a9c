/**
 * The real `ztap apply` and `ztap agent` are killed at random moments while they commit. After each
 * kill the store holds every revision that was acknowledged, whole, in one lineage without gap, and
 * the next process goes on at once.
 */
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { openEmbeddedStore } from "../../src/adapters/embedded/store.js";
import { systemClock } from "../../src/adapters/system/clock.js";
import { chosenSeed, SeededRandom } from "../fakes/random.js";
import { Repository } from "../fakes/repository.js";
import { volume } from "../volume.js";
import { pause } from "../wait.js";

const KILLS = volume(25, 200);
const ZTAP = join(import.meta.dirname, "../../../bin/ztap");

/** Runs ztap, and kills it so many milliseconds after it first said that it has begun, or after its start. */
async function runAndKill(args: readonly string[], env: NodeJS.ProcessEnv, killAfterMs: number): Promise<string> {
  const child = spawn(ZTAP, args, { env, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString()));
  const gone = new Promise<void>((resolve) => child.once("close", () => resolve()));
  // The moment is what is tested here: nothing waits for this time to pass in order to be right.
  await Promise.race([gone, pause(killAfterMs)]);
  child.kill("SIGKILL");
  await gone;
  return output;
}

/** Numbers of the revisions that a process said it committed: the CLI in words, the agent in its log. */
function acknowledged(output: string): readonly number[] {
  return [...output.matchAll(/[Cc]ommitted revision (\d+)/g)].map(([, number]) => Number(number));
}

/** @returns head; fails the test for a gap, a broken lineage or a revision that cannot be read whole */
async function checkRevisions(t: Test, path: string, from: number): Promise<number> {
  const store = await openEmbeddedStore({ path, access: "read" }, systemClock);
  try {
    const head = (await store.readHead()) ?? 0;
    for (let number = Math.max(1, from); number <= head; number += 1) {
      const { revision, objects } = await store.readState(number);
      if (revision.parent !== (number === 1 ? null : number - 1)) t.fail(`revision ${number} has another parent`);
      if (objects.size !== revision.entries.length) t.fail(`revision ${number} is not whole`);
    }
    return head;
  } finally {
    await store.close();
  }
}

await t.test("kills of ztap lose no acknowledged revision, and leave none incomplete", async (t) => {
  const seed = chosenSeed();
  t.comment(`seed ${seed}; replay with ZTAP_SEED=${seed}`);
  const random = new SeededRandom(seed);
  const folder = await mkdtemp(join(tmpdir(), `ztap-kills-${process.pid}-`));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const repo = new Repository(join(folder, "policies"));
  const path = join(folder, "store");
  const env = {
    ...process.env,
    ZTAP_STORE: `file:${path}`,
    ZTAP_STATE_DIR: join(folder, "state"),
    ZTAP_LISTEN: "off",
    ZTAP_BACKEND: "none",
    ZTAP_NODE: "n1",
  };
  // How long a commit takes here and now, from the start of the process: kills are aimed around it.
  let typicalMs = 400;
  let head = 0;
  let told = 0;
  for (let round = 1; round <= KILLS; round += 1) {
    repo.write("web.yaml", policyAt(round));
    repo.commit();
    const isAgent = random.fraction() < 0.5;
    const args = isAgent
      ? ["agent", "--source", repo.path, "--source-interval", "50ms"]
      : ["apply", repo.path, "--auto-approve", "--override"];
    const output = await runAndKill(args, env, typicalMs * (0.5 + random.fraction()));
    const now = await checkRevisions(t, path, head);
    const known = acknowledged(output);
    told += known.length;
    for (const number of known) if (number > now) t.fail(`revision ${number} was acknowledged and is lost`);
    if (now < head) t.fail(`head went back from ${head} to ${now}`);
    typicalMs = now > head ? typicalMs * 0.9 : Math.min(typicalMs * 1.15, 5_000);
    head = now;
  }
  t.comment(`${KILLS} kills, ${head} revisions, ${told} of them acknowledged`);
  t.ok(head > KILLS / 10 && head < KILLS, "some commits came through, and some did not");
  repo.write("web.yaml", policyAt(KILLS + 1));
  repo.commit();
  const last = await runAndKill(["apply", repo.path, "--auto-approve", "--override"], env, 30_000);
  t.strictSame(acknowledged(last), [head + 1], "the next apply works at once");
  t.equal(await checkRevisions(t, path, 1), head + 1);
});

function policyAt(round: number): string {
  return `apiVersion: ztap/v1
kind: NetworkPolicy
metadata: { name: web }
spec:
  podSelector: {}
  ingress: [{ ports: [{ port: ${round} }] }]
`;
}
