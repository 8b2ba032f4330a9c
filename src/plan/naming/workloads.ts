/** Describes many workloads in a few words: by labels or a namespace, if that means exactly the same as a list. */
import type { ObjectSet } from "../../model/state.js";
import { createSetNamer } from "./network-sets.js";

/** The number of names that are listed; the rest is counted. */
const LISTED_NAMES = 3;

/**
 * Describes workloads.
 * @param home a namespace that all of them are in and that the context already names
 * @returns one line for workloads (`namespace/name`) or CIDRs, in the terms of the state that has them
 */
export type Namer = (names: readonly string[], home?: string) => string;

export function createNamer(objects: ObjectSet): Namer {
  /** By `namespace key=value`, with an empty namespace for all namespaces; and by namespace alone. */
  const sets = new Map<string, Set<string>>();
  const descriptions = new Map<string, readonly string[]>();
  let all = 0;
  const add = (key: string, name: string): void => {
    const set = sets.get(key) ?? new Set();
    sets.set(key, set.add(name));
  };
  for (const { object } of objects.values()) {
    if (object.kind !== "Workload") continue;
    all += 1;
    const { namespace, name, labels = {} } = object.metadata;
    const own = `${namespace}/${name}`;
    const pairs = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
    const both = pairs.flatMap((one, index) => pairs.slice(index + 1).map((other) => `${one},${other}`));
    const keys = [namespace, ...[...pairs, ...both].flatMap((pair) => [`${namespace} ${pair}`, ` ${pair}`])];
    for (const key of keys) add(key, own);
    descriptions.set(own, keys);
  }
  const nameSet = createSetNamer(objects);
  return (names, home) => {
    const [first = ""] = names;
    // Only address blocks have a dot or a colon.
    const set = /[.:]/.test(first) ? nameSet(names) : null;
    if (set !== null) return set;
    const own = home === undefined ? names : names.map((name) => name.slice(home.length + 1));
    if (names.length === 1) return own[0] ?? "";
    if (names.length === all && home === undefined && descriptions.has(first)) return "every workload";
    const key = (descriptions.get(first) ?? []).find((candidate) => isExactly(sets.get(candidate), names));
    return key === undefined ? listNames(own) : describe(key, names.length, home);
  };
}

function isExactly(set: ReadonlySet<string> | undefined, names: readonly string[]): boolean {
  return set?.size === names.length && names.every((name) => set.has(name));
}

function describe(key: string, count: number, home: string | undefined): string {
  const [namespace = "", labels] = key.split(" ");
  if (home !== undefined) return `${labels ?? "every workload"} (${count})`;
  if (labels === undefined) return `every workload of ${namespace} (${count})`;
  return `${labels} ${namespace === "" ? "of every namespace" : `of ${namespace}`} (${count})`;
}

function listNames(names: readonly string[]): string {
  const rest = names.length - LISTED_NAMES;
  const shown = names.slice(0, LISTED_NAMES).join(", ");
  return rest > 0 ? `${shown} and ${rest} more` : shown;
}
