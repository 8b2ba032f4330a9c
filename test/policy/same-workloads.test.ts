import t from "tap";
import { inPlacesOf, withWorkloadsOf } from "../../src/policy/same-workloads.js";
import { rulesetOf, withPatterns } from "../kernel/rulesets.js";

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
  t.match(inPlacesOf(other, held).subjects, [{ workload: "demo/b", override }]);
  t.equal(inPlacesOf(held, other).subjects[0]?.override, undefined);
});

t.test("a ruleset is told for the workloads and places of another one, and for no more", async (t) => {
  const inForce = rulesetOf("n1", {
    "demo/a": { cgroup: "a", ingress: NOTHING },
    "demo/gone": { cgroup: "gone", egress: NOTHING },
    "demo/moved": { cgroup: "before" },
    "demo/none": { cgroup: null },
  });
  const coming = rulesetOf("n1", {
    "demo/a": { cgroup: "a", addresses: ["10.0.0.1"], egress: NOTHING, identity: [] },
    "demo/moved": { cgroup: "after", ingress: NOTHING },
    "demo/new": { cgroup: "new", ingress: NOTHING },
    "demo/none": { cgroup: "some", ingress: NOTHING },
  });
  const told = inPlacesOf(coming, inForce);
  t.same(modesOf(told), [
    ["demo/a", "a", "open", "enforce"],
    ["demo/gone", "gone", "open", "open"],
    ["demo/moved", "before", "enforce", "open"],
    ["demo/none", null, "enforce", "open"],
  ]);
  t.match(told.subjects[0], { addresses: ["10.0.0.1"], identity: "identity demo/a" });
  t.same(
    told.profiles.map(({ key }) => key),
    coming.profiles.filter(({ key }) => !key.includes("demo/new")).map(({ key }) => key),
  );
  t.same(inPlacesOf(inForce, inForce).subjects, inForce.subjects);
});

t.test("so is what newborn cgroups get, and a host only while it is isolated", async (t) => {
  const all = (isolation: object) =>
    rulesetOf("n1", {
      "demo/job": { cgroup: null, ...isolation },
      "demo/host": { cgroup: null, isHost: true, ...isolation },
    });
  const patterns = { "demo/job": { systemdUnit: "job@*" } };
  const [open, closed] = [withPatterns(all({}), patterns, true), withPatterns(all({ egress: NOTHING }), {}, false)];
  const told = inPlacesOf(withPatterns(closed, patterns), open);
  t.match(told.births, {
    closesContainers: true,
    templates: [{ pattern: patterns["demo/job"], subject: { egress: { mode: "enforce" } } }],
  });
  t.match(told.subjects, [{ workload: "demo/host", egress: { mode: "open" } }], "nothing is attached to an open host");
  const back = inPlacesOf(open, withPatterns(closed, patterns));
  t.match(
    back.subjects,
    [{ workload: "demo/host", egress: { mode: "enforce", policies: [] } }],
    "what is attached stays",
  );
  t.match(back.profiles, [{ clauses: [{ peers: "any", ports: "any" }] }]);
});
