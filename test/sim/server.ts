/**
 * The store's side: the memory store as it answers, and what must hold for every answer, told without the store's own code:
 * one lineage of revisions, and no commit by a candidate whose term is over.
 */
import { MemoryTable, openMemoryStore } from "../../src/adapters/memory/store.js";
import type { Approval } from "../../src/model/source-control.js";
import type { Revision } from "../../src/model/state.js";
import type { NodeStatus, SourceStatus } from "../../src/model/status.js";
import type { CommitGuard, CommitOutcome, Fence, RevisionDraft, Store } from "../../src/interfaces/store.js";
import type { Clock } from "../../src/interfaces/system.js";
import { InterceptedStore, type StoreCall } from "../fakes/store.js";
import { contentOf, type Content } from "./content.js";
import type { SimRepository } from "./source.js";
import { WALL_START_MS, type World } from "./world.js";

/** A revision as the history remembers it. */
export interface Committed {
  readonly revision: Revision;
  /** Which content it holds; null where it cannot be told. */
  readonly content: number | null;
}

interface Term {
  readonly term: number;
  readonly holder: string;
  endsAt: number;
}

/** Makes the store that answers; a test gives a broken one. */
export type OpenStore = (clock: Clock, table: MemoryTable) => Store;

export class SimServer extends InterceptedStore {
  protected readonly inner: Store;
  /** All that were ever committed; number 1 first. */
  readonly committed: Committed[] = [];
  /** What each node said last. */
  readonly reports = new Map<string, NodeStatus>();
  sourceStatus: SourceStatus | null = null;
  readonly #watchers = new Set<() => void>();
  readonly #approved = new Set<string>();
  /** Which of the branch's tips was committed last. */
  #tip = 0;
  #term: Term | null = null;
  #isSuspended = false;
  #prunes = 0;

  constructor(
    private readonly world: World,
    private readonly truth: { readonly contents: readonly Content[]; readonly repository: SimRepository },
    open: OpenStore = openMemoryStore,
  ) {
    super();
    const clock: Clock = {
      now: () => WALL_START_MS + world.time.now,
      monotonic: () => world.time.now,
      sleep: () => Promise.reject(new TypeError("the store never sleeps")),
    };
    this.inner = open(clock, new MemoryTable());
  }

  get head(): Committed | null {
    return this.committed.at(-1) ?? null;
  }

  /** Whether the store does something bit by bit, and a bit with each turn of the event loop. */
  get isPruning(): boolean {
    return this.#prunes > 0;
  }

  override async prune(keep: Parameters<Store["prune"]>[0]): ReturnType<Store["prune"]> {
    this.#prunes += 1;
    try {
      return await super.prune(keep);
    } finally {
      this.#prunes -= 1;
    }
  }

  protected intercept<T>(_call: StoreCall, run: (store: Store) => Promise<T>): Promise<T> {
    return run(this.inner);
  }

  /** Calls `wake` after each commit, until the returned function is called. */
  onCommit(wake: () => void): () => void {
    this.#watchers.add(wake);
    return () => this.#watchers.delete(wake);
  }

  override async campaign(
    candidate: { readonly id: string; readonly holder: string },
    ttlMs: number,
  ): Promise<{ readonly fence: Fence | null; readonly leader: string | null }> {
    const { now } = this.world.time;
    const answer = await super.campaign(candidate, ttlMs);
    const { fence } = answer;
    if (fence === null) return answer;
    const { holder } = candidate;
    const last = this.#term;
    if (last?.term === fence.term) {
      if (last.holder !== holder) this.world.fail("store", `term ${fence.term} has two leaders`);
      if (now >= last.endsAt) this.world.fail("store", `term ${fence.term} was renewed after its end`);
      last.endsAt = now + ttlMs;
      return answer;
    }
    if (fence.term <= (last?.term ?? 0)) this.world.fail("store", `term ${fence.term} came after ${last?.term ?? 0}`);
    if (last !== null && now < last.endsAt)
      this.world.fail("store", `term ${fence.term} began before ${last.term} ended`);
    this.#term = { term: fence.term, holder, endsAt: now + ttlMs };
    this.world.note("store", `${candidate.id} leads, term ${fence.term}`);
    return answer;
  }

  override async resign(holder: string): Promise<void> {
    await super.resign(holder);
    if (this.#term?.holder === holder) this.#term.endsAt = this.world.time.now;
  }

  override async writeSuspension(...[suspension]: Parameters<Store["writeSuspension"]>): Promise<boolean> {
    const done = await super.writeSuspension(suspension);
    this.#isSuspended = suspension !== null;
    return done;
  }

  override async commit(draft: RevisionDraft, guard: CommitGuard): Promise<CommitOutcome> {
    const outcome = await super.commit(draft, guard);
    if (outcome.outcome !== "committed") {
      this.world.note("store", `a commit by ${draft.node} was refused: ${outcome.outcome}`);
      return outcome;
    }
    const { revision } = outcome;
    // The answer to a commit that has been made before.
    if (this.committed.some((known) => known.revision.commitId === revision.commitId)) return outcome;
    const content = contentOf(draft.objects);
    this.#checkGuard(revision, guard);
    if (revision.source.commit !== null) this.#checkSource(revision, revision.source.commit, content);
    this.committed.push({ revision, content });
    this.world.note(
      "store",
      `${draft.node} committed revision ${revision.number}: content ${this.head?.content ?? "none"} of ${revision.source.commit?.slice(0, 8) ?? "no commit"}`,
    );
    for (const wake of this.#watchers) wake();
    return outcome;
  }

  override async writeApproval(approval: Approval): Promise<void> {
    await super.writeApproval(approval);
    this.#approved.add(approval.commit);
  }

  override async writeNodeStatus(status: NodeStatus): Promise<void> {
    await super.writeNodeStatus(status);
    this.reports.set(status.node, status);
  }

  override async writeSourceStatus(status: SourceStatus, fence: Fence): Promise<boolean> {
    const isWritten = await super.writeSourceStatus(status, fence);
    if (isWritten) this.sourceStatus = status;
    return isWritten;
  }

  /** Leaders follow the branch, never back to a tip that another one has left behind. */
  #checkSource({ number }: Revision, commit: string, content: number | null): void {
    const { tips } = this.truth.repository;
    const found = tips.findIndex(({ id }, index) => index >= this.#tip && id === commit);
    if (found < 0) this.world.fail("store", `revision ${number} is of a commit that the branch had left before`);
    else this.#tip = found;
    const kind = this.truth.contents[content ?? -1]?.kind ?? "invalid";
    if (content !== this.truth.repository.commits.get(commit)?.content.number)
      this.world.fail("store", `revision ${number} does not hold what its commit says`);
    const before = this.truth.contents[this.head?.content ?? -1]?.kind ?? "mass";
    const isHeld = kind === "mass" && before !== "mass" && !this.#approved.has(commit);
    // What was followed once is given back without asking.
    this.#approved.add(commit);
    if (kind === "invalid" || isHeld)
      this.world.fail("store", `revision ${number} is of a commit that is ${isHeld ? "held" : kind}`);
  }

  #checkGuard({ number, parent }: Revision, { expectHead, fence, heedSuspension }: CommitGuard): void {
    const head = this.head?.revision.number ?? null;
    if (expectHead !== head)
      this.world.fail(
        "store",
        `revision ${number} was planned against ${expectHead ?? "nothing"}, and head is ${head ?? "nothing"}`,
      );
    if (number !== (head ?? 0) + 1 || parent !== head)
      this.world.fail("store", `revision ${number} on ${parent ?? "nothing"} came after ${head ?? "nothing"}`);
    if (heedSuspension === true && this.#isSuspended)
      this.world.fail("store", `revision ${number} was committed while the source is suspended`);
    if (fence === null) return;
    const term = this.#term;
    if (term?.term !== fence.term)
      this.world.fail("store", `revision ${number} was committed in term ${fence.term}, and it is ${term?.term ?? 0}`);
    else if (this.world.time.now >= term.endsAt)
      this.world.fail("store", `revision ${number} was committed in term ${fence.term}, which had ended`);
  }
}
