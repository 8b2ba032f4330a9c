/** Kubernetes' end-to-end cases of NetworkPolicy, as the file of cases holds them. */
import { readCases } from "./cases.js";

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
