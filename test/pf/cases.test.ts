/**
 * Kubernetes' own cases and np-guard's through the text and the model: all workloads on one Mac, each packet judged on
 * its way out by its sender's rules and on its way in by its receiver's. What pf cannot say (SCTP ports) is refused by
 * name, and the workload that it concerns is closed.
 */
import t from "tap";
import { render } from "../../src/adapters/pf/render/render.js";
import type { ObjectSet } from "../../src/model/state.js";
import { compile } from "../../src/policy/compile/compile.js";
import { createEvaluator } from "../../src/policy/evaluate.js";
import { objectsOfDocuments } from "../builders/state.js";
import { readCases } from "../conformance/cases.js";
import { objectsOfStep, PROTOCOLS, readSuite } from "../conformance/suite.js";
import { PfModel, type Packet } from "./model.js";

function packetOf(from: string, to: string, protocol: number, port: number): Omit<Packet, "direction"> {
  return { iface: "lo0", from, to, protocol, sourcePort: 50_000, port, opens: true, user: "root" };
}

/** Both ends: the packet goes out, and comes in. */
function connects(model: PfModel, packet: Omit<Packet, "direction">): boolean {
  model.forget();
  return model.decide({ ...packet, direction: "out" }).passes && model.decide({ ...packet, direction: "in" }).passes;
}

const suite = readSuite();
if ("missing" in suite)
  t.test("Kubernetes end-to-end cases through pf", { skip: suite.missing }, async () => undefined);
else {
  t.test("Kubernetes end-to-end cases through pf", async (t) => {
    const counts = { cells: 0, closed: 0 };
    for (const { name, pods, steps } of suite.cases) {
      for (const step of steps) {
        const { text, refusals, closed } = render(compile(objectsOfStep(step, pods, suite.podIPs), null));
        const model = new PfModel(text);
        const wrong = step.expect.filter(({ from, to, allowed }) => {
          const isClosed = closed.has(from) || closed.has(to);
          counts.cells += 1;
          if (isClosed) counts.closed += 1;
          const packet = packetOf(
            suite.podIPs[from] ?? "",
            suite.podIPs[to] ?? "",
            PROTOCOLS[step.protocol],
            step.port,
          );
          return connects(model, packet) !== (allowed && !isClosed);
        });
        t.same(wrong, [], name);
        t.ok(
          refusals.every(({ message, rule }) => message.includes("SCTP") && rule !== undefined),
          "refused by name",
        );
      }
    }
    t.equal(suite.cases.length, 48);
    t.ok(counts.closed > 0 && counts.closed < counts.cells / 4, JSON.stringify(counts));
  });
}

interface Case {
  readonly namespaces: Readonly<Record<string, object>>;
  readonly workloads: Readonly<
    Record<string, { ns: string; labels: object | null; ports: (string | number | null)[][] }>
  >;
  readonly policies: readonly { readonly metadata: { readonly name: string } }[];
  readonly probePorts: readonly number[];
}

/** Every workload at an address of its own; that the evaluator gives np-guard's answers is shown in its own test. */
function placed({ namespaces, workloads, policies }: Case): ObjectSet {
  return objectsOfDocuments([
    ...Object.entries(namespaces).map(([name, labels]) => ({
      ...{ apiVersion: "ztap/v1", kind: "Namespace", metadata: { name, labels } },
    })),
    ...Object.entries(workloads).map(([key, { ns, labels, ports }], index) => ({
      ...{ apiVersion: "ztap/v1", kind: "Workload" },
      metadata: {
        namespace: ns,
        name: key.split("/")[1]?.replace(/\[(\w+)\]$/, (_, kind: string) => `-${kind.toLowerCase()}`),
        labels: labels ?? {},
      },
      spec: {
        addresses: [`203.0.113.${index + 1}`],
        ports: ports.flatMap(([name, port, protocol]) =>
          port === null ? [] : [{ ...(name === null ? {} : { name }), port, protocol }],
        ),
      },
    })),
    ...policies.map((policy) => ({
      ...policy,
      metadata: { ...policy.metadata, name: policy.metadata.name.replaceAll("_", "-") },
    })),
  ]);
}

const OUTSIDE = ["0.0.0.1", "10.0.0.1", "172.17.0.1", "192.168.1.1", "198.51.100.1", "255.255.255.254"];

const read = readCases("np-guard-connlist.json");
if ("missing" in read) t.test("np-guard's cases through pf", { skip: read.missing }, async () => undefined);
else {
  t.test("np-guard's cases through pf", async (t) => {
    const { cases }: { readonly cases: Readonly<Record<string, Case>> } = JSON.parse(read.text);
    t.equal(Object.keys(cases).length, 20);
    for (const [name, one] of Object.entries(cases)) {
      const ruleset = compile(placed(one), null);
      const evaluate = createEvaluator(ruleset);
      const { text, closed } = render(ruleset);
      const model = new PfModel(text);
      const ends = [
        ...ruleset.subjects.map(({ workload, addresses: [address = ""] }) => ({ workload, address })),
        ...OUTSIDE.map((address) => ({ workload: null, address })),
      ];
      const wrong: string[] = [];
      for (const from of ends) {
        for (const to of ends) {
          if (from === to || (from.workload === null && to.workload === null)) continue;
          for (const protocol of [6, 17, 132]) {
            for (const port of one.probePorts.filter((probe) => probe > 0)) {
              const asks = { protocol, port };
              const sides = [
                ...(from.workload === null
                  ? []
                  : [{ ...asks, workload: from.workload, direction: "egress" as const, peer: to.address }]),
                ...(to.workload === null
                  ? []
                  : [{ ...asks, workload: to.workload, direction: "ingress" as const, peer: from.address }]),
              ];
              const wanted = sides.every((side) => !closed.has(side.workload) && evaluate(side).verdict === "Allowed");
              if (connects(model, packetOf(from.address, to.address, protocol, port)) !== wanted)
                wrong.push(`${from.address} → ${to.address}:${port}/${protocol}`);
            }
          }
        }
      }
      t.same(wrong, [], name);
    }
  });
}
