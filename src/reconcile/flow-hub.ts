/**
 * Flow hub: reads the backend's events once, adds the names of the state in force, keeps the recent ones, and passes
 * them to every reader. A reader that is too slow loses events and gets their number; it delays no other reader.
 */
import {
  isSubjectOf,
  matchesFlow,
  type FlowEvent,
  type FlowGap,
  type FlowMessage,
  type FlowQuery,
  type FlowRefusal,
  type FlowRule,
} from "../model/flow.js";
import type { Rule } from "../model/ruleset.js";
import { protocolName } from "../model/protocol.js";
import { suggest } from "../model/suggest.js";
import type { FlowNames } from "../policy/flow-names.js";
import type { EventStatistics, FlowFeed, FlowRecord, FlowSource } from "../interfaces/flows.js";
import { Notifier } from "../interfaces/notifier.js";
import type { Clock } from "../interfaces/system.js";
import type { Telemetry } from "../interfaces/telemetry.js";

export interface FlowDeps {
  readonly clock: Clock;
  readonly telemetry: Pick<Telemetry, "flows">;
}

/** The names of the states by which flows are evaluated. */
export interface FlowStates {
  readonly inForce: () => FlowNames;
  /** Absent: there is no coming one. */
  readonly coming?: () => FlowNames;
}

/** Number of recent events kept for later readers. */
const RECENT = 2_048;
/** Length of a reader's queue, in addition to the recent events. */
const QUEUE = 8_192;
/**
 * Delay after the last event until the statistics are read once more, so that events limited at the end are reported
 * too.
 */
const SETTLE_MS = 1_000;

export class FlowHub implements FlowFeed {
  readonly #recent: FlowMessage[] = [];
  readonly #readers = new Set<Reader>();
  #statistics: EventStatistics;

  constructor(
    private readonly source: FlowSource,
    private readonly deps: FlowDeps,
    private readonly node: string,
    private readonly names: FlowStates,
  ) {
    this.#statistics = source.statistics();
  }

  /** Reads until the signal aborts. Its readers end with it. */
  async run(signal: AbortSignal): Promise<void> {
    let settle = new AbortController();
    this.deps.telemetry.flows(this.#statistics);
    try {
      for await (const records of this.source.flows(signal)) {
        settle.abort();
        for (const record of records) this.#emit(nameFlow(record, this.node, this.names));
        this.#audit();
        settle = new AbortController();
        void this.#auditLater(AbortSignal.any([signal, settle.signal]));
      }
    } finally {
      settle.abort();
      for (const reader of this.#readers) reader.end();
    }
  }

  async #auditLater(signal: AbortSignal): Promise<void> {
    await this.deps.clock.sleep(SETTLE_MS, signal);
    if (!signal.aborted) this.#audit();
  }

  /** Emits a gap if events were limited or lost since the last call. */
  #audit(): void {
    const before = this.#statistics;
    const statistics = this.source.statistics();
    this.#statistics = statistics;
    this.deps.telemetry.flows(statistics);
    const [limited, lost] = [Number(statistics.limited - before.limited), Number(statistics.lost - before.lost)];
    if (limited > 0 || lost > 0) this.#emit(this.#gap({ limited, lost, dropped: 0 }));
  }

  #gap(counts: Pick<FlowGap, "limited" | "lost" | "dropped">): FlowGap {
    return { kind: "gap", time: new Date(this.deps.clock.now()).toISOString(), ...counts };
  }

  #emit(message: FlowMessage): void {
    this.#recent.push(message);
    if (this.#recent.length > RECENT) this.#recent.shift();
    for (const reader of this.#readers) reader.offer(message);
  }

  /** Refuses an unknown workload. A removed workload is accepted while recent events name it. */
  refuse({ workload }: FlowQuery): FlowRefusal | null {
    const { workloads } = this.names.inForce();
    if (workload === null || workloads === null || workloads.some((one) => isSubjectOf(one, workload))) return null;
    if (this.#recent.some((message) => message.kind === "verdict" && message.workload === workload)) return null;
    return { kind: "refusal", node: this.node, workload, meant: suggest(workload, workloads) ?? null };
  }

  async *open(query: FlowQuery, signal: AbortSignal): AsyncIterable<FlowMessage> {
    const reader = new Reader(query, this.#recent);
    if (query.follow && !signal.aborted) {
      this.#readers.add(reader);
      signal.addEventListener("abort", () => reader.end(), { once: true });
    } else reader.end();
    try {
      for (;;) {
        const message = await reader.next(signal);
        if (message === null) return;
        yield typeof message === "number" ? this.#gap({ limited: 0, lost: 0, dropped: message }) : message;
      }
    } finally {
      this.#readers.delete(reader);
    }
  }
}

/** The queue of one reader. */
class Reader {
  readonly #query: FlowQuery;
  readonly #queue: FlowMessage[];
  readonly #limit: number;
  #dropped = 0;
  #hasEnded = false;
  readonly #notifier = new Notifier();

  constructor(query: FlowQuery, remembered: readonly FlowMessage[]) {
    this.#query = query;
    this.#queue = remembered.filter((message) => matchesFlow(query, message));
    this.#limit = this.#queue.length + QUEUE;
  }

  offer(message: FlowMessage): void {
    if (!matchesFlow(this.#query, message)) return;
    if (this.#queue.length >= this.#limit) this.#dropped += message.kind === "verdict" ? 1 : message.dropped;
    else this.#queue.push(message);
    this.#notifier.notify();
  }

  end(): void {
    this.#hasEnded = true;
    this.#notifier.notify();
  }

  /** Returns the next message; the number of dropped events once the queue is read up to them; null at the end. */
  async next(signal: AbortSignal): Promise<FlowMessage | number | null> {
    for (;;) {
      const message = this.#queue.shift();
      if (message !== undefined) return message;
      if (this.#dropped > 0) {
        const dropped = this.#dropped;
        this.#dropped = 0;
        return dropped;
      }
      if (this.#hasEnded) return null;
      await this.#notifier.wait(signal);
    }
  }
}

function nameFlow(record: FlowRecord, node: string, states: FlowStates): FlowEvent {
  const names = states.inForce();
  const { timeMs, workload, direction, verdict, hook, protocol, peer, peerPort, localPort, icmp, rule, shadow } =
    record;
  return {
    kind: "verdict",
    time: new Date(timeMs).toISOString(),
    node,
    workload,
    direction,
    verdict,
    hook,
    protocol: protocol === null ? null : (protocolName(protocol) ?? String(protocol)),
    port: direction === "egress" ? peerPort : localPort,
    icmp,
    localPort,
    peer: { address: peer, port: peerPort, workloads: names.workloadsAt(peer) },
    rule: nameRule(rule),
    policies: workload === null ? [] : names.policiesOf(workload, direction),
    ...(record.isIdentity === true ? { identity: identityOf(record, names) } : {}),
    ...(shadow === undefined
      ? {}
      : {
          shadow: {
            verdict: shadow.verdict,
            rule: nameRule(shadow.rule),
            policies: workload === null ? [] : (states.coming?.().policiesOf(workload, direction) ?? []),
          },
        }),
  };
}

function nameRule(rule: Rule | null): FlowRule | null {
  // No policy has the rule of a workload that a coming ruleset does not have.
  if (rule === null || rule.policy.namespace === "") return null;
  return {
    policy: `${rule.policy.namespace}/${rule.policy.name}`,
    file: rule.file ?? null,
    line: rule.line ?? null,
    index: rule.index,
    direction: rule.direction,
  };
}

function identityOf(
  { workload, peer, peerPort, protocol }: FlowRecord,
  names: FlowNames,
): NonNullable<FlowEvent["identity"]> {
  return {
    destinations: names.ownersOf({ address: peer, protocol: protocol ?? 0, port: peerPort }),
    sharing: workload === null ? [] : names.sharingWith(workload),
  };
}
