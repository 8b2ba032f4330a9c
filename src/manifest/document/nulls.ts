/**
 * Replaces nulls in a Kubernetes policy as the decoder of its API server does, by the Go type of the field
 * (k8s.io/api/networking/v1 and encoding/json). A pointer, list or mapping becomes absent, a string in a mapping or a
 * list becomes "". A null as an item of any other list would become an empty rule, port or peer: it stays, and is
 * refused, as does an unknown field.
 */
import type { Path, Problem } from "../problem.js";

export type Shape =
  | { readonly is: "leaf" }
  /** A null becomes the empty string. */
  | { readonly is: "texts" }
  | { readonly is: "list"; readonly of: Shape }
  | { readonly is: "mapping"; readonly fields: Readonly<Record<string, Field>> };

interface Field {
  readonly shape: Shape;
  /** The meaning of its absence, if that is wider than any value; it may depend on the other fields of its mapping. */
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
    list(mapping({ [peers]: field(PEERS, "every peer"), ports: field(PORTS, "every port of every protocol") })),
    absent,
  );

const isEmpty = (value: unknown): boolean =>
  value === undefined || value === null || (Array.isArray(value) && value.length === 0);

/** Kubernetes isolates ingress if policyTypes is absent, and egress only if there are egress rules. */
const EGRESS_OPEN = "that all egress is allowed, since there are neither egress rules nor Egress in policyTypes";

/** The fields as the schema knows them; a test compares the two. */
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
    "that no workload of the namespace accepts connections",
  ),
  status: leaf,
});

export interface WithoutNulls {
  readonly value: unknown;
  /** Warnings: empty fields that match more than any value would, which the author of a template may not notice. */
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
    message: `${key} is empty (null), which Kubernetes treats as an absent field: it means ${meaning}`,
    found: "null",
    wanted: "a value, or no such field",
    fix: `give ${key} a value, or remove it if that is intended`,
  };
}
