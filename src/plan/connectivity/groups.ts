/**
 * Groups connections that differ only in their ends: every source of a group may reach every target. Exact, and made
 * from classes of workloads, so that a million connections become a few groups without ever being listed.
 */
import type { Connection } from "../../model/connection.js";
import type { Cause } from "./causes.js";
import type { Namer } from "../naming/workloads.js";

export interface ConnectionGroup extends Pick<Connection, "protocol" | "ports"> {
  /** Workloads by name, or CIDRs; each of `from` with each of `to`; a workload with itself if it has several instances. */
  readonly from: readonly string[];
  readonly to: readonly string[];
  /** Both ends in a few words: by labels, if labels describe exactly the same workloads. */
  readonly fromText: string;
  readonly toText: string;
  /** No rule selects these ends: they only share an address with workloads that a rule selects. */
  readonly sharesAddress: boolean;
  /** The number of connections in the group. */
  readonly connections: number;
  /** The causes of some of the connections, if there are many. */
  readonly causes: readonly Cause[];
}

type Entry = Pick<Connection, "protocol" | "ports"> & { readonly sharesAddress?: boolean };

/**
 * Collects the entries between sources and targets, both given by number; sources with equal targets become one group.
 */
export class PairGroups {
  /** By entry and source: its targets, ascending. */
  readonly #cells = new Map<string, { readonly entry: Entry; readonly rows: Map<number, number[]> }>();

  add(source: number, target: number, entry: Entry): void {
    const key = `${entry.protocol} ${entry.ports.join(";")} ${entry.sharesAddress === true}`;
    const cell = this.#cells.get(key) ?? { entry, rows: new Map<number, number[]>() };
    this.#cells.set(key, cell);
    const row = cell.rows.get(source);
    if (row === undefined) cell.rows.set(source, [target]);
    else row.push(target);
  }

  *each(): Generator<{
    readonly entry: Entry;
    readonly sources: readonly number[];
    readonly targets: readonly number[];
  }> {
    for (const { entry, rows } of this.#cells.values()) {
      for (const targets of rows.values()) targets.sort((a, b) => a - b);
      const alike = Map.groupBy(rows, ([, targets]) => targets.join());
      for (const members of alike.values()) {
        yield { entry, sources: members.map(([source]) => source), targets: members[0]?.[1] ?? [] };
      }
    }
  }
}

/**
 * Returns the groups by their first names, then by protocol and ports, intended ones first, with descriptions of their
 * ends.
 */
export function finishGroups(
  groups: readonly Omit<ConnectionGroup, "fromText" | "toText">[],
  nameOf: Namer,
): readonly ConnectionGroup[] {
  const keyOf = ({ from, to, protocol, ports, sharesAddress }: (typeof groups)[number]) =>
    `${sharesAddress ? 1 : 0}${placeOf(from)} ${placeOf(to)} ${protocol} ${ports.join()}`;
  const keyed = groups.map((group) => ({ key: keyOf(group), group }));
  return keyed
    .sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
    .map(({ group }) => ({ ...group, fromText: nameOf(group.from), toText: nameOf(group.to) }));
}

/** Sorts workloads before address blocks, as in the lists. A name has neither a dot nor a colon. */
function placeOf([first = ""]: readonly string[]): string {
  return `${/[.:]/.test(first) ? 1 : 0}${first}`;
}
