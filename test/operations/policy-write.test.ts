import t from "tap";
import { MemoryTable, openMemoryStore } from "../../src/adapters/memory/store.js";
import { readManifests } from "../../src/manifest/read.js";
import { readClusterStatus } from "../../src/operations/cluster/membership.js";
import type { NodeStatus } from "../../src/model/status.js";
import { OperationError } from "../../src/model/operation-error.js";
import type { Writer } from "../../src/operations/policy/write.js";
import { rollbackPolicy, syncPolicy } from "../../src/operations/policy/write.js";
import { readHistory } from "../../src/operations/policy/history.js";
import { listPolicies } from "../../src/operations/policy/report.js";
import type { Store } from "../../src/interfaces/store.js";
import { renderPolicyWritten } from "../../src/views/policies.js";
import { plainStyle } from "../../src/views/style.js";
import { policy, workload } from "../builders/state.js";
import { seededRandom } from "../fakes/ambient.js";
import { ManualClock } from "../fakes/clock.js";
import { draft, policy as policyObject } from "../fakes/objects.js";
import { InterceptedStore, type StoreCall } from "../fakes/store.js";

const WRITER: Writer = { node: "n1", holder: "cli", author: "ada@host", reason: "", override: false };
const WEB = { namespace: "default", name: "web" };
const STATUS: NodeStatus = {
  node: "n2",
  boot: "b1",
  backend: "none",
  attemptedRevision: 1,
  enforcedRevision: 1,
  rulesetDigest: null,
  state: "InSync",
  message: null,
  drift: [],
  healed: 0,
  subjects: [],
  observedAt: "2026-01-01T00:00:00.000Z",
};
const portText = (port: number, name = "web") =>
  policy(name, `  podSelector: {}\n  ingress: [{ ports: [{ port: ${port} }] }]`);

function setUp() {
  const clock = new ManualClock();
  const table = new MemoryTable();
  const store = openMemoryStore(clock, table);
  const deps = { store, clock, random: seededRandom(3), read: readManifests, requireWayIn: async () => undefined };
  const sync = (text: string, changes: Partial<Writer> = {}, name = "web", namespace: string | null = null) =>
    syncPolicy(deps, { path: "web.yaml", text, blobId: text }, { name, namespace }, { ...WRITER, ...changes });
  const rollback = (version: number, changes: Partial<Writer> = {}) =>
    rollbackPolicy(deps, WEB, version, { ...WRITER, ...changes });
  return { clock, store, deps, sync, rollback, other: () => openMemoryStore(clock, table) };
}

/** A store on which something happens right before each commit. */
class RacedStore extends InterceptedStore {
  constructor(
    protected readonly inner: Store,
    private readonly happen: () => Promise<void>,
  ) {
    super();
  }

  protected async intercept<T>(call: StoreCall, run: (store: Store) => Promise<T>): Promise<T> {
    if (call === "commit") await this.happen();
    return run(this.inner);
  }
}

const versionsOf = async (store: Store) =>
  (await readHistory(store, WEB)).versions.map(({ version, action }) => [version, action]);

t.test("without a leader, the command leads for one commit only", async (t) => {
  const { store, sync } = setUp();
  t.match(await sync(portText(80), { reason: "first" }), {
    outcome: "committed",
    policy: { version: 1, sourceNode: "n1", revision: 1 },
    revision: { author: "ada@host", reason: "sync: first", source: { location: "web.yaml", commit: null } },
    overGit: false,
  });
  t.equal(await store.readLeader(), null);
  t.match(await sync(portText(80)), { outcome: "unchanged", policy: { version: 1 } });
  t.equal(await store.readHead(), 1);
  t.match(await sync(portText(81)), { outcome: "committed", policy: { version: 2 } });
});

t.test("the rest of the state stays unchanged, with its positions", async (t) => {
  const { store, sync } = setUp();
  await store.commit(draft([policyObject("other", 90)]), { expectHead: null, fence: null });
  await sync(portText(80));
  const before = (await store.readRevision(1))?.entries[0];
  t.same(
    (await store.readRevision(2))?.entries.find(({ name }) => name === "other"),
    before,
  );
  t.match((await store.readRevision(2))?.entries.find(({ name }) => name === "web")?.position, { file: "web.yaml" });
});

t.test(
  "if another node leads, the write is refused with its name and address; if this node leads, it is accepted",
  async (t) => {
    const { clock, store, sync, rollback } = setUp();
    await sync(portText(80));
    await sync(portText(81));
    await store.joinMember({ id: "n2", address: "10.0.0.2:9470", joinedAt: "2026-01-01T00:00:00.000Z" });
    await store.campaign({ id: "n2", holder: "agent" }, 1000);
    const refusal = { code: "not-leader", message: /node n1 does not lead, n2 \(10\.0\.0\.2:9470\) does/ };
    await t.rejects(sync(portText(82)), refusal);
    await t.rejects(rollback(1), refusal);
    await t.rejects(rollback(9), { code: "no-such-version" }, "a typo is told first");
    await store.writeNodeStatus(STATUS);
    const here = { ...refusal, message: /n2 \(\S+\) does: its agent runs on this machine: give --node n2;/ };
    await t.rejects(sync(portText(82), { boot: "b1" }), here);
    await t.rejects(sync(portText(82), { boot: "b2" }), { ...refusal, message: /does: run this there/ });
    t.equal(await store.readHead(), 2);
    t.match(await sync(portText(82), { node: "n2" }), { outcome: "committed" });
    t.match(await store.readFence(), { leader: "n2", term: 3 }, "the agent leads on");
    clock.advance(1000);
    t.match(await sync(portText(83)), { outcome: "committed" }, "once its lease ran out nobody leads");
  },
);

t.test("a change of leader within a write refuses the commit", async (t) => {
  const { store, deps, other } = setUp();
  await store.campaign({ id: "n1", holder: "agent" }, 60_000);
  const racing = new RacedStore(store, async () => {
    await store.resign("agent");
    await other().campaign({ id: "n2", holder: "other-agent" }, 60_000);
  });
  const text = portText(80);
  const file = { path: "web.yaml", text, blobId: text };
  await t.rejects(syncPolicy({ ...deps, store: racing }, file, { name: "web", namespace: null }, WRITER), {
    code: "not-leader",
    message: /n2/,
  });
  t.equal(await store.readHead(), null);
});

t.test("if head moves within a write, the write is made on the new head, which loses nothing", async (t) => {
  const { store, deps, other } = setUp();
  let moves = 0;
  const move = async () => {
    const head = await store.readHead();
    const objects = [...Array(++moves).keys()].map((index) => policyObject(`other-${index}`));
    await other().commit(draft(objects), { expectHead: head, fence: null });
  };
  const racing = (times: number) => new RacedStore(store, async () => (moves < times ? move() : undefined));
  const text = portText(80);
  const write = (raced: Store) =>
    syncPolicy(
      { ...deps, store: raced },
      { path: "web.yaml", text, blobId: text },
      { name: "web", namespace: null },
      WRITER,
    );
  t.match(await write(racing(3)), { outcome: "committed", policy: { version: 1, revision: 4 } });
  t.same(
    (await listPolicies(store)).map(({ name }) => name),
    ["other-0", "other-1", "other-2", "web"],
  );
  moves = 100;
  await other().commit(draft([]), { expectHead: 4, fence: null });
  await t.rejects(write(racing(1000)), { code: "lost-race", message: /nothing was changed/ });
});

t.test("several commands of one node at once all commit, each with its own version", async (t) => {
  const { store, sync } = setUp();
  const ports = [...Array(6).keys()].map((index) => 8000 + index);
  const written = await Promise.all(ports.map((port, index) => sync(portText(port), { holder: `cli-${index}` })));
  t.ok(written.every(({ outcome }) => outcome === "committed"));
  const versions = (await readHistory(store, WEB)).versions.map(({ version }) => version);
  t.same(versions, [6, 5, 4, 3, 2, 1]);
});

t.test("a file that is invalid, or makes the state invalid, is refused with all problems", async (t) => {
  const { store, sync } = setUp();
  t.match(await sync(portText(80).replace("podSelector", "podSelektor")), {
    outcome: "invalid",
    diagnostics: [{ severity: "error", file: "web.yaml" }],
  });
  t.match(await sync(portText(80) + "---\nkind: What\n"), { outcome: "invalid" }, "also where another document is bad");
  const broken = [
    { apiVersion: "ztap/v1", kind: "Node", metadata: { name: "n1" }, spec: { address: "n1:1", addresses: [] } },
    {
      apiVersion: "ztap/v1",
      kind: "Workload",
      metadata: { name: "db", namespace: "default" },
      spec: { node: "n2", addresses: [], ports: [] },
    },
  ] as const;
  await store.commit(draft(broken), { expectHead: null, fence: null });
  const refused = await sync(portText(80));
  t.match(refused, { outcome: "invalid", diagnostics: [{ severity: "error", file: "policies.yaml", line: 2 }] });
  t.equal(await store.readHead(), 1);
});

t.test("warnings take the whole state into account", async (t) => {
  const { sync, store } = setUp();
  t.match(await sync(portText(80)), { warnings: [{ severity: "warning", file: "web.yaml" }] });
  const { objects } = readManifests([{ path: "w.yaml", text: workload("web@n1 10.0.0.1 app=web"), blobId: "w" }]);
  await store.commit({ ...draft([]), objects: [...objects.values()] }, { expectHead: 1, fence: null });
  t.match(await sync(portText(80)), { outcome: "committed", warnings: [] });
});

t.test("a problem of the policy within the state is reported at its field", async (t) => {
  const { sync, store } = setUp();
  const { objects } = readManifests([{ path: "w.yaml", text: workload("web@n1 10.0.0.1 app=web"), blobId: "w" }]);
  await store.commit({ ...draft([]), objects: [...objects.values()] }, { expectHead: null, fence: null });
  const spec = `  podSelector: {}\n  ingress:\n    - from:\n        - podSelector: { matchLabels: { app: nobody } }`;
  const text = `# first\n---\n${policy("web", spec)}`;
  const { diagnostics } = readManifests([{ path: "web.yaml", text, blobId: "" }]);
  const place = diagnostics.find(({ code }) => code === "ZT5003");
  const written = await sync(text);
  t.match(written, { warnings: [{ code: "ZT5003", file: "web.yaml", line: place?.line, column: place?.column }] });
  t.ok((place?.line ?? 0) > 5);
});

t.test("a value that holds a doubtful character, written as an escape, is written and kept", async (t) => {
  const { sync } = setUp();
  const text = portText(80).replace("metadata: {", 'metadata: { annotations: { a: "\\u202e\\u0000" },');
  t.match(await sync(text), { outcome: "committed" });
  t.match(await sync(portText(81, "other"), {}, "other"), { outcome: "committed" });
});

t.test("--name and -n choose one policy of the file", async (t) => {
  const { store, sync } = setUp();
  const two = portText(80, "a") + policy("b", "  podSelector: {}\n  ingress: []", { namespace: "shop" });
  t.match(await sync(two, {}, "b"), { policy: { namespace: "shop", name: "b" } });
  await t.rejects(sync(two, {}, "c"), { code: "not-found", message: /it has default\/a, shop\/b/ });
  await t.rejects(sync(two, {}, "a", "shop"), { code: "not-found" }, "its namespace is written down");
  const twice = portText(80, "b") + policy("b", "  podSelector: {}\n  ingress: []", { namespace: "shop" });
  await t.rejects(sync(twice, {}, "b"), { code: "usage", message: /--namespace/ });
  t.match(await sync(twice, {}, "b", "default"), { policy: { namespace: "default" } });
  const unplaced = portText(80, "d").replace(", namespace: default", "");
  t.match(await sync(unplaced, {}, "d", "shop"), { policy: { namespace: "shop", name: "d" } });
  t.match(await sync(unplaced, {}, "d"), { policy: { namespace: "default", name: "d" } });
  t.equal(await store.readPolicyVersion("shop", "d"), 1);
});

t.test("a rollback is a new latest version; versions never start again", async (t) => {
  const { store, sync, rollback } = setUp();
  await sync(portText(80));
  await sync(portText(81));
  t.match(await rollback(1, { reason: "81 was wrong" }), {
    outcome: "committed",
    policy: { version: 3 },
    revision: { reason: "rollback to version 1: 81 was wrong", author: "ada@host" },
  });
  t.match(await rollback(1), { outcome: "unchanged" }, "the content is what counts");
  t.match(await rollback(3), { outcome: "unchanged" });
  await store.commit(draft([]), { expectHead: 3, fence: null });
  t.match(await rollback(2), { outcome: "committed", policy: { version: 4 } }, "a deleted policy is created again");
  await store.commit(draft([]), { expectHead: 5, fence: null });
  t.match(await sync(portText(81)), { outcome: "committed", policy: { version: 5 } });
  t.same(await versionsOf(store), [
    [5, "created"],
    [4, "deleted"],
    [4, "created"],
    [3, "deleted"],
    [3, "updated"],
    [2, "updated"],
    [1, "created"],
  ]);
});

t.test("a version that never existed, or was pruned, is reported as such", async (t) => {
  const { store, sync, rollback } = setUp();
  await t.rejects(rollback(1), { code: "not-found" });
  for (const port of [80, 81, 82]) await sync(portText(port));
  await t.rejects(rollback(4), { code: "no-such-version", message: /its last is 3/ });
  await store.prune({ revisions: 1, newerThan: "2030-01-01T00:00:00.000Z" });
  await t.rejects(rollback(1), { code: "no-such-version", message: /pruned/ });
  t.equal(await store.readHead(), 3);
});

t.test(
  "over a polled source a write needs --override, and shows as drift from Git until Git's state is back",
  async (t) => {
    const { clock, store, sync, rollback } = setUp();
    await sync(portText(80));
    const { fence } = await store.campaign({ id: "n1", holder: "agent" }, 60_000);
    if (fence === null) throw new Error("nobody else leads");
    const source = {
      location: "/repo",
      ref: null,
      path: null,
      observedCommit: "c".repeat(40),
      acceptedCommit: "c".repeat(40),
      acceptedRevision: 1,
      state: "Synced",
      message: null,
      diagnostics: [],
      checkedAt: "2026-01-01T00:00:00.000Z",
      leader: "n1",
    } as const;
    await store.writeSourceStatus(source, fence);
    t.match(await listPolicies(store), [{ git: "Synced" }]);
    await t.rejects(sync(portText(81)), { code: "override-needed", message: /\/repo owns this state.*--override/ });
    t.match(await sync(portText(80)), { outcome: "unchanged" }, "what changes nothing needs none");
    t.match(await sync(portText(81), { override: true }), { outcome: "committed", overGit: true });
    t.match(await listPolicies(store), [{ git: "OutOfSync" }]);
    const sourceNow = async () => (await readClusterStatus({ store, clock })).source;
    t.match(await sourceNow(), {
      state: "OutOfSync",
      message: /revision 2\) was committed over Git.*at its next poll/,
    });
    await t.rejects(rollback(1), { code: "override-needed", message: /until the next poll/ });
    const suspension = { by: "op", reason: "r", since: "2026-01-01T00:00:00.000Z", until: null };
    await store.writeSuspension(suspension);
    t.match(await sourceNow(), { state: "OutOfSync", message: /while the source is suspended it stays/ });
    await t.rejects(rollback(1), { message: /until the source is no longer suspended/ });
    const suspended = await sync(portText(82), { override: true });
    t.match(suspended, { overGit: true, suspension });
    if (suspended.outcome !== "invalid")
      t.match(
        renderPolicyWritten(suspended, plainStyle),
        /restores Git's state when the source is no longer suspended/,
      );
    await store.writeSuspension(null);
    const returned = await rollback(1, { override: true });
    t.match(returned, { outcome: "committed", policy: { version: 4 }, overGit: false }, "which is Git's own text");
    if (returned.outcome !== "invalid") t.notMatch(renderPolicyWritten(returned, plainStyle), /not what Git says/);
    t.match(await sourceNow(), { state: "Synced" });
    t.match(await listPolicies(store), [{ git: "Synced", version: 4 }], "the content is compared, not the version");
    await store.writeSourceStatus({ ...source, acceptedRevision: 99 }, fence);
    t.match(await listPolicies(store), [{ git: "Unknown" }]);
  },
);

t.test("a write that would cut management access is not committed", async (t) => {
  const { store, deps } = setUp();
  const text = portText(80);
  const requireWayIn = async () => {
    throw new OperationError("lockout", "this would lock out");
  };
  await t.rejects(
    syncPolicy({ ...deps, requireWayIn }, { path: "w", text, blobId: text }, { name: "web", namespace: null }, WRITER),
    { code: "lockout" },
  );
  t.equal(await store.readHead(), null);
});
