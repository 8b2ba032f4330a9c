/**
 * The connections that workloads may have with external addresses (addresses that no workload has), in both directions.
 *
 * Only the ipBlocks and NetworkSets of rules distinguish such addresses. So the borders of those blocks cut the address spaces into
 * intervals, and all addresses of an interval have the same connections. The other end has no policy: the subject's own
 * decides.
 */
import type { NetworkPolicy, Peer, PolicyPort } from "../../model/objects.js";
import type { Clause, Direction, Profile, Rule, Ruleset } from "../../model/ruleset.js";
import type { ObjectSet } from "../../model/state.js";
import { refKey } from "../../model/state.js";
import type { AddressParser, Interval } from "../address-space.js";
import { EVERYWHERE, FAMILIES } from "../address-space.js";
import { NetworkSetIndex } from "../compile/network-sets.js";
import { blockCidrs, readPorts } from "../compile/peers.js";
import type { PortSetId, PortSets } from "./port-sets.js";
import type { WorkloadAddresses } from "./workload-addresses.js";

/** Consecutive addresses with the same connections. */
export interface AddressRange extends Interval {
  readonly set: PortSetId;
}

export interface ExternalReach {
  /**
   * Returns both address spaces cut into ranges, ascending, without ranges that allow nothing. Equal profiles return
   * the same list.
   */
  readonly ranges: (subject: number, direction: Direction) => readonly AddressRange[];
  /** The same for an enforced profile. */
  readonly rangesOf: (profile: Profile) => readonly AddressRange[];
  /** Returns whether workloads have every address of an interval, so that it has no external address. */
  readonly isTaken: (interval: Interval) => boolean;
}

interface Settings {
  readonly portsOf: (ports: Clause["ports"]) => PortSetId;
  readonly within: PortSetId;
  readonly parser: AddressParser;
}

export function createExternalReach(
  objects: ObjectSet,
  ruleset: Ruleset,
  addresses: WorkloadAddresses,
  sets: PortSets,
  { portsOf, within, parser }: Settings,
): ExternalReach {
  const open = EVERYWHERE.map((interval) => ({ ...interval, set: within }));
  const profiles = new Map(ruleset.profiles.map((profile) => [profile.key, profile]));
  const known = new Map<string, readonly AddressRange[]>();
  const rangesOf = (profile: Profile): readonly AddressRange[] => {
    const ranges =
      known.get(profile.key) ??
      cut(
        listOutside(profile, objects).map(({ peers, ports }) => ({
          intervals: peers === "any" ? EVERYWHERE : peers.map((cidr) => parser.parse(cidr)),
          set: portsOf(ports),
        })),
        sets,
      );
    known.set(profile.key, ranges);
    return ranges;
  };
  return {
    rangesOf,
    isTaken: (interval) => BigInt(addresses.countWithin(interval)) === interval.end - interval.start + 1n,
    ranges: (index, direction) => {
      const { mode, profile: key } = ruleset.subjects[index]?.[direction] ?? { mode: "open", profile: null };
      const profile = profiles.get(key ?? "");
      return mode !== "enforce" || profile === undefined ? open : rangesOf(profile);
    },
  };
}

/**
 * Returns a profile's clauses as they would be if no workload had an address; `rule` is the index in the profile's
 * rules.
 */
export function listOutside(
  profile: Profile,
  objects: ObjectSet,
  networkSets = new NetworkSetIndex(objects),
): readonly Clause[] {
  return profile.rules.flatMap((rule, index) => {
    const { peers, ports } = sourceOf(rule, objects);
    const blocks = peers.length === 0 ? ("any" as const) : blockCidrs(peers, networkSets);
    if (blocks.length === 0) return [];
    if (rule.direction === "ingress") {
      // The port names of an ingress rule are the subject's own ports, which the compiler has resolved.
      const clause = profile.clauses.find((candidate) => candidate.rule === index);
      return clause === undefined ? [] : [{ rule: index, peers: blocks, ports: clause.ports }];
    }
    const { any, ranges } = readPorts(ports);
    return any
      ? [{ rule: index, peers: blocks, ports: "any" as const }]
      : ranges.length > 0
        ? [{ rule: index, peers: blocks, ports: ranges }]
        : [];
  });
}

function sourceOf(
  { policy, direction, index }: Rule,
  objects: ObjectSet,
): { readonly peers: readonly Peer[]; readonly ports: readonly PolicyPort[] | undefined } {
  const object = objects.get(refKey({ kind: "NetworkPolicy", ...policy }))?.object;
  if (object?.kind !== "NetworkPolicy") throw new RangeError(`no such policy: ${policy.namespace}/${policy.name}`);
  const { ingress, egress }: NetworkPolicy["spec"] = object.spec;
  const peers = direction === "ingress" ? ingress?.[index]?.from : egress?.[index]?.to;
  return { peers: peers ?? [], ports: (direction === "ingress" ? ingress : egress)?.[index]?.ports };
}

interface Allowed {
  readonly intervals: readonly Interval[];
  readonly set: PortSetId;
}

/** Sweeps over all borders: between two of them the same intervals hold. */
function cut(allowed: readonly Allowed[], sets: PortSets): readonly AddressRange[] {
  return FAMILIES.flatMap((family) => {
    const borders = allowed
      .flatMap(({ intervals, set }) =>
        intervals
          .filter((interval) => interval.family === family)
          .flatMap(({ start, end }) => [
            { at: start, set, change: 1 },
            { at: end + 1n, set, change: -1 },
          ]),
      )
      .sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0));
    const active = new Map<PortSetId, number>();
    const ranges: AddressRange[] = [];
    for (const [index, { at, set, change }] of borders.entries()) {
      active.set(set, (active.get(set) ?? 0) + change);
      if (active.get(set) === 0) active.delete(set);
      const next = borders[index + 1]?.at;
      if (next === undefined || next === at) continue;
      const sum = [...active.keys()].reduce((a, b) => sets.union(a, b), sets.empty);
      push(ranges, { family, start: at, end: next - 1n, set: sum }, sets.empty);
    }
    return ranges;
  });
}

/** Appends a range to ascending ones; extends the last range if the new one is adjacent and has the same set. */
function push(ranges: AddressRange[], range: AddressRange, empty: PortSetId): void {
  if (range.set === empty) return;
  const last = ranges.at(-1);
  if (last?.family === range.family && last.set === range.set && last.end + 1n === range.start) {
    ranges[ranges.length - 1] = { ...last, end: range.end };
  } else ranges.push(range);
}

/**
 * Returns the ports that `a` allows and `b` does not, interval by interval. Both are ascending, so that one walk over
 * both is enough.
 */
export function subtractRanges(
  a: readonly AddressRange[],
  b: readonly AddressRange[],
  sets: PortSets,
): readonly AddressRange[] {
  if (a === b) return [];
  const result: AddressRange[] = [];
  let first = 0;
  for (const range of a) {
    let from = range.start;
    while (isBefore(b[first], range)) first += 1;
    for (let index = first; index < b.length; index += 1) {
      const other = b[index];
      if (other === undefined || isBefore(range, other)) break;
      const start = other.start > from ? other.start : from;
      const end = other.end < range.end ? other.end : range.end;
      if (start > from) push(result, { ...range, start: from, end: start - 1n }, sets.empty);
      push(result, { ...range, start, end, set: sets.subtract(range.set, other.set) }, sets.empty);
      from = end + 1n;
    }
    if (from <= range.end) push(result, { ...range, start: from }, sets.empty);
  }
  return result;
}

/** Returns whether an interval ends before another begins. */
export function isBefore(a: Interval | undefined, b: Interval): boolean {
  return a !== undefined && (a.family < b.family || (a.family === b.family && a.end < b.start));
}
