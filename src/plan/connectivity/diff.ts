/**
 * The connections that a plan opens and closes: the exact difference of two states' connectivity.
 *
 * Two states of thousands of workloads have millions of connections, and a change affects few of them. So the states
 * are compared by classes of workloads that are alike in both; only the difference is listed, up to a limit, and the
 * rest is counted.
 */
import type { Connection } from "../../model/connection.js";
import type { ObjectSet } from "../../model/state.js";
import type { Direction } from "../../model/ruleset.js";
import type { AddressRange } from "../../policy/reachability/external.js";
import { subtractRanges } from "../../policy/reachability/external.js";
import type { Block } from "../../policy/reachability/connectivity.js";
import { inOrder, toBlocks } from "../../policy/reachability/connectivity.js";
import type { PortSetId } from "../../policy/reachability/port-sets.js";
import { PortSets, TooManyPortSets } from "../../policy/reachability/port-sets.js";
import type { Reach } from "../../policy/reachability/reach.js";
import { createReach } from "../../policy/reachability/reach.js";
import { SharedAddresses } from "../../policy/reachability/sharing.js";
import { createCauseFinder, type Cause, type CauseFinder } from "./causes.js";
import { finishGroups, PairGroups, type ConnectionGroup } from "./groups.js";
import { labelClasses } from "../../policy/meaning.js";
import { listUnenforced } from "../unenforced.js";
import { createNamer } from "../naming/workloads.js";

/** A connection that opens or closes, with its causes. */
export interface PlannedConnection extends Connection {
  readonly causes: readonly Cause[];
}

/** The difference, in the order of `ztap connectivity`. */
export interface ConnectivityDiff {
  readonly opened: readonly PlannedConnection[];
  readonly closed: readonly PlannedConnection[];
  /** All connections, including those beyond the limit of the lists. */
  readonly groups: { readonly opened: readonly ConnectionGroup[]; readonly closed: readonly ConnectionGroup[] };
  /** The number of connections. */
  readonly summary: { readonly opened: number; readonly closed: number };
  /** Workloads whose enforcement ends though their processes may stay; see `listUnenforced`. */
  readonly unenforced: readonly string[];
  /** The reason why the difference could not be computed (then nothing is listed); null if it was. */
  readonly unknown: string | null;
}

export const NO_DIFFERENCE: ConnectivityDiff = {
  opened: [],
  closed: [],
  groups: { opened: [], closed: [] },
  summary: { opened: 0, closed: 0 },
  unenforced: [],
  unknown: null,
};

/**
 * Returns the difference.
 * @param limit the longest that each list may be
 */
export function diffConnectivity(before: ObjectSet, after: ObjectSet, limit: number): ConnectivityDiff {
  const unenforced = listUnenforced(before, after);
  try {
    return { ...compareStates(before, after, limit), unenforced };
  } catch (error) {
    if (!(error instanceof TooManyPortSets)) throw error;
    return { ...NO_DIFFERENCE, unenforced, unknown: error.message };
  }
}

interface State {
  readonly objects: ObjectSet;
  readonly reach: Reach;
}

function compareStates(before: ObjectSet, after: ObjectSet, limit: number): Omit<ConnectivityDiff, "unenforced"> {
  const sets = new PortSets();
  const old = { objects: before, reach: createReach(before, sets) };
  const wanted = { objects: after, reach: createReach(after, sets) };
  const opened = listGained(old, wanted, sets, limit);
  const closed = listGained(wanted, old, sets, limit);
  return {
    opened: opened.connections,
    closed: closed.connections,
    groups: { opened: opened.groups, closed: closed.groups },
    summary: { opened: opened.count, closed: closed.count },
    unknown: null,
  };
}

interface Gained {
  readonly connections: readonly PlannedConnection[];
  readonly groups: readonly ConnectionGroup[];
  readonly count: number;
}

/** Lists the connections that the second state has and the first has not. */
function listGained(first: State, second: State, sets: PortSets, limit: number): Gained {
  const [from, to] = [first.reach, second.reach];
  const joint = joinClasses(from, to, second.objects);
  const pairs = comparePairs(joint, from, to, sets);
  const egress = compareBlocks(from, to, "egress", joint.places, sets);
  const ingress = compareBlocks(from, to, "ingress", joint.places, sets);
  const sideOf = ({ objects, reach: { ruleset } }: State) => ({ objects, ruleset });
  const causes = createCauseFinder(sideOf(first), sideOf(second), sets);
  const shared = joint.hasShared ? new SharedAddresses(second.objects, second.reach.ruleset, sets) : null;
  const isShared = (source: string, target: string, set: PortSetId): boolean =>
    shared !== null && shared.find(source, target, set).length > 0;
  const entriesOf = (blocks: readonly Block[]) => blocks.reduce((sum, { set }) => sum + sets.entries(set).length, 0);
  const connections: PlannedConnection[] = [];
  const add = (source: string, target: string, set: PortSetId) => {
    for (const entry of sets.entries(set)) {
      if (connections.length >= limit) return;
      const why = causes(source, target, sets.within(set, entry.protocol));
      connections.push({ from: source, to: target, ...entry, causes: why });
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
  const groups = count === 0 ? [] : groupGained(joint, second, { pairs, egress, ingress, causes, isShared, sets });
  return { connections, groups, count };
}

interface GainedParts {
  readonly pairs: ComparedPairs;
  readonly egress: (index: number) => readonly Block[];
  readonly ingress: (index: number) => readonly Block[];
  readonly causes: CauseFinder;
  /** See ConnectionGroup. Evaluated for examples: workloads of one class are alike in this as well. */
  readonly isShared: (from: string, to: string, set: PortSetId) => boolean;
  readonly sets: PortSets;
}

type Ungrouped = Omit<ConnectionGroup, "fromText" | "toText">;

function groupGained(joint: Joint, { objects, reach: to }: State, parts: GainedParts): readonly ConnectionGroup[] {
  const { pairs, sets, isShared } = parts;
  const members: string[][] = joint.classes.map(() => []);
  for (const [index, name] of to.names.entries()) members[joint.classOf[index] ?? 0]?.push(name);
  const among = new PairGroups();
  pairs.eachClass((source, target, set) => {
    const [one, other] = exampleOf(members[source] ?? [], members[target] ?? []);
    for (const entry of sets.entries(set))
      among.add(source, target, { ...entry, sharesAddress: isShared(one, other, sets.within(set, entry.protocol)) });
  });
  const groups = [...among.each()].map(({ entry, sources, targets }): Ungrouped => {
    const [from, into] = [sources, targets].map((classes) => classes.flatMap((id) => members[id] ?? []).sort());
    const itself = sources.filter((id) => targets.includes(id) && !isSeveral(joint, id, to));
    const own = itself.reduce((sum, id) => sum + (members[id]?.length ?? 0), 0);
    const ends = { from: from ?? [], to: into ?? [] };
    const some = sources.flatMap((source) =>
      targets.slice(0, SAMPLED_CAUSES).map((target) => exampleOf(members[source] ?? [], members[target] ?? [])),
    );
    return {
      ...ends,
      ...entry,
      sharesAddress: entry.sharesAddress === true,
      connections: ends.from.length * ends.to.length - own,
      causes: collect(some, entry, parts),
    };
  });
  const outside = [...groupBlocks(to, "egress", parts), ...groupBlocks(to, "ingress", parts)];
  return finishGroups([...groups, ...outside], createNamer(objects));
}

/** Returns workloads of two classes, which may be the same class: different ones, unless there is but one. */
function exampleOf(sources: readonly string[], targets: readonly string[]): readonly [string, string] {
  const [source = ""] = sources;
  return [source, targets.find((target) => target !== source) ?? source];
}

/** Limit for the causes that are looked up, and reported, for a group of many classes. */
const SAMPLED_CAUSES = 8;

function collect(
  examples: readonly (readonly [string, string])[],
  { protocol, ports }: Pick<Connection, "protocol" | "ports">,
  { causes, sets }: GainedParts,
): readonly Cause[] {
  const set = sets.ofEntry({ protocol, ports });
  const found = new Map<string, Cause>();
  for (const [source, target] of examples.slice(0, SAMPLED_CAUSES)) {
    for (const cause of causes(source, target, set)) found.set(JSON.stringify(cause), cause);
  }
  return [...found.values()].slice(0, SAMPLED_CAUSES);
}

function groupBlocks(to: Reach, direction: Direction, parts: GainedParts): readonly Ungrouped[] {
  const { sets } = parts;
  const byBlocks = Map.groupBy([...to.names.keys()], (index) => parts[direction](index));
  const texts: string[] = [];
  const numbers = new Map<string, number>();
  const pairGroups = new PairGroups();
  for (const [blocks, indices] of byBlocks) {
    for (const { text, set } of blocks) {
      const number = numbers.get(text) ?? texts.push(text) - 1;
      numbers.set(text, number);
      for (const entry of sets.entries(set)) for (const index of indices) pairGroups.add(number, index, entry);
    }
  }
  return [...pairGroups.each()].map(({ entry, sources, targets }): Ungrouped => {
    const blocks = sources.map((number) => texts[number] ?? "");
    const names = targets.map((index) => to.names[index] ?? "").sort();
    const [from, into] = direction === "egress" ? [names, blocks] : [blocks, names];
    const some = names.slice(0, SAMPLED_CAUSES).flatMap((name) => {
      const [block = ""] = blocks;
      return [direction === "egress" ? ([name, block] as const) : ([block, name] as const)];
    });
    const connections = names.length * blocks.length;
    return { from, to: into, ...entry, sharesAddress: false, connections, causes: collect(some, entry, parts) };
  });
}

/** Classes of workloads that are alike in both states; workloads that share an address must also have equal labels. */
interface Joint {
  /** By the index of a workload in `to`: its joint class. */
  readonly classOf: Uint32Array;
  /** By the index of a workload in `to`: its index in `from`; -1 if it is not there. */
  readonly places: Int32Array;
  /** For each joint class its class in either state, -1 for none, and its number of workloads. */
  readonly classes: { readonly old: number; readonly now: number; size: number }[];
  /** Whether any workloads share an address. */
  readonly hasShared: boolean;
}

function joinClasses(from: Reach, to: Reach, objects: ObjectSet): Joint {
  const labels = labelClasses(objects, to.names);
  const labelCount = 1 + labels.reduce((most, id) => Math.max(most, id), 0);
  const known = new Map(from.names.map((name, index) => [name, index]));
  const places = Int32Array.from(to.names, (name) => known.get(name) ?? -1);
  const ids = new Map<number, number>();
  const classes: Joint["classes"] = [];
  const classOf = Uint32Array.from(to.names, (_, index) => {
    const place = places[index] ?? -1;
    const old = place < 0 ? -1 : (from.classOf[place] ?? -1);
    const now = to.classOf[index] ?? 0;
    const key = ((old + 1) * to.classCount + now) * labelCount + (labels[index] ?? 0);
    // With itself, such a workload gained what it did not gain with others: it is a class of its own.
    const isSplit = old >= 0 && from.isSeveral[old] !== to.isSeveral[now];
    const id = (isSplit ? undefined : ids.get(key)) ?? classes.push({ old, now, size: 0 }) - 1;
    if (!isSplit) ids.set(key, id);
    const joined = classes[id];
    if (joined !== undefined) joined.size += 1;
    return id;
  });
  return { classOf, places, classes, hasShared: labelCount > 1 };
}

/** Whether workloads of a joint class may have several instances in `to`, so that each has connections with itself. */
function isSeveral({ classes }: Joint, id: number, to: Reach): boolean {
  return to.isSeveral[classes[id]?.now ?? 0] === true;
}

interface ComparedPairs {
  readonly count: number;
  /** Calls `found` for each workload that the one with this index gained ports to. */
  readonly each: (index: number, found: (target: string, set: PortSetId) => void) => void;
  /** Calls `found` for each pair of joint classes of which one gained ports to the other. */
  readonly eachClass: (found: (source: number, target: number, set: PortSetId) => void) => void;
}

function comparePairs(joint: Joint, from: Reach, to: Reach, sets: PortSets): ComparedPairs {
  const { classOf, classes } = joint;
  const row = new Uint32Array(classes.length);
  /**
   * Fills the row with the ports that a class gained to every class; returns the number of connections for one of its
   * workloads.
   */
  const fill = (source: number): number => {
    const own = classes[source];
    const now = to.row(own?.now ?? 0);
    const old = own === undefined || own.old < 0 ? null : from.row(own.old);
    let count = 0;
    for (const [target, other] of classes.entries()) {
      const isSplit = target === source && from.isSeveral[other.old] !== to.isSeveral[other.now];
      const had = old === null || other.old < 0 || isSplit ? sets.empty : (old[other.old] ?? sets.empty);
      const gained = sets.subtract(now[other.now] ?? sets.empty, had);
      row[target] = gained;
      const others = target === source && !isSeveral(joint, source, to) ? other.size - 1 : other.size;
      if (gained !== sets.empty) count += others * sets.entries(gained).length;
    }
    return count;
  };
  const counts = classes.map((_, source) => fill(source));
  let filled = -1;
  return {
    count: classes.reduce((sum, { size }, index) => sum + size * (counts[index] ?? 0), 0),
    eachClass: (found) => {
      for (const [source, count] of counts.entries()) {
        if (count === 0) continue;
        fill(source);
        filled = source;
        for (const [target, gained] of row.entries()) {
          const isItself = target === source && classes[target]?.size === 1 && !isSeveral(joint, target, to);
          if (gained !== sets.empty && !isItself) found(source, target, gained);
        }
      }
    },
    each: (index, found) => {
      const source = classOf[index] ?? 0;
      if ((counts[source] ?? 0) === 0) return;
      if (filled !== source) fill(source);
      filled = source;
      for (const [other, target] of to.names.entries()) {
        const gained = row[classOf[other] ?? 0] ?? sets.empty;
        const isListed = other !== index || isSeveral(joint, source, to);
        if (gained !== sets.empty && isListed) found(target, gained);
      }
    },
  };
}

/** Returns the external connections that a workload of `to` gained; computed once for workloads that are alike. */
function compareBlocks(
  from: Reach,
  to: Reach,
  direction: Direction,
  places: Int32Array,
  sets: PortSets,
): (index: number) => readonly Block[] {
  const known = new Map<readonly AddressRange[], Map<readonly AddressRange[], readonly Block[]>>();
  return (index) => {
    const place = places[index] ?? -1;
    const now = to.external.ranges(index, direction);
    const old = place < 0 ? NOTHING : from.external.ranges(place, direction);
    const byOld = known.get(now) ?? new Map<readonly AddressRange[], readonly Block[]>();
    known.set(now, byOld);
    const blocks = byOld.get(old) ?? toBlocks(subtractRanges(now, old, sets), to);
    byOld.set(old, blocks);
    return blocks;
  };
}

const NOTHING: readonly AddressRange[] = [];
