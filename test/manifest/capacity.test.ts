/** A state that some node could not hold is refused, by the same reading that plan, apply, validate and the leader use. */
import t from "tap";
import { readManifests } from "../../src/wiring.js";

const WORKLOAD = `apiVersion: ztap/v1
kind: Workload
metadata: { name: web, namespace: demo, labels: { app: web } }
spec: { node: n1, cgroup: web, addresses: [192.0.2.1] }
---
`;
/** Every second port, so that no two make a range; then a block for each, which has all of those and its own. */
function policy(name: string, blocks: number): string {
  const ports = Array.from({ length: 2000 }, (_one, at) => `        - port: ${2 * at + 1}\n`).join("");
  const rules = Array.from(
    { length: blocks },
    (_one, at) => `    - { to: [{ ipBlock: { cidr: 10.${at >> 8}.${at & 255}.0/24 } }], ports: [{ port: 20000 }] }\n`,
  ).join("");
  return `apiVersion: ztap/v1
kind: NetworkPolicy
metadata: { name: ${name}, namespace: demo }
spec:
  podSelector: { matchLabels: { app: web } }
  egress:
${rules}    - ports:
${ports}`;
}
const errors = (text: string) =>
  readManifests([{ path: "a.yaml", text, blobId: text.length.toString() }]).diagnostics.filter(
    ({ severity }) => severity === "error",
  );
// 2,000 entries for everybody, 2,001 for each block; a node has 4,194,304.
const MOST = 2095;

await t.test("what a node can hold just so is accepted; one block more is not", async (t) => {
  t.strictSame(errors(WORKLOAD + policy("wide", 300)), []);
  t.strictSame(errors(WORKLOAD + policy("wide", MOST)), []);
  t.match(errors(WORKLOAD + policy("wide", MOST + 1)), [
    {
      code: "ZT4005",
      file: "a.yaml",
      line: 6 + 6 + MOST + 1,
      path: `spec.egress[${MOST + 1}]`,
      message: /node n1 need more than the 4194304 port entries .* policy demo\/wide/,
    },
  ]);
});

await t.test("policies of several workloads of a node add up; those of two nodes do not", async (t) => {
  const second = (node: string): string => WORKLOAD.replaceAll("web", "db").replace("n1", node).replace("2.1", "2.2");
  const half = policy("web", 1500);
  const other = policy("db", 1500).replace("app: web", "app: db");
  t.strictSame(errors(WORKLOAD + second("n2") + half + "---\n" + other), []);
  t.match(errors(WORKLOAD + second("n1") + half + "---\n" + other), [{ code: "ZT4005", path: /^spec\.egress/ }]);
  const nowhere = WORKLOAD.replace("node: n1, cgroup: web, ", "");
  t.strictSame(errors(nowhere + policy("wide", MOST + 1)), [], "what no node enforces takes no room");
});
