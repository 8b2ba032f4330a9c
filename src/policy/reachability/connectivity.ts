/**
 * All allowed connections of a state: exact, over all packets, in the evaluator's terms. A packet is
 * the first of a connection, so one whose ports are not known (a later fragment) is none.
 *
 * What is listed (docs/connectivity.md says it for users):
 *
 * - A connection between two workloads where both ends allow it. Where a workload has several
 *   addresses, what at least one pair of addresses of one family may do. A workload with itself is
 *   not listed, and one without addresses cannot be named by a packet.
 * - A connection between a workload and a CIDR: what the workload's own policies say of all
 *   addresses in it that no workload has, in both families. For each workload and direction an
 *   address stands in one CIDR at most; a CIDR that workloads fill completely is left out.
 * - `*` with `[[0, 65535]]`: nothing restricts the connection, whatever the IP protocol.
 * - What audit mode would deny passes, so it is listed; port names are listed as the numbers that
 *   they stand for.
 */
import type { Connection } from "../../model/connection.js";
import type { PortRange } from "../../model/ruleset.js";
import type { ObjectSet } from "../../model/state.js";
import type { Interval } from "../address-space.js";
import { compareIntervals, toCidrs } from "../address-space.js";
import type { AddressRange } from "./external.js";
import type { PortSetId } from "./port-sets.js";
import { PortSets } from "./port-sets.js";
import type { Reach } from "./reach.js";
import { createReach } from "./reach.js";

export interface ConnectivityOptions {
  /** Only these ports of these protocols, and connections only as far as they reach into them; default: everything. */
  readonly within?: readonly PortRange[];
}

/** By `from`, then `to` (workloads by name, then CIDRs by family and address), then protocol. */
export function listConnections(objects: ObjectSet, options: ConnectivityOptions = {}): readonly Connection[] {
  return [...eachConnection(objects, options)];
}

/** As `listConnections`, one by one: a million of them need not be in memory at once. */
export function* eachConnection(
  objects: ObjectSet,
  options: ConnectivityOptions = {},
): Generator<Connection, undefined> {
  const sets = new PortSets();
  const within = options.within === undefined ? sets.all : sets.of(options.within);
  const reach = createReach(objects, sets, within);
  for (const [index, from] of reach.names.entries()) {
    const row = reach.row(reach.classOf[index] ?? 0);
    for (const [other, to] of reach.names.entries()) {
      const set = other === index ? sets.empty : (row[reach.classOf[other] ?? 0] ?? sets.empty);
      if (set !== sets.empty) for (const entry of sets.entries(set)) yield { from, to, ...entry };
    }
    for (const { text, set } of toBlocks(reach.external.ranges(index, "egress"), reach)) {
      for (const entry of sets.entries(set)) yield { from, to: text, ...entry };
    }
  }
  const blocksOf = (index: number) => toBlocks(reach.external.ranges(index, "ingress"), reach);
  for (const { text, set, name } of inOrder(reach.names, blocksOf)) {
    for (const entry of sets.entries(set)) yield { from: text, to: name, ...entry };
  }
}

/** A CIDR with what it may do. */
export interface Block extends Interval {
  readonly text: string;
  readonly set: PortSetId;
}

/** The CIDRs that ranges are made of, without those that workloads fill. Ascending as the ranges are. */
export function toBlocks(ranges: readonly AddressRange[], { external }: Pick<Reach, "external">): readonly Block[] {
  return ranges.flatMap((range) =>
    toCidrs(range)
      .map((cidr) => ({ ...cidr, set: range.set }))
      .filter((block) => !external.isTaken(block)),
  );
}

/** The blocks of all workloads in order: first by CIDR, then by workload. */
export function inOrder(
  names: readonly string[],
  blocksOf: (index: number) => readonly Block[],
): readonly (Block & { readonly name: string })[] {
  return names
    .flatMap((name, index) => blocksOf(index).map((block) => ({ ...block, name })))
    .sort((a, b) => compareIntervals(a, b) || (a.end > b.end ? -1 : a.end < b.end ? 1 : 0));
}
