/** Writes the node's status into the store if it says something new, and at least once a minute; every ten seconds while a revision is compared. */
import type { NodeStatus } from "../model/status.js";
import type { Store } from "../interfaces/store.js";
import { StoreError } from "../interfaces/store.js";
import type { Clock, Logger } from "../interfaces/system.js";
import type { Telemetry } from "../interfaces/telemetry.js";
import type { LockoutGuard } from "./lockout-guard.js";

export interface NodeStatusDeps {
  readonly store: Pick<Store, "writeNodeStatus">;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly telemetry: Pick<Telemetry, "stalled" | "storeError">;
}

/** The parts of a status that do not change while the agent runs. */
type NodeIdentity = Pick<NodeStatus, "node" | "backend"> & {
  /** See NodeStatus; null if it is not known. */
  readonly boot: string | null;
};

export type StatusContent = Omit<
  NodeStatus,
  keyof NodeIdentity | "agentCgroup" | "servers" | "warnings" | "observedAt"
>;

const REFRESH_MS = 60_000;
/** A rollout waits until the status shows for how long a revision was compared, also where there is no traffic. */
const COMPARING_REFRESH_MS = 10_000;

export class NodeStatusWriter {
  #written: { readonly content: string; readonly at: number } | null = null;
  #problem: string | null = null;
  /** Why the last write failed; null if it did not. */
  #refused: string | null = null;
  #warned: readonly string[] = [];

  constructor(
    private readonly deps: NodeStatusDeps,
    private readonly guard: LockoutGuard,
    private readonly identity: NodeIdentity,
  ) {}

  /** Null if the last status was InSync; else the reason. */
  get problem(): string | null {
    return this.#problem;
  }

  /** If the store cannot be written to, the next call writes again: the machine is reconciled all the same. */
  async write(content: StatusContent): Promise<void> {
    const { clock, store, telemetry, logger } = this.deps;
    const { node, boot, backend } = this.identity;
    const agentCgroup = this.guard.agentCgroup();
    const servers = await this.guard.servers();
    const warnings = this.guard.warnings();
    for (const warning of warnings) if (!this.#warned.includes(warning)) logger.warn(warning);
    this.#warned = warnings;
    telemetry.stalled(content.state === "Stalled");
    this.#problem = content.state === "InSync" ? null : (content.message ?? content.drift[0]?.detail ?? content.state);
    const status = {
      node,
      ...(boot === null ? {} : { boot }),
      ...(agentCgroup === null ? {} : { agentCgroup }),
      ...(servers.length === 0 ? {} : { servers }),
      ...(warnings.length === 0 ? {} : { warnings }),
      backend,
      ...content,
    };
    const text = JSON.stringify(status);
    const refreshMs = content.shadow === undefined ? REFRESH_MS : COMPARING_REFRESH_MS;
    const isFresh = this.#written !== null && clock.monotonic() - this.#written.at < refreshMs;
    if (isFresh && this.#written?.content === text) return;
    try {
      await store.writeNodeStatus({ ...status, observedAt: new Date(clock.now()).toISOString() });
      this.#written = { content: text, at: clock.monotonic() };
      this.#refused = null;
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      telemetry.storeError();
      const isNews = this.#refused !== error.message;
      this.#refused = error.message;
      if (isNews) logger.warn(`the status could not be written: ${error.message}`);
    }
  }
}
