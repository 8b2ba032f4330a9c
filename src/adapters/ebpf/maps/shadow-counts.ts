/**
 * Shadow counts: what two rulesets decide differently, counted by the programs in pinned per-CPU maps that outlive agents, with a record of
 * which two rulesets these are.
 */
import type { ShadowCount, ShadowTotals } from "../../../interfaces/enforcer.js";
import type { Direction } from "../../../model/ruleset.js";
import { ABI, SHADOW, SHADOW_KEY } from "../kernel/abi.generated.js";
import { kernel, type LoadedObject, type Native } from "../kernel/native.js";
import { mapOf } from "../kernel/load.js";
import { hashText } from "../lower/ids.js";
import { sumArray } from "./counters.js";

const WORD = 8;
/** The differences of what stands that are counted apart: programs need the rest of the room. */
const MOST_OF_LIVE = ABI.MAX_DIFFERENCES / 4;
const ZERO_KEY = Buffer.alloc(4);

/** As ShadowCount, with the kernel's ids. */
export interface RawShadowCount extends Pick<ShadowCount, "effect" | "count"> {
  readonly direction: Direction;
  readonly subject: number;
  /** 0: none. */
  readonly rule: number;
  readonly comingRule: number;
}

/** What stands when a shadow begins. */
export interface LiveDifferences {
  /** Connections and flows that are allowed now. */
  readonly evaluated: number;
  /** What the coming ruleset would cut of these. */
  readonly differences: readonly RawShadowCount[];
}

const NOTHING_LIVE: LiveDifferences = { evaluated: 0, differences: [] };

export class ShadowCounts {
  constructor(
    private readonly native: Native,
    private readonly object: LoadedObject,
  ) {}

  /** Whether the counts are of these rulesets. */
  isOf(key: string): boolean {
    return this.#record()?.readBigUInt64LE(SHADOW.identity) === identityOf(key);
  }

  /** Begins again, with what the agent has evaluated by itself. Only when no program counts. */
  begin(key: string, now: number, live: LiveDifferences = NOTHING_LIVE): void {
    kernel("Clearing the counts of a coming ruleset", () => {
      const counts = mapOf(this.object, "ztap_shadow_counts");
      const totals = mapOf(this.object, "ztap_shadow_totals");
      // In this order: killed in between, the next agent begins again as well.
      this.native.mapSet(mapOf(this.object, "ztap_shadow"), ZERO_KEY, Buffer.alloc(SHADOW.size));
      this.native.mapDelete(counts, this.native.mapRead(counts).keys);
      const indexes = Buffer.alloc(ABI.SHADOW_TOTALS * 4);
      for (let index = 0; index < ABI.SHADOW_TOTALS; index++) indexes.writeUInt32LE(index, index * 4);
      this.native.mapWrite(totals, indexes, Buffer.alloc(ABI.SHADOW_TOTALS * WORD));
      this.#add(live);
      const record = Buffer.alloc(SHADOW.size);
      record.writeBigUInt64LE(identityOf(key), SHADOW.identity);
      record.writeBigUInt64LE(BigInt(Math.trunc(now)), SHADOW.since);
      this.native.mapSet(mapOf(this.object, "ztap_shadow"), ZERO_KEY, record);
    });
  }

  #add({ evaluated, differences }: LiveDifferences): void {
    const counts = mapOf(this.object, "ztap_shadow_counts");
    const sums = new Map<string, { readonly key: Buffer; count: number }>();
    for (const one of differences) {
      const key = encodeKey(one);
      const sum = sums.get(key.toString("hex")) ?? { key, count: 0 };
      sum.count += one.count;
      sums.set(key.toString("hex"), sum);
    }
    const frequent = [...sums.values()].sort((a, b) => b.count - a.count).slice(0, MOST_OF_LIVE);
    for (const { key, count } of frequent) this.native.mapSet(counts, key, this.#onOneCpu(count));
    this.#addTotal(ABI.SHADOW_EVALUATED, evaluated);
    this.#addTotal(ABI.SHADOW_DENIALS, differences.filter(({ effect }) => effect === "denied").length);
    this.#addTotal(ABI.SHADOW_ALLOWS, differences.filter(({ effect }) => effect === "allowed").length);
  }

  #addTotal(index: number, count: number): void {
    const key = Buffer.alloc(4);
    key.writeUInt32LE(index);
    this.native.mapSet(mapOf(this.object, "ztap_shadow_totals"), key, this.#onOneCpu(count));
  }

  /** The value of a per-CPU map whose sum is the count. */
  #onOneCpu(count: number): Buffer {
    const value = Buffer.alloc(this.native.mapGetMany(mapOf(this.object, "ztap_shadow_totals"), ZERO_KEY).length);
    value.writeBigUInt64LE(BigInt(count));
    return value;
  }

  totals(): ShadowTotals {
    const sums = sumArray(this.native, mapOf(this.object, "ztap_shadow_totals"), ABI.SHADOW_TOTALS);
    return {
      sinceMs: Number(this.#record()?.readBigUInt64LE(SHADOW.since) ?? 0n),
      judged: Number(sums[ABI.SHADOW_EVALUATED] ?? 0n),
      newDenials: Number(sums[ABI.SHADOW_DENIALS] ?? 0n),
      newAllows: Number(sums[ABI.SHADOW_ALLOWS] ?? 0n),
    };
  }

  /** Each reason once. */
  counts(): readonly RawShadowCount[] {
    const counts = new Map<string, RawShadowCount>();
    for (const { count, ...reason } of this.#read()) {
      // What the destination refuses has no rule, as what no rule allows: these are one here.
      const key = Object.values(reason).join(" ");
      counts.set(key, { ...reason, count: count + (counts.get(key)?.count ?? 0) });
    }
    return [...counts.values()];
  }

  #read(): readonly RawShadowCount[] {
    const { count, keys, values } = kernel("Reading the counts of a coming ruleset", () =>
      this.native.mapRead(mapOf(this.object, "ztap_shadow_counts")),
    );
    const room = count === 0 ? 0 : values.length / count;
    return Array.from({ length: count }, (_unused, at) => {
      const key = keys.subarray(at * SHADOW_KEY.size, (at + 1) * SHADOW_KEY.size);
      let sum = 0n;
      for (let cpu = 0; cpu < room; cpu += WORD) sum += values.readBigUInt64LE(at * room + cpu);
      return {
        subject: key.readUInt32LE(SHADOW_KEY.subject),
        rule: ruleOf(key.readUInt32LE(SHADOW_KEY.rule)),
        comingRule: ruleOf(key.readUInt32LE(SHADOW_KEY.shadowRule)),
        direction: key.readUInt8(SHADOW_KEY.direction) === ABI.EGRESS ? "egress" : "ingress",
        effect: key.readUInt8(SHADOW_KEY.verdict) === ABI.DENIED ? "denied" : "allowed",
        count: Number(sum),
      };
    });
  }

  #record(): Buffer | null {
    return kernel("Reading the record of a coming ruleset", () =>
      this.native.mapGet(mapOf(this.object, "ztap_shadow"), ZERO_KEY),
    );
  }
}

/** struct ztap_shadow_key */
function encodeKey({ subject, rule, comingRule, direction, effect }: RawShadowCount): Buffer {
  const key = Buffer.alloc(SHADOW_KEY.size);
  key.writeUInt32LE(subject, SHADOW_KEY.subject);
  key.writeUInt32LE(rule, SHADOW_KEY.rule);
  key.writeUInt32LE(comingRule, SHADOW_KEY.shadowRule);
  key.writeUInt8(direction === "egress" ? ABI.EGRESS : ABI.INGRESS, SHADOW_KEY.direction);
  key.writeUInt8(effect === "denied" ? ABI.DENIED : ABI.ALLOWED, SHADOW_KEY.verdict);
  return key;
}

/** Returns the id of a rule, whether it denies or allows; 0 for none: an identity profile has no rules. */
function ruleOf(value: number): number {
  const id = (value & ~ABI.RULE_DENIES) >>> 0;
  return id === ABI.RULE_NONE ? 0 : id;
}

function identityOf(key: string): bigint {
  return (BigInt(hashText(key, 0x510e527f)) << 32n) | BigInt(hashText(key, 0x9b05688c));
}
