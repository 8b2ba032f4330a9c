/**
 * Bench: the programs on a bench, without cgroups and sockets: their test entries run on packets
 * made by hand (BPF_PROG_TEST_RUN) over tables of their own, which nothing pins.
 */
import { join } from "node:path";
import type { Test } from "tap";
import { ABI, CONTROL } from "../../src/adapters/ebpf/kernel/abi.generated.js";
import { KernelCounters, readCounters } from "../../src/adapters/ebpf/maps/counters.js";
import { EventRing } from "../../src/adapters/ebpf/maps/event-ring.js";
import type { Image } from "../../src/adapters/ebpf/lower/image.js";
import { closeObject } from "../../src/adapters/ebpf/kernel/load.js";
import { shadowImage } from "../../src/adapters/ebpf/shadow.js";
import { lower } from "../../src/adapters/ebpf/lower/lower.js";
import { defaultNativeDir, loadNative } from "../../src/adapters/ebpf/kernel/native.js";
import { NO_SLOT, slotSharesOf } from "../../src/adapters/ebpf/maps/slot-shares.js";
import { decodeStorage, encodeStorage, withSet } from "../../src/adapters/ebpf/maps/cgroup-storage.js";
import { ShadowCounts } from "../../src/adapters/ebpf/maps/shadow-counts.js";
import { TableSets } from "../../src/adapters/ebpf/maps/table-sets.js";
import type { Direction, Rule, Ruleset } from "../../src/model/ruleset.js";
import type { Observation, ShadowTotals } from "../../src/interfaces/enforcer.js";
import { packet, type PacketSpec } from "./packets.js";
import { BY_IDENTITY, type Decided, type Step } from "./reference.js";

const PROGRAMS = ["ztap_test_ingress", "ztap_test_egress"] as const;
const VERDICTS = ["none", "allowed", "denied", "audited"] as const;
const IDENTITY = (ABI.RULE_DENIES | ABI.RULE_NONE) >>> 0;
/** Bytes of a step and of a result of testRunBatch. */
const RECORD = 16;

export class Bench {
  readonly #native = loadNative();
  readonly #object = this.#native.loadObject(join(defaultNativeDir(), "ztap.bpf.o"), "", PROGRAMS, []);
  readonly #tables = new TableSets(this.#native, this.#object.maps);
  readonly #counters = new KernelCounters(this.#native, this.#object.maps);
  readonly events = new EventRing(this.#native, this.#object.maps);
  #image: Image | null = null;
  readonly #shadow = new ShadowCounts(this.#native, this.#object);
  #ruleset: Ruleset | null = null;
  #coming: Image | null = null;
  readonly #subjects = new Map<string, number>();
  #rules: ReadonlyMap<number, Rule> = new Map();

  constructor(t: Test) {
    t.teardown(async () => {
      await this.#tables.settled();
      closeObject(this.#native, this.#object);
    });
    const control = Buffer.alloc(CONTROL.size);
    control.writeBigUInt64LE(2n, CONTROL.epoch);
    this.#native.mapSet(this.#fd("ztap_control"), Buffer.alloc(4), control);
  }

  async load(ruleset: Ruleset): Promise<void> {
    const image = lower(ruleset);
    await this.#tables.settled();
    if (this.#image !== null) this.#counters.sweep(this.#image);
    this.#counters.prepare(image);
    this.events.learn(image);
    const set = await this.#tables.prepare(image);
    this.#image = image;
    this.#ruleset = ruleset;
    const shares = slotSharesOf(image, this.#counters.subjectSlots());
    [...image.subjects].forEach(([workload, { id, record }], index) => {
      this.#subjects.set(workload, index);
      const key = Buffer.alloc(4);
      key.writeUInt32LE(index);
      const storage = {
        cgroup: 1n,
        subject: id,
        level: 1,
        share: shares.get(id) ?? NO_SLOT,
        areRolesKnown: false,
        isShared: false,
        born: 0,
        isHost: false,
        sets: [record, record],
      } as const;
      this.#native.mapSet(this.#fd("ztap_test_subjects"), key, encodeStorage(storage));
    });
    this.#tables.switch(set);
    this.#rules = image.rules;
  }

  /** Another ruleset of the same workloads, by which what begins is evaluated as well, until the next `load`. */
  async loadShadow(coming: Ruleset): Promise<void> {
    if (this.#ruleset === null) throw new Error("nothing is in force");
    const image = shadowImage(lower(coming), coming, this.#ruleset);
    this.#tables.endShadow();
    await this.#tables.settled();
    this.#shadow.begin(coming.digest, 0);
    const set = await this.#tables.prepare(image);
    for (const [workload, { record }] of image.subjects) {
      const key = Buffer.alloc(4);
      key.writeUInt32LE(this.#subjects.get(workload) ?? -1);
      const held = this.#native.mapGet(this.#fd("ztap_test_subjects"), key);
      if (held === null) throw new Error(`${workload} is in no ruleset`);
      const storage = withSet(decodeStorage(held), set, record);
      this.#native.mapSet(this.#fd("ztap_test_subjects"), key, encodeStorage(storage));
    }
    this.#tables.beginShadow(set);
    this.#coming = image;
  }

  /** As the kernel does by itself. */
  endOverride(): void {
    for (let half = 0; half < 2; half++) this.#native.wordIncrement(this.#fd("ztap_control"), CONTROL.epoch);
  }

  /** What was counted since, with the keys of rules. */
  readShadow(): ShadowTotals & { readonly differences: readonly string[] } {
    const [inForce, coming] = [this.#image, this.#coming];
    if (inForce === null || coming === null) throw new Error("no shadow was loaded");
    const workloads = new Map([...inForce.subjects].map(([workload, { id }]) => [id, workload]));
    const differences = this.#shadow
      .counts()
      .map(
        ({ subject, direction, effect, rule, comingRule, count }) =>
          `${workloads.get(subject)} ${direction} ${effect} ${inForce.rules.get(rule)?.key} ${coming.rules.get(comingRule)?.key} ${count}`,
      );
    return { ...this.#shadow.totals(), differences: differences.sort() };
  }

  /** Runs the steps in order, at `epoch + step.now` ticks. What a program returns must be its verdict's. */
  decide(steps: readonly Step[], epoch: number): readonly Decided[] {
    const records = Buffer.concat(
      steps.map(({ workload, direction, frame, now }) => this.#record(workload, direction, frame.length, epoch + now)),
    );
    return this.#run(Buffer.concat(steps.map(({ frame }) => frame)), records, (verdict, rule) => ({
      verdict,
      rule: rule === 0 ? null : this.#nameOf(rule),
    }));
  }

  #nameOf(rule: number): string {
    if (rule === IDENTITY) return BY_IDENTITY;
    return this.#rules.get((rule & ~ABI.RULE_DENIES) >>> 0)?.key ?? `unknown rule ${rule}`;
  }

  /**
   * As `decide`, for very many packets of one workload at one time.
   * @param frames on end, each `length` bytes
   * @returns how many were allowed
   */
  countAllowed(workload: string, direction: Direction, frames: Buffer, length: number, now: number): number {
    const records = Buffer.alloc((frames.length / length) * RECORD, this.#record(workload, direction, length, now));
    return this.#run(frames, records, (verdict) => verdict).filter((verdict) => verdict === "allowed").length;
  }

  #record(workload: string, direction: Direction, length: number, now: number): Buffer {
    const record = Buffer.alloc(RECORD);
    const fields = [direction === "ingress" ? 0 : 1, length, this.#subjects.get(workload) ?? -1, now];
    fields.forEach((field, index) => record.writeUInt32LE(field >>> 0, index * 4));
    return record;
  }

  #run<T>(frames: Buffer, records: Buffer, read: (verdict: Decided["verdict"], rule: number) => T): readonly T[] {
    const programs = PROGRAMS.map((name) => this.#object.programs[name] ?? -1);
    const results = this.#native.testRunBatch(programs, frames, records);
    return Array.from({ length: results.length / RECORD }, (_one, at) => {
      const returned = results.readUInt32LE(at * RECORD);
      const code = results.readUInt32LE(at * RECORD + 4);
      const verdict = VERDICTS[code];
      if (verdict === undefined || verdict === "none" || returned !== (verdict === "denied" ? 0 : 1))
        throw new Error(`the program returned ${returned} with the verdict ${code}`);
      return read(verdict, results.readUInt32LE(at * RECORD + 8));
    });
  }

  passes(workload: string, direction: Direction, spec: PacketSpec): boolean {
    const program = this.#object.programs[`ztap_test_${direction}`] ?? -1;
    const { returned } = this.#native.testRun(program, packet(spec), [this.#subjects.get(workload) ?? -1], 1);
    if (returned !== 0 && returned !== 1) throw new Error(`the program returned ${returned}`);
    return returned === 1;
  }

  /** The arguments of `testRun`, for a thread that loads the addon itself. */
  runOf(workload: string, direction: Direction, spec: PacketSpec, repeat: number) {
    const program = this.#object.programs[`ztap_test_${direction}`] ?? -1;
    const args = [program, packet(spec), [this.#subjects.get(workload) ?? -1], repeat] as const;
    return { addon: join(defaultNativeDir(), "ztap.node"), args };
  }

  /** Runs one packet so many times. @returns nanoseconds for each */
  time(workload: string, direction: Direction, spec: PacketSpec, repeat: number): number {
    const program = this.#object.programs[`ztap_test_${direction}`] ?? -1;
    return this.#native.testRun(program, packet(spec), [this.#subjects.get(workload) ?? -1], repeat).durationNs;
  }

  /** What was counted for the ruleset that was loaded last. */
  counted(): Pick<Observation, "packets" | "counters"> {
    if (this.#image === null) throw new TypeError("nothing was loaded");
    return this.#counters.read(this.#image);
  }

  counters(): readonly bigint[] {
    return readCounters(this.#native, this.#fd("ztap_packets"));
  }

  #fd(name: string): number {
    const fd = this.#object.maps[name];
    if (fd === undefined) throw new Error(`no map ${name}`);
    return fd;
  }
}
