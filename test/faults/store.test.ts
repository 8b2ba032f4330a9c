/**
 * Processes that commit are killed at random moments. After each kill a fresh reader finds every
 * revision that was acknowledged, whole, in one lineage without gap; nothing has to be repaired.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import t, { type Test } from "tap";
import { openEmbeddedStore } from "../../src/adapters/embedded/store.js";
import { systemClock } from "../../src/adapters/system/clock.js";
import type { Store } from "../../src/interfaces/store.js";
import { chosenSeed, SeededRandom } from "../fakes/random.js";
import { volume } from "../volume.js";
import { pause } from "../wait.js";

const KILLS = volume(40, 1000);
const WRITERS = 2;
const WRITER = fileURLToPath(new URL("./store-writer.js", import.meta.url));

interface Fleet {
  readonly path: string;
  readonly random: SeededRandom;
  readonly keep: number | "opens";
  /** Number of each acknowledged revision, with the commit that it was acknowledged for. */
  readonly acknowledged: Map<number, string>;
  readonly running: Set<ChildProcess>;
}

/** Starts one writer, lets it work for a random time, kills it. Half of them are killed while they start. */
async function runAndKill(t: Test, fleet: Fleet, name: string): Promise<void> {
  const child = spawn(process.execPath, [WRITER, fleet.path, name, String(fleet.keep)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  fleet.running.add(child);
  const gone = new Promise<NodeJS.Signals | null>((resolve) => child.once("close", (_code, signal) => resolve(signal)));
  const lines = createInterface({ input: child.stdout });
  const first = new Promise<void>((resolve) => {
    lines.on("line", (line) => {
      const [number = "", commitId = ""] = line.split(" ");
      if (fleet.acknowledged.has(Number(number))) t.fail(`revision ${number} was acknowledged twice`);
      fleet.acknowledged.set(Number(number), commitId);
      resolve();
    });
  });
  // The moment is what is tested here: nothing waits for this time to pass in order to be right.
  if (fleet.random.fraction() < 0.8) await Promise.race([first, gone]);
  await pause(fleet.random.below(60));
  child.kill("SIGKILL");
  const signal = await gone;
  fleet.running.delete(child);
  if (signal !== "SIGKILL") t.fail(`writer ${name} ended by itself`);
}

/** Checks the revisions from `from` on with a handle of its own; returns the head. */
async function checkRevisions(t: Test, fleet: Fleet, from: number): Promise<number> {
  const known = new Map(fleet.acknowledged);
  const store = await openEmbeddedStore({ path: fleet.path, access: "read" }, systemClock);
  try {
    const head = (await store.readHead()) ?? 0;
    const last = Math.max(0, ...known.keys());
    if (head < last) t.fail(`revision ${last} was acknowledged and head is ${head}`);
    for (let number = from; number <= head; number += 1) await checkRevision(t, store, number, known.get(number));
    return head;
  } finally {
    await store.close();
  }
}

async function checkRevision(t: Test, store: Store, number: number, commitId: string | undefined): Promise<void> {
  const { revision, objects } = await store.readState(number);
  const whole = objects.size === 21 && revision.entries.length === 21;
  const inLine = revision.number === number && revision.parent === (number === 1 ? null : number - 1);
  const changing = revision.entries.filter(({ name }) => name.startsWith("changing-"));
  const counted = changing.length === 5 && changing.every(({ version }) => version === number);
  if (!whole || !inLine || !counted) t.fail(`revision ${number} is not whole`, { found: revision });
  if (commitId !== undefined && revision.commitId !== commitId)
    t.fail(`revision ${number} is not the one that was acknowledged`);
}

async function withFleet(t: Test, keep: Fleet["keep"], run: (fleet: Fleet) => Promise<void>): Promise<void> {
  const seed = chosenSeed();
  t.comment(`ZTAP_SEED=${seed}`);
  const folder = await mkdtemp(join(tmpdir(), `ztap-faults-${process.pid}-`));
  const fleet: Fleet = {
    path: join(folder, "store"),
    random: new SeededRandom(seed),
    keep,
    acknowledged: new Map(),
    running: new Set(),
  };
  try {
    await run(fleet);
  } finally {
    for (const child of fleet.running) child.kill("SIGKILL");
    await rm(folder, { recursive: true, force: true });
  }
}

/** Runs `kills` writers, WRITERS at a time, and `check` after each. */
async function killMany(t: Test, fleet: Fleet, kills: number, check: () => Promise<void>): Promise<void> {
  let started = 0;
  const slot = async (): Promise<void> => {
    while (started < kills) {
      started += 1;
      await runAndKill(t, fleet, `w${started}`);
      await check();
    }
  };
  await Promise.all(Array.from({ length: WRITERS }, slot));
}

void t.test(
  `${KILLS} kills of ${WRITERS} writers at once lose no acknowledged revision and leave none incomplete`,
  async (t) => {
    await withFleet(t, 0, async (fleet) => {
      let checked = 0;
      await killMany(t, fleet, KILLS, async () => {
        checked = Math.max(checked, await checkRevisions(t, fleet, checked + 1));
      });
      const head = await checkRevisions(t, fleet, 1);
      t.comment(`${head} revisions, ${fleet.acknowledged.size} acknowledged`);
      t.ok(head >= fleet.acknowledged.size && fleet.acknowledged.size > KILLS / 2, "they did commit");
      const store = await openEmbeddedStore({ path: fleet.path, access: "write" }, systemClock);
      t.equal(await store.readPolicyVersion("default", "changing-0"), head);
      await store.close();
    });
  },
);

void t.test("killed writers that prune leave the kept revisions complete and without a gap", async (t) => {
  await withFleet(t, 10, async (fleet) => {
    await killMany(t, fleet, 30, async () => undefined);
    const store = await openEmbeddedStore({ path: fleet.path, access: "read" }, systemClock);
    const revisions = await store.listRevisions({ limit: 10_000 });
    t.ok(revisions.length >= 10);
    t.equal(revisions[0]?.number, await store.readHead());
    for (const { number } of revisions) await checkRevision(t, store, number, fleet.acknowledged.get(number));
    await store.close();
  });
});

void t.test("processes that open and close the store all the time neither block nor refuse one another", async (t) => {
  await withFleet(t, "opens", async (fleet) => {
    const commits = await Promise.all(["a", "b", "c"].map((name) => commitUntil(fleet, name, 60)));
    t.same(commits, [60, 60, 60]);
    await checkRevisions(t, fleet, 1);
  });
});

/** Lets one writer commit so many times, and ends it; returns the count, which is less where it ended by itself. */
async function commitUntil(fleet: Fleet, name: string, wanted: number): Promise<number> {
  const child = spawn(process.execPath, [WRITER, fleet.path, name, String(fleet.keep)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  fleet.running.add(child);
  let count = 0;
  for await (const line of createInterface({ input: child.stdout })) {
    const [number = "", commitId = ""] = line.split(" ");
    fleet.acknowledged.set(Number(number), commitId);
    count += 1;
    if (count === wanted) break;
  }
  child.kill("SIGKILL");
  return count;
}
