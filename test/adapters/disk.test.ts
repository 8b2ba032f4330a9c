import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import t from "tap";
import { lastGoodPath, LastGoodFile } from "../../src/adapters/disk/last-good.js";
import { openMemoryStore } from "../../src/adapters/memory/store.js";
import { systemClock } from "../../src/adapters/system/clock.js";
import type { CommittedState } from "../../src/model/state.js";
import { silentLogger } from "../fakes/ambient.js";
import { draft, namespace, policy } from "../fakes/objects.js";

async function someState(): Promise<CommittedState> {
  const store = openMemoryStore(systemClock);
  const objects = [policy("web", 80), namespace("shop"), policy("db", 5432, "shop")];
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
