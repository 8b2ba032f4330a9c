/** Kubernetes' end-to-end cases of NetworkPolicy, as the file of cases holds them, and as states of ztap. */
import type { ObjectSet } from "../../src/model/state.js";
import { objectsOfDocuments } from "../builders/state.js";
import { readCases } from "./cases.js";

export const PROTOCOLS = { TCP: 6, UDP: 17, SCTP: 132 } as const;

type Labels = Readonly<Record<string, string>>;

/** Policies that are in force together, and what they allow between every two pods on one port. */
export interface Step {
  readonly policies: readonly object[];
  readonly extraPodLabels: Readonly<Record<string, Labels>>;
  readonly extraNamespaceLabels: Readonly<Record<string, Labels>>;
  readonly port: number;
  readonly protocol: "TCP" | "UDP" | "SCTP";
  readonly expect: readonly { readonly from: string; readonly to: string; readonly allowed: boolean }[];
}

export interface Suite {
  /** By namespace/name. */
  readonly podIPs: Readonly<Record<string, string>>;
  readonly cases: readonly {
    readonly name: string;
    readonly pods: readonly string[];
    readonly steps: readonly Step[];
  }[];
}

/** The cases, or why they are not here. */
export function readSuite(): Suite | { readonly missing: string } {
  const read = readCases("k8s-e2e-netpol.json");
  if ("missing" in read) return read;
  const suite: Suite = JSON.parse(read.text);
  return suite;
}

/** A step's policies, with its pods as workloads that serve every protocol on both ports. */
export function objectsOfStep(step: Step, pods: readonly string[], addresses: Suite["podIPs"]): ObjectSet {
  const namespaces = ["x", "y", "z"].map((name) => ({
    apiVersion: "ztap/v1",
    kind: "Namespace",
    metadata: { name, labels: step.extraNamespaceLabels[name] ?? {} },
  }));
  const ports = [80, 81].flatMap((port) =>
    Object.keys(PROTOCOLS).map((protocol) => ({ name: `serve-${port}-${protocol.toLowerCase()}`, port, protocol })),
  );
  const workloads = pods.map((pod) => {
    const [namespace = "", name = ""] = pod.split("/");
    return {
      apiVersion: "ztap/v1",
      kind: "Workload",
      metadata: { namespace, name, labels: { pod: name, ...step.extraPodLabels[pod] } },
      spec: { addresses: [addresses[pod]], ports },
    };
  });
  return objectsOfDocuments([...namespaces, ...workloads, ...step.policies]);
}
