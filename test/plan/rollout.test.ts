/** Rollouts: which nodes a wave releases, when the next one begins, and what stops it. */
import t from "tap";
import { awaitedBy, releasedTo, type Rollout, type RolloutPlan } from "../../src/model/rollout.js";
import type { NodeStatus } from "../../src/model/status.js";
import { advance, listUncompared } from "../../src/plan/rollout/advance.js";
import { freezeAt } from "../../src/plan/rollout/freeze.js";
import { LATE_MS, nextNodes, nodeProgress, type RolloutNode } from "../../src/plan/rollout/nodes.js";
import { startRollout } from "../../src/plan/rollout/start.js";
import { abort, pause, promote, resume, upcomingWaves } from "../../src/plan/rollout/steps.js";
import { objectsOf } from "../builders/state.js";

const NOW = Date.UTC(2026, 0, 7, 12);
const TERM = 3;

function planWith(changes: Partial<RolloutPlan> = {}): RolloutPlan {
  return {
    waves: [
      { nodes: { matchLabels: { canary: "true" } }, max: "100%", soak: "60s" },
      { max: "50%", soak: "30s" },
    ],
    ...{ shadow: "0s", gates: { stalled: 0, unconfirmed: 0 }, onFailure: "revert", freeze: [], ...changes },
  };
}

function rolloutWith(changes: Partial<Rollout> = {}): Rollout {
  return {
    ...{ revision: 7, commitId: "c7", base: 6, layers: [], state: "shadow", wave: -1, plan: planWith() },
    ...{ since: new Date(NOW).toISOString(), settledSince: null, term: TERM, message: null, by: null, waived: [] },
    ...{ serial: 1, ...changes },
  };
}

function statusWith(changes: Partial<NodeStatus> = {}): NodeStatus {
  return {
    ...{ node: "n", backend: "ebpf", attemptedRevision: 6, enforcedRevision: 6, rulesetDigest: null },
    ...{ state: "InSync", message: null, drift: [], healed: 0, subjects: [] },
    ...{ observedAt: new Date(NOW).toISOString(), ...changes },
  };
}

function nodeWith(id: string, changes: Partial<NodeStatus> = {}, more: Partial<RolloutNode> = {}): RolloutNode {
  const labels = { canary: id === "a" || id === "b" ? "true" : "false" };
  const status = statusWith({ node: id, ...changes });
  return { id, labels, isDeclared: true, isAlive: true, behindMs: 0, status, ...more };
}

const FLEET = ["a", "b", "c", "d", "e"].map((id) => nodeWith(id));
const DONE = { enforcedRevision: 7, attemptedRevision: 7 };
const moment = (afterMs = 0) => ({ now: NOW + afterMs, term: TERM, isWatched: true });
const running = (nodes: readonly string[], changes: Partial<Rollout> = {}): Rollout =>
  rolloutWith({ state: "running", wave: 0, layers: [{ revision: 7, commitId: "c7", nodes }], ...changes });

t.test("what a node must enforce, and waits for", async (t) => {
  const older = { revision: 6, commitId: "c6", nodes: ["b", "c"] };
  const rollout = running(["a"], { base: 5, layers: [{ revision: 7, commitId: "c7", nodes: ["a"] }, older] });
  const released = (record: Rollout | null) => ["a", "b", "z"].map((node) => releasedTo(record, 7, node));
  const awaited = (record: Rollout | null) => ["a", "b", "z"].map((node) => awaitedBy(record, 7, node));
  t.same(released(null), [7, 7, 7]);
  t.same(released(rollout), [7, 6, 5]);
  t.same(released({ ...rollout, state: "complete", layers: [] }), [7, 7, 7]);
  t.same(released({ ...rollout, state: "failed", layers: [] }), [5, 5, 5]);
  t.same(awaited(rollout), [null, 7, 7]);
  t.same(awaited({ ...rollout, state: "paused" }), [null, 7, 7]);
  t.same(awaited({ ...rollout, state: "failed" }), [null, 7, 7], "one that failed is compared on");
  for (const state of ["aborted", "complete"] as const)
    t.same(awaited({ ...rollout, state }), [null, null, null], state);
  t.same(awaited(null), [null, null, null]);
});

t.test(
  "a wave takes its share of all nodes, in the order of names, and what is left follows the last one",
  async (t) => {
    const rollout = rolloutWith();
    const take = (max: number | string, record = rollout) => nextNodes(record, { max, soak: "0s" }, FLEET).join("");
    t.equal(take("1%"), "a", "at least one");
    t.equal(take("50%"), "abc", "rounded up");
    t.equal(take("100%"), "abcde");
    t.equal(take(2), "ab");
    t.equal(take(9), "abcde");
    t.equal(take("50%", running(["d", "e"])), "a", "in total, and what is released stays");
    t.equal(take(2, running(["d", "e"])), "");
    t.equal(take(2, running(["gone"])), "ab", "a node that left takes nobody's place");
    t.same(
      [...upcomingWaves(rollout, FLEET)],
      [
        ["a", 0],
        ["b", 0],
        ["c", 1],
        ["d", 2],
        ["e", 2],
      ],
    );
  },
);

t.test("the waves follow each other, each after its soak, and the last one completes it", async (t) => {
  let rollout = rolloutWith();
  const step = (afterMs: number, done: string): Rollout => {
    const nodes = FLEET.map((node) => (done.includes(node.id) ? nodeWith(node.id, DONE) : node));
    return (rollout = advance(rollout, nodes, moment(afterMs)));
  };
  t.match(step(0, ""), { state: "running", wave: 0, layers: [{ nodes: ["a", "b"] }] });
  t.equal(step(1000, "a").settledSince, null, "b has not followed");
  t.ok(step(2000, "ab").settledSince);
  t.equal(step(61_000, "ab").wave, 0, "it soaks since then, and not since it began");
  t.match(step(62_000, "ab"), { wave: 1, settledSince: null, layers: [{ nodes: ["a", "b", "c"] }] });
  step(63_000, "abc");
  t.match(step(93_000, "abc"), { wave: 2, base: 6, layers: [{ nodes: ["a", "b", "c", "d", "e"] }] });
  step(94_000, "abcde");
  t.match(step(94_000, "abcde"), { state: "complete", base: 6, layers: [] });
  const over = rollout;
  t.equal(step(99_000, "abcde"), over);
});

t.test(
  "times begin again with another leader, after a time in which none watched, and where a clock was set back",
  async (t) => {
    const settledSince = new Date(NOW - 59_000).toISOString();
    const rollout = running(["a", "b"], { settledSince, since: settledSince });
    const nodes = FLEET.map(({ id }) => nodeWith(id, DONE));
    const again = { since: new Date(NOW).toISOString(), settledSince: new Date(NOW).toISOString(), wave: 0 };
    t.equal(advance(rollout, nodes, moment()), rollout);
    t.match(advance(rollout, nodes, { ...moment(2000), term: 4 }), { wave: 0, term: 4 });
    t.match(advance(rollout, nodes, { ...moment(), isWatched: false }), again);
    t.match(
      advance({ ...rollout, term: null }, nodes, moment()),
      { ...again, term: TERM },
      "an operator's or a committer's",
    );
    t.match(advance({ ...rollout, since: new Date(NOW + 1).toISOString() }, nodes, moment()), again);
    t.match(advance(rollout, nodes, moment(1000)), { wave: 1 });
  },
);

t.test("how far a node has come", async (t) => {
  const rollout = running(["a"]);
  const reverted = { revision: 7, commitId: "c7", reason: "the store is not reached", at: new Date(NOW).toISOString() };
  const unconfirmed = { revision: 7, until: new Date(NOW).toISOString() };
  const cases: readonly (readonly [string, RolloutNode])[] = [
    ["waiting", nodeWith("b", DONE)],
    ["away", nodeWith("a", DONE, { isAlive: false })],
    ["pending", nodeWith("a", {}, { status: null })],
    ["stalled", nodeWith("a", {}, { status: null, behindMs: LATE_MS + 1 })],
    ["pending", nodeWith("a", { state: "Stalled" })],
    ["stalled", nodeWith("a", { state: "Stalled", attemptedRevision: 7 })],
    ["stalled", nodeWith("a", {}, { behindMs: LATE_MS + 1 })],
    ["reverted", nodeWith("a", { attemptedRevision: 7, state: "Stalled", reverted })],
    ["pending", nodeWith("a", { reverted: { ...reverted, commitId: "c6" } })],
    ["unconfirmed", nodeWith("a", { ...DONE, unconfirmed })],
    ["drifted", nodeWith("a", { ...DONE, state: "Drifted" })],
    ["pending", nodeWith("a", { attemptedRevision: 7, state: "Drifted" })],
    ["enforced", nodeWith("a", DONE)],
    ["enforced", nodeWith("a", { ...DONE, state: "Stalled" }, { isDeclared: false })],
    ["enforced", nodeWith("a", { backend: "none", attemptedRevision: 7, enforcedRevision: null, state: "Stalled" })],
    ["pending", nodeWith("a", { backend: "none", enforcedRevision: null, state: "Stalled" })],
  ];
  for (const [progress, node] of cases) t.equal(nodeProgress(rollout, node), progress, JSON.stringify(node.status));
});

t.test("a gate that fails takes the revision back, or stops, and says why", async (t) => {
  const stalled = [nodeWith("a", { attemptedRevision: 7, state: "Stalled", message: "no memory" }), ...FLEET.slice(1)];
  t.match(advance(running(["a", "b"]), stalled, moment()), {
    ...{ state: "failed", layers: [], wave: -1, base: 6 },
    message: "gate stalled: 1, at most 0 allowed; a: no memory; all nodes return to revision 6",
  });
  const kept = advance(running(["a", "b"], { plan: planWith({ onFailure: "pause" }) }), stalled, moment());
  t.match(kept, { state: "failed", layers: [{ nodes: ["a", "b"] }], message: /keep it$/ });
  const let1 = running(["a", "b"], { plan: planWith({ gates: { stalled: 1 } }) });
  t.equal(advance(let1, stalled, moment()), let1, "b is waited for");
  const others = [stalled[0]!, nodeWith("b", DONE), ...FLEET.slice(2)];
  t.match(advance(let1, others, moment()), { state: "running", settledSince: /T/ }, "a is not");
  t.match(advance(running(["a"]), [nodeWith("a", { ...DONE, state: "Drifted" })], moment()), { state: "running" });
  const drift = planWith({ gates: { drift: 0 } });
  t.match(advance(running(["a"], { plan: drift }), [nodeWith("a", { ...DONE, state: "Drifted" })], moment()), {
    message: /^gate drift: 1/,
  });
});

const shadowOf = (newDenials: number, since = NOW - 60_000) => ({
  ...{ revision: 7, commitId: "c7", since: new Date(since).toISOString(), judged: 9, newDenials, newAllows: 0 },
  differences: [
    ...[{ effect: "allowed" as const, direction: "egress" as const, workload: "x/y", policy: null, file: null }].map(
      (one) => ({ ...one, line: null, count: 99 }),
    ),
    {
      ...{ effect: "denied" as const, direction: "ingress" as const, workload: "shop/db", policy: "shop/db" },
      ...{ file: "db.yaml", line: 12, count: newDenials },
    },
  ],
});

t.test(
  "a revision is compared with live traffic first; what it would cut fails it before any node has it",
  async (t) => {
    const plan = planWith({ shadow: "60s", gates: { newDenials: 2 } });
    const begun = rolloutWith({ plan });
    const compared = (denials: number) => FLEET.map(({ id }) => nodeWith(id, { shadow: shadowOf(denials) }));
    t.equal(advance(begun, compared(0), moment(59_000)), begun);
    t.match(advance(begun, compared(0), moment(60_000)), { state: "running", wave: 0 });
    t.match(advance(begun, compared(1), moment(60_000)), {
      state: "failed",
      message:
        "gate newDenials: 5, at most 2 allowed; a: shop/db ingress 1 times (db.yaml:12); all nodes return to revision 6",
    });
    const late = [nodeWith("a", { shadow: shadowOf(0, NOW) }), ...compared(0).slice(1)];
    t.equal(advance(begun, late, moment(60_000)), begun, "a has not compared for long enough");
    const without = [nodeWith("a"), nodeWith("b", {}, { isAlive: false }), ...compared(0).slice(2)];
    t.equal(advance(begun, without, moment(119_000)), begun);
    t.match(advance(begun, without, moment(120_000)), { wave: 0, message: "not compared with live traffic on a" });
    const mid = running(["a", "b"], { plan, settledSince: new Date(NOW).toISOString() });
    const rest = [nodeWith("a", DONE), nodeWith("b", DONE), ...compared(1).slice(2)];
    t.match(advance(mid, rest, moment(60_000)), { state: "failed" }, "asked before each wave");
    t.equal(advance(mid, rest, moment(10_000)), mid);
  },
);

t.test("a canary that does not run, a wave that selects nobody, and a frozen week hold it", async (t) => {
  const settled = running(["a", "b"], { settledSince: new Date(NOW).toISOString() });
  const away = FLEET.map((node) => (node.id < "c" ? { ...node, isAlive: false } : node));
  const held = advance(settled, away, moment(60_000));
  t.match(held, { wave: 0, message: /none of the nodes that have it is alive: a, b/ });
  t.equal(advance(held, away, moment(61_000)), held, "it is written once");
  const nobody = planWith({ waves: [{ nodes: { matchLabels: { canery: "true" } }, max: "100%", soak: "0s" }] });
  t.match(advance(rolloutWith({ plan: nobody }), FLEET, moment()), {
    state: "shadow",
    message: /wave 1 selects no node/,
  });
  const freeze = [{ from: "Wed 11:00", to: "Wed 13:00", timezone: "UTC" }];
  t.match(advance(rolloutWith({ plan: planWith({ freeze }) }), FLEET, moment()), {
    ...{ state: "shadow", message: "frozen until 2026-01-07T13:00:00.000Z (Wed 11:00 to Wed 13:00, UTC)" },
  });
});

t.test("operators pause, resume, promote over what speaks against it, and abort", async (t) => {
  const order = { by: "ops@host", now: NOW };
  const paused = pause(running(["a", "b"]), order);
  t.match(paused, { state: "paused", by: "ops@host", term: null, layers: [{ nodes: ["a", "b"] }] });
  t.equal(advance(paused, FLEET, moment(99_000)), paused);
  t.match(resume(paused, order), { state: "running", wave: 0, message: null, term: null });
  t.match(resume(pause(rolloutWith(), order), order), { state: "shadow" });
  t.match(abort(paused, order), { state: "aborted", layers: [], message: /aborted by ops@host.*revision 6/ });

  const plan = planWith({
    gates: { newDenials: 0, stalled: 0 },
    freeze: [{ from: "Wed 11:00", to: "Wed 13:00", timezone: "UTC" }],
  });
  const compared = FLEET.map(({ id }) => nodeWith(id, { shadow: shadowOf(1) }));
  const failed = rolloutWith({ plan, state: "failed", message: "gate newDenials: 5" });
  const { rollout, over } = promote(failed, compared, { ...order, all: false });
  t.match(rollout, { state: "running", wave: 0, waived: ["newDenials"], term: null, layers: [{ nodes: ["a", "b"] }] });
  t.match(over, [/^the state failed/, /^gate newDenials: 5/, /^frozen until/]);
  const done = [nodeWith("a", DONE), nodeWith("b", DONE), ...compared.slice(2)];
  const later = { now: NOW + 7_200_000, term: TERM, isWatched: true };
  const soaked = { ...rollout, term: TERM, settledSince: rollout.since };
  t.match(advance(soaked, done, later), { state: "running", wave: 0, message: /went over it for this wave alone/ });
  t.match(promote(soaked, done, { ...order, all: true }).rollout, { state: "complete", base: 6, layers: [] });
  t.match(resume(failed, order), { state: "shadow", wave: -1 }, "tried again");
});

t.test("a commit goes by the waves of the last revision that every node had", async (t) => {
  const cluster = (spec: string) =>
    objectsOf(`apiVersion: ztap/v1\nkind: Cluster\nmetadata: { name: cluster }\n${spec}`);
  const waves = cluster("spec: { rollout: { waves: [{ max: 10% }] } }");
  const ids = { commitId: "c8", time: new Date(NOW).toISOString() };
  t.equal(startRollout(cluster(""), ids)(null, 8), null, "the one that brings the waves goes to all at once");
  t.match(startRollout(waves, ids)(null, 8), {
    revision: 8,
    base: 7,
    state: "shadow",
    wave: -1,
    layers: [],
    serial: 1,
  });
  const layers = running(["a"]).layers;
  const open = startRollout(null, ids);
  t.match(open(running(["a"]), 8), { revision: 8, base: 6, layers, plan: planWith() }, "nodes keep the earlier one");
  t.match(open(rolloutWith({ state: "failed" }), 8), { base: 6, layers: [], state: "shadow" });
  t.equal(open(rolloutWith({ state: "complete" }), 8), null);
  t.equal(startRollout(waves, ids)(null, 1), null);
});

t.test("a freeze window is of the wall clock of its zone, also where that is set forward and back", async (t) => {
  const window = { from: "Fri 16:00", to: "Mon 08:00", timezone: "Europe/Berlin" };
  const until = (time: string) => freezeAt([window], Date.parse(time))?.until ?? null;
  t.equal(until("2026-01-09T14:59:59Z"), null);
  t.equal(until("2026-01-09T15:00:00Z"), "2026-01-12T07:00:00.000Z");
  t.equal(until("2026-01-12T06:59:59Z"), "2026-01-12T07:00:00.000Z");
  t.equal(until("2026-01-12T07:00:00Z"), null);
  t.equal(until("2026-07-10T14:00:00Z"), "2026-07-13T06:00:00.000Z", "in summer");
  // On 29 March 2026 the clock goes from 2:00 to 3:00, on 25 October from 3:00 back to 2:00.
  t.equal(until("2026-03-27T15:00:00Z"), "2026-03-30T06:00:00.000Z");
  t.equal(until("2026-10-23T14:00:00Z"), "2026-10-26T07:00:00.000Z");
  const night = { from: "Sun 02:30", to: "Sun 04:00", timezone: "Europe/Berlin" };
  const asleep = (time: string) => freezeAt([night], Date.parse(time))?.until ?? null;
  t.equal(asleep("2026-03-29T00:59:00Z"), null);
  t.equal(asleep("2026-03-29T01:00:00Z"), "2026-03-29T02:00:00.000Z", "3:00 is past 2:30");
  t.equal(
    freezeAt([window, { ...window, to: "Tue 08:00" }], Date.parse("2026-01-10T00:00:00Z"))?.window.to,
    "Tue 08:00",
  );
});

t.test(
  "what nodes say of themselves holds a rollout up for a bounded time, and proves nothing under an override",
  (t) => {
    const says = { ...DONE, unconfirmed: { revision: 7, until: "2999-01-01T00:00:00.000Z" } };
    const [soon, late] = [0, 2 * 3_600_000].map((behindMs) => nodeWith("a", says, { behindMs }));
    t.equal(nodeProgress(running(["a"]), soon!), "unconfirmed");
    t.equal(nodeProgress(running(["a"]), late!), "stalled");

    const shadow = { ...{ revision: 7, commitId: "c7", since: new Date(NOW - 600_000).toISOString() }, judged: 9 };
    const compared = { shadow: { ...shadow, newDenials: 0, newAllows: 0, differences: [] } };
    const rollout = rolloutWith({ plan: planWith({ shadow: "60s" }) });
    t.same(listUncompared(rollout, [nodeWith("a", compared)], 60_000), []);
    t.same(listUncompared(rollout, [nodeWith("a", { ...compared, overrides: ["o1"] })], 60_000), ["a"]);
    t.end();
  },
);
