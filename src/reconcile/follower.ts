/**
 * The follower: reads what is released to it, makes this machine enforce it, and reports. It learns nothing from events, only from
 * reading, so that one run is enough after any number of missed events. A failure before `apply` leaves the last good
 * ruleset in force. Workloads whose policy would cut management access are withheld: they keep what is in force, and all
 * others follow head.
 */
import { isEmptyDiff } from "../diff/keyed.js";
import { lacksOnlyAttachments, listDrift, movedWorkloads, withoutRestarts } from "../diff/drift.js";
import type { Ruleset } from "../model/ruleset.js";
import type { NodeStatus, SubjectStatus } from "../model/status.js";
import type { ManagementAccess } from "../model/management-access.js";
import { describeWithholding, markWithheld } from "../model/withholding.js";
import { compile } from "../policy/compile/compile.js";
import { listLockouts } from "../policy/lockout.js";
import { NO_NAMES, type FlowNames } from "../policy/flow-names.js";
import type { LastGoodState } from "../interfaces/last-good.js";
import type { Enforcer, Observation } from "../interfaces/enforcer.js";
import { EnforcerError } from "../interfaces/enforcer.js";
import type { ManagementAccessReader } from "../interfaces/management-access.js";
import type { Reachability } from "../interfaces/reachability.js";
import type { Store } from "../interfaces/store.js";
import { StoreError } from "../interfaces/store.js";
import type { Clock } from "../interfaces/system.js";
import type { Telemetry } from "../interfaces/telemetry.js";
import { LockoutError, LockoutGuard } from "./lockout-guard.js";
import { Confirmation, describeReverted } from "./confirmation.js";
import { describeProblems, logMoves, reportDrift } from "./node-report.js";
import { NodeStatusWriter } from "./node-status.js";
import { InForce } from "./in-force.js";
import type { NodeInventory } from "./node-inventory.js";
import type { KnownNodes } from "./peer-identities.js";
import { NodeOverrides } from "./overrides.js";
import { findAnnounced, findLastGood, type Restorable } from "./restore.js";
import { makeSafeTarget } from "./safe-target.js";
import { ShadowWatch } from "./shadow.js";
import { LastGoodSnapshot } from "./snapshot.js";
import { readNodeRelease } from "./release.js";
import { UnenforcedWatch } from "./unenforced.js";
import { TargetCompiler, type Target, type TargetDeps } from "./target.js";

export interface FollowerDeps extends TargetDeps {
  readonly store: Store;
  readonly enforcer: Enforcer;
  /** The last enforced state, for a start without the store; null if none is kept. */
  readonly lastGood: LastGoodState | null;
  /** Reads the connections that no ruleset may cut; null if lock-outs are allowed, or nothing is enforced. */
  readonly managementAccess: ManagementAccessReader | null;
  /** Tries what this node has to reach; null or absent: nothing. */
  readonly reachability?: Reachability | null;
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
  readonly #confirmation: Confirmation;
  readonly #unenforced: UnenforcedWatch;
  readonly #overrides: NodeOverrides;
  readonly #shadow: ShadowWatch;
  /** The newer revision that this node waits for; null: none. */
  #awaited: number | null = null;
  #inForce = InForce.UNKNOWN;
  #healed = 0;
  /** Stays in the status until there is something worse to report: operators look later. */
  #lastHeal: string | null = null;

  /** @param boot see NodeStatus; null if it is not known */
  constructor(
    private readonly deps: FollowerDeps,
    private readonly node: string,
    private readonly boot: string | null = null,
  ) {
    const { enforcer, lastGood, managementAccess, clock, logger } = deps;
    const kept = this.#enforces ? lastGood : null;
    this.#overrides = new NodeOverrides({ ...deps, lastGood: kept }, node);
    const overridden = { ...deps, overrides: () => this.#overrides.current() };
    this.#targets = new TargetCompiler(overridden, node);
    this.#snapshot = new LastGoodSnapshot(kept, logger, boot);
    this.#guard = new LockoutGuard(this.#enforces ? managementAccess : null, clock);
    this.#confirmation = new Confirmation({ ...overridden, lastGood: kept, guard: this.#guard }, node, boot);
    this.#unenforced = new UnenforcedWatch(deps);
    this.#shadow = new ShadowWatch(overridden, node);
    this.#status = new NodeStatusWriter(deps, this.#guard, { node, boot, backend: enforcer.backend });
  }

  /** The last revision that this node is known to have enforced as a whole; null before the first success. */
  get enforcedRevision(): number | null {
    return this.#enforces ? (this.#inForce.complete?.revision ?? null) : null;
  }

  /** Whether this node is known to enforce a revision, or the part of one that is not withheld. */
  get isEnforcing(): boolean {
    return this.#enforces && this.#inForce.complete !== null;
  }

  /** Gives names to the verdicts of flows. */
  get names(): FlowNames {
    return (this.#inForce.target ?? this.#targets.latest)?.names ?? NO_NAMES;
  }

  /** Gives names to what the revision that this node waits for decides otherwise. */
  get comingNames(): FlowNames {
    return this.#shadow.names;
  }

  /** Null if the last run ended in sync; else the reason. */
  get problem(): string | null {
    return this.#status.problem;
  }

  /** The state that was read last as Git declares it, and what nodes reported then; null before. */
  get knownNodes(): KnownNodes | null {
    const { inventory, placed } = this.#targets;
    return inventory === null || placed === null ? null : { objects: inventory.objects, resolution: placed.resolution };
  }

  /** The inventory of the state that was read last; null before. */
  get inventory(): NodeInventory | null {
    return this.#targets.inventory;
  }

  /** Returns whether a run is due since instances that concern this node changed; true if that is not known. */
  async isOutdated(): Promise<boolean> {
    return this.#targets.isOutdated().catch(() => true);
  }

  /** Further facts for people, one a line: what is not enforced, though nothing went wrong. */
  get details(): readonly string[] {
    return this.#unenforced.details;
  }

  /** Tries what a revision on trial has to leave reachable. Returns whether a run is due. */
  checkTrial(): Promise<boolean> {
    return this.#confirmation.check();
  }

  /** Runs once. @throws after it has reported Stalled, so that the loop tries again sooner */
  async reconcile(): Promise<void> {
    const { telemetry } = this.deps;
    let [attempted, target]: [number | null, Target | null] = [null, null];
    try {
      await this.#overrides.load();
      await this.#settleTrial();
      await this.#overrides.read();
      const { revision, awaited } = await readNodeRelease(this.deps, this.node);
      [attempted, this.#awaited] = [revision, awaited];
      target = await this.#readTarget(attempted);
      if (target === null) return await this.#reportEmptyStore();
      if (!(await this.#isReverted(target))) await this.#enforce(target);
    } catch (error) {
      telemetry.stalled(true);
      if (error instanceof StoreError) telemetry.storeError();
      if (!(error instanceof LockoutError && error.isFollowed)) await this.#recover(error, attempted, target);
      throw error;
    }
  }

  /** Confirms the revision on trial, or goes back from it, if it is time. Needs no store. */
  async #settleTrial(): Promise<void> {
    const result = await this.#confirmation.settle();
    if (result.outcome === "confirmed") {
      // In this order: a power cut in between tries the revision again.
      await this.#snapshot.keep(result.target);
      await this.#confirmation.confirm();
      this.#inForce = this.#inForce.switchTo(result.target);
    } else if (result.outcome === "over") {
      await this.#confirmation.revert(result.reason);
      await this.#keepConfirmed();
    }
  }

  /** Returns whether this node went back from the target's revision; then the confirmed one is in force, and reported. */
  async #isReverted({ revision }: Target): Promise<boolean> {
    const reverted = await this.#confirmation.revertedFrom(revision);
    if (reverted === null) return false;
    await this.#keepConfirmed();
    const { ruleset, revision: before } = this.#inForce.target ?? {};
    const subjects = (await this.#tryToObserve(ruleset))?.subjects ?? [];
    const message = describeReverted(reverted, before?.number ?? null);
    await this.#report({ attemptedRevision: revision.number, state: "Stalled", message, drift: [], subjects });
    return true;
  }

  async #keepConfirmed(): Promise<void> {
    const target = await this.#confirmation.confirmed();
    if (target !== null) await this.#enforce(target, { isFallback: true });
  }

  /**
   * After a failed run. If head cannot be read or compiled, or would lock out, the machine is kept to the last good
   * ruleset: damage is healed and a restarted service is enforced. If head was switched to, it is in force: the machine
   * must not flap back and forth.
   */
  async #recover(error: unknown, attempted: number | null, target: Target | null): Promise<void> {
    const isRefused = error instanceof LockoutError;
    const failure = target === null || isRefused ? await this.#tryToFallBack() : null;
    // No part of the revision is followed.
    if (isRefused && target !== null) this.deps.telemetry.withheld(target.ruleset.subjects.length);
    const message = [error, ...(failure === null ? [] : [failure])]
      .map((why) => (why instanceof Error ? why.message : String(why)))
      .join("; the last good ruleset could not be kept to: ");
    let subjects: readonly SubjectStatus[] = [];
    if (error instanceof EnforcerError || isRefused) {
      const { ruleset } = this.#inForce.target ?? this.#targets.latest ?? {};
      subjects = (await this.#tryToObserve(ruleset))?.subjects ?? [];
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
      const { target } = this.#inForce;
      if (target === null) await this.loadLastGood();
      else await this.#enforce(target, { isFallback: true });
      return null;
    } catch (error) {
      return error;
    }
  }

  /**
   * Enforces the state on this node's disk, for a start without the store: first one whose apply an earlier agent announced
   * and did not end. A kernel that enforces another ruleset keeps it.
   */
  async loadLastGood(): Promise<void> {
    const { enforcer, logger } = this.deps;
    await this.#overrides.load();
    const parts = { targets: this.#targets, snapshot: this.#snapshot, guard: this.#guard };
    const deps = { enforcer, logger, boot: this.boot, ...parts };
    try {
      const announced = await findAnnounced(deps);
      if (announced !== null) return await this.#restore(announced);
    } catch (error) {
      if (!(error instanceof EnforcerError)) throw error;
      logger.warn("the state that an earlier agent was about to enforce was not enforced", { error });
    }
    const lastGood = await findLastGood(deps);
    if (lastGood !== null) await this.#restore(lastGood);
  }

  async #restore({ target, isEnforcing }: Restorable): Promise<void> {
    const { revision, ruleset, withholding } = target;
    const part = withholding === null ? "" : "a part of ";
    if (!isEnforcing && ruleset.subjects.length > 0)
      this.deps.logger.warn(`enforcing ${part}revision ${revision.number} from the copy on this node's disk`);
    await this.#enforce(target, { isFallback: true });
    this.#countWithheld(target);
  }

  #countWithheld({ withholding }: Target): void {
    this.deps.telemetry.withheld(withholding?.workloads.length ?? 0);
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
      if (this.#inForce.target === null) await this.loadLastGood();
      const { target } = this.#inForce;
      if (target === null) return null;
      throw new StoreError(
        "revision-missing",
        `the store is empty, but revision ${target.revision.number} was in force; it stays in force here`,
      );
    }
    const { target, state } = await this.#targets.read(head);
    if (state !== undefined) this.#snapshot.propose(state);
    return target;
  }

  async #enforce(wanted: Target, options: Pick<RunOptions, "isFallback"> = {}): Promise<void> {
    const target = this.#confirmation.joined(wanted);
    const before = await this.deps.enforcer.observe(target.ruleset);
    // A ruleset that is in force is not checked again: a session that it denies was opened around it. A fallback was in
    // force before: after a reboot, a session that came first must not prevent it.
    const isKnown = this.#inForce.decidesBy(target.ruleset) || options.isFallback === true;
    const access = isEmptyDiff(before.difference) || isKnown ? null : await this.#guard.read(target.ruleset);
    const isSafe = access === null || listLockouts(target.ruleset, access, target.clients).length === 0;
    if (isSafe) await this.#makeMatch(target, before, options);
    else await this.#enforceSafely(target, access, before);
  }

  /**
   * Enforces a target except for the workloads whose policy would lock out.
   * @throws LockoutError if there are such
   */
  async #enforceSafely(target: Target, access: ManagementAccess, before: Observation): Promise<void> {
    const { enforcer, logger } = this.deps;
    if (this.#inForce.target === null) await this.#tryToFallBack();
    const inForce = this.#inForce.target?.ruleset ?? (before.isEnforcing ? null : compile(new Map(), this.node));
    const enforcedRevision = this.#inForce.complete?.revision ?? null;
    const safe = makeSafeTarget(target, { inForce, enforcedRevision, access }, (withholding) =>
      this.#targets.withhold(target, withholding, this.#inForce.target),
    );
    if (safe.withholding === null) logger.warn(safe.warning, { revision: target.revision.number });
    await this.#makeMatch(safe.target, await enforcer.observe(safe.target.ruleset), {});
    if (safe.withholding !== null) throw new LockoutError(describeWithholding(safe.withholding), true);
  }

  /** Applies the target if the machine differs from it, and reports. */
  async #makeMatch(target: Target, before: Observation, options: RunOptions): Promise<void> {
    const { clock, telemetry } = this.deps;
    const { ruleset } = target;
    const isComplete = isEmptyDiff(before.difference);
    // What of this revision is in force already is mended without a trial.
    const isSettled = isComplete || (!this.#confirmation.isRunning && this.#inForce.isOf(target.revision));
    const trialMs = options.isFallback === true ? null : await this.#confirmation.timeFor(target, isSettled);
    if (trialMs === 0) return await this.#settleTrial();
    if (trialMs !== null) return await this.#try(target, trialMs, options);
    if (isComplete) return await this.#settle(target, before, options);

    const drift = withoutRestarts(before.difference, movedWorkloads(this.#known, before.subjects));
    const isHealing = this.#inForce.wasComplete(ruleset) && !isEmptyDiff(drift);
    if (isHealing) {
      await this.#report({
        attemptedRevision: target.revision.number,
        state: "Drifted",
        message: null,
        drift: reportDrift(drift, telemetry, this.deps.logger),
        subjects: before.subjects,
      });
    }
    if (!this.#inForce.decidesBy(ruleset) && options.isFallback !== true) await this.#snapshot.announce(target);
    const started = clock.monotonic();
    const after = await this.#apply(target);
    if (isEmptyDiff(after.difference)) {
      const policies = new Set(
        ruleset.subjects.flatMap(({ ingress, egress }) => [...ingress.policies, ...egress.policies]),
      ).size;
      telemetry.enforced({ policies, durationMs: clock.monotonic() - started });
    }
    const healed = isHealing ? drift.missing.length + drift.changed.length + drift.extra.length : 0;
    await this.#settle(target, after, { ...options, healed });
  }

  /** Puts the target in force on trial. It is no last-good state before it is confirmed. */
  async #try(wanted: Target, ms: number, options: RunOptions): Promise<void> {
    const { target, observation } = await this.#confirmation.begin(wanted, ms);
    await this.#settle(target, observation, options);
  }

  /** @throws EnforcerError; the target may have been switched to all the same */
  async #apply(target: Target): Promise<Observation> {
    try {
      return await this.deps.enforcer.apply(target.ruleset);
    } catch (error) {
      const found = error instanceof EnforcerError ? await this.#tryToObserve(target.ruleset) : null;
      if (found !== null && lacksOnlyAttachments(found.difference)) this.#inForce = this.#inForce.switchTo(target);
      throw error;
    }
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
    const { difference, packets, escapes, refusals } = observation;
    const subjects = [...observation.subjects, ...target.placed.pending];
    this.deps.telemetry.packets(packets);
    this.deps.telemetry.refusals(refusals);
    this.deps.telemetry.escapes(escapes);
    if (lacksOnlyAttachments(difference)) this.#inForce = this.#inForce.switchTo(target);
    if (isEmptyDiff(difference)) {
      await this.#noteEnforced(target, subjects);
      if (options.healed !== undefined && options.healed > 0) this.#noteHealed(options.healed);
    }
    if (options.isFallback === true) return;
    await this.#shadow.follow(this.#awaited, this.#confirmation.isRunning ? null : this.#inForce.target);
    this.#countWithheld(target);
    const { number } = target.revision;
    const drift = listDrift(difference);
    const problem = this.#enforces ? this.#describeProblems(target, subjects) : NOTHING_ENFORCED;
    // Of undeclared nodes, withheld revisions and drift there are messages of their own.
    const isTold = target.undeclared !== null || target.withholding !== null || drift.length > 0;
    if (problem !== "" && !isTold && this.problem !== problem) this.deps.logger.warn(problem, { revision: number });
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
    const { revision, ruleset, withholding } = target;
    const before = this.#inForce.complete;
    const next = this.#inForce.completeWith(target, subjects);
    const number = next.complete?.revision ?? null;
    if (this.#enforces) {
      const facts = { digest: ruleset.digest, subjects: ruleset.subjects.length };
      const isNew = before?.revision !== number || before.digest !== ruleset.digest;
      if (withholding !== null && isNew)
        logger.warn(`revision ${revision.number} is ${describeWithholding(withholding)}`, facts);
      if (withholding === null && before?.revision !== number)
        logger.info(`enforcing revision ${revision.number}`, facts);
      if (number !== null) telemetry.inForce(number);
    }
    logMoves(this.#known, subjects, logger);
    this.#inForce = next;
    await this.#confirmation.leave(revision);
    if (!this.#confirmation.isRunning) await this.#snapshot.keep(target);
  }

  #describeProblems(target: Target, subjects: readonly SubjectStatus[]): string {
    this.#unenforced.note(target.undeclared, subjects);
    return describeProblems(target, subjects, this.deps.enforcer.backend);
  }

  /** The workloads when the whole ruleset was last in force. */
  get #known(): readonly SubjectStatus[] {
    return this.#inForce.complete?.subjects ?? [];
  }

  get #enforces(): boolean {
    return this.deps.enforcer.backend !== "none";
  }

  /** Reports on the ruleset in force, with the workloads that are withheld from it. */
  async #report({
    attemptedRevision,
    subjects,
    ...content
  }: Pick<NodeStatus, "attemptedRevision" | "state" | "message" | "drift" | "subjects">): Promise<void> {
    const { revision, withholding = null, overriding = [] } = this.#inForce.target ?? {};
    this.deps.telemetry.overrides(overriding.length);
    const withheld =
      revision === undefined || withholding === null
        ? {}
        : { withheld: { revision: revision.number, workloads: withholding.workloads } };
    await this.#status.write({
      attemptedRevision,
      enforcedRevision: this.enforcedRevision,
      rulesetDigest: this.#enforces ? (this.#inForce.complete?.digest ?? null) : null,
      healed: this.#healed,
      ...content,
      subjects: markWithheld(subjects, withholding),
      ...withheld,
      ...(await this.#confirmation.report()),
      ...(overriding.length === 0 ? {} : { overrides: overriding }),
      ...this.#shadow.report(),
    });
  }
}
