/** Pool: what random rulesets and packets are drawn from, small enough that they meet, with the borders among it. */
import { parsePrefix } from "../../src/adapters/ebpf/lower/prefix.js";
import type { Ruleset } from "../../src/model/ruleset.js";
import type { SeededRandom } from "../fakes/random.js";

export class Dice {
  constructor(readonly random: SeededRandom) {}

  below(end: number): number {
    return this.random.below(end);
  }

  chance(percent: number): boolean {
    return this.random.below(100) < percent;
  }

  /** From `low` to `high`, both inclusive. */
  between(low: number, high: number): number {
    return low + this.random.below(high - low + 1);
  }

  pick<T>(list: readonly T[]): T {
    const found = list[this.random.below(list.length)];
    if (found === undefined) throw new TypeError("nothing to pick from");
    return found;
  }

  some<T>(most: number, make: () => T): readonly T[] {
    return Array.from({ length: this.below(most + 1) }, make);
  }

  /** Weights need not add up to anything. */
  weighted<T>(choices: readonly (readonly [weight: number, value: T])[]): T {
    let at = this.below(choices.reduce((sum, [weight]) => sum + weight, 0));
    for (const [weight, value] of choices) {
      if (at < weight) return value;
      at -= weight;
    }
    throw new TypeError("nothing to choose from");
  }
}

const HOSTS: Readonly<Record<4 | 6, readonly string[]>> = {
  4: [
    ...["10.0.0.1", "10.0.0.2", "10.0.0.128", "10.1.2.3", "10.255.255.255", "11.0.0.0", "192.0.2.7", "192.0.2.200"],
    ...["0.0.0.0", "255.255.255.255", "127.0.0.1", "127.255.255.255", "224.0.0.251", "169.254.0.1"],
  ],
  6: [
    ...["fd00::1", "fd00::2", "fd00::1:0", "fd00:0:0:1::1", "fd01::7", "fe80::1", "ff02::1", "ff02::fb"],
    ...["::", "::1", "::ffff:10.0.0.1", "::ffff:c000:207", "2001:db8::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
  ],
};
const LENGTHS: Readonly<Record<4 | 6, readonly number[]>> = {
  4: [0, 1, 7, 8, 9, 15, 16, 17, 23, 24, 25, 30, 31, 32, 32],
  6: [0, 1, 3, 7, 8, 10, 16, 32, 48, 63, 64, 65, 96, 97, 126, 127, 128, 128],
};
export const PORTS = [0, 1, 53, 68, 80, 81, 443, 1023, 1024, 8080, 32767, 32768, 65534, 65535] as const;
const BITS = { 4: 32, 6: 128 } as const;

export type Family = 4 | 6;

export function toBits(address: string): bigint {
  const { family, address: hex } = parsePrefix(address);
  return BigInt(`0x${family === 4 ? hex.slice(0, 8) : hex}`);
}

export function toText(family: Family, bits: bigint): string {
  const wrapped = BigInt.asUintN(BITS[family], bits);
  if (family === 4) return [24n, 16n, 8n, 0n].map((shift) => String((wrapped >> shift) & 255n)).join(".");
  const hex = wrapped.toString(16).padStart(32, "0");
  return Array.from({ length: 8 }, (_unused, at) =>
    Number.parseInt(hex.slice(at * 4, at * 4 + 4), 16).toString(16),
  ).join(":");
}

export function anyHost(dice: Dice, family: Family): string {
  const host = dice.pick(HOSTS[family]);
  return dice.chance(70) ? host : toText(family, toBits(host) + BigInt(dice.between(-2, 2)));
}

/** Without host bits. */
export function anyCidr(dice: Dice, family: Family): string {
  const length = dice.pick(LENGTHS[family]);
  const host = BigInt(BITS[family] - length);
  return `${toText(family, (toBits(dice.pick(HOSTS[family])) >> host) << host)}/${length}`;
}

/** A part of `cidr`, narrower by at least one bit; null where there is none. */
export function anyPartOf(dice: Dice, cidr: string): string | null {
  const { family, length } = parsePrefix(cidr);
  const longer = LENGTHS[family].filter((one) => one > length);
  if (longer.length === 0) return null;
  const chosen = dice.pick(longer);
  const start = toBits(cidr.slice(0, cidr.indexOf("/")));
  const inside = start + (BigInt(dice.below(2 ** 30)) << BigInt(BITS[family] - length > 30 ? dice.below(90) : 0));
  const within = start + BigInt.asUintN(BITS[family] - length, inside);
  const host = BigInt(BITS[family] - chosen);
  return `${toText(family, (within >> host) << host)}/${chosen}`;
}

export function anyRange(dice: Dice): readonly [first: number, last: number] {
  if (dice.chance(15)) return [0, 65535];
  const first = dice.chance(80) ? dice.pick(PORTS) : dice.below(65536);
  if (dice.chance(40)) return [first, first];
  const second = dice.chance(80) ? dice.pick(PORTS) : dice.below(65536);
  return first <= second ? [first, second] : [second, first];
}

/** Addresses and ports on both sides of every border of a ruleset: where a mistake would show. */
export interface Borders {
  readonly hosts: Readonly<Record<Family, readonly string[]>>;
  readonly ports: readonly number[];
}

const MAX_BORDERS = 4_000;

export function bordersOf(ruleset: Ruleset): Borders {
  const hosts: Record<Family, Set<string>> = { 4: new Set(HOSTS[4]), 6: new Set(HOSTS[6]) };
  const ports = new Set<number>(PORTS);
  for (const { peers, ports: ranges } of ruleset.profiles.flatMap((profile) => profile.clauses)) {
    for (const cidr of peers === "any" ? [] : peers) {
      const { family, length } = parsePrefix(cidr);
      const first = toBits(cidr.slice(0, cidr.indexOf("/")));
      const last = first + (1n << BigInt(BITS[family] - length)) - 1n;
      if (hosts[family].size > MAX_BORDERS) continue;
      for (const border of [first - 1n, first, last, last + 1n]) hosts[family].add(toText(family, border));
    }
    for (const { first, last } of ranges === "any" ? [] : ranges)
      for (const port of [first - 1, first, last, last + 1]) ports.add(port & 0xffff);
  }
  return { hosts: { 4: [...hosts[4]], 6: [...hosts[6]] }, ports: [...ports] };
}
