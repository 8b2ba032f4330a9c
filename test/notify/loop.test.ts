/** What receivers are told and when: coalesced, at least once, by the leader alone, and nobody waits for another. */
import t, { type Test } from "tap";
import { openMemoryStore } from "../../src/adapters/memory/store.js";
import type { Store } from "../../src/interfaces/store.js";
import { StoreError } from "../../src/interfaces/store.js";
import { draft, policy } from "../fakes/objects.js";
import { ManualClock } from "../fakes/clock.js";
import { FaultyStore } from "../fakes/store.js";
import { withEtcd } from "../etcd/server.js";
import { openStore, QUICK, newPrefix } from "../etcd/stores.js";
import { whyNoEtcd } from "../etcd/server.js";
import { HANG_MS } from "../wait.js";
import { reportCommit } from "../../src/reconcile/notify/report.js";
import { fill, HeldTarget, leadWith, nodeStatus, sourceStatus } from "./loop-setup.js";

async function setUp(...targets: HeldTarget[]) {
  const clock = new ManualClock();
  const store = new FaultyStore(openMemoryStore(clock));
  await fill(store);
  return { clock, store, ...(await leadWith(store, clock, targets)) };
}

const commitsOf = async (store: Store) => (await store.readOutbox())?.receivers.map(({ commits }) => commits) ?? [];

t.test("a commit's way: accepted, on how many nodes, stalled and why, enforced", async (t) => {
  const github = new HeldTarget("github");
  const { store, pass, settle, find } = await setUp(github);
  await settle();
  t.same(github.sent, [], "nothing is known of a commit yet");
  await find();
  await settle();
  t.match(github.sent, [
    {
      state: "accepted",
      description: "enforced on 2 of 3 nodes",
      revision: 1,
      nodes: { enforced: 2, expected: 3, stalled: 0, reverted: 0 },
      source: { location: "https://…@git.example.com/p.git", ref: "main" },
    },
  ]);
  await pass(60_000);
  t.equal(github.sent.length, 1, "nothing has changed");
  await store.writeNodeStatus(nodeStatus("n3", { enforcedRevision: null, state: "Stalled", message: "no kernel" }));
  await pass(60_000);
  t.match(github.sent[1], { state: "stalled", description: "enforced on 2 of 3 nodes, 1 stalled: n3: no kernel" });
  await store.writeNodeStatus(nodeStatus("n3"));
  await pass(60_000);
  t.match(github.sent[2], { state: "enforced", description: "enforced on 3 of 3 nodes" });
  await pass(600_000);
  t.equal(github.sent.length, 3);
  t.match(await commitsOf(store), [[{ pending: null, count: 3, last: { state: "enforced" } }]]);
});

t.test("rejected with the first error, held, over Git, and nothing while the source is unreachable", async (t) => {
  const github = new HeldTarget("github");
  const { pass, find } = await setUp(github);
  const diagnostics = [{ code: "ZT2003", file: "a.yaml", line: 5, column: 3, message: "podSelektor is no field" }];
  const commits = ["1", "2", "3", "4", "5"].map((digit) => digit.repeat(40));
  const message = `commit ${"1".repeat(12)} was rejected: 1 error`;
  await find({ state: "Rejected", observedCommit: commits[0]!, message, diagnostics });
  await pass(60_000);
  t.match(github.sent[0], {
    state: "rejected",
    description: "rejected: 1 error; a.yaml:5:3 ZT2003 podSelektor is no field",
    revision: null,
    nodes: null,
    diagnostics,
  });
  await find({
    state: "Held",
    observedCommit: commits[1]!,
    message: `commit ${"2".repeat(12)} deletes all 4 NetworkPolicies`,
  });
  await pass(60_000);
  t.match(github.sent[1], { state: "held", description: "held: deletes all 4 NetworkPolicies" });
  await find({ state: "OutOfSync", observedCommit: commits[2]!, message: "head (revision 2) was committed over Git" });
  await pass(60_000);
  t.match(github.sent[2], { state: "reverted", description: "head (revision 2) was committed over Git" });
  await find({ state: "Unreachable", observedCommit: commits[3]!, message: "no route" });
  await pass(60_000);
  t.equal(github.sent.length, 3);
});

t.test("while the source is unreachable, what becomes of the accepted commit is told all the same", async (t) => {
  const github = new HeldTarget("github");
  const { store, pass, find } = await setUp(github);
  await find();
  await pass(60_000);
  await find({ state: "Unreachable", message: "no route" });
  await store.writeNodeStatus(nodeStatus("n3"));
  await pass(60_000);
  t.same(github.states, ["accepted", "enforced"]);
  await find({ state: "Unreachable", acceptedRevision: 7 });
  await pass(60_000);
  t.equal(github.sent.length, 2, "another revision is head");
});

t.test("between a commit and its report, the commit before is not told to be taken back", async (t) => {
  const github = new HeldTarget("github");
  const { store, pass, find } = await setUp(github);
  await find();
  await pass(60_000);
  const base = draft([policy("web")]);
  const source = { ...base.source, commit: "e".repeat(40) };
  const commit = (reason: string, expectHead: number) =>
    store.commit({ ...base, source, reason, commitId: reason }, { expectHead, fence: null });
  await commit("source", 1);
  await pass(60_000);
  t.same(github.states, ["accepted"]);
  await find({ observedCommit: source.commit, acceptedCommit: source.commit, acceptedRevision: 2 });
  await pass(60_000);
  t.match(github.sent[1], { commit: source.commit, state: "accepted", revision: 2 });
  await store.commit(draft([policy("web", 9)]), { expectHead: 2, fence: null });
  await pass(60_000);
  t.match(github.sent[2], {
    commit: source.commit,
    state: "reverted",
    description: /revision 3\) was committed over Git/,
  });
});

t.test("a store that lets the leader write no outbox is left alone for a while, and that is said", async (t) => {
  const github = new HeldTarget("github");
  const { store, pass, find, lost } = await setUp(github);
  await find();
  let writes = 0;
  store.refuse = (call) => {
    if (call !== "writeOutbox") return null;
    writes += 1;
    return new StoreError("store-permission", "permission denied");
  };
  for (let part = 0; part < 60; part += 1) await pass(2_000);
  t.equal(writes, 1);
  t.match(lost, [/receivers are told nothing/]);
  store.mend();
  for (let part = 0; part < 120; part += 1) await pass(2_000);
  t.same(github.states, ["accepted"]);
});

t.test("what a node said before it tried the revision is not about it", async (t) => {
  const github = new HeldTarget("github");
  const { store, pass, find } = await setUp(github);
  const before = { enforcedRevision: null, attemptedRevision: null, state: "Stalled", message: "nothing yet" } as const;
  await store.writeNodeStatus(nodeStatus("n3", before));
  await find();
  await pass(60_000);
  t.match(github.sent, [{ state: "accepted", description: "enforced on 2 of 3 nodes" }]);
  await store.writeNodeStatus(nodeStatus("n3", { ...before, attemptedRevision: 1 }));
  await pass(60_000);
  t.match(github.sent[1], { state: "stalled" });
});

t.test("a node that went back from the revision by itself is told as such", async (t) => {
  const github = new HeldTarget("github");
  const { store, pass, find } = await setUp(github);
  const reverted = { revision: 1, commitId: "c1", reason: "the store is out of reach", at: "2026-01-01T00:00:00.000Z" };
  await store.writeNodeStatus(nodeStatus("n3", { enforcedRevision: null, state: "Stalled", reverted }));
  await find();
  await pass(60_000);
  t.match(github.sent, [
    { state: "reverted", description: "enforced on 2 of 3 nodes, 1 went back: n3: the store is out of reach" },
  ]);
});

t.test("how far a rollout has come is told, and one that failed is no success", (t) => {
  const node = { withheld: [], lag: 0, released: 2, state: "healthy" };
  const report = (state: string, wave: number, message: string | null, lag = 1) => {
    const rollout = { state, wave, waves: 3, message };
    const nodes = [node, { ...node, lag }];
    return reportCommit(Object({ revision: 2, nodes, source: sourceStatus({ acceptedRevision: 2 }), rollout }), []);
  };
  for (const [state, wave, message, lag, told, description] of [
    ["shadow", 0, null, 1, "accepted", "enforced on 1 of 2 nodes, before the first wave"],
    [
      "running",
      2,
      "frozen until Mon 08:00",
      1,
      "accepted",
      "enforced on 1 of 2 nodes, in wave 2 of 3: frozen until Mon 08:00",
    ],
    ["paused", 1, null, 1, "accepted", "enforced on 1 of 2 nodes, paused in wave 1 of 3"],
    ["complete", 3, null, 1, "accepted", "enforced on 1 of 2 nodes"],
    ["complete", 3, null, 0, "enforced", "enforced on 2 of 2 nodes"],
    ["failed", 1, "3 new denials", 0, "reverted", "its rollout failed in wave 1 of 3: 3 new denials"],
    ["aborted", 0, null, 0, "reverted", "its rollout was aborted before the first wave"],
  ] as const)
    t.match(report(state, wave, message, lag), { state: told, description }, state);
  t.end();
});

t.test("a state that changes all the time is no flood, and the last one is told", async (t) => {
  const github = new HeldTarget("github");
  const slack = new HeldTarget("slack");
  slack.showsLast = false;
  const { store, pass, find } = await setUp(github, slack);
  await find();
  const hours = 12;
  for (let second = 0; second < hours * 3600; second += 10) {
    const isStalled = second % 20 === 0;
    await store.writeNodeStatus(
      nodeStatus("n3", { enforcedRevision: null, state: isStalled ? "Stalled" : "InSync", message: `${second}` }),
    );
    await pass(10_000);
  }
  t.ok(github.sent.length < 110, `${github.sent.length} events in ${hours} hours`);
  t.ok(slack.sent.length < 110, `${slack.sent.length} events in ${hours} hours`);
  await store.writeNodeStatus(nodeStatus("n3"));
  for (let hour = 0; hour < 3; hour += 1) await pass(3_600_000);
  t.equal(github.states.at(-1), "enforced");
  t.equal(slack.states.at(-1), "enforced");
  const before = slack.sent.length;
  await store.joinMember({ id: "n4", address: "n4:1", joinedAt: "2026-01-01T00:00:00.000Z" });
  for (let hour = 0; hour < 3; hour += 1) await pass(3_600_000);
  t.equal(github.states.at(-1), "accepted", "a status shows what is");
  t.equal(slack.sent.length, before, "a node that is new is no news of a commit that had arrived");
});

t.test("only the states that a receiver asks for", async (t) => {
  const chat = new HeldTarget("chat");
  chat.events = ["stalled"];
  const { store, pass, find } = await setUp(chat);
  await find();
  await pass(60_000);
  t.same(chat.sent, []);
  await store.writeNodeStatus(nodeStatus("n3", { enforcedRevision: null, state: "Stalled", message: "no kernel" }));
  await pass(60_000);
  t.same(chat.states, ["stalled"]);
});

t.test("a slow receiver delays neither the others nor the run, and gets the newest once it answers", async (t) => {
  const slow = new HeldTarget("slow");
  slow.held = [];
  const quick = new HeldTarget("quick");
  const { store, pass, settle, find } = await setUp(slow, quick);
  await find();
  await settle();
  t.same([slow.states, quick.states], [["accepted"], ["accepted"]]);
  await store.writeNodeStatus(nodeStatus("n3"));
  await pass(60_000);
  t.same([slow.states, quick.states], [["accepted"], ["accepted", "enforced"]], "one at a time for each");
  slow.answerAll();
  await settle();
  await settle();
  await pass(60_000);
  t.same(slow.states, ["accepted", "enforced"]);
});

t.test(
  "a receiver that is down is tried again with growing pauses, and told the newest state once it is up",
  async (t) => {
    const github = new HeldTarget("github");
    github.outcome = { outcome: "failed", problem: "connection refused", retryAfterMs: null };
    const { store, pass, find, calls } = await setUp(github);
    await find();
    for (let minute = 0; minute < 60; minute += 1) for (let part = 0; part < 30; part += 1) await pass(2_000);
    const attempts = github.sent.length;
    t.ok(attempts > 10 && attempts < 40, `${attempts} attempts in an hour`);
    t.equal(new Set(github.sent.map(({ id }) => id)).size, 1, "the same event each time");
    t.match(await commitsOf(store), [[{ pending: { attempts, problem: "connection refused" }, last: null }]]);
    await store.writeNodeStatus(nodeStatus("n3"));
    github.outcome = { outcome: "delivered" };
    for (let part = 0; part < 300; part += 1) await pass(2_000);
    t.same(github.states.slice(attempts), ["enforced"], "what is no longer true is not told");
    t.ok(calls.some(([name]) => name === "deliveryFailed") && calls.some(([name]) => name === "delivered"));
    t.match(
      calls.findLast(([name]) => name === "deliveriesPending"),
      ["deliveriesPending", { events: 0, oldestMs: 0 }],
    );
  },
);

t.test("what is refused is not sent again, is said, and does not stop what comes next", async (t) => {
  const github = new HeldTarget("github");
  github.outcome = { outcome: "refused", problem: "status 422" };
  const { store, pass, find, lost, calls } = await setUp(github);
  await find();
  for (let minute = 0; minute < 30; minute += 1) await pass(60_000);
  t.equal(github.sent.length, 1);
  t.match(await store.readOutbox(), {
    receivers: [{ lost: 1, commits: [{ pending: null, failed: { state: "accepted", problem: "status 422" } }] }],
  });
  t.match(lost, [/github is not told that commit d{12} is accepted: status 422/]);
  t.ok(calls.some(([name]) => name === "deliveriesLost"));
  github.outcome = { outcome: "delivered" };
  await store.writeNodeStatus(nodeStatus("n3"));
  await pass(60_000);
  t.same(github.states, ["accepted", "enforced"]);
});

t.test("an event is given up after a day, and that is said", async (t) => {
  const github = new HeldTarget("github");
  github.outcome = { outcome: "failed", problem: "status 401", retryAfterMs: 1e12 };
  const { store, pass, find, lost } = await setUp(github);
  await find();
  for (let hour = 0; hour < 30; hour += 1) for (let part = 0; part < 2; part += 1) await pass(1_800_000);
  t.match(lost, [/status 401/]);
  t.ok(github.sent.length > 20 && github.sent.length < 60, "what it asks for is bounded");
  t.match(await store.readOutbox(), { receivers: [{ lost: 1, commits: [{ pending: null }] }] });
});

t.test("more commits than the outbox holds: the oldest goes, and that is said", async (t) => {
  const github = new HeldTarget("github");
  github.outcome = { outcome: "failed", problem: "down", retryAfterMs: null };
  const { store, pass, find, lost } = await setUp(github);
  for (const digit of "123456789a") {
    await find({ state: "Rejected", observedCommit: digit.repeat(40), message: "1 error" });
    await pass(60_000);
  }
  t.match(lost, [/commit 1{12} .*newer commits/, /commit 2{12} /]);
  const [commits] = await commitsOf(store);
  t.same(commits?.map(({ commit }) => commit[0]).join(""), "a9876543");
});

t.test("nothing is sent before it is in the outbox", async (t) => {
  const github = new HeldTarget("github");
  const { store, settle, find, notifications } = await setUp(github);
  await find();
  store.refuse = (call) => (call === "writeOutbox" ? new StoreError("store-unavailable", "no route") : null);
  await t.rejects(notifications.run(), { code: "store-unavailable" });
  t.same(github.sent, []);
  store.mend();
  await settle();
  t.same(github.states, ["accepted"]);
  t.match(await commitsOf(store), [[{ pending: null, last: { state: "accepted" } }]]);
});

t.test("a damaged outbox is begun anew, and that is said", async (t) => {
  const github = new HeldTarget("github");
  const { store, settle, find, lost } = await setUp(github);
  await find();
  store.refuse = (call) => (call === "readOutbox" ? new StoreError("store-damaged", "not its shape") : null);
  await settle();
  t.match(lost[0], /outbox is damaged/);
  t.same(github.states, ["accepted"]);
});

t.test(
  "a receiver that has moved is told again; one that is no longer there is forgotten, and that is said",
  async (t) => {
    const [github, chat] = [new HeldTarget("github"), new HeldTarget("chat")];
    chat.outcome = { outcome: "failed", problem: "down", retryAfterMs: null };
    const { store, clock, settle, find, election } = await setUp(github, chat);
    await find();
    await settle();
    await election.resign();
    github.target = "cd".repeat(32);
    const next = await leadWith(store, clock, [github], { id: "n1" });
    await next.settle();
    t.same(github.states, ["accepted", "accepted"]);
    t.match(next.lost, [/chat is not told that commit d{12} is accepted: it is no longer among the receivers/]);
    t.match(await store.readOutbox(), { receivers: [{ receiver: "github", delivered: 2 }] });
  },
);

/** With any store: the leader ends between the answer of a receiver and the outbox; the next one goes on. */
async function crashAndChange(t: Test, store: Store, other: Store, clock: ManualClock): Promise<void> {
  await fill(store);
  const github = new HeldTarget("github");
  github.held = [];
  const first = await leadWith(store, clock, [github], { id: "n1" });
  await first.find();
  await first.settle();
  t.equal(github.sent.length, 1);
  // As if it were killed now: it hears no answer, and writes nothing any more.
  await first.election.resign();
  const second = new HeldTarget("github");
  const next = await leadWith(other, clock, [second], { id: "n2" });
  await next.settle();
  t.same(second.sent, github.sent, "the same event with the same id");
  github.answerAll();
  await first.settle();
  t.match(await other.readOutbox(), { receivers: [{ delivered: 1, commits: [{ count: 1, pending: null }] }] });
  await other.writeNodeStatus(nodeStatus("n3"));
  await next.pass(60_000);
  await first.settle();
  t.same(second.states, ["accepted", "enforced"]);
  t.equal(github.sent.length, 1, "who does not lead tells nobody anything");
}

t.test("killed between answer and acknowledgement: the next leader sends it again (memory)", async (t) => {
  const clock = new ManualClock();
  const store = openMemoryStore(clock);
  await crashAndChange(t, store, store, clock);
});

t.test(
  "killed between answer and acknowledgement: the next leader sends it again (etcd)",
  {
    skip: whyNoEtcd() ?? false,
    timeout: HANG_MS,
  },
  (t) =>
    withEtcd({ flags: QUICK }, async ({ endpoints }) => {
      const prefix = newPrefix();
      const [store, other] = [openStore(t, endpoints, { prefix }), openStore(t, endpoints, { prefix })];
      await crashAndChange(t, store, other, new ManualClock());
    }),
);

t.test("the attempts of a leader whose term is over are cut short", async (t) => {
  const github = new HeldTarget("github");
  github.held = [];
  const { clock, find, settle, notifications, election } = await setUp(github);
  await find();
  await settle();
  clock.advance(3_600_000);
  t.equal(election.fence, null);
  await settle();
  t.equal(github.aborted, 1);
  await election.campaign();
  await settle();
  t.equal(github.sent.length, 2, "it leads again, and tries again");
  await notifications.stop();
  t.equal(github.aborted, 2, "as those of an agent that stops");
});
