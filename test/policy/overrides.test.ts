/** Overrides over a ruleset: whom they concern, which is stronger, and the same as isolation alone. */
import t from "tap";
import type { Override } from "../../src/model/override.js";
import { evaluate } from "../../src/policy/evaluate.js";
import { overridesOver, withOverrides } from "../../src/policy/overrides.js";
import { rulesetOf } from "../kernel/rulesets.js";

const NOW = Date.parse("2026-01-01T12:00:00Z");
const override = (kind: Override["kind"], target: Override["target"], minutes = 60): Override => ({
  id: `${kind} ${JSON.stringify(target)}`,
  kind,
  target,
  by: "op@host",
  reason: "incident 42",
  since: new Date(NOW).toISOString(),
  until: new Date(NOW + minutes * 60_000).toISOString(),
});

const ruleset = rulesetOf("n1", {
  "demo/web@n1": { cgroup: "web", egress: { allow: [{ peers: ["10.0.0.0/8"], ports: ["tcp/80"] }] } },
  "demo/job@n1": { cgroup: "job", ingress: { allow: [] }, egress: { allow: [] } },
  "demo/host": { cgroup: null, isHost: true, ingress: { allow: [] } },
});
const WEB = "demo/web@n1";

function verdicts(from: typeof ruleset, workload: string): readonly string[] {
  return (["ingress", "egress"] as const).flatMap((direction) =>
    [80, 81].map((port) => {
      const query = { workload, direction, peer: "10.1.1.1", protocol: 6, port };
      return evaluate(from, query).verdict;
    }),
  );
}

t.test("whom an override concerns", (t) => {
  const held = (...all: readonly Override[]) =>
    withOverrides(ruleset, all).subjects.flatMap((one) => (one.override ? [one.workload] : []));
  t.same(held(override("quarantine", { workload: "demo/web" })), [WEB], "every instance of the workload");
  t.same(held(override("quarantine", { workload: "demo/we" })), []);
  t.same(held(override("quarantine", { node: "n1" })), ["demo/job@n1", WEB], "the host is spared");
  t.same(held(override("breakglass", { node: "n1" })).length, 3, "and opened");
  t.same(held(override("quarantine", { node: "n2" })), [], "another node");
  t.equal(withOverrides(ruleset, []), ruleset, "the same ruleset");
  t.not(withOverrides(ruleset, [override("breakglass", { node: "n1" })]).digest, ruleset.digest);
  const [here, there] = [override("quarantine", { node: "n1" }), override("quarantine", { node: "n2" })];
  t.same(overridesOver(ruleset, [here, there]), [here.id]);
  t.end();
});

t.test("a quarantine is stronger, and the last to end counts", (t) => {
  const all = [
    override("breakglass", { node: "n1" }, 90),
    override("quarantine", { workload: "demo/web" }, 10),
    override("quarantine", { node: "n1" }, 20),
  ];
  const found = withOverrides(ruleset, all).subjects.find(({ workload }) => workload === WEB)?.override;
  t.same(found, { kind: "quarantine", until: NOW / 1000 + 20 * 60 });
  t.end();
});

t.test("the evaluator, and isolation alone, say the same", (t) => {
  t.same(verdicts(ruleset, WEB), ["Allowed", "Allowed", "Allowed", "Denied"]);
  for (const [kind, verdict] of [
    ["quarantine", "Denied"],
    ["breakglass", "Allowed"],
  ] as const) {
    const [over, alone] = [true, false].map((ends) => withOverrides(ruleset, [override(kind, { node: "n1" })], ends));
    for (const workload of [WEB, "demo/job@n1"])
      for (const one of [over, alone])
        t.same(verdicts(one ?? ruleset, workload), Array(4).fill(verdict), `${kind} ${workload}`);
    t.ok(alone?.subjects.every((subject) => subject.override === undefined));
  }
  t.end();
});

t.test("break-glass opens no destination: that is another node's to say", (t) => {
  const shared = rulesetOf("n1", {
    [WEB]: { cgroup: "web", identity: [{ peers: ["10.2.0.1/32"], ports: "any", isDenied: true }] },
  });
  for (const ends of [true, false]) {
    const over = withOverrides(shared, [override("breakglass", { node: "n1" })], ends);
    const to = (peer: string) =>
      evaluate(over, { workload: WEB, direction: "egress", peer, protocol: 6, port: 80 }).verdict;
    t.same([to("10.1.1.1"), to("10.2.0.1")], ["Allowed", "Denied"]);
  }
  t.end();
});
