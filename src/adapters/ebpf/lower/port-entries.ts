/** Port entries: turns the coverage of a class into entries that do not overlap, for a longest-prefix match. */
import { PROTOCOL_NUMBERS } from "../../../model/protocol.js";
import type { Profile } from "../../../model/ruleset.js";
import { ABI } from "../kernel/abi.generated.js";
import type { Coverage } from "./coverage.js";

export interface PortMapEntry {
  readonly protocol: number;
  readonly port: number;
  /** Length of the prefix within struct ztap_port_key. */
  readonly bits: number;
  /** Index into the profile's rules; null: no rule. */
  readonly rule: number | null;
  readonly isDenied: boolean;
}

/** As in the ABI, where ICMPv6 has the number of ICMP. */
const PROTOCOLS = { ...PROTOCOL_NUMBERS, ICMP: ABI.PROTOCOL_ICMP } as const;

export function* portEntries(profile: Profile, { any, protocols }: Coverage): Generator<PortMapEntry> {
  const valueOf = (index: number): Pick<PortMapEntry, "rule" | "isDenied"> => {
    const clause = profile.clauses[index];
    if (clause === undefined) throw new TypeError(`profile ${profile.key} has no clause ${index}`);
    return { rule: clause.rule, isDenied: clause.effect === "deny" };
  };
  if (any !== Infinity) yield { protocol: ABI.PROTOCOL_ANY, port: 0, bits: ABI.PORT_ANY_BITS, ...valueOf(any) };
  for (const [name, { whole, runs }] of protocols) {
    const protocol = PROTOCOLS[name];
    if (whole !== Infinity) yield { protocol, port: 0, bits: ABI.PORT_PROTOCOL_BITS, ...valueOf(whole) };
    for (const { first, last, clause } of runs) {
      for (const [port, length] of split(first, last))
        yield { protocol, port, bits: ABI.PORT_PROTOCOL_BITS + length, ...valueOf(clause) };
    }
  }
}

/** Returns the number of entries that `portEntries` returns. */
export function countPortEntries({ any, protocols }: Coverage): number {
  let count = any === Infinity ? 0 : 1;
  for (const { whole, runs } of protocols.values()) {
    if (whole !== Infinity) count += 1;
    for (const { first, last } of runs) count += first === last ? 1 : countBlocks(first, last);
  }
  return count;
}

function countBlocks(first: number, last: number): number {
  let count = 0;
  for (let port = first; port <= last; port += 1 << (16 - prefixLength(port, last))) count += 1;
  return count;
}

/** Yields the fewest aligned blocks that make up the interval, as (first port, prefix length). */
function* split(first: number, last: number): Generator<readonly [port: number, length: number]> {
  for (let port = first; port <= last;) {
    const length = prefixLength(port, last);
    yield [port, length];
    port += 1 << (16 - length);
  }
}

/**
 * Returns the prefix length of the largest aligned block that begins with `port` and does not exceed `last`. Never 0,
 * which would also match packets without known ports: a clause that lists every port in pieces does not allow those.
 */
function prefixLength(port: number, last: number): number {
  let length = 16;
  while (length > 1 && (port & ((1 << (17 - length)) - 1)) === 0 && port + (1 << (17 - length)) - 1 <= last) length--;
  return length;
}
