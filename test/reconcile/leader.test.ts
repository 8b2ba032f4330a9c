import t from "tap";
import { openMemoryStore } from "../../src/adapters/memory/store.js";
import { systemClock } from "../../src/adapters/system/clock.js";
import { readManifests } from "../../src/manifest/read.js";
import type { Snapshot, Source } from "../../src/ports/source.js";
import { SourceError } from "../../src/ports/source.js";
import { Election } from "../../src/reconcile/election.js";
import { Leader } from "../../src/reconcile/leader.js";
import { recordTelemetry, seededRandom, silentLogger } from "../fakes/ambient.js";
import { objectsOf, policy, workload } from "../builders/state.js";

const GOOD = workload("web@n1 10.0.0.1 app=web") + policy("deny", "  podSelector: {}\n  ingress: []");
const BETTER = GOOD.replace("ingress: []", "ingress: [{ ports: [{ port: 80 }] }]");
const BAD = GOOD.replace("podSelector", "podSelektor");

class FakeSource implements Source {
  readonly location = "https://git.example.com/policies.git";
  commit = "1".repeat(40);
  text = GOOD;
  error: SourceError | null = null;
  fetches = 0;
  /** What happens while a commit is fetched. */
  meanwhile: () => Promise<void> = async () => undefined;

  async readTip(): Promise<string> {
    if (this.error !== null) throw this.error;
    return this.commit;
  }

  async fetch(): Promise<Snapshot> {
    this.fetches += 1;
    await this.meanwhile();
    const source = {
      location: this.location,
      commit: this.commit,
      dirty: false,
      author: "Ada <ada@example.com>",
      subject: "s",
    };
    return { source, files: this.text === "" ? [] : [{ path: "a.yaml", text: this.text, blobId: this.text }] };
  }

  push(digit: string, text: string): void {
    this.commit = digit.repeat(40);
    this.text = text;
  }
}

async function setUp(selfHeal = true) {
  const store = openMemoryStore(systemClock);
  const source = new FakeSource();
  const lockouts: string[] = [];
  const { telemetry, calls } = recordTelemetry();
  const election = new Election(store, systemClock, { id: "n1", holder: "h1", ttlMs: 60_000 });
  const deps = {
    store,
    source,
    election,
    read: readManifests,
    lockoutsOf: async () => lockouts,
    clock: systemClock,
    random: seededRandom(7),
    logger: silentLogger,
    telemetry,
  };
  const leader = new Leader(deps, { node: "n1", ref: "main", path: null, selfHeal });
  await election.campaign();
  return { store, source, election, leader, lockouts, calls };
}

t.test("commits each good commit as a revision, and looks no further while nothing moved", async (t) => {
  const { store, source, leader } = await setUp();
  await leader.reconcile();
  t.equal(await store.readHead(), 1);
  t.match(await store.readRevision(1), {
    reason: "source",
    author: "Ada <ada@example.com>",
    source: { commit: "1".repeat(40) },
  });
  t.match(await store.readSourceStatus(), {
    state: "Synced",
    observedCommit: "1".repeat(40),
    acceptedCommit: "1".repeat(40),
    ref: "main",
  });
  await leader.reconcile();
  t.equal(source.fetches, 1);
  source.push("2", BETTER);
  await leader.reconcile();
  t.equal(await store.readHead(), 2);
});

t.test("a commit that does not validate is rejected whole, visibly, and head stays", async (t) => {
  const { store, source, leader, calls } = await setUp();
  await leader.reconcile();
  source.push("2", BAD);
  await leader.reconcile();
  t.equal(await store.readHead(), 1);
  const status = await store.readSourceStatus();
  t.match(status, { state: "Rejected", observedCommit: "2".repeat(40), acceptedCommit: "1".repeat(40) });
  t.match(status?.diagnostics[0], { file: "a.yaml" });
  t.same(
    calls.filter(([name]) => name === "rejected"),
    [["rejected", { reason: "invalid" }]],
  );
  source.push("3", BETTER);
  await leader.reconcile();
  t.match(await store.readSourceStatus(), { state: "Synced", diagnostics: [] });
  t.equal(await store.readHead(), 2);
});

t.test("a commit that changes no object makes no revision", async (t) => {
  const { store, source, leader } = await setUp();
  await leader.reconcile();
  source.push("2", `# only a comment\n${GOOD}`);
  await leader.reconcile();
  t.equal(await store.readHead(), 1);
  t.match(await store.readSourceStatus(), { state: "Synced", acceptedCommit: "2".repeat(40) });
});

t.test("a repository that is suddenly empty is held", async (t) => {
  const { store, source, leader } = await setUp();
  await leader.reconcile();
  source.push("2", "");
  await leader.reconcile();
  t.equal(await store.readHead(), 1);
  t.match(await store.readSourceStatus(), { state: "Held", acceptedCommit: "1".repeat(40) });
});

for (const selfHeal of [true, false]) {
  t.test(`an operator's override is ${selfHeal ? "returned to Git" : "left alone without selfHeal"}`, async (t) => {
    const { store, source, leader } = await setUp(selfHeal);
    await leader.reconcile();
    const local = { location: "local", commit: null, dirty: true, author: null, subject: null };
    await store.commit(
      {
        objects: [...objectsOf(BETTER).values()],
        source: local,
        node: "n1",
        author: "op",
        reason: "apply",
        commitId: "x",
        time: "2026-01-01T00:00:00.000Z",
      },
      { expectHead: 1, fence: null },
    );
    await leader.reconcile();
    t.equal(await store.readHead(), selfHeal ? 3 : 2);
    t.match(await store.readSourceStatus(), {
      state: selfHeal ? "Synced" : "OutOfSync",
      acceptedCommit: "1".repeat(40),
      acceptedRevision: selfHeal ? 3 : 1,
    });
    await leader.reconcile();
    t.equal(await store.readHead(), selfHeal ? 3 : 2);
    source.error = new SourceError("source-unreachable", "no route to host");
    await t.rejects(leader.reconcile());
    t.match(await store.readSourceStatus(), { state: "Unreachable", acceptedRevision: selfHeal ? 3 : 1 });
  });
}

t.test("a source that is away leaves head and says so", async (t) => {
  const { store, source, leader, calls } = await setUp();
  await leader.reconcile();
  source.error = new SourceError("source-unreachable", "no route to host");
  await t.rejects(leader.reconcile(), SourceError);
  t.match(await store.readSourceStatus(), {
    state: "Unreachable",
    message: "no route to host",
    acceptedCommit: "1".repeat(40),
  });
  t.ok(calls.some(([name]) => name === "sourceError"));
  source.error = null;
  await leader.reconcile();
  t.match(await store.readSourceStatus(), { state: "Synced" });
});

t.test("who does not lead writes nothing", async (t) => {
  const { store, leader, election } = await setUp();
  await election.resign();
  await leader.reconcile();
  t.equal(await store.readHead(), null);
  t.equal(await store.readSourceStatus(), null);
});

t.test("who was leader and no longer is cannot commit, even if it believes it is", async (t) => {
  const { store, leader } = await setUp();
  await store.resign("h1");
  await store.campaign({ id: "n2", holder: "h2" }, 60_000);
  await leader.reconcile();
  t.equal(await store.readHead(), null);
  t.equal(await store.readSourceStatus(), null);
});

t.test("an override that lands while a commit is judged is returned to Git by the next run", async (t) => {
  const { store, source, leader } = await setUp();
  await leader.reconcile();
  const override = async (): Promise<void> => {
    source.meanwhile = async () => undefined;
    const objects = [...objectsOf(BETTER).values()];
    const { source: origin } = await store.readState(1).then(({ revision }) => revision);
    await store.commit(
      {
        objects,
        source: origin,
        node: "op",
        author: "op",
        reason: "apply",
        commitId: "o",
        time: "2026-01-01T00:00:00.000Z",
      },
      { expectHead: await store.readHead(), fence: null },
    );
  };
  source.meanwhile = override;
  source.push("2", GOOD);
  await leader.reconcile().catch(() => undefined);
  t.equal(await store.readHead(), 2, "the override is in force");
  await leader.reconcile();
  t.equal(await store.readHead(), 3, "and is returned to what Git says");
  const [policy] = [...(await store.readState(3)).objects.values()].filter(({ ref }) => ref.kind === "NetworkPolicy");
  t.equal(policy?.digest, [...objectsOf(GOOD).values()].find(({ ref }) => ref.kind === "NetworkPolicy")?.digest);
});

t.test("a commit that would lock out is rejected, and accepted when it would not any more", async (t) => {
  const { store, source, leader, lockouts, calls } = await setUp();
  await leader.reconcile();
  source.push("2", BETTER);
  lockouts.push("workload default/web denies the agents their store");
  for (let run = 0; run < 2; run += 1) await leader.reconcile();
  t.equal(await store.readHead(), 1);
  t.match(await store.readSourceStatus(), {
    state: "Rejected",
    message: /2222 was rejected, since it would lock out: workload default\/web/,
    acceptedCommit: "1".repeat(40),
  });
  t.match(
    calls.filter(([name]) => name === "rejected"),
    [["rejected", { reason: "lockout" }]],
  );
  lockouts.pop();
  await leader.reconcile();
  t.equal(await store.readHead(), 2);
});
