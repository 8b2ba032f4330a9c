/**
 * Confirmation: a new revision is on trial until this node has found that it still reaches store and source and can still be managed.
 * Otherwise the node goes back to the last confirmed revision by itself; see docs/adr/0024-commit-confirmed.md.
 *
 * In this order, so that a kill or a power cut between two steps leads to a confirmed revision: the record of the trial is written,
 * then the ruleset is switched to, with a deadline of the kernel. A confirmed revision is first kept as the last good one.
 */
import { describeEndpoint, type ControlEndpoint } from "../model/management-access.js";
import type { Ruleset } from "../model/ruleset.js";
import type { ObjectSet, Revision } from "../model/state.js";
import type { NodeStatus } from "../model/status.js";
import type { RevertedTrial, RunningTrial, TrialRecord } from "../model/trial.js";
import { listLockouts } from "../policy/lockout.js";
import { withWorkloadsOf } from "../policy/same-workloads.js";
import type { Enforcer, Observation } from "../interfaces/enforcer.js";
import type { LastGoodState } from "../interfaces/last-good.js";
import type { Reachability } from "../interfaces/reachability.js";
import type { Clock } from "../interfaces/system.js";
import type { LockoutGuard } from "./lockout-guard.js";
import { TargetCompiler, type Target, type TargetDeps } from "./target.js";

export interface ConfirmationDeps extends TargetDeps {
  readonly enforcer: Enforcer;
  /** Null if this node keeps none: then a trial does not outlive the agent, but for the kernel's deadline. */
  readonly lastGood: LastGoodState | null;
  /** Null or absent: nothing has to be reached. */
  readonly reachability?: Reachability | null;
  readonly guard: LockoutGuard;
  readonly clock: Clock;
}

/** A revision on trial in this process. */
interface Trial {
  /** The revision on trial, with the workloads of the ruleset before. */
  readonly target: Target;
  /** The revision itself. */
  readonly wanted: Target;
  /** What the node goes back to. */
  readonly before: Ruleset;
  /** Monotonic. */
  readonly until: number;
  /** What was reached before. */
  readonly reached: readonly ControlEndpoint[];
  /** Before, nothing that is tried tells anything. */
  readonly isInForce: boolean;
}

/** What has come of a trial. */
export type TrialOutcome =
  | { readonly outcome: "running" | "none" }
  | { readonly outcome: "confirmed"; readonly target: Target }
  | { readonly outcome: "over"; readonly reason: string };

/** So much earlier than the kernel an agent goes back. */
const KERNEL_MARGIN_MS = 1_000;

/** @param inForce number of the confirmed revision; null if it is not known */
export function describeReverted({ revision, at, reason }: RevertedTrial, inForce: number | null): string {
  const kept = inForce === null ? "the revision before" : `revision ${inForce}`;
  return (
    `revision ${revision} was not confirmed in time, and this node went back from it at ${at}: ${reason}; ` +
    `${kept} is in force, and the next new revision is tried`
  );
}

/** Returns the time in which a node must confirm a revision, in milliseconds; null if it need not. */
function confirmTimeOf(objects: ObjectSet): number | null {
  for (const { object } of objects.values()) {
    const confirm = object.kind === "Cluster" ? object.spec?.rollout?.confirm : undefined;
    if (confirm !== undefined) return Number.parseInt(confirm, 10) * 1000;
  }
  return null;
}

export class Confirmation {
  /** Compiles the confirmed revision, and remembers nothing of head. */
  readonly #targets: TargetCompiler;
  #record: TrialRecord | null = null;
  #isLoaded = false;
  #trial: Trial | null = null;
  /** All that was reached before is reached again. */
  #hasPassed = false;
  /** What was not, when it was tried last. */
  #problem = "it was not checked in time";

  constructor(
    private readonly deps: ConfirmationDeps,
    node: string,
    private readonly boot: string | null,
  ) {
    this.#targets = new TargetCompiler(deps, node);
  }

  /** Whether a revision is on trial in this process. */
  get isRunning(): boolean {
    return this.#trial !== null;
  }

  /** Returns what a status says of a trial. */
  async report(): Promise<Pick<NodeStatus, "unconfirmed" | "reverted">> {
    const record = await this.#read();
    if (record === null || (record.state === "running" && this.#trial === null)) return {};
    const { revision, commitId } = record;
    if (record.state === "running") return { unconfirmed: { revision, until: record.until } };
    return { reverted: { revision, commitId, reason: record.reason, at: record.at } };
  }

  /** Returns the record of the revision that this node went back from; null if it may take this one. */
  async revertedFrom({ commitId }: Revision): Promise<RevertedTrial | null> {
    const record = await this.#read();
    return record?.state === "reverted" && record.commitId === commitId ? record : null;
  }

  /** Compiles the last confirmed revision for what runs here now; null if this node has none. @throws EnforcerError */
  async confirmed(): Promise<Target | null> {
    const state = (await this.deps.lastGood?.read()) ?? null;
    return state === null ? null : this.#targets.restore(state);
  }

  /** Returns the target as it is in force on trial: with the workloads of the ruleset before. */
  joined(target: Target): Target {
    const trial = this.#trial;
    if (trial?.wanted.revision.commitId !== target.revision.commitId) return target;
    if (trial.wanted.ruleset === target.ruleset) return { ...target, ruleset: trial.target.ruleset };
    return { ...target, ruleset: withWorkloadsOf(target.ruleset, trial.before) };
  }

  /**
   * Returns how long the revision of a target is to be on trial, in milliseconds: 0 if its trial is over. Null if it needs no trial.
   * @param isSettled whether the machine has all of it, or had
   * @throws EnforcerError
   */
  async timeFor(target: Target, isSettled: boolean): Promise<number | null> {
    const { commitId } = target.revision;
    const { clock } = this.deps;
    const trial = this.#trial;
    if (trial?.wanted.revision.commitId === commitId) {
      if (this.#isOver(trial)) return 0;
      return isSettled ? null : trial.until - clock.monotonic();
    }
    const left = await this.#leftOver();
    const isLeft = left !== null && (await this.#read())?.commitId === commitId;
    if (isSettled && !isLeft) return null;
    const before = await this.confirmed();
    if (before === null || before.revision.commitId === commitId) return null;
    if (isLeft) return left;
    const ms = confirmTimeOf(target.placed.objects) ?? confirmTimeOf(before.placed.objects);
    return ms !== null && before.ruleset.digest !== target.ruleset.digest ? ms - KERNEL_MARGIN_MS : null;
  }

  /**
   * Puts a revision in force on trial, or goes on with its trial after instances changed.
   * @param ms time that is left to confirm it
   * @returns the target as it is in force, and what was read back
   * @throws EnforcerError; or if the trial could not be recorded, and nothing was changed
   */
  async begin(wanted: Target, ms: number): Promise<{ readonly target: Target; readonly observation: Observation }> {
    const { enforcer, clock, reachability, logger } = this.deps;
    const running = this.#trial?.wanted.revision.commitId === wanted.revision.commitId ? this.#trial : null;
    // Under a revision on trial, also an earlier agent's, it may be cut off already.
    const held = this.#trial ?? (await this.#running());
    const reached = held?.reached ?? (await reachability?.reached()) ?? [];
    const before = (await this.confirmed())?.ruleset;
    if (before === undefined) throw new TypeError("a trial begins over a confirmed revision");
    const { number: revision, commitId } = wanted.revision;
    if (running === null) {
      const until = new Date(clock.now() + ms).toISOString();
      await this.#write({ state: "running", revision, commitId, until, boot: this.boot, reached });
      logger.info(`revision ${revision} is on trial for ${Math.ceil((ms + KERNEL_MARGIN_MS) / 1000)} s`);
    }
    const target = { ...wanted, ruleset: withWorkloadsOf(wanted.ruleset, before) };
    const until = running?.until ?? clock.monotonic() + ms;
    const trial = { target, wanted, before, until, reached, isInForce: false };
    this.#trial = trial;
    this.#hasPassed = false;
    const other = withWorkloadsOf(before, wanted.ruleset);
    const { trials } = enforcer;
    // The agent goes back by itself: the kernel does where it does not.
    const ofKernel = ms + KERNEL_MARGIN_MS;
    const observation = trials
      ? await trials.begin(target.ruleset, other, ofKernel)
      : await enforcer.apply(target.ruleset);
    this.#trial = { ...trial, isInForce: true };
    return { target, observation };
  }

  /** Tries what has to be reached. Returns whether the trial can be settled now. Changes nothing of what is in force. */
  async check(): Promise<boolean> {
    const trial = this.#trial;
    if (trial === null) return false;
    if (this.#hasPassed || this.#isOver(trial)) return true;
    if (!trial.isInForce) return false;
    const problem = (await this.#unreached(trial)) ?? (await this.#lockout(trial));
    if (this.#trial !== trial) return false;
    this.#hasPassed = problem === null;
    if (problem !== null) this.#problem = problem;
    return this.#hasPassed || this.#isOver(trial);
  }

  /**
   * Settles the trial, if it can be.
   * @throws EnforcerError
   */
  async settle(): Promise<TrialOutcome> {
    const trial = this.#trial;
    if (trial === null) {
      const isOver = (await this.#leftOver()) === 0;
      return isOver ? { outcome: "over", reason: "its agent ended before it had confirmed it" } : { outcome: "none" };
    }
    const { trials } = this.deps.enforcer;
    // The kernel's deadline stays until the confirmed revision is applied.
    if (this.#isOver(trial)) return { outcome: "over", reason: this.#problem };
    if (!this.#hasPassed) return { outcome: "running" };
    // The kernel may have been faster.
    const isKept = trials?.end() ?? true;
    return isKept ? { outcome: "confirmed", target: trial.wanted } : { outcome: "over", reason: this.#problem };
  }

  /** Ends the trial once the confirmed revision is kept as the last good one. */
  async confirm(): Promise<void> {
    const trial = this.#trial;
    this.#trial = null;
    await this.#write(null);
    if (trial !== null) this.deps.logger.info(`revision ${trial.wanted.revision.number} is confirmed`);
  }

  /** Records that this node goes back from a revision: it does not take it again, also after a restart. */
  async revert(reason: string): Promise<void> {
    const { clock, logger } = this.deps;
    const record = await this.#read();
    this.#trial = null;
    if (record === null) return;
    const { revision, commitId } = record;
    const at = new Date(clock.now()).toISOString();
    logger.warn(`going back from revision ${revision}, which was not confirmed: ${reason}`);
    this.#record = { state: "reverted", revision, commitId, reason, at };
    // A full disk does not keep the revision in force: an agent that starts finds that its time is over.
    await this.deps.lastGood?.writeTrial(this.#record).catch((error: unknown) => {
      logger.warn("that this node goes back could not be recorded", { error });
    });
  }

  /** Another revision is in force as a whole: a trial of the one before has no part in it any more. */
  async leave({ commitId }: Revision): Promise<void> {
    const record = await this.#read();
    if (record?.state !== "running" || record.commitId === commitId) return;
    this.#trial = null;
    await this.#write(null);
  }

  #isOver({ until }: Trial): boolean {
    return this.deps.clock.monotonic() >= until || this.deps.enforcer.trials?.hasReturned() === true;
  }

  /** Of several members of a store one is enough: the others may be down for a reason of their own. */
  async #unreached({ reached }: Trial): Promise<string | null> {
    if (reached.length === 0) return null;
    const now = new Set(((await this.deps.reachability?.reached()) ?? []).map(({ role }) => role));
    const lost = reached.filter(({ role }) => !now.has(role)).map(describeEndpoint);
    return lost.length === 0 ? null : `${lost.join(", ")} cannot be reached any more`;
  }

  /** What the confirmed revision cuts as well is no fault of this one. */
  async #lockout({ target: { ruleset, clients }, before }: Trial): Promise<string | null> {
    const access = await this.deps.guard.read(ruleset);
    if (access === null) return null;
    const known = new Set(listLockouts(before, access, clients));
    return listLockouts(ruleset, access, clients).find((one) => !known.has(one)) ?? null;
  }

  /**
   * Returns how long an earlier agent's trial still lasts, in milliseconds: 0 if it is over. Null if there is none, or if this machine
   * was booted since, so that the confirmed revision is in force again.
   */
  async #leftOver(): Promise<number | null> {
    const record = this.#trial === null ? await this.#running() : null;
    return record === null ? null : Math.max(0, Date.parse(record.until) - this.deps.clock.now());
  }

  /** Returns the record of a trial of this boot. */
  async #running(): Promise<RunningTrial | null> {
    const record = await this.#read();
    return record?.state === "running" && record.boot === this.boot ? record : null;
  }

  async #read(): Promise<TrialRecord | null> {
    if (!this.#isLoaded) this.#record = (await this.deps.lastGood?.readTrial()) ?? null;
    this.#isLoaded = true;
    return this.#record;
  }

  async #write(record: TrialRecord | null): Promise<void> {
    await this.deps.lastGood?.writeTrial(record);
    this.#record = record;
    this.#isLoaded = true;
  }
}
