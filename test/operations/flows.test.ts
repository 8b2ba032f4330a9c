import t, { type Test } from "tap";
import { matchesFlow, type FlowMessage, type FlowQuery } from "../../src/model/flow.js";
import type { Rule } from "../../src/model/ruleset.js";
import { readFlowQuery } from "../../src/operations/query/flow-filter.js";
import { FlowHub } from "../../src/reconcile/flow-hub.js";
import { compile } from "../../src/policy/compile/compile.js";
import { nameFlows } from "../../src/policy/flow-names.js";
import type { EventStatistics, FlowRecord, FlowSource } from "../../src/interfaces/flows.js";
import { isMessage, isQuery, parseLine } from "../../src/adapters/flows/records.js";
import { renderFlow } from "../../src/views/flows.js";
import { plainStyle } from "../../src/views/style.js";
import { objectsOf, workload } from "../builders/state.js";
import { recordTelemetry } from "../fakes/ambient.js";
import { ManualClock } from "../fakes/clock.js";

const STATE = [
  workload("web@n1 10.0.0.1 app=web"),
  workload("db@n2 10.0.0.2,fd00::2 app=db"),
  workload("job@n1 10.0.0.1 app=job"),
  "---\napiVersion: ztap/v1\nkind: NetworkPolicy\nmetadata: { name: p }\n",
  "spec: { podSelector: {}, egress: [{ to: { podSelector: { matchLabels: { app: db } } } }] }\n",
].join("");
const EVERYTHING: FlowQuery = { follow: false, verdict: null, workload: null, direction: null };

/** A backend that tells what the test says. */
class Teller implements FlowSource {
  told: EventStatistics = { eligible: 0n, delivered: 0n, limited: 0n, lost: 0n };
  readonly #batches: (readonly FlowRecord[])[] = [];
  #wake: () => void = () => undefined;

  tell(...records: readonly FlowRecord[]): void {
    this.#batches.push(records);
    this.#wake();
  }
  async *flows(signal: AbortSignal): AsyncIterable<readonly FlowRecord[]> {
    signal.addEventListener("abort", () => this.#wake(), { once: true });
    while (!signal.aborted) {
      const batch = this.#batches.shift();
      if (batch === undefined) await new Promise<void>((resolve) => (this.#wake = resolve));
      else yield batch;
    }
  }
  statistics(): EventStatistics {
    return this.told;
  }
}

function record(peer: string, fields: Partial<FlowRecord> = {}): FlowRecord {
  const ends = { peer, peerPort: 5432, localPort: 1000, protocol: 6, icmp: null };
  const verdict = { workload: "default/web", direction: "egress", verdict: "denied", rule: null } as const;
  return { timeMs: 1_000, hook: "packet", ...ends, ...verdict, ...fields };
}

const namesOf = (state: string) => {
  const objects = objectsOf(state);
  return nameFlows(objects)(compile(objects, "n1"));
};

function start(t: Test) {
  const names = namesOf(STATE);
  const coming = namesOf(STATE.replace("name: p }", "name: stricter }"));
  const teller = new Teller();
  const clock = new ManualClock();
  const { telemetry, calls } = recordTelemetry();
  const hub = new FlowHub(teller, { clock, telemetry }, "n1", { inForce: () => names, coming: () => coming });
  const stop = new AbortController();
  const running = hub.run(stop.signal);
  t.teardown(async () => {
    stop.abort();
    await running;
  });
  return { teller, clock, hub, calls, end: () => stop.abort() };
}

async function read(hub: FlowHub, query: Partial<FlowQuery> = {}): Promise<readonly FlowMessage[]> {
  const found: FlowMessage[] = [];
  for await (const message of hub.open({ ...EVERYTHING, ...query }, new AbortController().signal)) found.push(message);
  return found;
}

/** Follows from now on; resolves when so many messages came. */
async function next(messages: AsyncIterator<FlowMessage>, count: number): Promise<readonly FlowMessage[]> {
  const found: FlowMessage[] = [];
  while (found.length < count) {
    const { value, done } = await messages.next();
    if (done === true) throw new Error("the feed ended");
    found.push(value);
  }
  return found;
}

t.test("events get the names of the state, are kept for later readers, and filtered", async (t) => {
  const { teller, hub, end } = start(t);
  const follower = hub.open({ ...EVERYTHING, follow: true }, new AbortController().signal)[Symbol.asyncIterator]();
  const rule = {
    key: "default/p/egress/0",
    policy: { namespace: "default", name: "p" },
    direction: "egress",
    index: 0,
  } as const;
  teller.tell(
    record("fd00::2", { verdict: "allowed", rule: { ...rule, file: "state.yaml", line: 9 } }),
    record("192.0.2.1", { hook: "call", localPort: null }),
    record("10.0.0.2", {
      workload: "default/other",
      direction: "ingress",
      protocol: 47,
      peerPort: null,
      localPort: null,
    }),
  );
  const all = await next(follower, 3);
  t.match(all, [
    {
      kind: "verdict",
      time: "1970-01-01T00:00:01.000Z",
      node: "n1",
      verdict: "allowed",
      protocol: "TCP",
      port: 5432,
      peer: { address: "fd00::2", workloads: ["default/db"] },
      rule: { policy: "default/p", index: 0, file: "state.yaml", line: 9 },
      policies: [{ policy: "default/p", file: "state.yaml", line: /\d+/ }],
    },
    { verdict: "denied", hook: "call", peer: { workloads: [] }, rule: null, policies: [{ policy: "default/p" }] },
    { workload: "default/other", protocol: "47", port: null, peer: { workloads: ["default/db"] }, policies: [] },
  ]);
  t.same(await read(hub), all, "who comes later gets the same");
  t.match(await read(hub, { verdict: "allowed" }), [{ verdict: "allowed" }]);
  t.match(await read(hub, { direction: "ingress" }), [{ workload: "default/other" }]);
  t.equal((await read(hub, { workload: "default/web" })).length, 2);
  end();
  t.match(await follower.next(), { done: true }, "readers end with the agent");
});

t.test("what the coming revision decides otherwise is told with its own rule and policies", async (t) => {
  const { teller, hub } = start(t);
  const follower = hub.open({ ...EVERYTHING, follow: true }, new AbortController().signal)[Symbol.asyncIterator]();
  const rule: Rule = {
    key: "k",
    policy: { namespace: "default", name: "p" },
    direction: "egress",
    index: 0,
    file: "a.yaml",
    line: 4,
  };
  teller.tell(
    record("10.0.0.2", { verdict: "allowed", rule, shadow: { verdict: "denied", rule: null } }),
    record("10.0.0.2", { verdict: "denied", hook: "call", shadow: { verdict: "allowed", rule } }),
    record("10.0.0.2", { verdict: "denied" }),
  );
  const all = await next(follower, 3);
  t.match(all, [
    { verdict: "allowed", shadow: { verdict: "denied", rule: null, policies: [{ policy: "default/stricter" }] } },
    { verdict: "denied", shadow: { verdict: "allowed", rule: { policy: "default/p", line: 4 } } },
    { verdict: "denied", shadow: undefined },
  ]);
  for (const message of all) t.same(parseLine(JSON.stringify(message), isMessage), JSON.parse(JSON.stringify(message)));
  t.equal(parseLine(JSON.stringify({ ...all[0], shadow: { verdict: "maybe" } }), isMessage), null);
  t.match(await read(hub, { verdict: "would-deny" }), [{ verdict: "allowed" }]);
  t.match(await read(hub, { verdict: "would-allow" }), [{ hook: "call" }]);
  t.equal((await read(hub, { verdict: "denied" })).length, 2);
  t.equal(parseLine(JSON.stringify({ ...EVERYTHING, verdict: "would-deny" }), isQuery)?.verdict, "would-deny");
  const lines = all.map((message) => renderFlow(message, plainStyle));
  t.match(
    lines[0],
    /would-deny: no rule of default\/stricter \(state\.yaml:\d+\); now: default\/p egress\[0\] \(a\.yaml:4\)/,
  );
  t.match(
    lines[1],
    /would-allow: default\/p egress\[0\] \(a\.yaml:4\); now: no rule of default\/p \(.*\) \(connect refused\)/,
  );
  t.notMatch(lines[2], /would/);
});

t.test("limited and lost events are reported once, even if no event follows", async (t) => {
  const { teller, clock, hub, calls } = start(t);
  const follower = hub.open({ ...EVERYTHING, follow: true }, new AbortController().signal)[Symbol.asyncIterator]();
  teller.told = { eligible: 9n, delivered: 1n, limited: 5n, lost: 3n };
  teller.tell(record("192.0.2.1"));
  t.match(await next(follower, 2), [{ kind: "verdict" }, { kind: "gap", limited: 5, lost: 3, dropped: 0 }]);
  teller.told = { eligible: 11n, delivered: 1n, limited: 7n, lost: 3n };
  clock.advance(1_000);
  t.match(await next(follower, 1), [{ kind: "gap", limited: 2, lost: 0, dropped: 0 }]);
  t.match(
    calls.findLast(([name]) => name === "flows"),
    ["flows", { limited: 7n }],
  );
});

t.test("a slow reader loses events and gets their number; another reader loses none", async (t) => {
  const { teller, hub } = start(t);
  const slow = hub.open({ ...EVERYTHING, follow: true }, new AbortController().signal)[Symbol.asyncIterator]();
  const quick = hub.open({ ...EVERYTHING, follow: true }, new AbortController().signal)[Symbol.asyncIterator]();
  const COUNT = 20_000;
  const read = next(quick, COUNT);
  teller.tell(record("192.0.2.1"));
  t.match(await next(slow, 1), [{ kind: "verdict" }]);
  for (let at = 1; at < COUNT; at += 100) {
    teller.tell(
      ...Array.from({ length: 100 }, (_unused, index) => record("192.0.2.1", { timeMs: at + index })).slice(
        0,
        COUNT - at,
      ),
    );
    await new Promise((resolve) => setImmediate(resolve));
  }
  t.equal((await read).filter(({ kind }) => kind === "verdict").length, COUNT);
  let told = 0;
  for (;;) {
    const { value } = await slow.next();
    if (value?.kind === "gap") {
      t.equal(told + value.dropped, COUNT - 1);
      t.ok(value.dropped > 0);
      break;
    }
    told += 1;
  }
});

t.test("a filter by workload finds its instances, and one by instance that alone", async (t) => {
  const found = (workload: string): readonly boolean[] =>
    ["shop/web", "shop/web@n1", "shop/web@n1/a", "shop/web-2@n1"].map((name) =>
      matchesFlow(readFlowQuery({ follow: false, workload }), Object({ kind: "verdict", workload: name })),
    );
  t.same(found("shop/web"), [true, true, true, false]);
  t.same(found("shop/web@n1"), [false, true, false, false]);
  t.same(found("shop/web@n1/a"), [false, false, true, false]);
  t.throws(() => readFlowQuery({ follow: false, workload: "shop/web@N" }), { code: "usage" });
});

t.test("a refusal at the source names the destination, and whose address it has", async (t) => {
  const { teller, hub, end } = start(t);
  const follower = hub.open({ ...EVERYTHING, follow: true }, new AbortController().signal)[Symbol.asyncIterator]();
  teller.tell(record("10.0.0.2", { isIdentity: true }));
  const [event] = await next(follower, 1);
  t.match(event, { rule: null, identity: { destinations: ["default/db"], sharing: ["default/job"] } });
  if (event === undefined) return;
  t.match(
    renderFlow(event, plainStyle),
    "refused at the source: default/db does not let in default/web (it would by the address that it shares with default/job)",
  );
  end();
});
