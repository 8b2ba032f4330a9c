/** What a group of workloads has to do with addresses outside, before and after. */
import type { Direction } from "../../model/ruleset.js";
import type { Stretch } from "../../policy/reachability/external.js";
import { subtractStretches } from "../../policy/reachability/external.js";
import { toBlocks, type Block } from "../../policy/reachability/connectivity.js";
import type { PortSetId, PortSets } from "../../policy/reachability/port-sets.js";
import type { Standing } from "./graph.js";
import type { GraphSide, WorkloadGroup } from "./groups.js";

export interface OutsideConnection {
  readonly standing: Standing;
  readonly set: PortSetId;
  /** Ascending, at least one. */
  readonly blocks: readonly Block[];
}

interface Sides {
  readonly old: GraphSide;
  readonly now: GraphSide;
  readonly sets: PortSets;
}

/** Blocks with which the same is allowed are together, kept ones before added and removed ones. */
export function compareOutside(
  { oldClass, nowClass }: WorkloadGroup,
  direction: Direction,
  { old, now, sets }: Sides,
): readonly OutsideConnection[] {
  const had = stretchesOf(old, oldClass, direction);
  const has = stretchesOf(now, nowClass, direction);
  const added = subtractStretches(has, had, sets);
  const parts = [
    ["kept", subtractStretches(has, added, sets), now],
    ["added", added, now],
    ["removed", subtractStretches(had, has, sets), old],
  ] as const;
  return parts.flatMap(([standing, stretches, { reach }]) =>
    [...Map.groupBy(toBlocks(stretches, reach), ({ set }) => set)].map(([set, blocks]) => ({ standing, set, blocks })),
  );
}

const NOTHING: readonly Stretch[] = [];

function stretchesOf({ reach, examples }: GraphSide, id: number, direction: Direction): readonly Stretch[] {
  return id < 0 ? NOTHING : reach.external.stretches(examples[id] ?? 0, direction);
}
