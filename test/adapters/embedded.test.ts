import { execFileSync, spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import t from "tap";
import { loadSqlite, type Database } from "../../src/adapters/system/sqlite.js";
import { openEmbeddedStore } from "../../src/adapters/embedded/store.js";
import { systemClock } from "../../src/adapters/system/clock.js";
import { StoreError } from "../../src/interfaces/store.js";
import { storeContract } from "../contract/store.js";
import { leaseTime, localStoreContract } from "../contract/store-local.js";
import { ManualClock } from "../fakes/clock.js";
import { draft, policy } from "../fakes/objects.js";
import { waitUntil } from "../wait.js";

const WRITER = fileURLToPath(new URL("./embedded-process.js", import.meta.url));

/** A path for a store that does not exist yet, and is gone after the test. */
async function inFolder(run: (path: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), `ztap-store-${process.pid}-`));
  try {
    await run(join(folder, "store"));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Writes past the store, as a disk error or a wrong hand would. */
async function damage(path: string, key: string, value: string | null): Promise<void> {
  const database = databaseAt(path);
  chmodSync(join(path, "store.db"), 0o600);
  database.exec("CREATE TABLE IF NOT EXISTS entries (key TEXT PRIMARY KEY, value TEXT NOT NULL)");
  database.prepare("DELETE FROM entries WHERE key = ?").run(key);
  if (value !== null) database.prepare("INSERT INTO entries VALUES (?, ?)").run(key, value);
  database.close();
}

function databaseAt(path: string): Database {
  return new (loadSqlite().DatabaseSync)(join(path, "store.db"));
}

await storeContract("embedded", (test) =>
  inFolder(async (path) => {
    const clock = new ManualClock();
    await test({
      store: await openEmbeddedStore({ path, access: "write" }, clock),
      time: leaseTime(clock),
      open: async () => openEmbeddedStore({ path, access: "write" }, clock),
      damage: (key, value) => damage(path, key, value),
    });
  }),
);

await localStoreContract("embedded", (run) =>
  inFolder(async (path) => {
    const clock = new ManualClock();
    const store = await openEmbeddedStore({ path, access: "write" }, clock);
    try {
      await run(store, clock);
    } finally {
      await store.close();
    }
  }),
);

void t.test("only the owner can access the store's folder and files", (t) =>
  inFolder(async (path) => {
    const store = await openEmbeddedStore({ path, access: "write" }, systemClock);
    await store.commit(draft([policy("web")]), { expectHead: null, fence: null });
    await store.close();
    t.equal(statSync(path).mode & 0o777, 0o700);
    for (const name of ["store.db", "notify"]) t.equal(statSync(join(path, name)).mode & 0o777, 0o600, name);
  }),
);

void t.test("reading creates no store, and sees a store as soon as it exists", (t) =>
  inFolder(async (path) => {
    const reader = await openEmbeddedStore({ path, access: "read" }, systemClock);
    t.equal(await reader.readHead(), null);
    t.same(await reader.listMembers(), []);
    t.notOk(existsSync(path), "nothing was made");
    await t.rejects(reader.commit(draft([]), { expectHead: null, fence: null }), { code: "store-permission" });
    mkdirSync(path);
    writeFileSync(join(path, "store.db"), "", { mode: 0o600 });
    t.equal(await reader.readHead(), null, "nor is a file that somebody has only just made a store");
    execFileSync(process.execPath, [WRITER, path, "1"]);
    t.equal(await reader.readHead(), 1);
    t.equal((await reader.readState(1)).objects.size, 1);
    const writer = await openEmbeddedStore({ path, access: "write" }, systemClock);
    await writer.commit(draft([policy("web", 2)]), { expectHead: 1, fence: null });
    t.equal(await reader.readHead(), 2, "one process may have both");
    await writer.close();
    t.equal(await reader.readHead(), 2);
    await reader.close();
  }),
);

void t.test("a store that is opened for a change is created by the change", (t) =>
  inFolder(async (path) => {
    const store = await openEmbeddedStore({ path, access: "change" }, systemClock);
    t.equal(await store.readHead(), null);
    t.notOk(existsSync(path), "nothing was made");
    await store.commit(draft([policy("web")]), { expectHead: null, fence: null });
    t.equal(await store.readHead(), 1);
    await store.close();
    const again = await openEmbeddedStore({ path, access: "change" }, systemClock);
    await again.commit(draft([policy("web", 2)]), { expectHead: 1, fence: null });
    t.equal(await again.readHead(), 2);
    await again.close();
  }),
);

void t.test("a commit of another process notifies a watcher", (t) =>
  inFolder(async (path) => {
    // With a clock that stands still only the announcement can wake it.
    const store = await openEmbeddedStore({ path, access: "write" }, new ManualClock());
    const stop = new AbortController();
    const events = store.watch(stop.signal)[Symbol.asyncIterator]();
    await events.next();
    const woken = events.next();
    execFileSync(process.execPath, [WRITER, path, "1"]);
    t.same((await woken).value, { changed: "head" });
    t.equal(await store.readHead(), 1);
    stop.abort();
    await store.close();
  }),
);

void t.test("a watcher that gets no notification finds the commit at its slow poll", (t) =>
  inFolder(async (path) => {
    const clock = new ManualClock();
    const store = await openEmbeddedStore({ path, access: "write" }, clock);
    rmSync(join(path, "notify"));
    const stop = new AbortController();
    const events = store.watch(stop.signal)[Symbol.asyncIterator]();
    await events.next();
    const woken = events.next();
    await waitUntil(() => clock.asleep > 0, { what: "its sleep" });
    execFileSync(process.execPath, [WRITER, path, "1"]);
    clock.advance(1000);
    t.same((await woken).value, { changed: "head" });
    stop.abort();
    await store.close();
    t.equal(clock.asleep, 0, "no timer is left");
  }),
);

void t.test("a file that is not a store, or a store of another version, is refused with the fix", (t) =>
  inFolder(async (path) => {
    const open = (access: "read" | "write") => openEmbeddedStore({ path, access }, systemClock);
    writeFileSync(path, "a file");
    await t.rejects(open("write"), { code: "store-unavailable", message: /is a file/ });
    rmSync(path);
    mkdirSync(path);
    for (const content of ["x", "x".repeat(100_000)]) {
      writeFileSync(join(path, "store.db"), content, { mode: 0o600 });
      for (const access of ["read", "write"] as const)
        await t.rejects(open(access), { code: "store-damaged", message: /backup/ });
    }
    rmSync(join(path, "store.db"));
    await damage(path, "something", "else");
    for (const access of ["read", "write"] as const)
      await t.rejects(open(access), { code: "store-damaged", message: /other content/ });
    await damage(path, "format", "ztap-store/9");
    for (const access of ["read", "write"] as const)
      await t.rejects(open(access), { code: "store-version", message: /ztap-store\/9.*use the version/s });
    rmSync(join(path, "store.db"));
    writeFileSync(join(path, "data.mdb"), "what ztap kept its store in before");
    for (const access of ["read", "write"] as const)
      await t.rejects(open(access), {
        code: "store-version",
        message: /earlier ztap \(data.mdb\).*move the store away/s,
      });
  }),
);

void t.test("a data file truncated at any place is refused", (t) =>
  inFolder(async (path) => {
    const store = await openEmbeddedStore({ path, access: "write" }, systemClock);
    const objects = Array.from({ length: 400 }, (_, index) => policy(`p${index}`));
    for (let head = 0; head < 6; head += 1)
      await store.commit(draft(objects.slice(head * 40)), { expectHead: head || null, fence: null });
    await store.prune({ revisions: 2, newerThan: "2027-01-01T00:00:00.000Z" });
    await store.close();
    const whole = readFileSync(join(path, "store.db"));
    let refused = 0;
    for (let pages = 0; pages * 4096 < whole.length; pages += 1) {
      writeFileSync(join(path, "store.db"), whole.subarray(0, pages * 4096 + (pages % 2) * 100));
      // A cut that costs nothing that is in use leaves a store that works; any other is refused. None ends the process.
      refused += (await readsWhole(path)) ? 0 : 1;
    }
    t.ok(refused > whole.length / 4096 / 2, `${refused} refused`);
    writeFileSync(join(path, "store.db"), whole);
    t.ok(await readsWhole(path));
  }),
);

void t.test("a store that is deleted or replaced while in use is not written any more", (t) =>
  inFolder(async (path) => {
    const store = await openEmbeddedStore({ path, access: "write" }, systemClock);
    await store.commit(draft([policy("web")]), { expectHead: null, fence: null });
    await rm(path, { recursive: true });
    await t.rejects(store.readHead(), { code: "store-unavailable", message: /deleted or replaced/ });
    await t.rejects(store.commit(draft([policy("web", 2)]), { expectHead: 1, fence: null }), {
      code: "store-unavailable",
    });
    await store.close();
  }),
);

void t.test("a write without permission is refused with the reason", (t) =>
  inFolder(async (path) => {
    await (await openEmbeddedStore({ path, access: "write" }, systemClock)).close();
    if (process.getuid?.() !== 0) chmodSync(path, 0);
    const env = { ...process.env, ...(process.getuid?.() === 0 ? { ZTAP_TEST_USER: "65534" } : {}) };
    chmodSync(dirname(path), 0o755);
    const result = (count: string) =>
      spawnSync(process.execPath, [WRITER, path, count], { env, encoding: "utf8" }).stdout;
    t.match(result("1"), /store-permission.*run as root or use --store/s);
    t.match(result("read"), /store-permission.*run as root or use --store/s);
    if (process.getuid?.() !== 0) return chmodSync(path, 0o700);
    chmodSync(path, 0o755);
    t.match(result("read"), /store-permission/);
    chownSync(join(path, "store.db"), 0, 65534);
    chmodSync(join(path, "store.db"), 0o640);
    t.match(result("read"), /^null\n/, "who may read does");
    t.match(result("1"), /store-permission/, "and may not write");
  }),
);

void t.test("a folder that another user owns or can write is refused", (t) =>
  inFolder(async (path) => {
    await (await openEmbeddedStore({ path, access: "write" }, systemClock)).close();
    const open = (access: "read" | "write") => openEmbeddedStore({ path, access }, systemClock);
    const refused = { code: "store-permission", message: /not this user's alone/ };
    chmodSync(path, 0o707);
    for (const access of ["read", "write"] as const) await t.rejects(open(access), refused);
    chmodSync(path, 0o700);
    if (process.getuid?.() !== 0) return;
    chmodSync(path, 0o770);
    await t.rejects(open("write"), refused);
    chmodSync(path, 0o700);
    chownSync(path, 65534, 65534);
    for (const access of ["read", "write"] as const) await t.rejects(open(access), refused);
    await t.rejects(open("write"), { message: /owner 65534/ });
    chmodSync(dirname(path), 0o755);
    for (const name of ["store.db", "notify"]) chownSync(join(path, name), 65534, 65534);
    const as = (user: string) =>
      spawnSync(process.execPath, [WRITER, path, "1"], {
        env: { ...process.env, ZTAP_TEST_USER: user },
        encoding: "utf8",
      }).stdout;
    t.match(as("65534"), /^1\n/, "its owner uses it");
    chmodSync(path, 0o755);
    t.match(as("65533"), /store-permission.*not this user's alone/s);
  }),
);

void t.test("a store file that another user could have made, hold or change is refused with the fix", (t) =>
  inFolder(async (path) => {
    await (await openEmbeddedStore({ path, access: "write" }, systemClock)).close();
    const file = (name: string) => join(path, name);
    const refused = async (message: RegExp) => {
      for (const access of ["read", "write"] as const)
        await t.rejects(openEmbeddedStore({ path, access }, systemClock), { code: "store-permission", message });
    };
    const works = async () => (await openEmbeddedStore({ path, access: "write" }, systemClock)).close();

    linkSync(file("store.db"), join(path, "..", "mine"));
    await refused(/store\.db has another name.*copy it: `umask 077; mkdir NEW; cp .*store\.db\* NEW`/s);
    rmSync(join(path, "..", "mine"));
    await works();
    // A pipe would keep whoever opens it for ever.
    for (const name of ["store.db", "store.db-journal", "store.db-wal", "notify"]) {
      if (existsSync(file(name))) renameSync(file(name), file("kept"));
      execFileSync("mkfifo", [file(name)]);
      await refused(new RegExp(`${name} is not a regular file`));
      rmSync(file(name));
      symlinkSync(existsSync(file("kept")) ? "kept" : "nowhere", file(name));
      await refused(new RegExp(`${name} is not a regular file`));
      rmSync(file(name));
      if (existsSync(file("kept"))) renameSync(file("kept"), file(name));
    }
    chmodSync(file("store.db"), 0o602);
    await refused(/store\.db is open to other users \(owner \d+, mode 602\).*chmod 600/s);
    chmodSync(file("store.db"), 0o600);
    await works();
    if (process.getuid?.() !== 0) return;
    for (const mode of [0o604, 0o620]) {
      chmodSync(file("store.db"), mode);
      await refused(/open to other users.*lock it.*chmod 600/s);
    }
    chmodSync(file("store.db"), 0o640);
    await works();
    for (const name of ["store.db", "store.db-journal", "notify"]) {
      const isMade = !existsSync(file(name));
      if (isMade) writeFileSync(file(name), "", { mode: 0o600 });
      chownSync(file(name), 65534, 65534);
      await refused(new RegExp(`${name} is not this user's \\(owner 65534.*umask 077`, "s"));
      if (isMade) rmSync(file(name));
      else chownSync(file(name), 0, 0);
    }
    await works();
  }),
);

void t.test("while another process locks the store, this process waits, and its event loop goes on", (t) =>
  inFolder(async (path) => {
    const clock = new ManualClock();
    const store = await openEmbeddedStore({ path, access: "write" }, clock);
    await store.commit(draft([policy("web")]), { expectHead: null, fence: null });
    const other = databaseAt(path);
    const asleep = () => waitUntil(() => clock.asleep > 0, { what: "its sleep" });
    const wait = async (ms: number) => {
      for (const end = clock.monotonic() + ms; clock.monotonic() < end; clock.advance(20)) await asleep();
    };

    other.exec("BEGIN EXCLUSIVE");
    const read = store.readHead();
    await wait(30_000);
    other.exec("COMMIT");
    clock.advance(20);
    t.equal(await read, 1, "a reader gets its turn");

    other.exec("BEGIN; SELECT * FROM entries");
    const second = store.commit(draft([policy("web", 2)]), { expectHead: 1, fence: null });
    const third = store.commit(draft([policy("web", 3)]), { expectHead: 2, fence: null });
    await wait(30_000);
    const late = databaseAt(path);
    t.throws(() => late.exec("SELECT * FROM entries"), /locked/, "a commit that waits for readers keeps new ones out");
    late.close();
    other.exec("COMMIT");
    clock.advance(20);
    t.match(await second, { outcome: "committed" });
    t.match(await third, { outcome: "committed" }, "what was asked for meanwhile comes after it");

    other.exec("BEGIN EXCLUSIVE");
    const opening = openEmbeddedStore({ path, access: "read" }, clock);
    const given: readonly Promise<unknown>[] = [
      store.readHead(),
      store.writeApproval({ commit: "c", by: "a", reason: "r", time: "t" }),
      opening,
    ];
    const failed = Promise.all(given.map((one) => t.rejects(one, { code: "store-locked", message: /fuser/ })));
    await wait(59_000);
    clock.advance(1_000);
    await failed;
    t.equal(clock.asleep, 0, "all gave up after one minute");

    const closing = t.rejects(store.readHead(), { code: "store-unavailable", message: /closed/ });
    await asleep();
    await store.close();
    await closing;
    t.equal(clock.asleep, 0, "no timer is left");
    other.close();
  }),
);

void t.test("a commit on a full disk fails as a whole; head stays, and the next commit works", (t) =>
  inFolder(async (path) => {
    // A bound on the size of files stands in for the disk: the system refuses the write all the same.
    const script = `trap "" XFSZ; ulimit -f 400; exec "$0" "$@"`;
    const run = (count: string) =>
      spawnSync("/bin/sh", ["-c", script, process.execPath, WRITER, path, count], { encoding: "utf8" });
    t.match(run("1").stdout, /^1\n/);
    t.match(run("3000").stdout, /store-unavailable.*nothing was written/s);
    const store = await openEmbeddedStore({ path, access: "write" }, systemClock);
    t.equal(await store.readHead(), 1);
    t.equal((await store.readState(1)).objects.size, 1);
    t.match(await store.commit(draft([policy("web", 2)]), { expectHead: 1, fence: null }), { outcome: "committed" });
    await store.close();
  }),
);

/** Opens the store as it is on disk and reads all of it. False where it is refused as damaged. */
async function readsWhole(path: string): Promise<boolean> {
  try {
    const store = await openEmbeddedStore({ path, access: "read" }, systemClock);
    try {
      for (const { number } of await store.listRevisions({ limit: 100 })) await store.readState(number);
      return true;
    } finally {
      await store.close();
    }
  } catch (error) {
    if (error instanceof StoreError && error.code === "store-damaged") return false;
    throw error;
  }
}
