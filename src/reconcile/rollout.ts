/**
 * The rollout engine, on the leader: reads the record and the nodes' statuses, and writes the next record. All that
 * decides is in the record; what this process remembers only makes it wait longer: since when it watches, and since when
 * it has seen a node behind.
 */
import { releasedNodes, type Rollout } from "../model/rollout.js";
import { RolloutDescriptions, readRolloutNodes } from "../operations/rollout/nodes.js";
import { advance } from "../plan/rollout/advance.js";
import { nodeProgress, type NodeProgress, type RolloutNode } from "../plan/rollout/nodes.js";
import type { Fence, Store } from "../interfaces/store.js";
import type { Clock, Logger } from "../interfaces/system.js";
import type { Telemetry } from "../interfaces/telemetry.js";
import type { Election } from "./election.js";

export interface RolloutDeps {
  readonly store: Store;
  readonly election: Pick<Election, "fence">;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly telemetry: Pick<Telemetry, "rollout">;
}

/** Largest number of steps of one run: a rollout of empty waves takes several. */
const MOST_STEPS = 200;
/** Without a run for this long, times begin again: the gates were not watched. */
const MOST_SILENT_MS = 30_000;

const DONE: ReadonlySet<NodeProgress> = new Set(["waiting", "away", "enforced"]);
/** So much faster than the time that passes the clock may go. */
const MOST_SKEW_MS = 2_000;

export class RolloutEngine {
  /** The term and the time of the last run that read everything. */
  #watched: { readonly term: number; readonly at: number; readonly now: number } | null = null;
  #descriptions: { readonly key: string; readonly value: RolloutDescriptions } | null = null;
  /** Since when live nodes are behind the rollout of this key. */
  #behind: { readonly key: string; readonly since: ReadonlyMap<string, number> } = { key: "", since: new Map() };
  #logged = "";

  constructor(private readonly deps: RolloutDeps) {}

  /** Makes one run; does nothing unless leadership is certain. @throws StoreError */
  async run(): Promise<void> {
    const { store, telemetry } = this.deps;
    const { fence } = this.deps.election;
    if (fence === null) {
      this.#watched = null;
      telemetry.rollout(null);
      return;
    }
    let { rollout } = await store.readRelease();
    if (rollout === null) telemetry.rollout(null);
    else if (rollout.state === "shadow" || rollout.state === "running") rollout = await this.#advance(rollout, fence);
    else this.#log(rollout);
    if (rollout !== null) telemetry.rollout({ ...rollout, released: releasedNodes(rollout).length });
    this.#look(fence);
  }

  #look({ term }: Fence): void {
    const { clock } = this.deps;
    this.#watched = { term, at: clock.monotonic(), now: clock.now() };
  }

  /** Returns the record at the end of this run. */
  async #advance(begun: Rollout, fence: Fence): Promise<Rollout> {
    const { store, clock } = this.deps;
    const descriptions = await this.#describe(begun);
    const found = await readRolloutNodes(store, descriptions);
    let rollout = begun;
    for (let step = 0; step < MOST_STEPS; step += 1) {
      this.#log(rollout);
      const nodes = this.#watch(rollout, found);
      const next = advance(rollout, nodes, { now: clock.now(), term: fence.term, isWatched: this.#isWatched(fence) });
      if (next === rollout) break;
      // A commit, an operator or another leader was faster: the next run reads what they wrote.
      if (!(await store.writeRollout(next, { expect: rollout, fence }))) break;
      this.#look(fence);
      rollout = next;
    }
    return rollout;
  }

  #isWatched({ term }: Fence): boolean {
    const { clock } = this.deps;
    const last = this.#watched;
    if (last?.term !== term) return false;
    const passedMs = clock.monotonic() - last.at;
    // A clock that was set ahead has ended no soak.
    return passedMs <= MOST_SILENT_MS && clock.now() - last.now <= passedMs + MOST_SKEW_MS;
  }

  /** Adds for how long each released node is behind. */
  #watch(rollout: Rollout, found: readonly Omit<RolloutNode, "behindMs">[]): readonly RolloutNode[] {
    const now = this.deps.clock.monotonic();
    const key = keyOf(rollout);
    const known = this.#behind.key === key ? this.#behind.since : new Map<string, number>();
    const since = new Map<string, number>();
    const nodes = found.map((node): RolloutNode => {
      // A look at which it says something else does not begin its time again.
      if (DONE.has(nodeProgress(rollout, { ...node, behindMs: 0 }))) return { ...node, behindMs: 0 };
      const began = known.get(node.id) ?? now;
      since.set(node.id, began);
      return { ...node, behindMs: now - began };
    });
    this.#behind = { key, since };
    return nodes;
  }

  async #describe(rollout: Rollout): Promise<RolloutDescriptions> {
    const key = keyOf(rollout);
    if (this.#descriptions?.key !== key)
      this.#descriptions = { key, value: await RolloutDescriptions.read(this.deps.store, rollout) };
    return this.#descriptions.value;
  }

  /** Logs each wave, state and message once. */
  #log({ revision, state, wave, message }: Rollout): void {
    const text = JSON.stringify([revision, state, wave, message]);
    if (text === this.#logged) return;
    this.#logged = text;
    const where = state === "running" ? `wave ${wave + 1}` : state;
    const line = `rollout of revision ${revision}: ${where}${message === null ? "" : `; ${message}`}`;
    if (state === "failed") this.deps.logger.warn(line);
    else this.deps.logger.info(line);
  }
}

/** Names what the nodes are described by; a restored store gives numbers again. */
function keyOf({ base, revision, commitId }: Rollout): string {
  return `${base} ${revision} ${commitId}`;
}
