import t from "tap";
import { SourceError } from "../../src/interfaces/source.js";
import { objectsOf, policy, workload } from "../builders/state.js";
import { BETTER, GOOD, setUp } from "./leader-setup.js";

const BAD = GOOD.replace("podSelector", "podSelektor");

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

const policies = (...names: readonly string[]) =>
  workload("web@n1 10.0.0.1 app=web") + names.map((name) => policy(name, "  podSelector: {}\n  ingress: []")).join("");
const APPROVAL = { by: "op@host", reason: "", time: "2026-01-01T00:00:00.000Z" };

t.test("a repository that is suddenly empty is held", async (t) => {
  const { store, source, leader } = await setUp();
  await leader.reconcile();
  source.push("2", "");
  await leader.reconcile();
  t.equal(await store.readHead(), 1);
  t.match(await store.readSourceStatus(), { state: "Held", acceptedCommit: "1".repeat(40) });
});

for (const [title, before, after, isHeld] of [
  ["one policy of two goes", ["a", "b"], ["a"], false],
  ["two policies of three go", ["a", "b", "c"], ["a"], true],
  ["two policies of four go", ["a", "b", "c", "d"], ["a", "b"], false],
  ["the only policy goes", ["a"], [], true],
  ["all policies have other names", ["a", "b"], ["x", "y"], true],
] as const) {
  t.test(`a commit where ${title} is ${isHeld ? "held until that very commit is approved" : "followed"}`, async (t) => {
    const { store, source, leader, calls } = await setUp();
    source.push("1", policies(...before));
    await leader.reconcile();
    source.push("2", policies(...after));
    await leader.reconcile();
    t.equal(await store.readHead(), isHeld ? 1 : 2);
    if (!isHeld) return;
    const message =
      /^commit 222222222222 deletes (all )?[0-9].* NetworkPolicies, more than .* `ztap cluster approve 2{40}`/;
    t.match(await store.readSourceStatus(), { state: "Held", acceptedCommit: "1".repeat(40), message });
    await leader.reconcile();
    t.same(
      calls.filter(([name]) => name === "rejected"),
      [["rejected", { reason: "held" }]],
      "counted once",
    );
    await store.writeApproval({ ...APPROVAL, commit: "3".repeat(40) });
    await leader.reconcile();
    t.equal(await store.readHead(), 1, "another commit's approval is no approval");
    await store.writeApproval({ ...APPROVAL, commit: "2".repeat(40) });
    await leader.reconcile();
    t.equal(await store.readHead(), 2);
    t.match(await store.readSourceStatus(), { state: "Synced", acceptedCommit: "2".repeat(40) });
  });
}

t.test("a commit that deletes most is followed once somebody has applied it", async (t) => {
  const { store, source, leader } = await setUp();
  source.push("1", policies("a", "b", "c"));
  await leader.reconcile();
  source.push("2", policies("a"));
  await leader.reconcile();
  const objects = [...objectsOf(policies("a")).values()];
  const { source: origin } = await source.fetch();
  const time = "2026-01-01T00:00:00.000Z";
  const draft = { objects, source: origin, node: "n1", author: "op", reason: "apply", commitId: "c", time };
  await store.commit(draft, { expectHead: 1, fence: null });
  await leader.reconcile();
  t.match(await store.readSourceStatus(), { state: "Synced", acceptedCommit: "2".repeat(40), acceptedRevision: 2 });
});

t.test("a share of other objects counts as well", async (t) => {
  const { store, source, leader } = await setUp();
  const hosts = ["a", "b", "c", "d"].map((name, index) => workload(`${name}@n1 10.0.0.${index + 1} app=web`));
  source.push("1", hosts.join("") + policies("p"));
  await leader.reconcile();
  source.push("2", policies("p"));
  await leader.reconcile();
  t.match(await store.readSourceStatus(), { state: "Held", message: /deletes 4 of 6 objects/ });
});

t.test("rewritten history is followed and told, once", async (t) => {
  const { store, source, leader, calls } = await setUp();
  await leader.reconcile();
  source.push("2", BETTER);
  source.verdict = { rewritten: true };
  await leader.reconcile();
  await leader.reconcile();
  t.equal(await store.readHead(), 2);
  t.match(await store.readSourceStatus(), { state: "Synced", rewrittenFrom: "1".repeat(40) });
  t.equal(calls.filter(([name]) => name === "rewritten").length, 1);
  source.verdict = { rewritten: false };
  source.push("3", GOOD);
  await leader.reconcile();
  t.equal((await store.readSourceStatus())?.rewrittenFrom, undefined, "until there is another commit");
});

t.test("where commits are signed, rewritten history waits for somebody's word, even without a change", async (t) => {
  for (const text of [BETTER, GOOD]) {
    const { store, source, leader } = await setUp();
    source.verdict = { unverified: null };
    await leader.reconcile();
    source.push("2", text);
    source.verdict = { rewritten: true, unverified: null };
    await leader.reconcile();
    t.equal(await store.readHead(), 1);
    t.match(await store.readSourceStatus(), {
      state: "Held",
      rewrittenFrom: "1".repeat(40),
      acceptedCommit: "1".repeat(40),
      message: /does not come after the accepted commit 111111111111/,
    });
    await store.writeApproval({ ...APPROVAL, commit: "2".repeat(40) });
    await leader.reconcile();
    t.match(await store.readSourceStatus(), { state: "Synced", acceptedCommit: "2".repeat(40) });
  }
});

t.test("a commit that nobody signed stops the line, visibly, until it is gone or its signer allowed", async (t) => {
  const { store, source, leader, calls } = await setUp();
  await leader.reconcile();
  source.push("2", BETTER);
  const unverified = { commit: "a".repeat(40), author: "Eve <eve@example.com>", problem: "it is not signed" };
  source.verdict = { unverified, rewritten: false };
  await leader.reconcile();
  await leader.reconcile();
  t.equal(await store.readHead(), 1);
  t.match(await store.readSourceStatus(), {
    state: "Rejected",
    acceptedCommit: "1".repeat(40),
    unverified,
    message: /^commit aaaaaaaaaaaa of Eve .* is not accepted: it is not signed/,
  });
  t.same(
    calls.filter(([name]) => name === "rejected"),
    [["rejected", { reason: "unverified" }]],
    "counted once",
  );
  await store.writeApproval({ ...APPROVAL, commit: "2".repeat(40) });
  await leader.reconcile();
  t.equal(await store.readHead(), 1, "an approval is no signature");
  source.verdict = { unverified: null, rewritten: false };
  await leader.reconcile();
  t.equal(await store.readHead(), 2, "looked at again without another push");
  t.equal((await store.readSourceStatus())?.unverified, undefined);
});

t.test("while the source is suspended nothing of it is committed, by whoever leads, until it ends", async (t) => {
  const { store, source, leader, calls, clock } = await setUp();
  await leader.reconcile();
  const suspension = { by: "op@host", reason: "incident", since: "2026-01-01T00:00:00.000Z" };
  await store.writeSuspension({ ...suspension, until: "2026-01-01T00:00:30.000Z" });
  source.push("2", BETTER);
  await leader.reconcile();
  t.equal(await store.readHead(), 1);
  t.equal(source.fetches, 1, "nothing is fetched either");
  t.same(calls.filter(([name]) => name === "suspended").at(-1), ["suspended", true]);
  clock.advance(30_000);
  await leader.reconcile();
  t.equal(await store.readHead(), 2, "it ended by itself");
  t.same(calls.filter(([name]) => name === "suspended").at(-1), ["suspended", false]);
  source.push("3", GOOD);
  source.meanwhile = async () => {
    await store.writeSuspension({ ...suspension, until: null });
  };
  await leader.reconcile();
  t.equal(await store.readHead(), 2, "also where it begins while a commit is on its way");
  t.match(await store.readSourceStatus(), { acceptedCommit: "2".repeat(40) });
  source.meanwhile = async () => undefined;
  await store.writeSuspension(null);
  await leader.reconcile();
  t.equal(await store.readHead(), 3);
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
  for (let run = 0; run < 3; run += 1) await leader.reconcile();
  t.equal(source.fetches, 2, "it is read once");
  t.equal(await store.readHead(), 1);
  t.match(await store.readSourceStatus(), {
    state: "Rejected",
    message: /2222 was rejected, since it would lock out: workload default\/web/,
    acceptedCommit: "1".repeat(40),
  });
  t.same(
    calls.filter(([name]) => name === "rejected"),
    [["rejected", { reason: "lockout" }]],
  );
  lockouts.push("and another");
  await leader.reconcile();
  t.match(await store.readSourceStatus(), { message: /and another/ }, "who listens where is asked at each poll");
  lockouts.splice(0);
  await leader.reconcile();
  t.equal(await store.readHead(), 2);
});
