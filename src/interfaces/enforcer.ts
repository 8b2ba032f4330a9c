/**
 * Enforcer: makes the machine hold what a ruleset says, and tells what it really holds.
 *
 * The follower does: lower(ruleset) → observe() → diff → apply(target) → observe() → drift.
 *
 * Guarantees of every backend:
 *  - `lower` is pure and deterministic: equal rulesets give equal items;
 *  - `observe` reads what is really there (kernel, pf), never what was last written;
 *  - `apply` never passes through a state that allows what both the old and the new ruleset deny,
 *    nor one that denies what both allow, whenever it is interrupted, SIGKILL included;
 *  - closing the enforcer leaves enforcement in force; only `remove` takes it away.
 */
import type { Verdict } from "../model/flow.js";
import type { Direction, Profile, Rule, Ruleset, Subject } from "../model/ruleset.js";
import type { SubjectStatus } from "../model/status.js";
import type { FlowSource } from "./flows.js";

/** One thing that the machine holds or must hold, as a keyed value, so that one keyed diff serves all backends. */
export interface EnforcementItem {
  /** Unique, stable: `link/<workload>/<hook>`, `addr/…`, `port/…`, `subject/…`, `control/…`. */
  readonly key: string;
  /** Equal values mean equal behaviour. */
  readonly value: string;
  /** `link`: an attachment, whose absence is reported as detached. */
  readonly type: "link" | "entry";
  /** One phrase for people: "ingress program on demo/web". */
  readonly label: string;
  readonly workload?: string;
  readonly policies?: readonly string[];
}

export type ItemSet = ReadonlyMap<string, EnforcementItem>;

export interface Observation {
  readonly items: ItemSet;
  /**
   * Whether each workload can be enforced now, and why not (no cgroup yet: Pending; no cgroup at all: Stalled).
   * `Enforced` becomes true only together with the items: see `judgeSubjects`.
   */
  readonly subjects: readonly SubjectStatus[];
  /** Packets by verdict and direction: of what counts now, and of what was taken away since the enforcer was opened. */
  readonly packets: readonly PacketTotal[];
  readonly counters: PacketCounters;
}

export interface PacketTotal {
  readonly direction: Direction;
  readonly verdict: Verdict;
  readonly packets: bigint;
}

/**
 * Every packet that was judged is counted once: for the rule that allowed it, or for its workload. A count goes on
 * while its rule or workload is in the ruleset, through other rulesets and other agents.
 */
export interface PacketCounters {
  /** Packets that passed because of a rule, answers among them, by the rule's key; null where there is no room to count it. */
  readonly rules: ReadonlyMap<string, bigint | null>;
  /** By workload. */
  readonly workloads: ReadonlyMap<string, WorkloadPackets>;
}

/** What no rule decided: allowed where nothing isolates, denied and audited where no rule allows. */
export interface WorkloadPackets {
  readonly ingress: Readonly<Record<Verdict, bigint>>;
  readonly egress: Readonly<Record<Verdict, bigint>>;
  /** Connects and sends that were refused before there was a packet. */
  readonly refusedCalls: bigint;
}

/** Of a backend that counts nothing. */
export const NO_COUNTERS: PacketCounters = { rules: new Map(), workloads: new Map() };

export interface Enforcer {
  /** `ebpf`, `pf` or `none`. */
  readonly backend: string;
  /** Null where the backend cannot tell what it decides. */
  readonly flowSource: FlowSource | null;
  /** What the machine must hold for this ruleset when every workload is present. Pure. */
  lower(ruleset: Ruleset): ItemSet;
  /** Loads or adopts what this backend needs on the machine. Call once, before anything below. @throws EnforcerError */
  open(): Promise<void>;
  observe(ruleset: Ruleset): Promise<Observation>;
  apply(ruleset: Ruleset): Promise<void>;
  /**
   * Yields when something on the machine changed that a new run should look at (a workload's cgroup
   * appeared). Only a wake-up: losing one costs a check interval. Ends when the signal aborts.
   */
  watch(signal: AbortSignal): AsyncIterable<void>;
  /** Leaves enforcement in force; frees this process's handles, and where nothing is enforced what it made for that. */
  close(): Promise<void>;
}

/** Entries of a backend's two kinds of tables. */
export interface TableSize {
  readonly addresses: number;
  readonly ports: number;
}

/** What one node of a backend can hold, told without a machine: pure, and in proportion to what it counts. */
export interface Capacity {
  readonly limit: TableSize;
  /** What the two are called where too many are wanted. */
  readonly words: Readonly<Record<keyof TableSize, string>>;
  /** Whether the subject takes any room at all. */
  holds(subject: Subject): boolean;
  /** Exact or a little more; or beyond the limit. */
  profile(profile: Profile): TableSize;
  subject(subject: Subject): TableSize;
  /** What the backend cannot say of the workloads of one node; their policies would not be enforced as they stand. */
  refuse(ruleset: Ruleset): readonly Refusal[];
}

/** What a backend cannot say, and so does not enforce. */
export interface Refusal {
  readonly workload: string;
  /** The rule that asks for it; absent: the workload itself does. */
  readonly rule?: Rule;
  readonly message: string;
  readonly fix: string;
}

export type EnforcerErrorCode =
  "unsupported" | "not-permitted" | "verifier" | "kernel" | "limit" | "abi-version" | "busy";

export class EnforcerError extends Error {
  override readonly name = "EnforcerError";
  constructor(
    readonly code: EnforcerErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
