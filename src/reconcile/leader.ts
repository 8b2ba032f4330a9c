/**
 * The leader's duty: poll the source, validate, commit. It reads everything anew on each run; what
 * it remembers only spares work that would give the same result.
 */
import { hasErrors } from "../model/diagnostic.js";
import type { Diagnostic } from "../model/diagnostic.js";
import type { Approval, Suspension } from "../model/source-control.js";
import type { DesiredState, ObjectSet, Revision } from "../model/state.js";
import type { SourceStatus, Unverified } from "../model/status.js";
import type { readManifests } from "../manifest/read.js";
import { isUnchanged } from "../plan/plan.js";
import type { Snapshot, Source } from "../interfaces/source.js";
import { SourceError } from "../interfaces/source.js";
import type { Fence, Store } from "../interfaces/store.js";
import type { Clock, Logger, Random } from "../interfaces/system.js";
import type { Telemetry } from "../interfaces/telemetry.js";
import type { SourceSettings } from "../settings/settings.js";
import type { Election } from "./election.js";
import { holdReason } from "./commit-guard.js";

export interface LeaderDeps {
  readonly store: Store;
  readonly source: Source;
  readonly election: Election;
  readonly read: typeof readManifests;
  /** One sentence for each way to an agent that the state would cut; none where that is allowed. */
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
    readonly diagnostics?: readonly Diagnostic[];
    readonly lockouts?: readonly string[];
    /** Of a commit that would lock out. */
    readonly objects?: ObjectSet;
  };

const MAX_REPORTED_DIAGNOSTICS = 20;

/** What a commit is assessed by, beside itself. */
interface Situation {
  readonly tip: string;
  readonly head: number | null;
  readonly approval: Approval | null;
  readonly fence: Fence;
}

/** A commit that was read, and what there was before it. */
interface Found {
  readonly tip: string;
  readonly snapshot: Snapshot;
  readonly accepted: Accepted;
  readonly rewrittenFrom: string | null;
}

export class Leader {
  /** The last commit that was looked at, with head and the approval at that time: equal again means nothing to do. */
  #settled: {
    readonly commit: string;
    readonly head: number | null;
    readonly approved: string | null;
    readonly finding: Finding;
  } | null = null;
  /** The last commit that would have locked somebody out. Who listens where changes without a commit: that is asked again. */
  #refused: {
    readonly commit: string;
    readonly head: number | null;
    readonly approved: string | null;
    readonly objects: ObjectSet;
    readonly finding: Finding;
  } | null = null;
  /** When the suspension began that was last told of. */
  #reportedSuspension: string | null = null;

  constructor(
    private readonly deps: LeaderDeps,
    private readonly options: LeaderOptions,
  ) {}

  /** One run. Without certain leadership it does nothing. @throws what should be tried again sooner */
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
      const observedCommit = last?.observedCommit ?? null;
      await this.#report({ state: "Unreachable", message: error.message, observedCommit, ...acceptedOf(last) }, fence);
      throw error;
    }
  }

  #isOf(
    known: { readonly commit: string; readonly head: number | null; readonly approved: string | null } | null,
    { tip, head, approval }: Situation,
  ): boolean {
    return known?.commit === tip && known.head === head && known.approved === (approval?.commit ?? null);
  }

  /** The finding of a commit that would still lock out the same; else it is to be looked at anew. */
  async #refusedAgain(situation: Situation): Promise<Finding | undefined> {
    const refused = this.#refused;
    if (refused === null || !this.#isOf(refused, situation)) return undefined;
    const lockouts = await this.deps.lockoutsOf(refused.objects);
    return lockouts.join() === refused.finding.lockouts?.join() ? refused.finding : undefined;
  }

  /** Agents heal without the leader; all that ends is what it commits. */
  #isSuspended(suspension: Suspension | null): boolean {
    const { telemetry, logger } = this.deps;
    telemetry.suspended(suspension !== null);
    if (this.#reportedSuspension !== (suspension?.since ?? null)) {
      this.#reportedSuspension = suspension?.since ?? null;
      if (suspension === null) logger.info("the source is followed again");
      else logger.warn("the source is suspended, nothing of it is committed", { ...suspension });
    }
    return suspension !== null;
  }

  /** Null as in `#assess`: nothing is settled. */
  async #settle({ tip, head, approval, fence }: Situation): Promise<Finding | null> {
    const { store } = this.deps;
    const last = await store.readSourceStatus();
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
    // The head that was assessed, or made; what came after it is assessed by the next run.
    const assessed = finding.state === "Synced" ? (finding.acceptedRevision ?? head) : head;
    this.#settled = { commit: tip, head: assessed, approved: approval?.commit ?? null, finding: whole };
    return whole;
  }

  async #fetch(tip: string, last: SourceStatus | null): Promise<Found> {
    const { source, logger, telemetry } = this.deps;
    const accepted = acceptedOf(last);
    // Another repository has another history.
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

  /** Null where leadership was lost, or the source was suspended meanwhile. */
  async #assess(
    { tip, snapshot, accepted, rewrittenFrom }: Found,
    head: Revision | null,
    approval: Approval | null,
    fence: Fence,
  ): Promise<Finding | null> {
    const { objects, diagnostics } = this.deps.read(snapshot.files);
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

  /** Looked at again by each run, and told once. */
  #refuseUnverified(
    { tip, accepted, rewrittenFrom }: Found,
    unverified: Unverified,
    last: SourceStatus | null,
  ): Finding {
    const { commit, author, problem } = unverified;
    const message = `commit ${commit.slice(0, 12)} of ${author} is not accepted: ${problem}; nothing from it on is followed`;
    if (last?.observedCommit !== tip || last.message !== message) {
      this.deps.logger.warn(message, { commit, author });
      this.deps.telemetry.rejected({ reason: "unverified" });
    }
    const finding = { state: "Rejected" as const, message, observedCommit: tip, ...accepted, unverified };
    return rewrittenFrom === null ? finding : { ...finding, rewrittenFrom };
  }

  #reject(tip: string, accepted: Accepted, diagnostics: readonly Diagnostic[]): Finding {
    const errors = diagnostics.filter(({ severity }) => severity === "error");
    const message = `commit ${tip.slice(0, 12)} was rejected: ${errors.length} ${errors.length === 1 ? "error" : "errors"}`;
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
      const message = `commit ${tip.slice(0, 12)} was rejected, since it would lock out: ${lockouts.join("; ")}; allowLockout lets it`;
      this.deps.logger.warn(message);
      this.deps.telemetry.rejected({ reason: "lockout" });
      return { ...kept("Rejected", message), lockouts: [...lockouts], objects: desired.objects };
    }
    const committed = await this.#commit(desired, head, fence);
    return committed === null ? null : synced(committed);
  }

  /** Null as in `#assess`. @throws where the race for head was */
  async #commit(desired: DesiredState, head: Revision | null, fence: Fence): Promise<Revision | null> {
    const { store, clock, random, logger, telemetry } = this.deps;
    const started = clock.monotonic();
    const outcome = await store.commit(
      {
        objects: [...desired.objects.values()],
        source: desired.source,
        node: this.options.node,
        author: desired.source.author ?? this.options.node,
        reason: "source",
        commitId: random.id(),
        time: new Date(clock.now()).toISOString(),
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
        // Looking again must not wait for the next poll.
        throw new Error(`head moved to ${outcome.head} while committing; looking again`);
      case "fenced":
        this.deps.election.withdraw();
        logger.warn("no longer leader, nothing was committed", { leader: outcome.leader });
        return null;
      case "suspended":
        // The next run says so.
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
        ...(finding.rewrittenFrom === undefined ? {} : { rewrittenFrom: finding.rewrittenFrom }),
        checkedAt: new Date(clock.now()).toISOString(),
        leader: this.options.node,
      },
      fence,
    );
  }
}

function acceptedOf(status: Accepted | null): Accepted {
  const { acceptedCommit = null, acceptedRevision } = status ?? {};
  return acceptedRevision === undefined ? { acceptedCommit } : { acceptedCommit, acceptedRevision };
}
