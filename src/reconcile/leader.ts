/**
 * The leader's duty: poll the source, validate, commit. It reads everything anew on each run; what
 * it remembers only spares work that would give the same result.
 */
import { hasErrors } from "../model/diagnostic.js";
import type { Diagnostic } from "../model/diagnostic.js";
import type { DesiredState, ObjectSet, Revision } from "../model/state.js";
import type { SourceStatus } from "../model/status.js";
import type { readManifests } from "../manifest/read.js";
import { isUnchanged } from "../plan/plan.js";
import type { Source } from "../ports/source.js";
import { SourceError } from "../ports/source.js";
import type { Fence, Store } from "../ports/store.js";
import type { Clock, Logger, Random } from "../ports/system.js";
import type { Telemetry } from "../ports/telemetry.js";
import type { Election } from "./election.js";

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
  /** As the source was configured, for the status. */
  readonly ref: string | null;
  readonly path: string | null;
  /** Whether an operator's override is returned to what Git says at the next poll. */
  readonly selfHeal: boolean;
}

type Accepted = Pick<SourceStatus, "acceptedCommit" | "acceptedRevision">;

type Finding = Accepted &
  Pick<SourceStatus, "state" | "message" | "observedCommit"> & {
    readonly diagnostics?: readonly Diagnostic[];
    readonly lockouts?: readonly string[];
  };

const MAX_REPORTED_DIAGNOSTICS = 20;

export class Leader {
  /** The last commit that was looked at, and head at that time: equal again means nothing to do. */
  #settled: { readonly commit: string; readonly head: number | null; readonly finding: Finding } | null = null;

  constructor(
    private readonly deps: LeaderDeps,
    private readonly options: LeaderOptions,
  ) {}

  /** One run. Without certain leadership it does nothing. @throws what should be tried again sooner */
  async reconcile(): Promise<void> {
    const fence = this.deps.election.fence;
    if (fence === null) {
      this.#settled = null;
      return;
    }
    try {
      const tip = await this.deps.source.readTip();
      const head = await this.deps.store.readHead();
      if (this.#settled?.commit === tip && this.#settled.head === head)
        return await this.#report(this.#settled.finding, fence);
      const finding = await this.#settle(tip, head, fence);
      await this.#report(finding, fence);
    } catch (error) {
      if (!(error instanceof SourceError)) throw error;
      this.deps.telemetry.sourceError();
      const last = await this.deps.store.readSourceStatus();
      const observedCommit = last?.observedCommit ?? null;
      await this.#report({ state: "Unreachable", message: error.message, observedCommit, ...acceptedOf(last) }, fence);
      throw error;
    }
  }

  async #settle(tip: string, head: number | null, fence: Fence): Promise<Finding> {
    const { source, store } = this.deps;
    const snapshot = await source.fetch(tip);
    const { objects, diagnostics } = this.deps.read(snapshot.files);
    const desired: DesiredState = { source: snapshot.source, objects };
    const revision = head === null ? null : await store.readRevision(head);
    const accepted = acceptedOf(await store.readSourceStatus());
    const finding = hasErrors(diagnostics)
      ? this.#reject(tip, accepted, diagnostics)
      : await this.#accept(desired, tip, accepted, revision, fence);
    // Leadership was lost: nothing is settled, and what is reported now is fenced as well.
    if (finding === null) return { state: "Synced", message: null, observedCommit: tip, ...accepted };
    // Who listens where changes without a commit.
    if (finding.lockouts !== undefined) return finding;
    // The head that was judged, or made; what came after it is judged by the next run.
    const judged = finding.state === "Synced" ? (finding.acceptedRevision ?? head) : head;
    this.#settled = { commit: tip, head: judged, finding };
    return finding;
  }

  #reject(tip: string, accepted: Accepted, diagnostics: readonly Diagnostic[]): Finding {
    const errors = diagnostics.filter(({ severity }) => severity === "error");
    const message = `commit ${tip.slice(0, 12)} was rejected: ${errors.length} ${errors.length === 1 ? "error" : "errors"}`;
    this.deps.logger.warn(message, { diagnostics: errors.slice(0, MAX_REPORTED_DIAGNOSTICS) });
    this.deps.telemetry.rejected({ reason: "invalid" });
    return { state: "Rejected", message, observedCommit: tip, ...accepted, diagnostics: errors };
  }

  /** Null where leadership was lost. */
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
    if (desired.objects.size === 0 && head !== null) {
      this.deps.telemetry.rejected({ reason: "held" });
      return kept(
        "Held",
        `commit ${tip.slice(0, 12)} has no objects at all; run \`ztap apply\` on it if that is meant`,
      );
    }
    if (!this.options.selfHeal && head !== null && tip === accepted.acceptedCommit) {
      return kept("OutOfSync", `head (revision ${head.number}) was committed over Git; source.selfHeal is off`);
    }
    const lockouts = await this.deps.lockoutsOf(desired.objects);
    if (lockouts.length > 0) {
      const message = `commit ${tip.slice(0, 12)} was rejected, since it would lock out: ${lockouts.join("; ")}; allowLockout lets it`;
      this.deps.logger.warn(message);
      this.deps.telemetry.rejected({ reason: "lockout" });
      return { ...kept("Rejected", message), lockouts };
    }
    const committed = await this.#commit(desired, head, fence);
    return committed === null ? null : synced(committed);
  }

  /** Null where leadership was lost. @throws where the race for head was */
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
      { expectHead: head?.number ?? null, fence },
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
        logger.warn("no longer leader, nothing was committed", { leader: outcome.leader });
        return null;
    }
  }

  async #report(finding: Finding, fence: Fence): Promise<void> {
    const { store, source, clock } = this.deps;
    await store.writeSourceStatus(
      {
        location: source.location,
        ref: this.options.ref,
        path: this.options.path,
        observedCommit: finding.observedCommit,
        ...acceptedOf(finding),
        state: finding.state,
        message: finding.message,
        diagnostics: (finding.diagnostics ?? [])
          .slice(0, MAX_REPORTED_DIAGNOSTICS)
          .map(({ code, file, line, column, message }) => ({ code, file, line, column, message })),
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
