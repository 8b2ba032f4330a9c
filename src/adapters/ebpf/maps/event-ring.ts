/**
 * Event ring: reads the ring buffer of decisions once for all of the agent's readers, and replaces ids by names.
 *
 * An event may be older than the ruleset in force, so that the names of the previous ruleset are kept as well.
 */
import { addressFromBytes } from "../../../model/ip.js";
import { Notifier } from "../../../interfaces/notifier.js";
import type { EventStatistics, FlowRecord, FlowSource } from "../../../interfaces/flows.js";
import type { Verdict } from "../../../model/flow.js";
import type { Rule } from "../../../model/ruleset.js";
import { ABI, EVENT } from "../kernel/abi.generated.js";
import { sumArray } from "./counters.js";
import { allSubjects, type Image } from "../lower/image.js";
import { kernel, type LoadedObject, type Native, type RingHandle } from "../kernel/native.js";

interface Names {
  readonly image: Image;
  readonly workloads: ReadonlyMap<number, string>;
}

/** What an identity profile denies with: it has no rules. */
const IDENTITY = (ABI.RULE_DENIES | ABI.RULE_NONE) >>> 0;

const VERDICTS: ReadonlyMap<number, Verdict> = new Map([
  [ABI.ALLOWED, "allowed"],
  [ABI.DENIED, "denied"],
  [ABI.AUDITED, "audited"],
]);

export class EventRing implements FlowSource {
  readonly #native: Native;
  readonly #maps: LoadedObject["maps"];
  /** The names of the ruleset in force, and of the previous one. */
  #names: readonly Names[] = [];
  /** The rules of the ruleset that flows are evaluated by as well. */
  #coming: Image["rules"] = new Map();
  /** Wakes the reader of flows. */
  readonly #notifier = new Notifier();

  constructor(native: Native, maps: LoadedObject["maps"]) {
    this.#native = native;
    this.#maps = maps;
  }

  /** Adds the names of an image that later events may use. */
  learn(image: Image): void {
    if (this.#names[0]?.image === image) return;
    const workloads = new Map([...allSubjects(image)].map(([workload, { id }]) => [id, workload]));
    this.#names = [{ image, workloads }, ...this.#names.slice(0, 1)];
    this.#notifier.notify();
  }

  /** @param image the ruleset that flows are evaluated by as well; null: none */
  learnComing(image: Image | null): void {
    // Events of a shadow that has ended may still come.
    if (image !== null) this.#coming = image.rules;
  }

  async *flows(signal: AbortSignal): AsyncIterable<readonly FlowRecord[]> {
    let batch: Buffer | null = null;
    const take = (): Buffer | null => batch;
    let ring: RingHandle | null = null;
    try {
      while (this.#names.length === 0 && !isOver(signal)) await this.#notifier.wait(signal);
      if (isOver(signal)) return;
      ring = kernel("Reading the ring of events", () =>
        this.#native.ringOpen(this.#fd("ztap_events"), (records) => {
          batch = records;
          this.#notifier.notify();
        }),
      );
      for (;;) {
        while (take() === null && !isOver(signal)) await this.#notifier.wait(signal);
        const records = take();
        if (records === null || isOver(signal)) return;
        batch = null;
        yield this.#decode(records);
        this.#native.ringTaken(ring);
      }
    } finally {
      if (ring !== null) this.#native.ringClose(ring);
    }
  }

  statistics(): EventStatistics {
    const emitted = sumArray(this.#native, this.#fd("ztap_told"), ABI.EVENT_STATISTICS);
    const of = (index: number): bigint => emitted[index] ?? 0n;
    return {
      eligible: of(ABI.EVENTS_ELIGIBLE),
      delivered: of(ABI.EVENTS_DELIVERED),
      limited: of(ABI.EVENTS_LIMITED),
      lost: of(ABI.EVENTS_LOST),
    };
  }

  #decode(records: Buffer): readonly FlowRecord[] {
    const offset = this.#native.realTimeOffset();
    return Array.from({ length: records.length / EVENT.size }, (_unused, at) =>
      this.#record(records.subarray(at * EVENT.size, (at + 1) * EVENT.size), offset),
    );
  }

  #record(event: Buffer, offset: bigint): FlowRecord {
    const bits = event.readUInt8(EVENT.portBits);
    const protocol = bits < ABI.PORT_PROTOCOL_BITS ? null : event.readUInt8(EVENT.protocol);
    const isWhole = bits === ABI.PORT_FULL_BITS;
    const isIcmp = protocol === ABI.PROTOCOL_ICMP;
    const port = (at: number): number | null => (isWhole && !isIcmp ? event.readUInt16BE(at) || null : null);
    const icmp = event.readUInt16LE(EVENT.icmp);
    const coming = VERDICTS.get(event.readUInt8(EVENT.shadow));
    return {
      timeMs: Number((event.readBigUInt64LE(EVENT.time) + offset) / 1000n) / 1000,
      workload: this.#workload(event.readUInt32LE(EVENT.subject)),
      direction: event.readUInt8(EVENT.direction) === ABI.EGRESS ? "egress" : "ingress",
      verdict: VERDICTS.get(event.readUInt8(EVENT.verdict)) ?? "denied",
      rule: this.#rule((event.readUInt32LE(EVENT.rule) & ~ABI.RULE_DENIES) >>> 0),
      isIdentity: event.readUInt32LE(EVENT.rule) === IDENTITY,
      hook: event.readUInt8(EVENT.hook) === ABI.AT_CALL ? "call" : "packet",
      protocol,
      peer: addressText(event, EVENT.remote, event.readUInt8(EVENT.family)),
      peerPort: port(EVENT.beRemotePort),
      localPort: port(EVENT.beLocalPort),
      icmp: isIcmp && isWhole ? { type: icmp >> 8, code: icmp & 255 } : null,
      ...(coming === undefined ? {} : { shadow: { verdict: coming, rule: this.#comingRule(event) } }),
    };
  }

  #workload(id: number): string | null {
    return this.#names.map(({ workloads }) => workloads.get(id)).find((name) => name !== undefined) ?? null;
  }

  #rule(id: number): Rule | null {
    if (id === 0 || id === ABI.RULE_NONE) return null;
    return this.#names.map(({ image }) => image.rules.get(id)).find((rule) => rule !== undefined) ?? null;
  }

  #comingRule(event: Buffer): Rule | null {
    return this.#coming.get((event.readUInt32LE(EVENT.shadowRule) & ~ABI.RULE_DENIES) >>> 0) ?? null;
  }

  #fd(name: string): number {
    const fd = this.#maps[name];
    if (fd === undefined) throw new TypeError(`no map ${name}`);
    return fd;
  }
}

/** A function, since the value changes while the loop waits. */
function isOver(signal: AbortSignal): boolean {
  return signal.aborted;
}

const AF_INET6 = 10;

/** Returns canonical text (RFC 5952), as in the state. */
function addressText(event: Buffer, at: number, family: number): string {
  return addressFromBytes(event.subarray(at, at + (family === AF_INET6 ? 16 : 4)));
}
