/** Reads one policy from a YAML file, for `policy sync`. */
import type { Diagnostic } from "../../model/diagnostic.js";
import { digestOf } from "../../model/digest.js";
import type { NetworkPolicy } from "../../model/objects.js";
import type { StateObject } from "../../model/state.js";
import { qualifiedName, refOf } from "../../model/state.js";
import type { readManifests } from "../../manifest/read.js";
import { parseYaml } from "../../manifest/yaml/parse.js";
import type { SourceFile } from "../../interfaces/source.js";
import { OperationError } from "../../model/operation-error.js";

export interface PolicyChoice {
  readonly name: string;
  /** Null: the namespace of the document, if only one policy in the file has this name. */
  readonly namespace: string | null;
}

export type PolicyReading =
  { readonly policy: StateObject } | { readonly policy: null; readonly errors: readonly Diagnostic[] };

type PolicyObject = StateObject & { readonly object: NetworkPolicy };

/**
 * Reads the policy. The whole file has to validate, but only the named document is used. Warnings are left out: alone
 * in its file, a policy selects nothing.
 * @throws OperationError `not-found`, `usage`
 */
export function readPolicyFile(
  file: SourceFile,
  { name, namespace }: PolicyChoice,
  read: typeof readManifests,
): PolicyReading {
  const { objects, diagnostics } = read([file]);
  const errors = diagnostics.filter(({ severity }) => severity === "error");
  if (errors.length > 0) return { policy: null, errors };
  const policies = [...objects.values()].filter(isPolicy);
  const named = policies.filter(({ object }) => object.metadata.name === name);
  const wanted = namespace === null ? named : named.filter(({ object }) => object.metadata.namespace === namespace);
  const [found, other] = wanted;
  if (found !== undefined && other === undefined) return { policy: found };
  if (found !== undefined) {
    const namespaces = wanted.map(({ object }) => object.metadata.namespace).join(", ");
    throw new OperationError(
      "usage",
      `${file.path} has a policy ${name} in ${namespaces}; choose one with --namespace`,
    );
  }
  const unplaced = named.find(({ object }) => object.metadata.namespace === "default");
  if (namespace !== null && unplaced !== undefined && !namesNamespace(file, name)) {
    return { policy: move(unplaced, namespace) };
  }
  const there = policies.map(({ ref }) => qualifiedName(ref)).join(", ");
  const hint = there === "" ? "it has no NetworkPolicy" : `it has ${there}; the name is metadata.name`;
  throw new OperationError(
    "not-found",
    `${file.path} has no policy ${namespace === null ? name : `${namespace}/${name}`}; ${hint}`,
  );
}

function isPolicy(state: StateObject): state is PolicyObject {
  return state.object.kind === "NetworkPolicy";
}

/**
 * Returns whether the document names its namespace. As with kubectl, a document without one goes into the requested
 * namespace.
 */
function namesNamespace({ path, text }: SourceFile, name: string): boolean {
  return parseYaml({ path, text }).documents.some(
    (document) =>
      document.getIn(["metadata", "name"]) === name && (document.getIn(["metadata", "namespace"]) ?? null) !== null,
  );
}

function move({ object, position }: PolicyObject, namespace: string): StateObject {
  const moved = { ...object, metadata: { ...object.metadata, namespace } };
  const state = { ref: refOf(moved), digest: digestOf(moved), object: moved };
  return position === undefined ? state : { ...state, position };
}
