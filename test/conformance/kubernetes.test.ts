/**
 * Kubernetes' own end-to-end suite for NetworkPolicy, cell by cell: through the evaluator (both ends
 * of every pair) and through connectivity.
 */
import t from "tap";
import type { Connection } from "../../src/model/connection.js";
import type { ObjectSet } from "../../src/model/state.js";
import { compile } from "../../src/policy/compile/compile.js";
import { listConnections } from "../../src/policy/reachability/connectivity.js";
import { createEvaluator } from "../../src/policy/evaluate.js";
import { objectsOfStep, PROTOCOLS, readSuite, type Step, type Suite } from "./suite.js";

/** `from → to: verdict`, one line a cell, by asking both ends of every pair. */
function decide(objects: ObjectSet, step: Step, addresses: Suite["podIPs"]): readonly string[] {
  const evaluate = createEvaluator(compile(objects, null));
  return step.expect.map(({ from, to }) => {
    const packet = { protocol: PROTOCOLS[step.protocol], port: step.port };
    const sent = evaluate({ workload: from, direction: "egress", peer: addresses[to] ?? "", ...packet });
    const received = evaluate({ workload: to, direction: "ingress", peer: addresses[from] ?? "", ...packet });
    return row(from, to, sent.verdict === "Allowed" && received.verdict === "Allowed");
  });
}

/** The same from the list of connections. */
function lookUp(connections: readonly Connection[], step: Step): readonly string[] {
  return step.expect.map(({ from, to }) => {
    const found = connections.some(
      (connection) =>
        connection.from === from &&
        connection.to === to &&
        (connection.protocol === "*" || connection.protocol === step.protocol) &&
        connection.ports.some(([first, last]) => first <= step.port && step.port <= last),
    );
    return row(from, to, found);
  });
}

const row = (from: string, to: string, allowed: boolean) => `${from} → ${to}: ${allowed ? "Allowed" : "Denied"}`;

const read = readSuite();
if ("missing" in read) {
  t.test("Kubernetes end-to-end cases", { skip: read.missing }, async () => undefined);
} else {
  const { cases, podIPs } = read;
  t.equal(cases.length, 48, "all cases of the suite");
  for (const { name, pods, steps } of cases) {
    t.test(name, async (t) => {
      for (const step of steps) {
        const objects = objectsOfStep(step, pods, podIPs);
        const wanted = step.expect.map(({ from, to, allowed }) => row(from, to, allowed));
        t.same(wanted.length, pods.length * (pods.length - 1), "every pair has its cell");
        t.same(decide(objects, step, podIPs), wanted, `evaluator, ${step.port}/${step.protocol}`);
        t.same(lookUp(listConnections(objects), step), wanted, `connectivity, ${step.port}/${step.protocol}`);
      }
    });
  }
}
