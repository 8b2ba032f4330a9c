/**
 * Leader: polls the source, validates, commits. Each run reads everything again; remembered results only avoid work
 * that would give the same result.
 */
import { hasErrors } from "../model/diagnostic.js";
import type { Diagnostic } from "../model/diagnostic.js";
import type { Approval, Suspension } from "../model/source-control.js";
import type { DesiredState, ObjectSet, Revision } from "../model/state.js";
import type { SourceStatus, Unverified } from "../model/status.js";
import type { ManifestReader } from "../manifest/read.js";
import { isUnchanged } from "../plan/plan.js";
import type { Snapshot, Source } from "../interfaces/source.js";
import { SourceError } from "../interfaces/source.js";
import type { Fence, Store } from "../interfaces/store.js";
import type { Clock, Logger, Random } from "../interfaces/system.js";
import type { Telemetry } from "../interfaces/telemetry.js";
import type { SourceSettings } from "../settings/settings.js";
import { rolloutAfter } from "../operations/rollout/start.js";
import type { Election } from "./election.js";
import { holdReason } from "./commit-guard.js";

export interface LeaderDeps {
  readonly store: Store;
  readonly source: Source;
  readonly election: Election;
  readonly read: ManifestReader;
  /** Returns one sentence for each management access that the state would cut; none if the state allows lockouts. */
  readonly lockoutsOf: (objects: ObjectSet) => Promise<readonly string[]>;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly telemetry: Telemetry;
}

export interface LeaderOptions {
  readonly node: string;
  readonly source: Pick<SourceSettings, "branch" | "path" | "selfHeal" | "maxDeletePercent">;
}

type Accepted = Pick<SourceStatus, "acceptedCommit" | "acceptedRevision">;

type Finding = Accepted &
  Pick<SourceStatus, "state" | "message" | "observedCommit" | "unverified" | "rewrittenFrom"> & {
    readonly tooLarge?: string | undefined;
    readonly diagnostics?: readonly Diagnostic[];
    readonly lockouts?: readonly string[];
    /** Present only with `lockouts`. */
    readonly objects?: ObjectSet;
  };

const MAX_REPORTED_DIAGNOSTICS = 20;

/** The inputs of an assessment besides the content of the commit. */
interface Situation {
  readonly tip: string;
  readonly head: number | null;
  readonly approval: Approval | null;
  readonly fence: Fence;
}

/** A commit that was read, and the accepted commit before it. */
interface Found {
  readonly tip: string;
  readonly snapshot: Snapshot;
  readonly accepted: Accepted;
  readonly rewrittenFrom: string | null;
}

export class Leader {
  /**
   * The last assessed commit, with head and approval at that time: if all three are equal again, there is nothing to
   * do.
   */
  #settled: {
    readonly commit: string;
    readonly head: number | null;
    readonly approved: string | null;
    readonly finding: Finding;
  } | null = null;
  /**
   * The last commit refused because of a lockout. Lockouts change without a commit, as servers move, so that each run
   * checks them again.
   */
  #refused: {
    readonly commit: string;
    readonly head: number | null;
    readonly approved: string | null;
    readonly objects: ObjectSet;
    readonly finding: Finding;
  } | null = null;
  /** Beginning of the suspension that was last logged. */
  #reportedSuspension: string | null = null;

  constructor(
    private readonly deps: LeaderDeps,
    private readonly options: LeaderOptions,
  ) {}

  /** Makes one run; does nothing unless leadership is certain. @throws a failure that the loop should retry sooner */
  async reconcile(): Promise<void> {
    const fence = this.deps.election.fence;
    if (fence === null) {
      this.#settled = null;
      this.#refused = null;
      this.deps.telemetry.suspended(false);
      return;
    }
    const { suspension, approval } = await this.deps.store.readSourceControl();
    if (this.#isSuspended(suspension)) return;
    try {
      const tip = await this.deps.source.readTip();
      const head = await this.deps.store.readHead();
      const situation = { tip, head, approval, fence };
      const known = this.#isOf(this.#settled, situation) ? this.#settled?.finding : await this.#refusedAgain(situation);
      if (known !== undefined) return await this.#report(known, fence);
      const finding = await this.#settle(situation);
      if (finding !== null) await this.#report(finding, fence);
    } catch (error) {
      if (!(error instanceof SourceError)) throw error;
      this.deps.telemetry.sourceError();
      const last = await this.deps.store.readSourceStatus();
      const known = { observedCommit: last?.observedCommit ?? null, tooLarge: last?.tooLarge, ...acceptedOf(last) };
      await this.#report({ state: "Unreachable", message: error.message, ...known }, fence);
      throw error;
    }
  }

  #isOf(
    known: { readonly commit: string; readonly head: number | null; readonly approved: string | null } | null,
    { tip, head, approval }: Situation,
  ): boolean {
    return known?.commit === tip && known.head === head && known.approved === (approval?.commit ?? null);
  }

  /**
   * Returns the finding if the refused commit would still cause the same lockouts; else undefined, to assess it again.
   */
  async #refusedAgain(situation: Situation): Promise<Finding | undefined> {
    const refused = this.#refused;
    if (refused === null || !this.#isOf(refused, situation)) return undefined;
    const lockouts = await this.deps.lockoutsOf(refused.objects);
    return lockouts.join() === refused.finding.lockouts?.join() ? refused.finding : undefined;
  }

  /** Returns whether the source is suspended. A suspension stops commits only: agents heal drift without the leader. */
  #isSuspended(suspension: Suspension | null): boolean {
    const { telemetry, logger } = this.deps;
    telemetry.suspended(suspension !== null);
    if (this.#reportedSuspension !== (suspension?.since ?? null)) {
      this.#reportedSuspension = suspension?.since ?? null;
      if (suspension === null) logger.info("the source is followed again");
      else logger.warn("the source is suspended; nothing from it is committed", { ...suspension });
    }
    return suspension !== null;
  }

  /** Settles the tip; one that exceeds the limits of a source is refused, and remembered by this leader and the next. */
  async #settle(situation: Situation): Promise<Finding | null> {
    const { tip, head, approval } = situation;
    const last = await this.deps.store.readSourceStatus();
    let tooLarge = this.#knownTooLarge(situation, last);
    try {
      if (tooLarge === undefined) return await this.#read(situation, last);
    } catch (error) {
      if (!(error instanceof SourceError) || error.code !== "too-large") throw error;
      tooLarge = error.message;
      this.deps.logger.warn(rejection(tip, tooLarge));
      this.deps.telemetry.rejected({ reason: "too-large" });
    }
    const message = rejection(tip, tooLarge);
    const finding: Finding = { state: "Rejected", message, observedCommit: tip, tooLarge, ...acceptedOf(last) };
    this.#refused = null;
    this.#settled = { commit: tip, head, approved: approval?.commit ?? null, finding };
    return finding;
  }

  /** Returns why a leader refused the tip for its size. An operator's approval makes the leader read it once more. */
  #knownTooLarge({ tip, approval }: Situation, last: SourceStatus | null): string | undefined {
    const { branch, path } = this.options.source;
    const isSame = last?.location === this.deps.source.location && last.ref === branch && last.path === path;
    return isSame && last.observedCommit === tip && approval?.commit !== tip ? last.tooLarge : undefined;
  }

  /** Reads and assesses the tip, and remembers the finding; null as in `#assess`. @throws SourceError */
  async #read({ tip, head, approval, fence }: Situation, last: SourceStatus | null): Promise<Finding | null> {
    const { store } = this.deps;
    const found = await this.#fetch(tip, last);
    const { unverified } = found.snapshot;
    if (unverified) return this.#refuseUnverified(found, unverified, last);
    const revision = head === null ? null : await store.readRevision(head);
    const finding = await this.#assess(found, revision, approval, fence);
    if (finding === null) return null;
    const { rewrittenFrom } = found;
    const whole = rewrittenFrom === null ? finding : { ...finding, rewrittenFrom };
    this.#refused = null;
    if (finding.lockouts !== undefined && finding.objects !== undefined) {
      const approved = approval?.commit ?? null;
      this.#refused = { commit: tip, head, approved, objects: finding.objects, finding: whole };
      return whole;
    }
    // The head that was assessed or committed; the next run assesses a later one.
    const assessed = finding.state === "Synced" ? (finding.acceptedRevision ?? head) : head;
    this.#settled = { commit: tip, head: assessed, approved: approval?.commit ?? null, finding: whole };
    return whole;
  }

  async #fetch(tip: string, last: SourceStatus | null): Promise<Found> {
    const { source, logger, telemetry } = this.deps;
    const accepted = acceptedOf(last);
    // Commits of another repository are not compared.
    const since = last?.location === source.location ? accepted.acceptedCommit : null;
    const snapshot = await source.fetch(tip, since ?? undefined);
    const known = last?.observedCommit === tip ? (last.rewrittenFrom ?? null) : null;
    const rewrittenFrom = snapshot.rewritten === true ? since : known;
    if (rewrittenFrom !== null && known === null) {
      telemetry.rewritten();
      logger.warn(
        `the source's history was rewritten: commit ${tip.slice(0, 12)} does not come after the accepted one`,
        {
          commit: tip,
          accepted: rewrittenFrom,
        },
      );
    }
    return { tip, snapshot, accepted, rewrittenFrom };
  }

  /** Validates, checks and commits; null if leadership was lost or the source was suspended meanwhile. */
  async #assess(
    { tip, snapshot, accepted, rewrittenFrom }: Found,
    head: Revision | null,
    approval: Approval | null,
    fence: Fence,
  ): Promise<Finding | null> {
    const { objects, diagnostics } = await this.deps.read(snapshot.files);
    if (hasErrors(diagnostics)) return this.#reject(tip, accepted, diagnostics);
    const desired: DesiredState = { source: snapshot.source, objects };
    const held = holdReason({
      desired,
      tip,
      head,
      acceptedCommit: rewrittenFrom ?? accepted.acceptedCommit,
      isRewritten: snapshot.rewritten === true,
      isSigned: snapshot.unverified !== undefined,
      approvedCommit: approval?.commit ?? null,
      maxDeletePercent: this.options.source.maxDeletePercent,
    });
    if (held === null) return this.#accept(desired, tip, accepted, head, fence);
    this.deps.logger.warn(held);
    this.deps.telemetry.rejected({ reason: "held" });
    return { state: "Held", message: held, observedCommit: tip, ...accepted };
  }

  /** Every run assesses such a commit again, and logs it once. */
  #refuseUnverified(
    { tip, accepted, rewrittenFrom }: Found,
    unverified: Unverified,
    last: SourceStatus | null,
  ): Finding {
    const { commit, author, problem } = unverified;
    const message = `commit ${commit.slice(0, 12)} of ${author} is not accepted: ${problem}; neither it nor a later commit is followed`;
    if (last?.observedCommit !== tip || last.message !== message) {
      this.deps.logger.warn(message, { commit, author });
      this.deps.telemetry.rejected({ reason: "unverified" });
    }
    const finding = { state: "Rejected" as const, message, observedCommit: tip, ...accepted, unverified };
    return rewrittenFrom === null ? finding : { ...finding, rewrittenFrom };
  }

  #reject(tip: string, accepted: Accepted, diagnostics: readonly Diagnostic[]): Finding {
    const errors = diagnostics.filter(({ severity }) => severity === "error");
    const message = rejection(tip, `${errors.length} ${errors.length === 1 ? "error" : "errors"}`);
    this.deps.logger.warn(message, { diagnostics: errors.slice(0, MAX_REPORTED_DIAGNOSTICS) });
    this.deps.telemetry.rejected({ reason: "invalid" });
    return { state: "Rejected", message, observedCommit: tip, ...accepted, diagnostics: errors };
  }

  /** Null as in `#assess`. */
  async #accept(
    desired: DesiredState,
    tip: string,
    accepted: Accepted,
    head: Revision | null,
    fence: Fence,
  ): Promise<Finding | null> {
    const kept = (state: Finding["state"], message: string): Finding => ({
      state,
      message,
      observedCommit: tip,
      ...accepted,
    });
    const synced = (revision: Revision | null): Finding => ({
      state: "Synced",
      message: null,
      observedCommit: tip,
      acceptedCommit: tip,
      ...(revision === null ? {} : { acceptedRevision: revision.number }),
    });
    if (isUnchanged(desired, head)) return synced(head);
    if (!this.options.source.selfHeal && head !== null && tip === accepted.acceptedCommit) {
      return kept("OutOfSync", `head (revision ${head.number}) was committed over Git; source.selfHeal is off`);
    }
    const lockouts = await this.deps.lockoutsOf(desired.objects);
    if (lockouts.length > 0) {
      const message = `commit ${tip.slice(0, 12)} was rejected, since it would lock out: ${lockouts.join("; ")}; allowLockout permits it`;
      this.deps.logger.warn(message);
      this.deps.telemetry.rejected({ reason: "lockout" });
      return { ...kept("Rejected", message), lockouts: [...lockouts], objects: desired.objects };
    }
    const committed = await this.#commit(desired, head, fence);
    return committed === null ? null : synced(committed);
  }

  /** Null as in `#assess`. @throws if head moved meanwhile */
  async #commit(desired: DesiredState, head: Revision | null, fence: Fence): Promise<Revision | null> {
    const { store, clock, random, logger, telemetry } = this.deps;
    const started = clock.monotonic();
    const ids = { commitId: random.id(), time: new Date(clock.now()).toISOString() };
    const outcome = await store.commit(
      {
        ...ids,
        rollout: await rolloutAfter(store, head, ids),
        objects: [...desired.objects.values()],
        source: desired.source,
        node: this.options.node,
        author: desired.source.author ?? this.options.node,
        reason: "source",
      },
      { expectHead: head?.number ?? null, fence, heedSuspension: true },
    );
    switch (outcome.outcome) {
      case "committed": {
        const policies = outcome.revision.entries.filter(({ kind }) => kind === "NetworkPolicy").length;
        telemetry.committed({ revision: outcome.revision.number, policies, durationMs: clock.monotonic() - started });
        logger.info(`committed revision ${outcome.revision.number}`, {
          commit: desired.source.commit,
          objects: desired.objects.size,
        });
        return outcome.revision;
      }
      case "stale-head":
        // Thrown, so that the retry does not wait for the next poll.
        throw new Error(`head moved to ${outcome.head} while committing; trying again`);
      case "fenced":
        this.deps.election.withdraw();
        logger.warn("no longer leader, nothing was committed", { leader: outcome.leader });
        return null;
      case "suspended":
        // The next run reports the suspension.
        logger.debug("the source was suspended meanwhile, nothing was committed");
        return null;
    }
  }

  async #report(finding: Finding, fence: Fence): Promise<void> {
    const { store, source, clock } = this.deps;
    await store.writeSourceStatus(
      {
        location: source.location,
        ref: this.options.source.branch,
        path: this.options.source.path,
        observedCommit: finding.observedCommit,
        ...acceptedOf(finding),
        state: finding.state,
        message: finding.message,
        diagnostics: (finding.diagnostics ?? [])
          .slice(0, MAX_REPORTED_DIAGNOSTICS)
          .map(({ code, file, line, column, message }) => ({ code, file, line, column, message })),
        ...(finding.unverified === undefined ? {} : { unverified: finding.unverified }),
        ...(finding.tooLarge === undefined ? {} : { tooLarge: finding.tooLarge }),
        ...(finding.rewrittenFrom === undefined ? {} : { rewrittenFrom: finding.rewrittenFrom }),
        checkedAt: new Date(clock.now()).toISOString(),
        leader: this.options.node,
      },
      fence,
    );
  }
}

function rejection(tip: string, reason: string): string {
  return `commit ${tip.slice(0, 12)} was rejected: ${reason}`;
}

function acceptedOf(status: Accepted | null): Accepted {
  const { acceptedCommit = null, acceptedRevision } = status ?? {};
  return acceptedRevision === undefined ? { acceptedCommit } : { acceptedCommit, acceptedRevision };
}
