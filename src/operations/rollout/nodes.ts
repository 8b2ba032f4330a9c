/** The nodes of a rollout, as the store has them: those that the base revision declares, and the members. */
import { NodeDescriptions } from "../../inventory/nodes.js";
import type { Rollout } from "../../model/rollout.js";
import { HOSTNAME_LABEL } from "../../inventory/nodes.js";
import type { ObjectSet } from "../../model/state.js";
import type { RolloutNode } from "../../plan/rollout/nodes.js";
import type { Store } from "../../interfaces/store.js";

/** Describes nodes as both revisions of a rollout do. Neither ever changes: to be read once. */
export class RolloutDescriptions {
  readonly #base: NodeDescriptions;
  readonly #head: NodeDescriptions;

  constructor(base: ObjectSet, head: ObjectSet) {
    this.#base = new NodeDescriptions(base);
    this.#head = new NodeDescriptions(head);
  }

  static async read(store: Pick<Store, "readState">, { base, revision }: Rollout): Promise<RolloutDescriptions> {
    const before = await store.readState(base);
    const next = base === revision ? before : await store.readState(revision);
    return new RolloutDescriptions(before.objects, next.objects);
  }

  /** Those of the base: a commit does not make its waves larger by nodes that it declares itself. */
  get declared(): readonly string[] {
    return this.#base.declared.map(({ name }) => name);
  }

  /** The labels of the base count: a commit does not choose its own canaries. */
  describe(id: string): Pick<RolloutNode, "labels" | "isDeclared"> {
    const found = this.#base.match(id) ?? this.#head.match(id);
    return { labels: found?.labels ?? { [HOSTNAME_LABEL]: id }, isDeclared: found !== undefined };
  }
}

/** Returns the nodes, in the order of their names. */
export async function readRolloutNodes(
  store: Pick<Store, "listMembers" | "listHeartbeats" | "listNodeStatus">,
  descriptions: RolloutDescriptions,
): Promise<readonly Omit<RolloutNode, "behindMs">[]> {
  const [members, heartbeats, statuses] = await Promise.all([
    store.listMembers(),
    store.listHeartbeats(),
    store.listNodeStatus(),
  ]);
  const alive = new Set(heartbeats.filter((heartbeat) => heartbeat.alive).map(({ id }) => id));
  const statusById = new Map(statuses.map((status) => [status.node, status]));
  const ids = new Set([...descriptions.declared, ...members.map(({ id }) => id)]);
  return [...ids].sort().map((id) => ({
    id,
    ...descriptions.describe(id),
    isAlive: alive.has(id),
    status: statusById.get(id) ?? null,
  }));
}
