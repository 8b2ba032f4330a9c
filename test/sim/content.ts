/**
 * What the repository of a history says. Each content has a number, and every rule of it allows the port 1000 + that number:
 * so what a machine enforces tells by itself which content it is, whole or mixed.
 */
import type { StateObject } from "../../src/model/state.js";
import type { World } from "./world.js";

export const NODES = 10;
const FIRST_PORT = 1000;
const LABELS = 3;
/** Few, so that a text is read once for thousands of histories. */
const LAYOUTS = 8;

export interface Content {
  readonly number: number;
  readonly text: string;
  /** `namespace/name` of the workloads on each node. */
  readonly workloads: ReadonlyMap<string, readonly string[]>;
  /** `invalid`: it does not validate. `mass`: it deletes so much that it waits for an approval. */
  readonly kind: "valid" | "invalid" | "mass";
}

export function nodeName(index: number): string {
  return `n${index}`;
}

/** A workload on each node, on some of them a second one, and a handful of policies. */
export function makeContent(world: World, number: number, kind: Content["kind"]): Content {
  const port = FIRST_PORT + number;
  const layout = world.random.below(LAYOUTS);
  const nodes = Array.from({ length: NODES }, (_unused, index) => index);
  const names = nodes.map((index) => ((index * 7 + layout * 3) % 8 < 2 ? [`w${index}`, `x${index}`] : [`w${index}`]));
  const documents = names.flatMap((own, index) => own.map((name) => workloadText(name, index)));
  const workloads = new Map(names.map((own, index) => [nodeName(index), own.map((name) => `default/${name}`)]));
  const policies = [policyText("all", "{}", port)];
  if (kind !== "mass") {
    policies.push(
      policyText("a0", "{ matchLabels: { app: a0 } }", port),
      policyText("a1", "{ matchLabels: { app: a1 } }", port),
    );
    if (layout % 2 === 0) policies.push(policyText("a2", "{ matchLabels: { app: a2 } }", port));
  }
  if (kind === "invalid") policies.push(policyText("broken", "{}", port).replace("podSelector", "podSelektor"));
  return { number, kind, workloads, text: [...documents, ...policies].join("---\n") };
}

/** The two of one node have different labels, and so different rules. */
function workloadText(name: string, node: number): string {
  const label = (node + (name.startsWith("x") ? 1 : 0)) % LABELS;
  return `apiVersion: ztap/v1
kind: Workload
metadata: { name: ${name}, labels: { app: a${label} } }
spec: { node: ${nodeName(node)}, cgroup: sim/${name}, addresses: [10.${name.startsWith("w") ? 0 : 1}.0.${node + 1}] }
`;
}

function policyText(name: string, selector: string, port: number): string {
  return `apiVersion: ztap/v1
kind: NetworkPolicy
metadata: { name: ${name} }
spec:
  podSelector: ${selector}
  ingress: [{ ports: [{ port: ${port} }] }]
`;
}

/** The content that a state holds; null where its policies are not of one content. */
export function contentOf(objects: readonly StateObject[]): number | null {
  const ports = new Set(
    objects
      .flatMap(({ object }) =>
        object.kind === "NetworkPolicy" ? (object.spec.ingress ?? []).flatMap(({ ports }) => ports ?? []) : [],
      )
      .map((port) => ("port" in port ? Number(port.port) : NaN)),
  );
  const [port] = ports;
  return port === undefined || ports.size > 1 ? null : port - FIRST_PORT;
}

/** The content that a rule's port is of. */
export function contentOfPort(port: number): number {
  return port - FIRST_PORT;
}
