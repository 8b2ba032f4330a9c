/**
 * Finds fields that are at the level of the field that they belong below: the commonest mistake of indentation that is
 * still valid YAML. Takes the unknown fields of one document and returns the wrongly indented ones with their owners.
 */
import { fieldName, type Path, type Problem } from "../problem.js";
import { suggest } from "../../model/suggest.js";

/** A field that the schema does not know at its level. */
export interface UnknownField {
  readonly parent: Path;
  readonly field: string;
  /** The fields that are known at this level. */
  readonly known: readonly string[];
}

interface WrongIndentation {
  readonly problem: Problem;
  /** The field below which they belong. Errors about its emptiness or absence are part of the same mistake. */
  readonly owner: Path | null;
  readonly unknown: readonly UnknownField[];
}

const SELECTOR = ["matchLabels", "matchExpressions"];
const PEER = ["podSelector", "namespaceSelector", "ipBlock", "networkSet", "networkSetSelector"];
const MAPPINGS: Readonly<Record<string, readonly string[]>> = {
  metadata: ["name", "namespace", "labels", "annotations"],
  podSelector: SELECTOR,
  namespaceSelector: SELECTOR,
  ipBlock: ["cidr", "except"],
  networkSetSelector: SELECTOR,
  etcd: ["ca", "cert", "key", "user", "passwordFile"],
  source: ["url", "branch", "path", "interval", "selfHeal", "maxDeletePercent", "verify"],
};
const LISTS: Readonly<Record<string, readonly string[]>> = {
  ingress: ["from", "ports"],
  egress: ["to", "ports"],
  from: PEER,
  to: PEER,
  ports: ["name", "protocol", "port", "endPort", "type", "code"],
  matchExpressions: ["key", "operator", "values"],
};
const SPECS: Readonly<Record<string, readonly string[]>> = {
  Namespace: ["mode"],
  Node: ["address", "addresses"],
  Workload: ["node", "cgroup", "addresses", "ports"],
  NetworkPolicy: ["podSelector", "policyTypes", "ingress", "egress", "mode"],
  NetworkSet: ["cidrs", "except", "file"],
};
/** Maps with arbitrary keys. */
const LABEL_MAPS = new Set(["labels", "annotations", "matchLabels"]);
/**
 * Below these, every key is allowed, so that an unknown field next to them may also be a mistyped one; next to
 * matchLabels there is no such field.
 */
const TAKES_ANY = new Set(["labels", "annotations"]);

/**
 * Finds wrongly indented fields.
 * @param document as written, with its nulls: an empty field is the trace of a wrongly indented one
 */
export function findWrongIndentation(unknown: readonly UnknownField[], document: unknown): readonly WrongIndentation[] {
  const found = unknown.flatMap((one) => {
    const place = findPlace(one, document);
    return place === undefined ? [] : [{ one, place }];
  });
  const groups = Map.groupBy(found, ({ one, place }) => JSON.stringify([one.parent, place.path, place.names]));
  return [...groups.values()].flatMap((group) => {
    const [first] = group;
    return first === undefined
      ? []
      : [
          toWrongIndentation(
            first.place,
            first.one,
            group.map(({ one }) => one),
          ),
        ];
  });
}

/**
 * Returns whether an error at this path is only a consequence of a wrongly indented field: its owner is empty, or an
 * item lacks it.
 */
export function isEcho({ owner, unknown }: WrongIndentation, path: Path): boolean {
  if (owner === null || owner.some((step, index) => path[index] !== step)) return false;
  if (path.length === owner.length) return true;
  return path.length === owner.length + 2 && unknown.some(({ field }) => field === path.at(-1));
}

interface Place {
  /** Null if it is not there, or if there are several candidates. */
  readonly path: Path | null;
  readonly names: readonly string[];
  readonly isThere: boolean;
  readonly isInPreviousItem?: boolean;
}

function findPlace({ parent, field, known }: UnknownField, document: unknown): Place | undefined {
  const siblings = mappingAt(document, parent);
  const owners = known.filter((name) => holds(name, field, siblings[field], document));
  const there = (name: string): Place => ({ path: [...parent, name], names: [name], isThere: true });
  const meant = suggest(field, known);
  const before = namesBefore(siblings, field, known);
  const empty = [...before.toReversed(), ...owners].find((name) => owners.includes(name) && siblings[name] === null);
  if (empty !== undefined && (meant === undefined || !LABEL_MAPS.has(empty))) return there(empty);
  const nearest = before.at(-1);
  if (nearest !== undefined && owners.includes(nearest) && !TAKES_ANY.has(nearest) && isFilled(siblings[nearest]))
    return there(nearest);
  const inPrevious = findInPreviousItem(parent, field, known, document);
  if (inPrevious !== undefined) return inPrevious;
  // A selector whose labels stand directly in it: the matchLabels between is missing.
  const absent = owners.filter(
    (name) => !(name in siblings) && (name in MAPPINGS || name === "spec" || name === "matchLabels"),
  );
  if (meant !== undefined || absent.length === 0) return undefined;
  const [only] = absent;
  return { path: absent.length === 1 && only !== undefined ? [...parent, only] : null, names: absent, isThere: false };
}

/** Returns the names that stand before the field, in their order. */
function namesBefore(mapping: object, field: string, names: readonly string[]): readonly string[] {
  const order = orderOf(mapping);
  const end = order.get(field) ?? 0;
  const at = (name: string): number => order.get(name) ?? end;
  return names.filter((name) => at(name) < end).sort((a, b) => at(a) - at(b));
}

/** Computed once for each mapping, since each of its fields may be wrongly indented. */
const KEY_SEQUENCES = new WeakMap<object, ReadonlyMap<string, number>>();

function orderOf(mapping: object): ReadonlyMap<string, number> {
  const known = KEY_SEQUENCES.get(mapping);
  if (known !== undefined) return known;
  const order = new Map(Object.keys(mapping).map((key, index) => [key, index]));
  KEY_SEQUENCES.set(mapping, order);
  return order;
}

/** `- from:` and then `- podSelector:` at the same depth: the list belongs to the previous item. */
function findInPreviousItem(
  parent: Path,
  field: string,
  known: readonly string[],
  document: unknown,
): Place | undefined {
  const index = parent.at(-1);
  if (typeof index !== "number" || index === 0) return undefined;
  const item = [...parent.slice(0, -1), index - 1];
  const siblings = mappingAt(document, item);
  const owner = known.find((name) => siblings[name] === null && LISTS[name]?.includes(field) === true);
  return owner === undefined
    ? undefined
    : { path: [...item, owner], names: [owner], isThere: true, isInPreviousItem: true };
}

function holds(owner: string, field: string, value: unknown, document: unknown): boolean {
  if (LABEL_MAPS.has(owner)) return typeof value !== "object";
  if (owner === "spec") return SPECS[String(mappingAt(document, [])["kind"])]?.includes(field) === true;
  return (MAPPINGS[owner] ?? LISTS[owner])?.includes(field) === true;
}

function toWrongIndentation(
  { path, names, isThere, isInPreviousItem }: Place,
  { parent, field, known }: UnknownField,
  unknown: readonly UnknownField[],
): WrongIndentation {
  const fields = unknown.map((one) => one.field).join(", ");
  const [are, they, them] =
    unknown.length === 1 ? ["is not a field", "it belongs", "it"] : ["are no fields", "they belong", "them"];
  const owner = names.join(" or ");
  const where = parent.length === 0 ? "this kind" : fieldName(parent);
  const fix =
    isInPreviousItem === true
      ? `indent this item below ${owner}: of the item before`
      : isThere
        ? owner in LISTS
          ? `indent ${them} below ${owner}, in an item of its list ("- ")`
          : `indent ${them} below ${owner}:`
        : `write ${owner}: and put ${fields} below it`;
  return {
    owner: path,
    unknown,
    problem: {
      code: "unknownField",
      path: [...parent, field],
      anchor: "key",
      message: `${fields} ${are} of ${where}; ${they} below ${owner}`,
      found: fields,
      wanted: `one of ${known.toSorted().join(", ")}`,
      fix,
    },
  };
}

const isFilled = (value: unknown): boolean => value !== null && typeof value === "object";

function mappingAt(document: unknown, path: Path): Readonly<Record<string, unknown>> {
  const value = path.reduce<unknown>(
    (at, step) => (at !== null && typeof at === "object" ? Reflect.get(at, step) : undefined),
    document,
  );
  return isMapping(value) ? value : {};
}

const isMapping = (value: unknown): value is Readonly<Record<string, unknown>> =>
  value !== null && typeof value === "object" && !Array.isArray(value);
