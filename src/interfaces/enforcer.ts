/**
 * Enforcer: makes this machine enforce a ruleset, and reports the differences between the ruleset and the machine.
 *
 * The follower calls `observe`; if there is a difference, it calls `apply`, which returns what it read back. The
 * enforcer alone compares: nothing above it sees the items of a whole machine.
 *
 * Guarantees of every backend, held by test/contract/enforcer.ts:
 *  - `lower` is pure and deterministic: equal rulesets give equal items;
 *  - `observe` reads the machine (kernel, pf), never a record of earlier writes;
 *  - at every moment of `apply`, a packet that both rulesets allow passes and one that both deny does not, also if the
 *    process is killed;
 *  - `apply` returns only what it read back after its last write;
 *  - `close` leaves enforcement in force.
 */
import type { Verdict } from "../model/flow.js";
import type { Toleration } from "../model/objects.js";
import type { KeyedDiff } from "../model/keyed-diff.js";
import type { Direction, Profile, Rule, Ruleset, Subject } from "../model/ruleset.js";
import type { SubjectStatus } from "../model/status.js";
import type { FlowSource } from "./flows.js";

/** A keyed value that the machine must hold or holds. One keyed diff serves all backends. */
export interface EnforcementItem {
  /** Unique and stable: `link/<workload>/<hook>`, `addr/…`, `port/…`, `subject/…`, `control/…`. */
  readonly key: string;
  /** Equal values mean equal behaviour. */
  readonly value: string;
  /** `link`: an attachment; a missing one is reported as detached. */
  readonly type: "link" | "entry";
  /** A phrase for people: "ingress program on demo/web". */
  readonly label: string;
  readonly workload?: string;
  readonly policies?: readonly string[];
}

export type ItemSet = ReadonlyMap<string, EnforcementItem>;

/** The state of the machine, against one ruleset. */
export interface Observation {
  /** A workload without a cgroup has no part in it: nothing of it can be missing. */
  readonly difference: KeyedDiff<EnforcementItem>;
  /**
   * All workloads of the ruleset. Enforced: its programs are attached and its records are right. Pending: it has no
   * cgroup yet. Stalled: it cannot be enforced, with the reason.
   */
  readonly subjects: readonly SubjectStatus[];
  /** Of workloads that policy isolates; empty where the backend cannot tell. */
  readonly escapes: readonly Escape[];
  /** Whether any workload is enforced, by whatever ruleset. */
  readonly isEnforcing: boolean;
  /** Packets by verdict and direction: of what counts now, and of what was taken away since the enforcer was opened. */
  readonly packets: readonly PacketTotal[];
  /** What was refused for another reason than a policy's rules; empty where the backend cannot tell. */
  readonly refusals: readonly RefusalTotal[];
  readonly counters: PacketCounters;
}

/** A way in which the processes of an isolated workload act outside of what enforces its policy. */
export interface Escape {
  readonly workload: string;
  readonly kind: Toleration;
  readonly isTolerated: boolean;
  /** A sentence without a full stop, for people. */
  readonly detail: string;
}

/**
 * Packets: flows-full (no room to remember a flow), no-storage (nor for a connection), unset (no ruleset yet), false-source (not the
 * workload's own address), icmp-error (about a flow that no policy allowed), no-receiver (the kernel would have answered for nobody), identity
 * (sent to a workload that does not let the sender in, and would by the address that it shares).
 * SYNs from an address that policy lets in: no-identity, forged-identity (its code is wrong), expired-identity (its code is of
 * yesterday), other-identity (proven, and policy does not name that workload).
 * Calls: socket-family, abstract-address, error-data (IP_RECVERR at a raw socket). Both: foreign-socket (of another cgroup).
 */
export const REFUSAL_REASONS = [
  "flows-full",
  "no-storage",
  "unset",
  "false-source",
  "icmp-error",
  "no-receiver",
  "identity",
  "no-identity",
  "forged-identity",
  "expired-identity",
  "other-identity",
  "socket-family",
  "abstract-address",
  "foreign-socket",
  "error-data",
] as const;

export type RefusalReason = (typeof REFUSAL_REASONS)[number];

export interface RefusalTotal {
  readonly reason: RefusalReason;
  readonly count: bigint;
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

/** A cgroup that was enforced from its birth by a pattern, before anybody knew whose it is. */
export interface WaitingCgroup {
  readonly id: bigint;
  /** The ID of the container that its name tells, empty if it was not kept; null: a pattern matches its path. */
  readonly container: string | null;
}

/** Newborn cgroups that wait until the agent has found out whose they are. */
export interface NewbornCgroups {
  /** @throws EnforcerError */
  waiting(): readonly WaitingCgroup[];
  /**
   * Opens those that are no workload's. One that was removed stays as it is.
   * @param kept paths of cgroups that are a workload's
   * @throws EnforcerError
   */
  release(cgroups: readonly WaitingCgroup[], kept: readonly string[]): void;
}

/**
 * Rulesets on trial: in force until a deadline, at which the machine returns to another ruleset by itself, also if this process
 * is dead by then.
 */
export interface Trials {
  /**
   * Puts a ruleset in force as `apply` does. Unless `end` is called within `ms`, the machine puts `before` in force again.
   * Both must have the same workloads: one that only one of them had would be released, or attached, too early.
   * @returns what was read back
   * @throws EnforcerError
   */
  begin(ruleset: Ruleset, before: Ruleset, ms: number): Promise<Observation>;
  /**
   * What is in force stays so.
   * @returns false if the machine has returned to `before` already
   * @throws EnforcerError
   */
  end(): boolean;
  /** Whether the machine has returned to `before` by itself since `begin`. @throws EnforcerError */
  hasReturned(): boolean;
}

export interface ShadowTotals {
  /** Milliseconds since 1970. */
  readonly sinceMs: number;
  /** First packets, and refused calls, that were evaluated by both rulesets. */
  readonly judged: number;
  /** Of these: what only the coming ruleset denies, or allows. */
  readonly newDenials: number;
  readonly newAllows: number;
}

/** What the coming ruleset decides otherwise, for one reason. */
export interface ShadowCount {
  readonly effect: "denied" | "allowed";
  readonly direction: Direction;
  readonly workload: string;
  /** The rule in force that decides; null: none does, or it is not known any more. */
  readonly rule: Rule | null;
  /** That of the coming ruleset. */
  readonly comingRule: Rule | null;
  readonly count: number;
}

export interface ShadowReading extends ShadowTotals {
  /** Some may be missing where there are very many; the totals are exact. */
  readonly differences: readonly ShadowCount[];
}

/**
 * The shadow of a coming ruleset: what begins a connection or a flow is evaluated by it as well, and decided by what is in force as ever.
 * Where a coming ruleset has other addresses or says otherwise who may send, its own tables are asked, except for proofs of identity in
 * SYNs: these are checked for what is in force.
 */
export interface Shadow {
  /**
   * Replaces the one that stands, if any. Every `apply` and every trial ends it.
   * @param inForce what is in force; `coming` must have its workloads, in its places
   * @param key identifies what is compared: counts of the same key go on, also those of an earlier process
   * @param now milliseconds since 1970: when counts begin that do not go on
   * @throws EnforcerError
   */
  begin(coming: Ruleset, inForce: Ruleset, key: string, now: number): Promise<void>;
  /** Also one that an earlier process has begun. @throws EnforcerError */
  end(): void;
  /** Null if none stands that this process has begun. @throws EnforcerError */
  read(): ShadowReading | null;
}

export interface Enforcer {
  /** Null where the backend can evaluate by one ruleset only, and before `open`; absent where it enforces nothing. */
  readonly shadow?: Shadow | null;
  /** Null where the backend cannot return by itself, and before `open`; absent where it enforces nothing. */
  readonly trials?: Trials | null;
  /** Whether the machine ends overrides by itself: a subject's `override` must be lowered then. */
  readonly endsOverrides?: boolean;
  /** Null where the backend enforces nothing from birth, or enforces nothing yet. */
  readonly newborns?: NewbornCgroups | null;
  /** `ebpf`, `pf` or `none`. */
  readonly backend: string;
  /** Null where the backend cannot tell what it decides. */
  readonly flowSource: FlowSource | null;
  /** Null where the backend cannot prove who sends, and before `open`. */
  readonly peerKeys: PeerKeyTable | null;
  /**
   * Returns what the machine must hold for this ruleset if every workload is present. Pure.
   * @throws EnforcerError `limit`, `unsupported` if the backend cannot enforce it
   */
  lower(ruleset: Ruleset): ItemSet;
  /** Loads or adopts what this backend needs on the machine. Call once, before anything below. @throws EnforcerError */
  open(): Promise<void>;
  observe(ruleset: Ruleset): Promise<Observation>;
  /**
   * Puts the ruleset in force.
   * @returns what was read back: without a difference, unless the machine changed meanwhile
   * @throws EnforcerError; the ruleset before stands as a whole, or this one does except for some workloads
   */
  apply(ruleset: Ruleset): Promise<Observation>;
  /**
   * Yields if something on the machine changed that calls for a new run: a workload's cgroup appeared. Only a wake-up: a
   * lost one costs a check interval. Ends when the signal aborts.
   */
  watch(signal: AbortSignal): AsyncIterable<void>;
  /** Frees this process's handles and leaves enforcement in force. If nothing is enforced, removes what `open` made. */
  close(): Promise<void>;
}

/** The keys that this node shares with the node at an address, by day since 1970 (TAI): 16 bytes each. */
export interface PeerKeys {
  /** Canonical text. */
  readonly address: string;
  readonly days: ReadonlyMap<number, Buffer>;
  /** Those of further nodes that claim the address: only the ones that the table has already are valid then. */
  readonly others?: readonly ReadonlyMap<number, Buffer>[];
}

export interface PeerKeyTable {
  /**
   * Uses these keys, and no others, for the SYNs from and to their addresses. Keys of the same day that they replace stay
   * valid for some minutes.
   * @param how `areSettled`: these were in force before: SYNs must carry an identity at once, without time for the others to hear of
   *   this node's key, and keys of further addresses stay
   * @throws EnforcerError
   */
  write(peers: readonly PeerKeys[], how?: { readonly areSettled?: boolean }): void;
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
  /** All workloads of one node together, apart from their profiles. */
  subjects(subjects: readonly Subject[]): TableSize;
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
