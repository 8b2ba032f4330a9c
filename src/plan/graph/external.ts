/** The connections of a group of workloads with external addresses, before and after. */
import type { Direction } from "../../model/ruleset.js";
import type { AddressRange } from "../../policy/reachability/external.js";
import { subtractRanges } from "../../policy/reachability/external.js";
import { toBlocks, type Block } from "../../policy/reachability/connectivity.js";
import type { PortSetId, PortSets } from "../../policy/reachability/port-sets.js";
import type { DiffStatus } from "./standing.js";
import type { GraphSide, WorkloadGroup } from "./groups.js";

export interface ExternalConnection {
  readonly standing: DiffStatus;
  readonly set: PortSetId;
  /** Ascending, at least one. */
  readonly blocks: readonly Block[];
}

interface Sides {
  readonly old: GraphSide;
  readonly now: GraphSide;
  readonly sets: PortSets;
}

/**
 * Returns the connections. Blocks with the same allowed ports are together, kept ones before added and removed ones.
 */
export function compareExternal(
  { oldClass, nowClass }: WorkloadGroup,
  direction: Direction,
  { old, now, sets }: Sides,
): readonly ExternalConnection[] {
  const had = rangesOf(old, oldClass, direction);
  const has = rangesOf(now, nowClass, direction);
  const added = subtractRanges(has, had, sets);
  const parts = [
    ["kept", subtractRanges(has, added, sets), now],
    ["added", added, now],
    ["removed", subtractRanges(had, has, sets), old],
  ] as const;
  return parts.flatMap(([standing, ranges, { reach }]) =>
    [...Map.groupBy(toBlocks(ranges, reach), ({ set }) => set)].map(([set, blocks]) => ({ standing, set, blocks })),
  );
}

const NOTHING: readonly AddressRange[] = [];

function rangesOf({ reach, examples }: GraphSide, id: number, direction: Direction): readonly AddressRange[] {
  return id < 0 ? NOTHING : reach.external.ranges(examples[id] ?? 0, direction);
}
