/**
 * Leadership of this process: campaigns, renews, and gives up before the lease can expire. Safety does not depend on
 * this clock: the store fences every write of a leader. This only avoids useless work.
 */
import type { Clock } from "../interfaces/system.js";
import type { Fence, Store } from "../interfaces/store.js";

export interface ElectionOptions {
  readonly id: string;
  readonly holder: string;
  readonly ttlMs: number;
}

export class Election {
  #fence: Fence | null = null;
  #validUntil = 0;
  #renewAt = 0;
  #leader: string | null = null;

  constructor(
    private readonly store: Store,
    private readonly clock: Clock,
    private readonly options: ElectionOptions,
  ) {}

  /** The fence, as long as leadership is certain; else null. */
  get fence(): Fence | null {
    return this.clock.monotonic() < this.#validUntil ? this.#fence : null;
  }

  get leader(): string | null {
    return this.#leader;
  }

  /**
   * Campaigns for leadership, or renews it once a sixth of the lease has passed. The lease counts from before the
   * request, so that a slow reply shortens it.
   */
  async campaign(): Promise<{ readonly isLeader: boolean; readonly changed: boolean }> {
    const started = this.clock.monotonic();
    const before = this.#fence;
    if (before !== null && started < this.#renewAt) return { isLeader: true, changed: false };
    const { fence, leader } = await this.store.campaign(this.options, this.options.ttlMs);
    this.#fence = fence;
    this.#leader = leader;
    this.#validUntil = fence === null ? 0 : started + this.options.ttlMs * 0.8;
    this.#renewAt = started + this.options.ttlMs / 6;
    return { isLeader: fence !== null, changed: before?.term !== fence?.term };
  }

  /** Gives up leadership in this process; the lease in the store expires later. */
  withdraw(): { readonly isLeader: false; readonly changed: boolean } {
    const changed = this.#fence !== null;
    this.#validUntil = 0;
    this.#fence = null;
    this.#leader = null;
    return { isLeader: false, changed };
  }

  async resign(): Promise<void> {
    this.withdraw();
    await this.store.resign(this.options.holder);
  }
}
