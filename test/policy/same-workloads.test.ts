import t from "tap";
import { withWorkloadsOf } from "../../src/policy/same-workloads.js";
import { rulesetOf } from "../kernel/rulesets.js";

const NOTHING = { allow: [] };
const modesOf = (ruleset: ReturnType<typeof rulesetOf>): readonly unknown[] =>
  ruleset.subjects.map(({ workload, cgroup, ingress, egress }) => [workload, cgroup, ingress.mode, egress.mode]);

t.test(
  "a ruleset gets the other's workloads, which it does not limit; of equal workloads it stays itself",
  async (t) => {
    const one = rulesetOf("n1", { "demo/a": { cgroup: "a", ingress: NOTHING }, "demo/c": { cgroup: "c" } });
    const other = rulesetOf("n1", { "demo/b": { cgroup: "b", egress: NOTHING }, "demo/c": { cgroup: "c" } });
    const joined = withWorkloadsOf(one, other);
    t.same(modesOf(joined), [
      ["demo/a", "a", "enforce", "open"],
      ["demo/b", "b", "open", "open"],
      ["demo/c", "c", "open", "open"],
    ]);
    t.not(joined.digest, one.digest);
    t.equal(withWorkloadsOf(joined, other), joined);
    t.equal(withWorkloadsOf(one, one), one);
  },
);

t.test("a cgroup stays with the workload that has it, whatever the other calls it", async (t) => {
  const one = rulesetOf("n1", { "demo/new": { cgroup: "a", ingress: NOTHING } });
  const other = rulesetOf("n1", { "demo/old": { cgroup: "a" }, "demo/away": { cgroup: null } });
  t.equal(withWorkloadsOf(one, other), one);
});

t.test("a host that the other isolates stays attached, and may do everything", async (t) => {
  const open = rulesetOf("n1", { "demo/host": { cgroup: null, isHost: true } });
  const closed = rulesetOf("n1", { "demo/host": { cgroup: null, isHost: true, egress: NOTHING } });
  const without = rulesetOf("n1", {});
  for (const ruleset of [open, without]) {
    const joined = withWorkloadsOf(ruleset, closed);
    t.same(modesOf(joined), [["demo/host", null, "open", "enforce"]]);
    t.match(joined.profiles, [{ direction: "egress", clauses: [{ peers: "any", ports: "any" }] }]);
  }
  t.equal(withWorkloadsOf(closed, open), closed);
});

t.test("an override holds over the other's workloads as well", async (t) => {
  const override = { kind: "quarantine", until: 1 } as const;
  const other = rulesetOf("n1", { "demo/b": { cgroup: "b" } });
  const held = { ...other, subjects: other.subjects.map((subject) => ({ ...subject, override })) };
  t.match(withWorkloadsOf(rulesetOf("n1", {}), held).subjects, [{ workload: "demo/b", override }]);
});
