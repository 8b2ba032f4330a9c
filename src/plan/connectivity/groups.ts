/**
 * Connections that differ in nothing but their ends, as one: everything from any of these to any of those. Exact,
 * and made from classes of workloads, so that a million connections are a few groups without ever being listed.
 */
import type { Connection } from "../../model/connection.js";
import type { Cause } from "./causes.js";
import type { Namer } from "../naming/workloads.js";

export interface ConnectionGroup extends Pick<Connection, "protocol" | "ports"> {
  /** Workloads by name, or CIDRs; each of `from` with each of `to`, except a workload with itself. */
  readonly from: readonly string[];
  readonly to: readonly string[];
  /** Both in few words, by labels where those say the same. */
  readonly fromText: string;
  readonly toText: string;
  /** Nobody meant them: they only share an address with workloads that a rule means. */
  readonly sharesAddress: boolean;
  /** How many connections that is. */
  readonly connections: number;
  /** Of some of them, where there are many. */
  readonly causes: readonly Cause[];
}

type Entry = Pick<Connection, "protocol" | "ports"> & { readonly sharesAddress?: boolean };

/** Collects what one source does to one target, both given by number; alike rows become one rectangle. */
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

/** Groups in the order of their first names, then of protocol and ports, what was meant first; with words for who is meant. */
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

/** Workloads before address blocks, as in the lists. A name has neither dot nor colon. */
function placeOf([first = ""]: readonly string[]): string {
  return `${/[.:]/.test(first) ? 1 : 0}${first}`;
}
