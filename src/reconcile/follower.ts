/**
 * The follower: reads head, makes this machine enforce it, and reports. It learns nothing from events, only from
 * reading, so that one run is enough after any number of missed events. A failure before `apply` leaves the last good
 * ruleset in force.
 */
import { isEmptyDiff } from "../diff/keyed.js";
import { lacksOnlyAttachments, listDrift, movedWorkloads, withoutRestarts } from "../diff/drift.js";
import type { Ruleset } from "../model/ruleset.js";
import type { NodeStatus, SubjectStatus } from "../model/status.js";
import { compile } from "../policy/compile/compile.js";
import { NO_NAMES, type FlowNames } from "../policy/flow-names.js";
import type { LastGoodState } from "../interfaces/last-good.js";
import type { Enforcer, Observation } from "../interfaces/enforcer.js";
import { EnforcerError } from "../interfaces/enforcer.js";
import type { ManagementAccessReader } from "../interfaces/management-access.js";
import type { Store } from "../interfaces/store.js";
import { StoreError } from "../interfaces/store.js";
import type { Clock } from "../interfaces/system.js";
import type { Telemetry } from "../interfaces/telemetry.js";
import { LockoutError, LockoutGuard } from "./lockout-guard.js";
import { logMoves, reportDrift, undeclaredNode, unexpectedBackend } from "./node-report.js";
import { NodeStatusWriter } from "./node-status.js";
import { LastGoodSnapshot } from "./snapshot.js";
import { TargetCompiler, type Target, type TargetDeps } from "./target.js";

export interface FollowerDeps extends TargetDeps {
  readonly store: Store;
  readonly enforcer: Enforcer;
  /** The last enforced state, for a start without the store; null if none is kept. */
  readonly lastGood: LastGoodState | null;
  /** Reads the connections that no ruleset may cut; null if lock-outs are allowed, or nothing is enforced. */
  readonly managementAccess: ManagementAccessReader | null;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
}

interface RunOptions {
  /** The last good ruleset is restored: the status reports the reason for that, and nothing else. */
  readonly isFallback?: true;
  /** How many differences of a ruleset that was in force this run has healed. */
  readonly healed?: number;
}

const NOTHING_ENFORCED = "nothing is enforced on this node: its agent runs with --backend none";

export class Follower {
  readonly #targets: TargetCompiler;
  readonly #snapshot: LastGoodSnapshot;
  readonly #guard: LockoutGuard;
  readonly #status: NodeStatusWriter;
  /** The target last known to be in force: the machine is kept to it while head cannot be enforced. */
  #good: Target | null = null;
  #enforced: { readonly revision: number; readonly digest: string } | null = null;
  /** The workloads when the whole ruleset was last in force, with their cgroups. */
  #seen: readonly SubjectStatus[] = [];
  #healed = 0;
  /** Stays in the status until there is something worse to report: operators look later. */
  #lastHeal: string | null = null;

  /** @param boot see NodeStatus; null if it is not known */
  constructor(
    private readonly deps: FollowerDeps,
    private readonly node: string,
    boot: string | null = null,
  ) {
    const { enforcer, lastGood, managementAccess, clock, logger } = deps;
    this.#targets = new TargetCompiler(deps, node);
    this.#snapshot = new LastGoodSnapshot(this.#enforces ? lastGood : null, logger);
    this.#guard = new LockoutGuard(this.#enforces ? managementAccess : null, clock);
    this.#status = new NodeStatusWriter(deps, this.#guard, { node, boot, backend: enforcer.backend });
  }

  /** The revision that this node is known to enforce; null before the first success. */
  get enforcedRevision(): number | null {
    return this.#enforces ? (this.#enforced?.revision ?? null) : null;
  }

  /** Gives names to the verdicts of flows. */
  get names(): FlowNames {
    return (this.#good ?? this.#targets.latest)?.names ?? NO_NAMES;
  }

  /** Null if the last run ended in sync; else the reason. */
  get problem(): string | null {
    return this.#status.problem;
  }

  /** Runs once. @throws after it has reported Stalled, so that the loop tries again sooner */
  async reconcile(): Promise<void> {
    const { store, telemetry } = this.deps;
    let attempted: number | null = null;
    let target: Target | null = null;
    try {
      attempted = await store.readHead({ watched: true });
      telemetry.head(attempted);
      target = await this.#readTarget(attempted);
      if (target === null) return await this.#reportEmptyStore();
      await this.#enforce(target);
    } catch (error) {
      telemetry.stalled(true);
      if (error instanceof StoreError) telemetry.storeError();
      await this.#recover(error, attempted, target);
      throw error;
    }
  }

  /**
   * After a failed run. If head cannot be read or compiled, or would lock out, the machine is kept to the last good
   * ruleset: damage is healed and a restarted service is enforced. If head was applied in part, that part stays: it
   * must not flap back and forth.
   */
  async #recover(error: unknown, attempted: number | null, target: Target | null): Promise<void> {
    const isRefused = error instanceof LockoutError;
    const isPartial = target !== null && error instanceof EnforcerError;
    const partial = isPartial ? await this.#tryToObserve(target.ruleset) : null;
    // Beyond the switch, the ruleset before is no longer in force.
    if (isPartial && partial !== null && lacksOnlyAttachments(partial.difference)) this.#good = target;
    const failure = target === null || isRefused ? await this.#tryToFallBack() : null;
    const message = [error, ...(failure === null ? [] : [failure])]
      .map((why) => (why instanceof Error ? why.message : String(why)))
      .join("; the last good ruleset could not be kept to: ");
    let subjects: readonly SubjectStatus[] = [];
    if (error instanceof EnforcerError || isRefused) {
      const inForce = this.#good ?? this.#targets.latest;
      const observed = inForce === target && partial !== null ? partial : await this.#tryToObserve(inForce?.ruleset);
      subjects = observed?.subjects ?? [];
    }
    await this.#report({ attemptedRevision: attempted, state: "Stalled", message, drift: [], subjects });
  }

  /** Returns null if the machine cannot be read: the failure before it says why. */
  async #tryToObserve(ruleset: Ruleset | undefined): Promise<Observation | null> {
    if (ruleset === undefined) return null;
    try {
      return await this.deps.enforcer.observe(ruleset);
    } catch (error) {
      if (error instanceof EnforcerError) return null;
      throw error;
    }
  }

  /** Returns its failure, or null: the failure must not hide the one that led here. */
  async #tryToFallBack(): Promise<unknown> {
    try {
      if (this.#good === null) await this.loadLastGood();
      else await this.#enforce(this.#good, { isFallback: true });
      return null;
    } catch (error) {
      return error;
    }
  }

  /**
   * Enforces the last-good snapshot, for a start without the store. A kernel that enforces another ruleset keeps it: the
   * snapshot may be the older of the two.
   */
  async loadLastGood(): Promise<void> {
    const { enforcer, logger } = this.deps;
    const state = await this.#snapshot.read();
    if (state === null) return;
    const target = await this.#targets.compile(state);
    const { isEnforcing, difference } = await enforcer.observe(target.ruleset);
    if (isEnforcing && !lacksOnlyAttachments(difference)) {
      logger.debug("this kernel enforces another ruleset than the copy on this node's disk, which stays");
      return;
    }
    if (!isEnforcing && target.ruleset.subjects.length > 0)
      logger.warn(`enforcing revision ${state.revision.number} from the copy on this node's disk`);
    await this.#enforce(target, { isFallback: true });
  }

  /** An empty store ends no enforcement: an earlier agent may have used another store. */
  async #reportEmptyStore(): Promise<void> {
    const { isEnforcing } = await this.deps.enforcer.observe(compile(new Map(), this.node));
    const message = isEnforcing
      ? "the store has no revision, but this kernel enforces an earlier one, which stays in force; is it the right store?"
      : "nothing was committed yet: nothing is enforced";
    await this.#report({ attemptedRevision: null, state: "Stalled", message, drift: [], subjects: [] });
  }

  async #readTarget(head: number | null): Promise<Target | null> {
    if (head === null) {
      if (this.#good === null) await this.loadLastGood();
      if (this.#good === null) return null;
      throw new StoreError(
        "revision-missing",
        `the store is empty, but revision ${this.#good.revision.number} was in force; it stays in force here`,
      );
    }
    const { target, state } = await this.#targets.read(head);
    if (state !== undefined) this.#snapshot.propose(state);
    return target;
  }

  async #enforce(target: Target, options: Pick<RunOptions, "isFallback"> = {}): Promise<void> {
    const { enforcer, clock, telemetry } = this.deps;
    const { ruleset } = target;
    const before = await enforcer.observe(ruleset);
    if (isEmptyDiff(before.difference)) return await this.#settle(target, before, options);

    const wasEnforced = this.#enforced?.digest === ruleset.digest;
    // A fallback was in force before: after a reboot, a session that came first must not prevent it.
    if (!wasEnforced && options.isFallback !== true) await this.#guard.check(target);
    const drift = withoutRestarts(before.difference, movedWorkloads(this.#seen, before.subjects));
    const isHealing = wasEnforced && !isEmptyDiff(drift);
    if (isHealing) {
      await this.#report({
        attemptedRevision: target.revision.number,
        state: "Drifted",
        message: null,
        drift: reportDrift(drift, telemetry, this.deps.logger),
        subjects: before.subjects,
      });
    }
    const started = clock.monotonic();
    const after = await enforcer.apply(ruleset);
    if (isEmptyDiff(after.difference)) {
      const policies = new Set(
        ruleset.subjects.flatMap(({ ingress, egress }) => [...ingress.policies, ...egress.policies]),
      ).size;
      telemetry.enforced({ policies, durationMs: clock.monotonic() - started });
    }
    const healed = isHealing ? drift.missing.length + drift.changed.length + drift.extra.length : 0;
    await this.#settle(target, after, { ...options, healed });
  }

  #noteHealed(count: number): void {
    const { telemetry, logger } = this.deps;
    this.#healed += count;
    telemetry.healed(count);
    this.#lastHeal = `healed ${count} ${count === 1 ? "difference" : "differences"}`;
    logger.warn(this.#lastHeal);
  }

  /** Ends a run that left the machine as observed. */
  async #settle(target: Target, observation: Observation, options: RunOptions): Promise<void> {
    const { difference, subjects, packets, escapes } = observation;
    this.deps.telemetry.packets(packets);
    this.deps.telemetry.escapes(escapes);
    if (isEmptyDiff(difference)) {
      await this.#noteEnforced(target, subjects);
      if (options.healed !== undefined && options.healed > 0) this.#noteHealed(options.healed);
    }
    if (options.isFallback === true) return;
    const { number } = target.revision;
    const drift = listDrift(difference);
    const problem = this.#enforces ? this.#describeProblems(target, subjects) : NOTHING_ENFORCED;
    if (!this.#enforces && this.problem !== problem) this.deps.logger.warn(problem, { revision: number });
    await this.#report({
      attemptedRevision: number,
      state: drift.length > 0 ? "Drifted" : problem !== "" ? "Stalled" : "InSync",
      message: problem === "" ? this.#lastHeal : problem,
      drift,
      subjects,
    });
  }

  async #noteEnforced(target: Target, subjects: readonly SubjectStatus[]): Promise<void> {
    const { logger, telemetry } = this.deps;
    const { revision, ruleset } = target;
    if (this.#enforces) {
      if (this.#enforced?.revision !== revision.number) {
        const facts = { digest: ruleset.digest, subjects: ruleset.subjects.length };
        logger.info(`enforcing revision ${revision.number}`, facts);
      }
      telemetry.inForce(revision.number);
    }
    logMoves(this.#seen, subjects, logger);
    this.#seen = subjects;
    this.#enforced = { revision: revision.number, digest: ruleset.digest };
    this.#good = target;
    await this.#snapshot.keep(revision);
  }

  /** Returns the reasons why the node is not in sync though it has not drifted; empty for none. */
  #describeProblems(target: Target, subjects: readonly SubjectStatus[]): string {
    const undeclared = undeclaredNode(target.revision, this.node);
    if (undeclared !== null && this.problem?.includes(undeclared) !== true) this.deps.logger.warn(undeclared);
    return [
      undeclared,
      unexpectedBackend(target, this.deps.enforcer.backend),
      ...subjects
        .filter(({ state }) => state === "Stalled")
        .map(({ workload, message }) => `${workload}: ${message ?? "cannot be enforced"}`),
    ]
      .filter((reason) => reason !== null)
      .join("; ");
  }

  get #enforces(): boolean {
    return this.deps.enforcer.backend !== "none";
  }

  async #report({
    attemptedRevision,
    ...content
  }: Pick<NodeStatus, "attemptedRevision" | "state" | "message" | "drift" | "subjects">): Promise<void> {
    await this.#status.write({
      attemptedRevision,
      enforcedRevision: this.enforcedRevision,
      rulesetDigest: this.#enforces ? (this.#enforced?.digest ?? null) : null,
      healed: this.#healed,
      ...content,
    });
  }
}
