/** What operators do with a rollout: pure steps from one record to the next. */
import { releasedNodes, type Rollout } from "../../model/rollout.js";
import { complete, nameSome, next, release } from "./advance.js";
import { describeFreeze, freezeAt } from "./freeze.js";
import { describeGate, readGates } from "./gates.js";
import { nodeProgress, wavesOf, type RolloutNode } from "./nodes.js";

/** Who does it, and when. */
export interface Order {
  /** The operator, `user@host`. */
  readonly by: string;
  readonly now: number;
}

/** The times of a leader are not an operator's: the leader begins to watch anew. */
const begin = ({ by, now }: Order) => ({
  ...{ since: new Date(now).toISOString(), settledSince: null, term: null, by },
});

export function pause(rollout: Rollout, order: Order): Rollout {
  return next(rollout, { ...begin(order), state: "paused", message: `paused by ${order.by}` });
}

/** Goes on where it was paused. A rollout that failed is tried again: from the shadow on where the nodes have gone back. */
export function resume(rollout: Rollout, order: Order): Rollout {
  const wave = releasedNodes(rollout).length === 0 && rollout.state === "failed" ? -1 : rollout.wave;
  return next(rollout, { ...begin(order), wave, state: wave < 0 ? "shadow" : "running", message: null, waived: [] });
}

/** Takes the revision back from every node. */
export function abort(rollout: Rollout, order: Order): Rollout {
  const message = `aborted by ${order.by}; all nodes return to revision ${rollout.base}`;
  return next(rollout, { ...begin(order), state: "aborted", layers: [], wave: -1, message });
}

export interface Promoted {
  readonly rollout: Rollout;
  /** What it goes over, a clause each. */
  readonly over: readonly string[];
}

/** Begins the next wave, whatever speaks against it; after the last one, or with `all`, every node has the revision. */
export function promote(
  rollout: Rollout,
  nodes: readonly RolloutNode[],
  { all, ...order }: Order & { readonly all: boolean },
): Promoted {
  const over = listObstacles(rollout, nodes, order.now);
  const waves = wavesOf(rollout.plan);
  const wave = rollout.wave + 1;
  const said = `promoted by ${order.by}${over.length === 0 ? "" : `, over ${over.join("; ")}`}`;
  if (all || wave >= waves.length)
    return { rollout: complete(rollout, { ...begin(order), wave: waves.length - 1, message: said }), over };
  const waived = readGates(rollout, nodes).flatMap(({ gate, isExceeded }) => (isExceeded ? [gate] : []));
  const released = release(rollout, wave, nodes, { message: said, now: order.now, term: null, waived });
  return { rollout: { ...released, by: order.by }, over };
}

function listObstacles(rollout: Rollout, nodes: readonly RolloutNode[], now: number): readonly string[] {
  const { state, wave, plan, message } = rollout;
  const pending = nodes
    .filter((node) => ["pending", "unconfirmed"].includes(nodeProgress(rollout, node)))
    .map(({ id }) => id);
  const freeze = freezeAt(plan.freeze, now);
  return [
    ...(state === "paused" || state === "failed"
      ? [`the state ${state}${message === null ? "" : ` (${message})`}`]
      : []),
    ...(state === "shadow" ? ["the time in which nodes compare it with live traffic"] : []),
    ...(state === "running" && wave >= 0 ? [`the soak of wave ${wave + 1}`] : []),
    ...(pending.length === 0 ? [] : [`${nameSome(pending)}, which has not confirmed it`]),
    ...readGates(rollout, nodes).flatMap((gate) => (gate.isExceeded ? [describeGate(gate)] : [])),
    ...(freeze === null ? [] : [describeFreeze(freeze)]),
  ];
}

/** Returns the wave that each waiting node waits for, from 0, as the nodes are now. */
export function upcomingWaves(rollout: Rollout, nodes: readonly RolloutNode[]): ReadonlyMap<string, number> {
  const found = new Map<string, number>();
  let ahead = rollout;
  for (let wave = rollout.wave + 1; wave < wavesOf(rollout.plan).length; wave += 1) {
    const before = new Set(releasedNodes(ahead));
    ahead = release(ahead, wave, nodes, { message: null, now: 0, term: null });
    for (const id of releasedNodes(ahead)) if (!before.has(id)) found.set(id, wave);
  }
  return found;
}
