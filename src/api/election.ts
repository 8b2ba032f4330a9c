/**
 * Membership and leadership of a program's own node, over any store. With the memory store the leader is the first
 * healthy node by ID; otherwise it is the winner of the store's election.
 */
import { joinCluster } from "../operations/cluster/membership.js";
import { OperationError } from "../model/operation-error.js";
import type { Store } from "../interfaces/store.js";
import type { Clock, Logger, Random } from "../interfaces/system.js";
import { Election } from "../reconcile/election.js";
import { Notifier } from "../interfaces/notifier.js";
import { forwardEvents, runLoop } from "../reconcile/loop.js";
import { describeWriter, systemClock, systemRandom } from "../wiring/host.js";
import { quietLogger } from "./quiet.js";

export interface ElectionNode {
  readonly id: string;
  /** host:port where other nodes reach it. */
  readonly address: string;
}

export interface LeaderElection {
  /**
   * Joins, sends the first heartbeat and takes part in the election from then on.
   * @throws OperationError `agent-running`, `usage`; StoreError
   */
  start(): Promise<void>;
  /** Resigns leadership and ends the heartbeat. The node stays a member. */
  stop(): Promise<void>;
  /** Returns whether this node leads for certain: false before its lease can have expired. */
  isLeader(): boolean;
  /**
   * Returns the leader as last seen; null while there is none, or if the store has not answered for the duration of a
   * lease.
   */
  leader(): ElectionNode | null;
  /**
   * Makes another node a member. With the memory store it also counts as healthy for `ttlMs` from now; register it
   * again to renew that.
   * @throws OperationError `usage`, `node-alive`
   */
  registerNode(node: ElectionNode): Promise<void>;
  /** Removes a node; false if it was no member. A node whose program still runs joins again. */
  deregisterNode(id: string): Promise<boolean>;
  /** Yields the current leader, and again on every change. Ends when the signal aborts. */
  watch(signal: AbortSignal): AsyncIterable<ElectionNode | null>;
}

export interface LeaderElectionOptions extends ElectionNode {
  /** Lifetime of heartbeat and leadership after their last renewal; default 15 s. */
  readonly ttlMs?: number;
  /** Default 5 s. */
  readonly heartbeatIntervalMs?: number;
  readonly logger?: Logger;
  readonly clock?: Clock;
  readonly random?: Random;
}

/** Creates an election. The store belongs to the caller: `stop()` does not close it. */
export function createElection(store: Store, options: LeaderElectionOptions): LeaderElection {
  return new StoreElection(store, options);
}

class StoreElection implements LeaderElection {
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #ttlMs: number;
  readonly #notifier = new Notifier();
  readonly #watchers = new Set<Notifier>();
  #session: { readonly holder: string; readonly election: Election } | null = null;
  #seen: { readonly leader: ElectionNode | null; readonly until: number } = { leader: null, until: 0 };
  #stopping = new AbortController();
  #loops: Promise<unknown> = Promise.resolve();
  /** Renewals run one after the other, so that the last result is the one that is kept. */
  #turn: Promise<void> = Promise.resolve();

  constructor(
    private readonly store: Store,
    private readonly options: LeaderElectionOptions,
  ) {
    this.#clock = options.clock ?? systemClock;
    this.#logger = options.logger ?? quietLogger;
    this.#ttlMs = options.ttlMs ?? 15_000;
  }

  async start(): Promise<void> {
    if (this.#session !== null) return;
    const { id, address } = this.options;
    const holder = await describeWriter();
    const election = new Election(this.store, this.#clock, { id, holder, ttlMs: this.#ttlMs });
    this.#session = { holder, election };
    try {
      await joinCluster({ store: this.store, clock: this.#clock }, id, address);
      await this.#renewLease();
    } catch (error) {
      await this.stop();
      throw error;
    }
    this.#stopping = new AbortController();
    const loop = {
      clock: this.#clock,
      random: this.options.random ?? systemRandom,
      logger: this.#logger,
      signal: this.#stopping.signal,
    };
    const intervalMs = this.options.heartbeatIntervalMs ?? 5000;
    this.#loops = Promise.all([
      runLoop({ ...loop, name: "heartbeat", intervalMs, jitter: 0.1 }, this.#notifier, () => this.#renewLease()),
      forwardEvents(
        (signal) => this.store.watch(signal, ["members"]),
        () => [this.#notifier],
        loop,
      ),
    ]);
  }

  async stop(): Promise<void> {
    const session = this.#session;
    if (session === null) return;
    this.#stopping.abort();
    await this.#loops;
    await this.#turn;
    this.#session = null;
    this.#see(null, 0);
    await session.election.resign();
    await this.store.endHeartbeat(this.options.id, session.holder);
  }

  isLeader(): boolean {
    return this.leader()?.id === this.options.id && this.#session !== null && this.#session.election.fence !== null;
  }

  leader(): ElectionNode | null {
    return this.#clock.monotonic() < this.#seen.until ? this.#seen.leader : null;
  }

  async registerNode(node: ElectionNode): Promise<void> {
    const { store } = this;
    await joinCluster({ store, clock: this.#clock }, node.id, node.address);
    if (!this.#isInMemory || node.id === this.options.id) return;
    await store.heartbeat({ ...node, holder: "registered" }, this.#ttlMs);
    await this.#renewLease();
  }

  async deregisterNode(id: string): Promise<boolean> {
    const wasMember = await this.store.leaveMember(id);
    await this.#renewLease();
    return wasMember;
  }

  async *watch(signal: AbortSignal): AsyncGenerator<ElectionNode | null, void, undefined> {
    const notifier = new Notifier();
    this.#watchers.add(notifier);
    try {
      let told: string | null | undefined;
      while (!signal.aborted) {
        const leader = this.leader();
        if (told !== (leader?.id ?? null)) {
          told = leader?.id ?? null;
          yield leader;
        }
        // No event reports an expired lease: it is checked periodically.
        else await notifier.wait(signal, { ms: this.#ttlMs / 5, clock: this.#clock });
      }
    } finally {
      this.#watchers.delete(notifier);
    }
  }

  get #isInMemory(): boolean {
    return this.store.backend === "memory";
  }

  #renewLease(): Promise<void> {
    const renewal = this.#turn.then(() => this.#renew());
    this.#turn = renewal.catch(() => undefined);
    return renewal;
  }

  /** Renews the heartbeat, takes part in the election, and reads the leader. */
  async #renew(): Promise<void> {
    const session = this.#session;
    if (session === null) return;
    const { id, address } = this.options;
    const started = this.#clock.monotonic();
    const { held } = await this.store.heartbeat({ id, address, holder: session.holder }, this.#ttlMs);
    if (held !== null) {
      await session.election.resign();
      throw new OperationError("agent-running", `another process already runs for node ${id} (${held})`);
    }
    const healthy = (await this.store.listHeartbeats()).filter(({ alive }) => alive);
    const first = healthy.map((heartbeat) => heartbeat.id).sort()[0];
    if (!this.#isInMemory || first === id) await session.election.campaign();
    else if (session.election.fence !== null) await session.election.resign();
    const leader = this.#isInMemory ? first : session.election.leader;
    const known = healthy.find((heartbeat) => heartbeat.id === leader);
    const elected = leader === undefined || leader === null ? null : { id: leader, address: known?.address ?? "" };
    this.#see(elected, started + this.#ttlMs * 0.8);
  }

  #see(leader: ElectionNode | null, until: number): void {
    this.#seen = { leader, until };
    for (const watcher of this.#watchers) watcher.notify();
  }
}
