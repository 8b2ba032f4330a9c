/**
 * Overrides of this node: read from the store, and kept on its disk for a start without it. An override ends by the clock here too, also
 * where the store cannot be read.
 */
import { isOverriding, type Override } from "../model/override.js";
import type { LastGoodState } from "../interfaces/last-good.js";
import { StoreError, type Store } from "../interfaces/store.js";
import type { Clock, Logger } from "../interfaces/system.js";

export interface NodeOverridesDeps {
  readonly store: Pick<Store, "readOverrides">;
  /** Null: none are kept. */
  readonly lastGood: Pick<LastGoodState, "readOverrides" | "writeOverrides"> | null;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class NodeOverrides {
  #known: readonly Override[] | null = null;
  /** Why they could not be read last; null if they could. */
  #problem: string | null = null;
  /** Those on the disk. */
  #kept = "";

  constructor(
    private readonly deps: NodeOverridesDeps,
    private readonly node: string,
  ) {}

  /** Returns those that are in force and may concern this node. */
  current(): readonly Override[] {
    const now = this.deps.clock.now();
    return (this.#known ?? []).filter((one) => this.#mayConcern(one) && isOverriding(one, now));
  }

  /** Reads those on the disk, unless the store's are known. */
  async load(): Promise<void> {
    if (this.#known !== null) return;
    this.#known = (await this.deps.lastGood?.readOverrides()) ?? [];
    this.#kept = JSON.stringify(this.#known);
  }

  /**
   * Reads them from the store. A record that cannot be read stops nothing else: those that were known stay in force.
   * @throws StoreError if the store cannot be reached; those that were known stay in force
   */
  async read(): Promise<void> {
    try {
      this.#known = await this.deps.store.readOverrides();
      this.#problem = null;
    } catch (error) {
      if (!(error instanceof StoreError && error.code === "store-damaged")) throw error;
      if (this.#problem !== error.message) this.deps.logger.warn(error.message);
      this.#problem = error.message;
    }
    const all = this.current();
    const text = JSON.stringify(all);
    if (text === this.#kept) return;
    // They are in force also where they cannot be kept.
    await this.deps.lastGood?.writeOverrides(all).catch((error: unknown) => {
      this.deps.logger.warn("the overrides could not be kept on this node's disk", { error });
    });
    this.#kept = text;
    for (const { kind, reason, by, until } of all) this.deps.logger.warn(`${kind} until ${until} by ${by}: ${reason}`);
  }

  #mayConcern({ target }: Override): boolean {
    return "workload" in target || target.node === this.node;
  }
}
