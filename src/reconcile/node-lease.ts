/** The node lease: one agent per node; and, renewed with it, this process's part in the election of the leader. */
import type { Store } from "../interfaces/store.js";
import { StoreError } from "../interfaces/store.js";
import type { Clock, Logger } from "../interfaces/system.js";
import type { Telemetry } from "../interfaces/telemetry.js";
import { OperationError } from "../model/operation-error.js";
import type { Settings } from "../settings/settings.js";
import { Election } from "./election.js";

export interface NodeLeaseDeps {
  readonly store: Store;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly telemetry: Pick<Telemetry, "storeError" | "leader" | "elected">;
  /** Returns whether the process that a holder ID names still runs on this machine; true if that is unknown. */
  readonly isProcessAlive: (holder: string) => boolean;
}

export interface NodeLeaseOptions extends Pick<Settings, "node" | "address" | "election"> {
  /** Names this process. */
  readonly holder: string;
}

export class NodeLease {
  readonly election: Election;
  #isClaimed = false;
  /** Whether the store refused this node as a candidate; logged once. */
  #isBarred = false;

  constructor(
    private readonly deps: NodeLeaseDeps,
    private readonly options: NodeLeaseOptions,
  ) {
    const { node, holder, election } = options;
    this.election = new Election(deps.store, deps.clock, { id: node, holder, ttlMs: election.sessionTtlMs });
  }

  /**
   * Acquires the lease. Returns false if the store is unreachable, or refuses while this node already enforces
   * something; enforcement does not wait, and the lease is acquired later. Meanwhile the enforcer's own lock keeps a
   * second agent of this machine out.
   * @throws OperationError `agent-running`; StoreError
   */
  async acquire(isEnforcing: boolean): Promise<boolean> {
    try {
      await this.#claim();
      return true;
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      if (error.code !== "store-unavailable" && !isEnforcing) throw error;
      this.deps.telemetry.storeError();
      this.deps.logger.warn(`going on without the store: ${error.message}`);
      return false;
    }
  }

  /**
   * Renews the lease and leadership.
   * @returns whether this process began or ended to lead
   * @throws OperationError `agent-replaced` if another agent took over the node
   */
  async renew(): Promise<boolean> {
    const { telemetry, logger } = this.deps;
    const { isLeader, changed } = await this.#renew()
      .catch((error: unknown) => {
        if (error instanceof StoreError) telemetry.storeError();
        throw error;
      })
      // Also if the store cannot be reached: leadership that was not renewed in time has ended.
      .finally(() => telemetry.leader(this.election.fence !== null));
    if (!changed) return false;
    if (isLeader) telemetry.elected();
    logger.info(isLeader ? "leading" : "following", { leader: this.election.leader });
    return true;
  }

  /** Releases the lease and leadership. If the store is unreachable, they expire by themselves. */
  async release(): Promise<void> {
    const { store, logger } = this.deps;
    const { node, holder } = this.options;
    try {
      await this.election.resign();
      await store.endHeartbeat(node, holder);
    } catch (error) {
      logger.debug("the leases were not released and will expire", { error });
    }
  }

  /**
   * Claims the node for this process: one agent per node. It takes over at once from a process of this machine that was
   * killed.
   */
  async #claim(): Promise<void> {
    const { store, clock, isProcessAlive, logger } = this.deps;
    const { node: id, address } = this.options;
    let held = await this.#heartbeat();
    if (held !== null && !isProcessAlive(held)) {
      logger.info("succeeding an agent that is gone", { holder: held });
      await store.endHeartbeat(id, held);
      // Fails if this node may no longer lead; that lease then expires by itself.
      await store.resign(held).catch(() => undefined);
      held = await this.#heartbeat();
    }
    if (held !== null) {
      throw new OperationError(
        "agent-running",
        `another agent already runs for node ${id} (${held}); stop it first, or give this one another --node`,
      );
    }
    const members = await store.listMembers();
    if (!members.some((member) => member.id === id && member.address === address)) {
      await store.joinMember({ id, address, joinedAt: new Date(clock.now()).toISOString() });
    }
    this.#isClaimed = true;
  }

  /** Returns the holder that has the node instead of this process; null if there is none. */
  async #heartbeat(): Promise<string | null> {
    const { node: id, address, holder, election } = this.options;
    return (await this.deps.store.heartbeat({ id, address, holder }, election.electionTimeoutMs)).held;
  }

  async #renew(): Promise<{ readonly isLeader: boolean; readonly changed: boolean }> {
    if (!this.#isClaimed) await this.#claim();
    const held = await this.#heartbeat();
    if (held !== null)
      throw new OperationError("agent-replaced", `another agent took over node ${this.options.node} (${held})`);
    return this.#campaign();
  }

  /**
   * Campaigns. A node that the store does not let lead only follows; the heartbeat before showed that it may do that.
   */
  async #campaign(): Promise<{ readonly isLeader: boolean; readonly changed: boolean }> {
    try {
      const result = await this.election.campaign();
      this.#isBarred &&= !result.isLeader;
      return result;
    } catch (error) {
      if (!(error instanceof StoreError) || error.code !== "store-permission") throw error;
      if (!this.#isBarred) this.deps.logger.info(`this node may not lead, and follows: ${error.message}`);
      this.#isBarred = true;
      return this.election.withdraw();
    }
  }
}
