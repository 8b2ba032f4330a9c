/**
 * Own addresses: those that each workload may use as its own. Pure.
 *
 * The programs of a workload see the packets of the workloads whose cgroups lie below its own, too: it owns their addresses.
 */
import type { Ruleset, Subject } from "../../../model/ruleset.js";
import { cgroupParts } from "../kernel/paths.js";
import { isIsolatedHost } from "./image.js";

export interface OwnAddresses {
  /** Declared by the workload or by one below it. */
  readonly declared: ReadonlySet<string>;
  /** It also owns every address that no workload of the node declares. */
  readonly hasUndeclared: boolean;
}

/** Returns the subjects and templates of a ruleset. A template has a path that no cgroup can have: it is inside of none. */
export function withBirths({ subjects, births }: Ruleset): readonly Subject[] {
  return births === undefined
    ? subjects
    : [...subjects, ...births.templates.map(({ subject }) => ({ ...subject, cgroup: `\0${subject.workload}` }))];
}

/** Returns the own addresses by workload; only of those with a cgroup, and of the host: by those it finds itself. */
export function listOwnAddresses(subjects: readonly Subject[]): ReadonlyMap<string, OwnAddresses> {
  const placed = subjects.flatMap(({ workload, cgroup, addresses }) =>
    cgroup === null
      ? []
      : [{ workload, addresses, parts: cgroupParts(cgroup), declared: new Set<string>(), hasUndeclared: false }],
  );
  const byPath = Map.groupBy(placed, ({ parts }) => parts.join("/"));
  for (const inner of placed) {
    const above = inner.parts.flatMap((_part, level) => byPath.get(inner.parts.slice(0, level).join("/")) ?? []);
    for (const owner of [inner, ...above]) {
      for (const address of inner.addresses) owner.declared.add(address);
      if (inner.addresses.length === 0) owner.hasUndeclared = true;
    }
  }
  const hosts = subjects
    .filter(isIsolatedHost)
    .map(({ workload, addresses }) => ({ workload, declared: new Set(addresses), hasUndeclared: false }));
  return new Map(
    [...placed, ...hosts].map(({ workload, declared, hasUndeclared }) => [workload, { declared, hasUndeclared }]),
  );
}
