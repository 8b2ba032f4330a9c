/** NetworkSets as peers, asked address by address of the texts that an author wrote, without ztap's own arithmetic. */
import { containsCidr } from "cidr-tools";
import fc from "fast-check";
import t from "tap";
import { compile, RulesetCompiler } from "../../src/policy/compile/compile.js";
import { createEvaluator } from "../../src/policy/evaluate.js";
import { objectsOfDocuments } from "../builders/state.js";
import { volume } from "../volume.js";

interface WrittenSet {
  readonly cidrs: readonly string[];
  readonly except: readonly string[];
}

const set = (name: string, spec: Partial<WrittenSet>, labels: Readonly<Record<string, string>> = {}) => ({
  ...{ apiVersion: "ztap/v1", kind: "NetworkSet", metadata: { name, labels }, spec: { cidrs: [], ...spec } },
});
const WEB = {
  ...{ apiVersion: "ztap/v1", kind: "Workload", metadata: { name: "web", labels: { app: "web" } } },
  spec: { node: "n1", cgroup: "web", addresses: ["192.0.2.1"] },
};
const policy = (...peers: readonly object[]) => ({
  ...{ apiVersion: "ztap/v1", kind: "NetworkPolicy", metadata: { name: "p" } },
  spec: { egress: [{ to: peers, ports: [{ port: 443 }] }] },
});

const allows = (documents: readonly object[]) => {
  const evaluate = createEvaluator(compile(objectsOfDocuments(documents), "n1"));
  return (peer: string): boolean =>
    evaluate({ workload: "default/web", direction: "egress", peer, protocol: 6, port: 443 }).verdict === "Allowed";
};

const block = fc
  .tuple(fc.integer({ min: 24, max: 32 }), fc.nat(255))
  .map(([bits, last]) => `10.0.0.${last - (last % 2 ** (32 - bits))}/${bits}`);
const block6 = fc
  .tuple(fc.integer({ min: 120, max: 128 }), fc.nat(255))
  .map(([bits, last]) => `fd00::${(last - (last % 2 ** (128 - bits))).toString(16)}/${bits}`);
const blocks = fc.array(fc.oneof(block, block6), { maxLength: 6 });
const written = fc.record({ cidrs: blocks, except: blocks });

t.test("a rule allows exactly the addresses of its sets, by name and by labels, beside other peers", async (t) => {
  const holds = ({ cidrs, except }: WrittenSet, address: string): boolean =>
    cidrs.some((cidr) => containsCidr(cidr, address)) && !except.some((cidr) => containsCidr(cidr, address));
  fc.assert(
    fc.property(written, written, written, fc.nat(255), (named, near, far, last) => {
      const documents = [
        ...[WEB, set("named", named), set("near", near, { side: "in" }), set("far", far, { side: "out" })],
        policy(
          { networkSet: "named" },
          { networkSetSelector: { matchExpressions: [{ key: "side", operator: "In", values: ["in"] }] } },
          { ipBlock: { cidr: "10.0.0.128/28" } },
        ),
      ];
      const isAllowed = allows(documents);
      for (const address of [`10.0.0.${last}`, `fd00::${last.toString(16)}`]) {
        const meant = holds(named, address) || holds(near, address) || containsCidr("10.0.0.128/28", address);
        t.equal(isAllowed(address), meant, address);
      }
    }),
    { numRuns: volume(200, 3_000) },
  );
});

t.test("the empty selector selects every set; no set selects a workload", async (t) => {
  const other = { ...WEB, metadata: { name: "db" }, spec: { node: "n1", cgroup: "db", addresses: ["192.0.2.2"] } };
  const sets = [set("a", { cidrs: ["10.0.0.0/8"] }), set("b", { cidrs: ["172.16.0.0/12"] })];
  const isAllowed = allows([WEB, other, ...sets, policy({ networkSetSelector: {} })]);
  t.ok(isAllowed("10.1.1.1") && isAllowed("172.16.1.1"));
  t.notOk(isAllowed("192.0.2.2"), "a peer without a podSelector is not every workload of the namespace");
  const named = allows([WEB, other, ...sets, policy({ networkSet: "a" })]);
  t.same([named("10.1.1.1"), named("172.16.1.1"), named("192.0.2.2")], [true, false, false]);
  const covering = allows([WEB, other, set("a", { cidrs: ["192.0.2.0/24"] }), policy({ networkSet: "a" })]);
  t.ok(covering("192.0.2.2"), "like an ipBlock, a set stands for its addresses, whoever has them");
});

t.test("a changed set changes the rulesets of those who name it, and keeps the rule's counter", async (t) => {
  const compiler = new RulesetCompiler();
  const rulesetOf = (cidr: string) =>
    compiler.compile(objectsOfDocuments([WEB, set("a", { cidrs: [cidr] }), policy({ networkSet: "a" })]), "n1");
  const [before, after] = [rulesetOf("10.0.0.0/8"), rulesetOf("10.0.0.0/9")];
  t.not(before.digest, after.digest);
  t.same(after.profiles[0]?.clauses[0]?.peers, ["10.0.0.0/9"]);
  t.equal(before.profiles[0]?.rules[0]?.key, after.profiles[0]?.rules[0]?.key);
});
