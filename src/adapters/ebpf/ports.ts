/**
 * Ports: the clauses of a class → entries that do not overlap, as a longest-prefix match wants them.
 *
 * Where clauses overlap, the one listed earlier has the port. A packet without known ports matches
 * only what stands for every port of its protocol, or for any protocol.
 */
import type { PortRange, Profile } from "../../model/ruleset.js";
import { ABI } from "./abi.generated.js";

export interface PortEntry {
  readonly protocol: number;
  readonly port: number;
  /** Length of the prefix within struct ztap_port_key. */
  readonly bits: number;
  /** Index into the profile's rules. */
  readonly rule: number;
}

const PROTOCOLS = { ICMP: ABI.PROTOCOL_ICMP, TCP: 6, UDP: 17, SCTP: 132 } as const;
const LAST_PORT = 65535;

type Interval = readonly [first: number, last: number];

/** @param clauses indexes into the profile's clauses, ascending */
export function portEntries(profile: Profile, clauses: readonly number[]): readonly PortEntry[] {
  const alone = clauses.length === 1 ? profile.clauses[clauses[0] ?? -1] : undefined;
  const range = alone !== undefined && alone.ports !== "any" && alone.ports.length === 1 ? alone.ports[0] : undefined;
  // Most classes are one clause with one range, where nothing can overlap.
  if (alone !== undefined && range !== undefined) return blocks(range, alone.rule);
  return disjoint(profile, clauses);
}

function blocks({ protocol, first, last }: PortRange, rule: number): readonly PortEntry[] {
  const number = PROTOCOLS[protocol];
  const whole = first === 0 && last === LAST_PORT;
  if (whole) return [{ protocol: number, port: 0, bits: ABI.PORT_PROTOCOL_BITS, rule }];
  if (first === last) return [{ protocol: number, port: first, bits: ABI.PORT_FULL_BITS, rule }];
  return [...split([first, last])].map(([port, length]) => ({
    protocol: number,
    port,
    bits: ABI.PORT_PROTOCOL_BITS + length,
    rule,
  }));
}

function disjoint(profile: Profile, clauses: readonly number[]): readonly PortEntry[] {
  const entries: PortEntry[] = [];
  const taken = new Map<number, readonly Interval[]>();
  const whole = new Set<number>();
  for (const index of clauses) {
    const clause = profile.clauses[index];
    if (clause === undefined) throw new TypeError(`profile ${profile.key} has no clause ${index}`);
    if (clause.ports === "any") {
      entries.push({ protocol: ABI.PROTOCOL_ANY, port: 0, bits: ABI.PORT_ANY_BITS, rule: clause.rule });
      break;
    }
    for (const range of clause.ports) {
      const protocol = PROTOCOLS[range.protocol];
      if (whole.has(protocol)) continue;
      const before = taken.get(protocol) ?? [];
      taken.set(protocol, merge(before, [range.first, range.last]));
      if (range.first === 0 && range.last === LAST_PORT) {
        entries.push({ protocol, port: 0, bits: ABI.PORT_PROTOCOL_BITS, rule: clause.rule });
        whole.add(protocol);
        continue;
      }
      for (const free of subtract([range.first, range.last], before)) {
        for (const [port, length] of split(free))
          entries.push({ protocol, port, bits: ABI.PORT_PROTOCOL_BITS + length, rule: clause.rule });
      }
    }
  }
  return entries;
}

/** Sorted and disjoint; `next` joins what it touches. */
function merge(intervals: readonly Interval[], next: Interval): readonly Interval[] {
  let [first, last] = next;
  const apart: Interval[] = [];
  for (const interval of intervals) {
    if (interval[1] + 1 < first || last + 1 < interval[0]) apart.push(interval);
    else {
      first = Math.min(first, interval[0]);
      last = Math.max(last, interval[1]);
    }
  }
  return [...apart, [first, last] as const].sort((a, b) => a[0] - b[0]);
}

function subtract(from: Interval, sorted: readonly Interval[]): readonly Interval[] {
  const left: Interval[] = [];
  let [first] = from;
  for (const [start, end] of sorted) {
    if (end < first || start > from[1]) continue;
    if (start > first) left.push([first, start - 1]);
    first = end + 1;
  }
  if (first <= from[1]) left.push([first, from[1]]);
  return left;
}

/** The fewest aligned blocks that make up the interval, as (first port, prefix length). */
function* split([first, last]: Interval): Generator<readonly [port: number, length: number]> {
  let port = first;
  while (port <= last) {
    let length = 16;
    while (length > 0 && (port & ((1 << (17 - length)) - 1)) === 0 && port + (1 << (17 - length)) - 1 <= last) length--;
    yield [port, length];
    port += 1 << (16 - length);
  }
}
