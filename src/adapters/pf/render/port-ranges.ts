/** Port ranges: a range of ports, or of ICMP types and codes, in pf's grammar. */
import type { PortRange } from "../../../model/ruleset.js";

export interface IcmpMatch {
  /** Null: every type. */
  readonly type: number | null;
  /** Null: every code. */
  readonly code: number | null;
}

/**
 * Returns the types and codes of a range. pf stores each number plus one in a byte, so that 255 becomes 0, which means
 * any: such a match is left out, and `isExact` is false.
 */
export function icmpMatches({ first, last }: PortRange): {
  readonly matches: readonly IcmpMatch[];
  readonly isExact: boolean;
} {
  if (first === 0 && last === 65535) return { matches: [{ type: null, code: null }], isExact: true };
  const wanted: IcmpMatch[] = [];
  for (let at = first; at <= last;) {
    const type = at >> 8;
    const end = Math.min(last, (type << 8) | 255);
    if ((at & 255) === 0 && (end & 255) === 255) wanted.push({ type, code: null });
    else for (let code = at & 255; code <= (end & 255); code++) wanted.push({ type, code });
    at = end + 1;
  }
  const matches = wanted.filter(({ type, code }) => type !== 255 && code !== 255);
  return { matches, isExact: matches.length === wanted.length };
}

/**
 * Returns ` port 80:90`; empty for every port, null for an empty range: pf drops packets with port 0 before any rule.
 */
export function portText({ first, last }: PortRange): string | null {
  if (first === 0 && last === 65535) return "";
  const from = Math.max(1, first);
  if (from > last) return null;
  return from === last ? ` port ${from}` : ` port ${from}:${last}`;
}
