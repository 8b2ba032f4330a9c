import t from "tap";
import { compile } from "../../src/policy/compile/compile.js";
import { createEvaluator } from "../../src/policy/evaluate.js";
import { withhold } from "../../src/policy/withhold.js";
import { objectsOf, policy, workload } from "../builders/state.js";

const BASE = workload("a@n1 10.0.0.1 app=a") + workload("b@n1 10.0.0.2 app=b");
const rule = (port: number) => policy("p", `  podSelector: {}\n  ingress: [{ ports: [{ port: ${port} }] }]`);
const [first, second] = [rule(1), rule(2)].map((text) => compile(objectsOf(BASE + text), "n1"));

t.test("the withheld workload keeps its rules, under the same names, and the other follows", (t) => {
  const mixed = withhold(second!, first!, new Set(["default/b"]));
  const verdict = (name: string, port: number) =>
    createEvaluator(mixed)({ workload: name, direction: "ingress", peer: "192.0.2.1", protocol: 6, port }).verdict;
  t.same([verdict("default/a", 1), verdict("default/a", 2)], ["Denied", "Allowed"]);
  t.same([verdict("default/b", 1), verdict("default/b", 2)], ["Allowed", "Denied"]);
  t.not(mixed.digest, second?.digest);
  t.strictSame(withhold(second!, mixed, new Set(["default/b"])), mixed, "again and again");
  const both = withhold(second!, mixed, new Set(["default/a", "default/b"]));
  t.same(both.profiles.length, 2);
  t.end();
});

t.test("what was not in force is left out, and so is a cgroup that another workload has now", (t) => {
  t.same(
    withhold(second!, null, new Set(["default/b"])).subjects.map(({ workload: name }) => name),
    ["default/a"],
  );
  const taken = {
    ...first!,
    subjects: first!.subjects.map((subject) => ({ ...subject, cgroup: second!.subjects[0]?.cgroup ?? null })),
  };
  t.same(
    withhold(second!, taken, new Set(["default/b"])).subjects.map(({ workload: name }) => name),
    ["default/a"],
  );
  t.equal(withhold(second!, first!, new Set()), second);
  t.end();
});
