/** A state that some node could not hold is refused, by the same reading that plan, apply, validate and the leader use. */
import t from "tap";
import { readBoundedManifests } from "../../src/wiring/manifests.js";
import { MOST_BLOCKS as MOST, WIDE_SUBJECT as WORKLOAD, widePolicy as policy } from "../builders/wide.js";

const errors = (text: string) =>
  readBoundedManifests([{ path: "a.yaml", text, blobId: text.length.toString() }]).diagnostics.filter(
    ({ severity }) => severity === "error",
  );

await t.test("a state that fills a node's capacity exactly is accepted; one block more is not", async (t) => {
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
