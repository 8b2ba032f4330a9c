/**
 * The connections that a plan opens and closes: the exact difference of two states' connectivity.
 *
 * Two states of thousands of workloads have millions of connections, and a change touches few of
 * them. So both are compared by classes of workloads that are alike in both states; only what
 * differs is spelled out, up to a limit, and the rest is counted.
 */
import type { Connection } from "../model/connection.js";
import type { ObjectSet } from "../model/state.js";
import type { Direction } from "../model/ruleset.js";
import type { Stretch } from "../policy/blocks.js";
import { subtractStretches } from "../policy/blocks.js";
import type { Block } from "../policy/connectivity.js";
import { inOrder, toBlocks } from "../policy/connectivity.js";
import type { PortSetId } from "../policy/port-sets.js";
import { PortSets, TooManyPortSets } from "../policy/port-sets.js";
import type { Reach } from "../policy/reach.js";
import { createReach } from "../policy/reach.js";

/** In the order of `ztap connectivity`. */
export interface ConnectivityDiff {
  readonly opened: readonly Connection[];
  readonly closed: readonly Connection[];
  /** How many there are, also of those that a list was too short for. */
  readonly summary: { readonly opened: number; readonly closed: number };
  /** Why the difference could not be computed, with nothing listed then; null where it was. */
  readonly unknown: string | null;
}

export const NO_DIFFERENCE: ConnectivityDiff = {
  opened: [],
  closed: [],
  summary: { opened: 0, closed: 0 },
  unknown: null,
};

/** @param limit the longest that each list may be */
export function diffConnectivity(before: ObjectSet, after: ObjectSet, limit: number): ConnectivityDiff {
  try {
    return compareStates(before, after, limit);
  } catch (error) {
    if (!(error instanceof TooManyPortSets)) throw error;
    return { ...NO_DIFFERENCE, unknown: error.message };
  }
}

function compareStates(before: ObjectSet, after: ObjectSet, limit: number): ConnectivityDiff {
  const sets = new PortSets();
  const [old, wanted] = [createReach(before, sets), createReach(after, sets)];
  const opened = listGained(old, wanted, sets, limit);
  const closed = listGained(wanted, old, sets, limit);
  return {
    opened: opened.connections,
    closed: closed.connections,
    summary: { opened: opened.count, closed: closed.count },
    unknown: null,
  };
}

interface Gained {
  readonly connections: readonly Connection[];
  readonly count: number;
}

/** What is in `to` and not in `from`. */
function listGained(from: Reach, to: Reach, sets: PortSets, limit: number): Gained {
  const joint = joinClasses(from, to);
  const pairs = comparePairs(joint, from, to, sets);
  const egress = compareBlocks(from, to, "egress", joint.places, sets);
  const ingress = compareBlocks(from, to, "ingress", joint.places, sets);
  const entriesOf = (blocks: readonly Block[]) => blocks.reduce((sum, { set }) => sum + sets.entries(set).length, 0);
  const connections: Connection[] = [];
  const add = (source: string, target: string, set: PortSetId) => {
    for (const entry of sets.entries(set)) {
      if (connections.length < limit) connections.push({ from: source, to: target, ...entry });
    }
  };
  let count = pairs.count;
  for (const [index, name] of to.names.entries()) {
    if (connections.length < limit) pairs.each(index, (target, set) => add(name, target, set));
    const blocks = egress(index);
    count += entriesOf(blocks);
    for (const block of blocks) add(name, block.text, block.set);
  }
  for (const block of inOrder(to.names, ingress)) {
    count += sets.entries(block.set).length;
    add(block.text, block.name, block.set);
  }
  return { connections, count };
}

/** Workloads that are of one class in both states. */
interface Joint {
  /** By the index of a workload in `to`: its joint class. */
  readonly classOf: Uint32Array;
  /** By the index of a workload in `to`: its index in `from`; -1 where it is not there. */
  readonly places: Int32Array;
  /** For each joint class its class in either state, -1 for none, and how many workloads it has. */
  readonly classes: { readonly old: number; readonly now: number; size: number }[];
}

function joinClasses(from: Reach, to: Reach): Joint {
  const known = new Map(from.names.map((name, index) => [name, index]));
  const places = Int32Array.from(to.names, (name) => known.get(name) ?? -1);
  const ids = new Map<number, number>();
  const classes: Joint["classes"] = [];
  const classOf = Uint32Array.from(to.names, (_, index) => {
    const place = places[index] ?? -1;
    const old = place < 0 ? -1 : (from.classOf[place] ?? -1);
    const now = to.classOf[index] ?? 0;
    const key = (old + 1) * to.classCount + now;
    const id = ids.get(key) ?? classes.push({ old, now, size: 0 }) - 1;
    ids.set(key, id);
    const joined = classes[id];
    if (joined !== undefined) joined.size += 1;
    return id;
  });
  return { classOf, places, classes };
}

interface ComparedPairs {
  readonly count: number;
  /** Calls for each workload that the one with this index gained something to. */
  readonly each: (index: number, found: (target: string, set: PortSetId) => void) => void;
}

function comparePairs({ classOf, classes }: Joint, from: Reach, to: Reach, sets: PortSets): ComparedPairs {
  const row = new Uint32Array(classes.length);
  /** Fills the row with what a class gained to every class; gives how many connections that is for one of its workloads. */
  const fill = (source: number): number => {
    const own = classes[source];
    const now = to.row(own?.now ?? 0);
    const old = own === undefined || own.old < 0 ? null : from.row(own.old);
    let count = 0;
    for (const [target, other] of classes.entries()) {
      const had = old === null || other.old < 0 ? sets.empty : (old[other.old] ?? sets.empty);
      const gained = sets.subtract(now[other.now] ?? sets.empty, had);
      row[target] = gained;
      // A workload's connection to itself is not listed.
      const others = target === source ? other.size - 1 : other.size;
      if (gained !== sets.empty) count += others * sets.entries(gained).length;
    }
    return count;
  };
  const counts = classes.map((_, source) => fill(source));
  let filled = -1;
  return {
    count: classes.reduce((sum, { size }, index) => sum + size * (counts[index] ?? 0), 0),
    each: (index, found) => {
      const source = classOf[index] ?? 0;
      if ((counts[source] ?? 0) === 0) return;
      if (filled !== source) fill(source);
      filled = source;
      for (const [other, target] of to.names.entries()) {
        const gained = row[classOf[other] ?? 0] ?? sets.empty;
        if (gained !== sets.empty && other !== index) found(target, gained);
      }
    },
  };
}

/** What a workload of `to` gained with addresses that no workload has; computed once for those that are alike. */
function compareBlocks(
  from: Reach,
  to: Reach,
  direction: Direction,
  places: Int32Array,
  sets: PortSets,
): (index: number) => readonly Block[] {
  const known = new Map<readonly Stretch[], Map<readonly Stretch[], readonly Block[]>>();
  return (index) => {
    const place = places[index] ?? -1;
    const now = to.external.stretches(index, direction);
    const old = place < 0 ? NOTHING : from.external.stretches(place, direction);
    const byOld = known.get(now) ?? new Map<readonly Stretch[], readonly Block[]>();
    known.set(now, byOld);
    const blocks = byOld.get(old) ?? toBlocks(subtractStretches(now, old, sets), to);
    byOld.set(old, blocks);
    return blocks;
  };
}

const NOTHING: readonly Stretch[] = [];
