/**
 * Lists all allowed connections of a state: exact, over all packets, in the evaluator's terms. A packet is the first
 * one of a connection, so that later fragments (whose ports are not known) do not count.
 *
 * The list (docs/connectivity.md describes it for users) holds:
 *
 * - A connection between two workloads that both ends allow. If a workload has several addresses: the connections of
 *   all pairs of addresses of one family together. A workload with itself is listed only if it may have several instances:
 *   those are meant. A workload without addresses never occurs.
 * - A connection between a workload and a CIDR: the workload's own policy for all addresses in it that no workload has,
 *   in both families. For each workload and direction an address is in one CIDR at most; a CIDR that workloads fill
 *   completely is left out.
 * - `*` with `[[0, 65535]]`: nothing restricts the connection, whatever the IP protocol.
 * - Connections that audit mode would deny: they pass. Port names are listed as their numbers.
 */
import type { Connection } from "../../model/connection.js";
import type { Direction, PortRange } from "../../model/ruleset.js";
import type { ObjectSet } from "../../model/state.js";
import type { Interval } from "../address-space.js";
import { compareIntervals, toCidrs } from "../address-space.js";
import type { AddressRange } from "./external.js";
import type { PortSetId } from "./port-sets.js";
import { PortSets } from "./port-sets.js";
import type { Reach } from "./reach.js";
import { createReach } from "./reach.js";
import { createSetNames } from "./set-names.js";
import { SharedAddresses } from "./sharing.js";

export interface ConnectivityOptions {
  /** Lists only connections to these ports of these protocols, cut to them; default: everything. */
  readonly within?: readonly PortRange[];
}

/**
 * Returns the connections by `from`, then `to` (workloads by name, then CIDRs by family and address), then protocol.
 */
export function listConnections(objects: ObjectSet, options: ConnectivityOptions = {}): readonly Connection[] {
  return [...eachConnection(objects, options)];
}

/** Like `listConnections`, one by one: a million connections need not be in memory at once. */
export function* eachConnection(
  objects: ObjectSet,
  options: ConnectivityOptions = {},
): Generator<Connection, undefined> {
  const sets = new PortSets();
  const within = options.within === undefined ? sets.all : sets.of(options.within);
  const reach = createReach(objects, sets, within);
  const setNames = createSetNames(objects, reach.ruleset);
  const shared = new SharedAddresses(objects, reach.ruleset, sets);
  const nameSets = (index: number, direction: Direction, block: Interval): Pick<Connection, "networkSets"> => {
    const networkSets = setNames.of(index, direction, block);
    return networkSets.length === 0 ? {} : { networkSets };
  };
  for (const [index, from] of reach.names.entries()) {
    const own = reach.classOf[index] ?? 0;
    const row = reach.row(own);
    const isListed = (other: number): boolean => other !== index || reach.isSeveral[own] === true;
    for (const [other, to] of reach.names.entries()) {
      const set = isListed(other) ? (row[reach.classOf[other] ?? 0] ?? sets.empty) : sets.empty;
      if (set === sets.empty) continue;
      for (const entry of sets.entries(set)) {
        const sharing = shared.find(from, to, sets.within(set, entry.protocol));
        yield { from, to, ...entry, ...(sharing.length === 0 ? {} : { sharing }) };
      }
    }
    for (const block of toBlocks(reach.external.ranges(index, "egress"), reach)) {
      const named = nameSets(index, "egress", block);
      for (const entry of sets.entries(block.set)) yield { from, to: block.text, ...entry, ...named };
    }
  }
  const blocksOf = (index: number) => toBlocks(reach.external.ranges(index, "ingress"), reach);
  for (const { index, name, ...block } of inOrder(reach.names, blocksOf)) {
    const named = nameSets(index, "ingress", block);
    for (const entry of sets.entries(block.set)) yield { from: block.text, to: name, ...entry, ...named };
  }
}

/** A CIDR with the ports that it is allowed. */
export interface Block extends Interval {
  readonly text: string;
  readonly set: PortSetId;
}

/** Returns the CIDRs that make up ranges, without those that workloads fill, ascending as the ranges are. */
export function toBlocks(ranges: readonly AddressRange[], { external }: Pick<Reach, "external">): readonly Block[] {
  return ranges.flatMap((range) =>
    toCidrs(range)
      .map((cidr) => ({ ...cidr, set: range.set }))
      .filter((block) => !external.isTaken(block)),
  );
}

/** Returns the blocks of all workloads in order: first by CIDR, then by workload. */
export function inOrder(
  names: readonly string[],
  blocksOf: (index: number) => readonly Block[],
): readonly (Block & { readonly name: string; readonly index: number })[] {
  return names
    .flatMap((name, index) => blocksOf(index).map((block) => ({ ...block, name, index })))
    .sort((a, b) => compareIntervals(a, b) || (a.end > b.end ? -1 : a.end < b.end ? 1 : 0));
}
