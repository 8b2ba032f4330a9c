/**
 * Counters: the packets that each rule allowed, and those of each workload without a rule, in pinned per-CPU maps that
 * outlive rulesets and agents.
 *
 * Guarantees: a rule or workload has its slot before a table uses it; a slot is released when nothing can count there
 * any more, so that two rulesets at most hold slots; the count of a released slot stays in this process's totals.
 */
import type { Verdict } from "../../../model/flow.js";
import type { Direction, Rule } from "../../../model/ruleset.js";
import type {
  Observation,
  PacketCounters,
  PacketTotal,
  RefusalReason,
  RefusalTotal,
  WorkloadPackets,
} from "../../../interfaces/enforcer.js";
import { ABI, RULE_COUNT, SUBJECT_COUNT } from "../kernel/abi.generated.js";
import { hashText } from "../lower/ids.js";
import { allSubjects, type Image } from "../lower/image.js";
import { mapChunks } from "../lower/chunked-map.js";
import type { LoadedObject, Native } from "../kernel/native.js";
import { CounterSlots, sumEntries } from "./counter-slots.js";

const DIRECTIONS = ["ingress", "egress"] as const;
const VERDICTS = ["allowed", "denied", "audited"] as const;
const CODES: Readonly<Record<Verdict, number>> = { allowed: ABI.ALLOWED, denied: ABI.DENIED, audited: ABI.AUDITED };
const WORD = 8;

/** Index into ztap_packets. */
const PACKET_REASONS: readonly (readonly [RefusalReason, number])[] = [
  ["flows-full", ABI.COUNT_FLOWS_FULL],
  ["no-storage", ABI.COUNT_NO_STORAGE],
  ["unset", ABI.COUNT_UNSET],
  ["false-source", ABI.COUNT_FALSE_SOURCE],
  ["icmp-error", ABI.COUNT_ICMP_ERROR],
  ["no-receiver", ABI.COUNT_NO_RECEIVER],
  ["identity", ABI.COUNT_IDENTITY],
  ["no-identity", ABI.COUNT_NO_IDENTITY],
  ["forged-identity", ABI.COUNT_FORGED_IDENTITY],
  ["expired-identity", ABI.COUNT_EXPIRED_IDENTITY],
  ["other-identity", ABI.COUNT_OTHER_IDENTITY],
];

/** Index into ztap_refusals. */
const CHANNEL_REASONS: readonly (readonly [RefusalReason, number])[] = [
  ["socket-family", ABI.REFUSED_FAMILY],
  ["abstract-address", ABI.REFUSED_ABSTRACT],
  ["foreign-socket", ABI.REFUSED_FOREIGN],
  ["error-data", ABI.REFUSED_ERRORS],
];

type Words = readonly bigint[];
type Totals = Map<string, bigint>;

/** The present counts of rules and workloads, by id. */
interface Counted {
  readonly rules: ReadonlyMap<number, Entry>;
  readonly subjects: ReadonlyMap<number, Entry>;
}

interface Entry {
  readonly identity: bigint;
  readonly slot: number;
  readonly words: Words;
}

export class KernelCounters {
  readonly #native: Native;
  readonly #maps: LoadedObject["maps"];
  readonly #rules: CounterSlots;
  readonly #subjects: CounterSlots;
  /** Packets of slots that were released while this process had the maps open. */
  readonly #gone: Totals = new Map();

  constructor(native: Native, maps: LoadedObject["maps"]) {
    this.#native = native;
    this.#maps = maps;
    const slotted = (name: string, size: number, room: number) =>
      new CounterSlots(native, {
        slots: this.#fd(`ztap_${name}_places`),
        counts: this.#fd(`ztap_${name}_counts`),
        size,
        room,
      });
    this.#rules = slotted("rule", RULE_COUNT.size, ABI.RULE_SLOTS);
    this.#subjects = slotted("subject", SUBJECT_COUNT.size, ABI.SUBJECT_SLOTS);
  }

  /** Before the switch: assigns slots to the rules and workloads of the image. */
  prepare(image: Image): void {
    this.#rules.assign(ruleIdentities(image));
    this.#subjects.assign(subjectIdentities(image));
  }

  /** Returns the slots by subject id, for the cgroups' storage. */
  subjectSlots(): ReadonlyMap<number, number> {
    return new Map([...this.#subjects.held()].map(([id, { slot }]) => [id, slot]));
  }

  /**
   * Releases the slots that the image in force does not use. Only when no program reads an earlier one's tables any
   * more.
   */
  sweep(inForce: Image): void {
    const counted = this.#counted();
    const gone: Counted = {
      rules: without(counted.rules, ruleIdentities(inForce)),
      subjects: without(counted.subjects, subjectIdentities(inForce)),
    };
    addTotals(this.#gone, gone);
    this.#rules.release([...gone.rules.keys()]);
    this.#subjects.release([...gone.subjects.keys()]);
  }

  /** Returns the counts for the rules and workloads of the image, and all packets by direction and verdict. */
  read(image: Image): Pick<Observation, "packets" | "refusals" | "counters"> {
    const counted = this.#counted();
    return {
      packets: this.#totals(counted),
      refusals: this.#refusals(),
      counters: this.#countersOf(image, counted),
    };
  }

  /** Returns all packets by direction and verdict. */
  totals(): readonly PacketTotal[] {
    return this.#totals(this.#counted());
  }

  #counted(): Counted {
    return { rules: entriesOf(this.#rules), subjects: entriesOf(this.#subjects) };
  }

  #totals(counted: Counted): readonly PacketTotal[] {
    const totals: Totals = new Map(this.#gone);
    addTotals(totals, counted);
    // Packets without a slot: of cgroups whose storage was wiped, and during an upgrade.
    const others = readCounters(this.#native, this.#fd("ztap_packets"));
    return DIRECTIONS.flatMap((direction, major) =>
      VERDICTS.map((verdict, minor) => ({
        direction,
        verdict,
        packets: (totals.get(`${direction}/${verdict}`) ?? 0n) + (others[major * VERDICTS.length + minor] ?? 0n),
      })),
    );
  }

  #refusals(): readonly RefusalTotal[] {
    const packets = readCounters(this.#native, this.#fd("ztap_packets"));
    const channels = sumArray(this.#native, this.#fd("ztap_refusals"), ABI.CHANNELS);
    return [
      ...PACKET_REASONS.map(([reason, index]) => ({ reason, count: packets[index] ?? 0n })),
      ...CHANNEL_REASONS.map(([reason, index]) => ({ reason, count: channels[index] ?? 0n })),
    ];
  }

  #countersOf(image: Image, counted: Counted): PacketCounters {
    const rules = new Map<string, bigint | null>();
    const identities = new Map(ruleIdentities(image));
    for (const [id, { key }] of image.rules) {
      const entry = counted.rules.get(id);
      const isCounted = entry !== undefined && entry.identity === identities.get(id);
      rules.set(key, isCounted ? rulePackets(entry, 0) + rulePackets(entry, 1) : null);
    }
    const workloads = new Map<string, WorkloadPackets>();
    for (const [workload, { id }] of image.subjects) {
      const entry = counted.subjects.get(id);
      if (entry?.identity !== identityOf(workload)) continue;
      const direction = (major: number): WorkloadPackets["ingress"] => ({
        allowed: subjectPackets(entry, major, "allowed"),
        denied: subjectPackets(entry, major, "denied"),
        audited: subjectPackets(entry, major, "audited"),
      });
      const refusedCalls = entry.words[SUBJECT_COUNT.refusedCalls / WORD] ?? 0n;
      workloads.set(workload, { ingress: direction(0), egress: direction(1), refusedCalls });
    }
    return { rules, workloads };
  }

  #fd(name: string): number {
    const fd = this.#maps[name];
    if (fd === undefined) throw new TypeError(`no map ${name}`);
    return fd;
  }
}

function entriesOf(slots: CounterSlots): ReadonlyMap<number, Entry> {
  const held = slots.held();
  const words = slots.read([...held.values()].map(({ slot }) => slot));
  return new Map([...held].map(([id, one]) => [id, { ...one, words: words.get(one.slot) ?? [] }]));
}

function without(entries: ReadonlyMap<number, Entry>, kept: ReadonlyMap<number, bigint>): ReadonlyMap<number, Entry> {
  return new Map([...entries].filter(([id]) => !kept.has(id)));
}

function ruleIdentities(image: Image): ReadonlyMap<number, bigint> {
  return mapChunks(image.rules, identitiesOf);
}

function subjectIdentities(image: Image): ReadonlyMap<number, bigint> {
  return new Map([...allSubjects(image)].map(([workload, { id }]) => [id, identityOf(workload)]));
}

const identities = new WeakMap<ReadonlyMap<number, Rule>, ReadonlyMap<number, bigint>>();

/** Returns the identities of rules. Rules are immutable, and most occur in one ruleset after another. */
function identitiesOf(rules: ReadonlyMap<number, Rule>): ReadonlyMap<number, bigint> {
  const known = identities.get(rules) ?? new Map([...rules].map(([id, { key }]) => [id, identityOf(key)]));
  identities.set(rules, known);
  return known;
}

/**
 * Returns the identity. Not the hash that makes the ids, so that two rules with the same id by chance have different
 * identities.
 */
function identityOf(text: string): bigint {
  return (BigInt(hashText(text, 0x3c6ef372)) << 32n) | BigInt(hashText(text, 0xa54ff53a));
}

const rulePackets = ({ words }: Entry, major: number): bigint => words[RULE_COUNT.packets / WORD + major] ?? 0n;

/** packets[2][4] */
const subjectPackets = ({ words }: Entry, major: number, verdict: Verdict): bigint =>
  words[SUBJECT_COUNT.packets / WORD + major * 4 + CODES[verdict]] ?? 0n;

/** Adds up totals; a slot that several share counts once. */
function addTotals(totals: Totals, { rules, subjects }: Counted): void {
  const add = (direction: Direction, verdict: Verdict, packets: bigint): void => {
    const key = `${direction}/${verdict}`;
    totals.set(key, (totals.get(key) ?? 0n) + packets);
  };
  const distinct = (entries: ReadonlyMap<number, Entry>): Iterable<Entry> =>
    new Map([...entries.values()].map((entry) => [entry.slot, entry])).values();
  DIRECTIONS.forEach((direction, major) => {
    for (const entry of distinct(rules)) add(direction, "allowed", rulePackets(entry, major));
    for (const entry of distinct(subjects))
      for (const verdict of VERDICTS) add(direction, verdict, subjectPackets(entry, major, verdict));
  });
}

/** Returns packets by index of enum ztap_counter, summed over CPUs. */
export function readCounters(native: Native, fd: number): readonly bigint[] {
  return sumArray(native, fd, ABI.COUNTERS);
}

/** Returns a per-CPU array of 64-bit numbers, each summed over CPUs. */
export function sumArray(native: Native, fd: number, length: number): readonly bigint[] {
  const indexes = Array.from({ length }, (_unused, index) => index);
  return sumEntries(native, fd, indexes, WORD).map(([sum = 0n]) => sum);
}
