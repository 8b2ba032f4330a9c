/**
 * What a null means in a policy of Kubernetes: what its API server's decoder makes of it, by the Go type of the field
 * (k8s.io/api/networking/v1 and encoding/json). A pointer, list or mapping becomes absent, a text of a mapping or a
 * list becomes "". A null as an item of any other list would become an empty rule, port or peer: it stays, and is
 * refused, as does a field that nobody knows.
 */
import type { Path, Problem } from "../problem.js";

export type Shape =
  | { readonly is: "leaf" }
  /** The text of a null is empty. */
  | { readonly is: "texts" }
  | { readonly is: "list"; readonly of: Shape }
  | { readonly is: "mapping"; readonly fields: Readonly<Record<string, Field>> };

interface Field {
  readonly shape: Shape;
  /** What its absence stands for, where that is more than a value would mean; it may hang on the fields beside it. */
  readonly absent?: Absent;
}

type Absent = string | ((beside: Readonly<Record<string, unknown>>) => string | undefined);

const leaf: Field = { shape: { is: "leaf" } };
const field = (shape: Shape, absent?: Absent): Field => (absent === undefined ? { shape } : { shape, absent });
const mapping = (fields: Readonly<Record<string, Field>>): Shape => ({ is: "mapping", fields });
const list = (of: Shape): Shape => ({ is: "list", of });
const TEXTS: Shape = { is: "texts" };

const WORKLOADS = "all workloads that nothing else in it excludes";
const SELECTOR = mapping({
  matchLabels: field(TEXTS, WORKLOADS),
  matchExpressions: field(list(mapping({ key: leaf, operator: leaf, values: field(TEXTS) })), WORKLOADS),
});
const PEERS = list(
  mapping({
    podSelector: field(SELECTOR, "all workloads of the namespaces"),
    namespaceSelector: field(SELECTOR),
    ipBlock: field(mapping({ cidr: leaf, except: field({ is: "leaf" }, "all of cidr, without an exception") })),
  }),
);
const PORTS = list(
  mapping({ protocol: leaf, port: field({ is: "leaf" }, "every port of the protocol"), endPort: leaf }),
);
const rules = (peers: string, absent?: Absent): Field =>
  field(
    list(mapping({ [peers]: field(PEERS, "everybody"), ports: field(PORTS, "every port of every protocol") })),
    absent,
  );

const isEmpty = (value: unknown): boolean =>
  value === undefined || value === null || (Array.isArray(value) && value.length === 0);

/** Kubernetes isolates ingress where policyTypes says nothing, and egress only where it has rules. */
const EGRESS_OPEN = "that whatever goes out is allowed, as there are neither rules for it nor Egress in policyTypes";

/** As the schema knows them; a test holds the two together. */
export const KUBERNETES_POLICY = mapping({
  apiVersion: leaf,
  kind: leaf,
  metadata: field(
    mapping({
      name: leaf,
      namespace: leaf,
      labels: field(TEXTS),
      annotations: field(TEXTS),
      creationTimestamp: leaf,
      deletionGracePeriodSeconds: leaf,
      deletionTimestamp: leaf,
      finalizers: leaf,
      generateName: leaf,
      generation: leaf,
      managedFields: leaf,
      ownerReferences: leaf,
      resourceVersion: leaf,
      selfLink: leaf,
      uid: leaf,
    }),
  ),
  spec: field(
    mapping({
      podSelector: field(SELECTOR, "all workloads of the namespace"),
      policyTypes: field({ is: "leaf" }, ({ egress }) => (isEmpty(egress) ? EGRESS_OPEN : undefined)),
      ingress: rules("from"),
      egress: rules("to", ({ policyTypes }) => (isEmpty(policyTypes) ? EGRESS_OPEN : undefined)),
    }),
    "that all workloads of the namespace take in nothing",
  ),
  status: leaf,
});

export interface WithoutNulls {
  readonly value: unknown;
  /** Warnings: fields that are empty and by that mean more than any value, which the author of a template may not see. */
  readonly problems: readonly Problem[];
}

export function readNulls(document: unknown): WithoutNulls {
  const problems: Problem[] = [];
  return { value: read(KUBERNETES_POLICY, document, [], problems), problems };
}

function read(shape: Shape, value: unknown, path: Path, problems: Problem[]): unknown {
  if (value === null || typeof value !== "object") return value;
  switch (shape.is) {
    case "leaf":
      return value;
    case "texts":
      return Array.isArray(value)
        ? value.map((text: unknown) => text ?? "")
        : Object.fromEntries(Object.entries(value).map(([key, text]: [string, unknown]) => [key, text ?? ""]));
    case "list":
      return Array.isArray(value)
        ? value.map((item: unknown, index) => read(shape.of, item, [...path, index], problems))
        : value;
    case "mapping":
      return Array.isArray(value) ? value : readMapping(shape.fields, { ...value }, path, problems);
  }
}

function readMapping(
  fields: Readonly<Record<string, Field>>,
  value: Readonly<Record<string, unknown>>,
  path: Path,
  problems: Problem[],
): Readonly<Record<string, unknown>> {
  const entries = Object.entries(value).flatMap(([key, member]: [string, unknown]): [string, unknown][] => {
    const known = Object.hasOwn(fields, key) ? fields[key] : undefined;
    if (known === undefined) return [[key, member]];
    if (member !== null) return [[key, read(known.shape, member, [...path, key], problems)]];
    const meaning = typeof known.absent === "function" ? known.absent(value) : known.absent;
    if (meaning !== undefined) problems.push(emptyField([...path, key], key, meaning));
    return [];
  });
  return Object.fromEntries(entries);
}

function emptyField(path: Path, key: string, meaning: string): Problem {
  return {
    code: "emptyMeansAll",
    path,
    anchor: "key",
    message: `${key} is empty (null), which Kubernetes takes for a field that was left out: it means ${meaning}`,
    found: "null",
    wanted: "a value, or no such field",
    fix: `give ${key} a value, or remove it where that is meant`,
  };
}
