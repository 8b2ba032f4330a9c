/**
 * Arithmetic on the two address spaces: CIDRs to intervals of numbers, and back. Parsing an address costs more than
 * evaluating it, so that repeated texts are parsed once.
 */
import { normalizeCidr, parseCidr } from "cidr-tools";

export type Family = 4 | 6;

/** First and last address, both inclusive. */
export interface Interval {
  readonly family: Family;
  readonly start: bigint;
  readonly end: bigint;
}

const BITS: Readonly<Record<Family, number>> = { 4: 32, 6: 128 };

export const FAMILIES: readonly Family[] = [4, 6];

/** Both address spaces as a whole. */
export const EVERYWHERE: readonly Interval[] = FAMILIES.map((family) => ({
  family,
  start: 0n,
  end: (1n << BigInt(BITS[family])) - 1n,
}));

/** Largest number of cached texts. The keys come from packets, so that the cache must be bounded. */
const PARSED_LIMIT = 1 << 16;

/** Parses addresses and CIDRs, each text once. */
export class AddressParser {
  readonly #parsed = new Map<string, Interval>();

  /** @param text canonical text of an address or a CIDR */
  parse(text: string): Interval {
    const known = this.#parsed.get(text);
    if (known !== undefined) return known;
    const { version, start, end } = parseCidr(text);
    const interval: Interval = { family: version === 4 ? 4 : 6, start, end };
    if (this.#parsed.size >= PARSED_LIMIT) this.#parsed.clear();
    this.#parsed.set(text, interval);
    return interval;
  }
}

export function compareIntervals(a: Interval, b: Interval): number {
  return a.family - b.family || (a.start < b.start ? -1 : a.start > b.start ? 1 : 0);
}

/** Returns the fewest CIDRs that make up an interval, ascending. */
export function toCidrs({ family, start, end }: Interval): readonly (Interval & { readonly text: string })[] {
  const cidrs: (Interval & { readonly text: string })[] = [];
  for (let from = start; from <= end;) {
    let hostBits = 0;
    while (hostBits < BITS[family]) {
      const wider = 1n << BigInt(hostBits + 1);
      if (from % wider !== 0n || from + wider - 1n > end) break;
      hostBits += 1;
    }
    const next = from + (1n << BigInt(hostBits));
    cidrs.push({ family, start: from, end: next - 1n, text: `${toAddress(family, from)}/${BITS[family] - hostBits}` });
    from = next;
  }
  return cidrs;
}

function toAddress(family: Family, value: bigint): string {
  if (family === 4) return [24n, 16n, 8n, 0n].map((shift) => String((value >> shift) & 255n)).join(".");
  const groups = Array.from({ length: 8 }, (_, index) => (value >> BigInt(112 - 16 * index)) & 0xffffn);
  return normalizeCidr(groups.map((group) => group.toString(16)).join(":"));
}

/** A set of intervals, which may overlap; joined for a binary search. */
export class AddressSet {
  readonly #intervals: Readonly<Record<Family, readonly Interval[]>>;

  constructor(intervals: readonly Interval[]) {
    const sorted = intervals.toSorted(compareIntervals);
    this.#intervals = {
      4: joinAdjacent(sorted.filter(({ family }) => family === 4)),
      6: joinAdjacent(sorted.filter(({ family }) => family === 6)),
    };
  }

  /** Returns whether the interval's first address is in the set. */
  has({ family, start }: Interval): boolean {
    return this.#at(family, start) !== undefined;
  }

  /** Returns whether all of an interval is in the set. */
  contains({ family, start, end }: Interval): boolean {
    return (this.#at(family, start)?.end ?? -1n) >= end;
  }

  /** Returns whether any address of an interval is in the set. */
  meets({ family, start, end }: Interval): boolean {
    const next = this.#intervals[family][this.#search(family, start)];
    return next !== undefined && next.start <= end;
  }

  #at(family: Family, address: bigint): Interval | undefined {
    const interval = this.#intervals[family][this.#search(family, address)];
    return interval !== undefined && interval.start <= address ? interval : undefined;
  }

  /** Returns the index of the first interval that does not end before the address. */
  #search(family: Family, address: bigint): number {
    const intervals = this.#intervals[family];
    let [low, high] = [0, intervals.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((intervals[middle]?.end ?? address) < address) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** Also those that overlap. */
function joinAdjacent(sorted: readonly Interval[]): readonly Interval[] {
  const joined: Interval[] = [];
  for (const interval of sorted) {
    const last = joined.at(-1);
    if (last === undefined || interval.start > last.end + 1n) joined.push(interval);
    else if (interval.end > last.end) joined[joined.length - 1] = { ...last, end: interval.end };
  }
  return joined;
}

/**
 * Returns the first address of an interval that lies in a part for which `has` holds. `has` must hold for the interval
 * itself.
 */
export function firstAddress(interval: Interval, has: (part: Interval) => boolean): string {
  let { start, end } = interval;
  while (start < end) {
    const middle = (start + end) / 2n;
    if (has({ ...interval, start, end: middle })) end = middle;
    else start = middle + 1n;
  }
  return toAddress(interval.family, start);
}
