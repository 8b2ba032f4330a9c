/**
 * The objects of one YAML document: the document itself, or the items of the List that `kubectl get -o yaml` prints.
 */
import { unknownField } from "../schema/errors.js";
import { show, type Path, type Problem } from "../problem.js";

export interface Unit {
  readonly value: unknown;
  readonly prefix: Path;
  /** The list that contains it. */
  readonly list?: readonly unknown[];
}

export interface Units {
  readonly units: readonly Unit[];
  /** Problems of the List itself. */
  readonly problems: readonly Problem[];
}

/** k8s.io/apimachinery, metav1.List and ListMeta. */
const LIST_FIELDS = ["apiVersion", "items", "kind", "metadata"];
const METADATA_FIELDS = ["continue", "remainingItemCount", "resourceVersion", "selfLink"];

export const isMapping = (value: unknown): value is Readonly<Record<string, unknown>> =>
  value !== null && typeof value === "object" && !Array.isArray(value);

export function unitsOf(value: unknown): Units {
  if (!isMapping(value)) return { units: [{ value, prefix: [] }], problems: [] };
  const { apiVersion, kind, items } = value;
  const isList =
    (apiVersion === "v1" && kind === "List") || (apiVersion === "networking.k8s.io/v1" && kind === "NetworkPolicyList");
  if (!isList || !Array.isArray(items)) return { units: [{ value, prefix: [] }], problems: [] };
  const units = items.map((item: unknown, index) => ({ value: item, prefix: ["items", index], list: items }));
  return { units, problems: listProblems(value) };
}

function listProblems(list: Readonly<Record<string, unknown>>): readonly Problem[] {
  const { metadata } = list;
  const problems = unknownFields(list, [], LIST_FIELDS);
  if (metadata === undefined || metadata === null) return problems;
  if (isMapping(metadata)) return [...problems, ...unknownFields(metadata, ["metadata"], METADATA_FIELDS)];
  const message = "metadata is not a mapping";
  return [...problems, { code: "wrongType", path: ["metadata"], message, found: show(metadata), wanted: "a mapping" }];
}

const unknownFields = (value: object, parent: Path, known: readonly string[]): readonly Problem[] =>
  Object.keys(value)
    .filter((field) => !known.includes(field))
    .map((field) => unknownField(parent, field, known));
