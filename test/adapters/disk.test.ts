import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import t from "tap";
import { announcedPath, lastGoodPath, LastGoodFile } from "../../src/adapters/disk/last-good.js";
import { openMemoryStore } from "../../src/adapters/memory/store.js";
import { systemClock } from "../../src/adapters/system/clock.js";
import type { CommittedState } from "../../src/model/state.js";
import { silentLogger } from "../fakes/ambient.js";
import { draft, namespace, policy as policyObject } from "../fakes/objects.js";
import type { LastGood } from "../../src/interfaces/last-good.js";
import { compile } from "../../src/policy/compile/compile.js";
import { objectsOf, policy, workload } from "../builders/state.js";

async function someState(): Promise<CommittedState> {
  const store = openMemoryStore(systemClock);
  const objects = [policyObject("web", 80), namespace("shop"), policyObject("db", 5432, "shop")];
  await store.commit(draft(objects), { expectHead: null, fence: null });
  return store.readState(1);
}

async function inFolder(run: (path: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), `ztap-copy-${process.pid}-`));
  try {
    await run(lastGoodPath(folder, "n1"));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

void t.test("a state is written with access for its owner only, and read back unchanged", (t) =>
  inFolder(async (path) => {
    const copy = new LastGoodFile(path, silentLogger);
    t.equal(await copy.read(), null, "there is none yet");
    const state = await someState();
    await copy.write(state);
    t.same(await copy.read(), state);
    t.equal(statSync(path).mode & 0o777, 0o600);
    t.same(readdirSync(join(path, "..")), ["n1.json.gz"]);
  }),
);

/** A state of which a part is withheld. */
async function somePart(): Promise<LastGood> {
  const kept = compile(
    objectsOf(
      workload("ssh@n1 10.0.0.1 app=ssh") +
        policy(
          "ssh",
          '  podSelector: {}\n  ingress: [{ from: [{ ipBlock: { cidr: "192.0.2.0/24" } }], ports: [{ port: 22 }] }]',
        ),
    ),
    "n1",
  );
  const withheld = {
    workload: "default/ssh",
    reason: "it would cut",
    file: "state.yaml",
    line: 7,
    keeps: ["default/ssh"],
  };
  return { ...(await someState()), withholding: { workloads: [withheld], kept, remaining: [], enforcedRevision: 1 } };
}

void t.test("what is withheld is kept with the state, and an announced state stands beside it", (t) =>
  inFolder(async (path) => {
    const copy = new LastGoodFile(path, silentLogger);
    t.equal(await copy.readAnnounced(), null);
    await copy.announce(null);
    const [whole, part] = [await someState(), await somePart()];
    const announced = { ...part, boot: "8f4e1c5a-0d6b-4a53-9d6e-000000000001" };
    await copy.write(whole);
    await copy.announce(announced);
    t.strictSame([await copy.read(), await copy.readAnnounced()], [whole, announced]);
    t.equal(statSync(announcedPath(path)).mode & 0o777, 0o600);
    await copy.write(part);
    await copy.announce(null);
    t.strictSame([await copy.read(), await copy.readAnnounced()], [part, null]);
    t.same(readdirSync(join(path, "..")), ["n1.json.gz"]);
    const text = gunzipSync(readFileSync(path)).toString();
    for (const [before, after] of [
      ["192.0.2.0", "192.0.3.0"],
      ["enforce", "enforced"],
      ["it would cut", "it would not"],
    ] as const) {
      t.not(text.replace(before, after), text);
      writeFileSync(path, gzipSync(text.replace(before, after)));
      t.equal(await copy.read(), null, "damage to it makes the state unusable");
    }
  }),
);

void t.test("a state file that is damaged at any place counts as absent", (t) =>
  inFolder(async (path) => {
    const copy = new LastGoodFile(path, silentLogger);
    await copy.write(await someState());
    const whole = readFileSync(path);
    const text = gunzipSync(whole).toString();
    const changed = [
      text.replace("5432", "5433"),
      text.replace('"web', '"wab'),
      text.replace("ztap-copy/1", "ztap-copy/9"),
      text.slice(0, -40),
      "[]",
    ];
    const damaged = [...changed.map((next) => gzipSync(next)), whole.subarray(0, whole.length - 9), Buffer.from("{}")];
    for (const bytes of damaged) {
      writeFileSync(path, bytes);
      t.equal(await copy.read(), null);
    }
    writeFileSync(path, whole);
    t.not(await copy.read(), null);
  }),
);

void t.test("an interrupted write leaves the previous state file", (t) =>
  inFolder(async (path) => {
    const copy = new LastGoodFile(path, silentLogger);
    const state = await someState();
    await copy.write(state);
    writeFileSync(`${path}.next`, "half of one");
    t.same(await copy.read(), state);
    await copy.write({ ...state, revision: { ...state.revision, reason: "again" } });
    t.equal((await copy.read())?.revision.reason, "again");
  }),
);
