/** One step of a rollout: from the record and the nodes' statuses to the next record. Pure. */
import type { GateName, Rollout, RolloutLayer } from "../../model/rollout.js";
import { releasedNodes } from "../../model/rollout.js";
import { describeFreeze, freezeAt } from "./freeze.js";
import { describeGate, readGates, type GateReading } from "./gates.js";
import { nextNodes, nodeProgress, selectedBy, wavesOf, type RolloutNode } from "./nodes.js";

export interface Moment {
  /** By the leader's clock. */
  readonly now: number;
  readonly term: number;
  /** Whether this leader has seen the rollout without a break since its last step. */
  readonly isWatched: boolean;
}

/** How much longer than `shadow` a node may take to report that it compares: agents report once a minute at least. */
const SHADOW_GRACE_MS = 60_000;
/** How many nodes a message names. */
const MOST_NAMED = 5;

/** Returns the next record; the same object if there is nothing to do now. */
export function advance(rollout: Rollout, nodes: readonly RolloutNode[], moment: Moment): Rollout {
  if (rollout.state !== "shadow" && rollout.state !== "running") return rollout;
  const begun = Date.parse(rollout.since);
  // Times are of this leader's own clock: after another leader, or a time in which nobody watched, they begin again.
  if (rollout.term !== moment.term || !moment.isWatched || begun > moment.now) return beginAgain(rollout, moment);
  const gates = readGates(rollout, nodes);
  const failed = gates.find(
    ({ gate, isExceeded }) => isExceeded && gate !== "newDenials" && !rollout.waived.includes(gate),
  );
  if (failed !== undefined) return fail(rollout, failed, moment);
  return rollout.state === "shadow"
    ? advanceShadow(rollout, nodes, gates, moment)
    : advanceWave(rollout, nodes, gates, moment);
}

function beginAgain(rollout: Rollout, { now, term }: Moment): Rollout {
  const since = new Date(now).toISOString();
  return next(rollout, { since, settledSince: rollout.settledSince === null ? null : since, term });
}

function advanceShadow(
  rollout: Rollout,
  nodes: readonly RolloutNode[],
  gates: readonly GateReading[],
  moment: Moment,
): Rollout {
  const wantedMs = secondsOf(rollout.plan.shadow) * 1000;
  const elapsedMs = moment.now - Date.parse(rollout.since);
  if (elapsedMs < wantedMs) return rollout;
  const missing = wantedMs === 0 ? [] : listUncompared(rollout, nodes, wantedMs);
  if (missing.length > 0 && elapsedMs < wantedMs + SHADOW_GRACE_MS) return rollout;
  const message = missing.length === 0 ? null : `not compared with live traffic on ${nameSome(missing)}`;
  return beginWave(rollout, { wave: 0, message }, nodes, gates, moment);
}

/** Returns the live nodes that have not compared for long enough. A duration on the node's own clock needs no other clock. */
export function listUncompared(rollout: Rollout, nodes: readonly RolloutNode[], wantedMs: number): readonly string[] {
  return nodes
    .filter(({ isAlive, status }) => {
      if (!isAlive) return false;
      const shadow = status?.shadow;
      if (status === null || shadow?.commitId !== rollout.commitId) return true;
      // Under an override, all revisions decide alike.
      if (status.overrides !== undefined && status.overrides.length > 0) return true;
      return Date.parse(status.observedAt) - Date.parse(shadow.since) < wantedMs;
    })
    .map(({ id }) => id);
}

function advanceWave(
  rollout: Rollout,
  nodes: readonly RolloutNode[],
  gates: readonly GateReading[],
  moment: Moment,
): Rollout {
  const waves = wavesOf(rollout.plan);
  if (!isSettled(rollout, nodes)) return rollout;
  const now = new Date(moment.now).toISOString();
  if (rollout.settledSince === null) return next(rollout, { settledSince: now });
  const soakMs = secondsOf(waves[rollout.wave]?.soak ?? "0s") * 1000;
  if (moment.now - Date.parse(rollout.settledSince) < soakMs) return rollout;
  if (rollout.wave >= waves.length - 1) return complete(rollout, { since: now, term: moment.term });
  const released = releasedNodes(rollout);
  // A canary that does not run says nothing about the revision.
  if (released.length > 0 && !nodes.some(({ id, isAlive }) => isAlive && released.includes(id)))
    return hold(
      rollout,
      `none of the nodes that have it is alive: ${nameSome(released)}; \`ztap rollout promote\` goes on`,
    );
  return beginWave(rollout, { wave: rollout.wave + 1, message: null }, nodes, gates, moment);
}

/** Whether no live node is under way. Those that a gate lets pass are not waited for. */
function isSettled(rollout: Rollout, nodes: readonly RolloutNode[]): boolean {
  return nodes.every((node) => !["pending", "unconfirmed"].includes(nodeProgress(rollout, node)));
}

function beginWave(
  rollout: Rollout,
  { wave, message }: { readonly wave: number; readonly message: string | null },
  nodes: readonly RolloutNode[],
  gates: readonly GateReading[],
  moment: Moment,
): Rollout {
  const exceeded = gates.filter(({ isExceeded }) => isExceeded);
  const failed = exceeded.find(({ gate }) => !rollout.waived.includes(gate));
  if (failed !== undefined) return fail(rollout, failed, moment);
  const [waived] = exceeded;
  if (waived !== undefined)
    return hold(rollout, `${describeGate(waived)}; an operator went over it for this wave alone: promote, or abort`);
  const freeze = freezeAt(rollout.plan.freeze, moment.now);
  if (freeze !== null) return hold(rollout, describeFreeze(freeze));
  const wanted = wavesOf(rollout.plan)[wave];
  if (wanted !== undefined && selectedBy(wanted, nodes).length === 0)
    return hold(rollout, `wave ${wave + 1} selects no node; \`ztap rollout promote\` goes over it`);
  return release(rollout, wave, nodes, { message, now: moment.now, term: moment.term });
}

/** Releases the revision to the nodes of a wave. */
export function release(
  rollout: Rollout,
  wave: number,
  nodes: readonly RolloutNode[],
  {
    message,
    now,
    term,
    waived = [],
  }: {
    readonly message: string | null;
    readonly now: number;
    readonly term: number | null;
    readonly waived?: readonly GateName[];
  },
): Rollout {
  const wanted = wavesOf(rollout.plan)[wave];
  const added = wanted === undefined ? [] : nextNodes(rollout, wanted, nodes);
  const since = new Date(now).toISOString();
  return next(rollout, {
    ...{ state: "running", wave, since, settledSince: null, term, message, waived },
    layers: withNodes(rollout, added),
  });
}

function withNodes({ layers, revision, commitId }: Rollout, added: readonly string[]): readonly RolloutLayer[] {
  const moved = new Set(added);
  const known = layers.find((layer) => layer.revision === revision)?.nodes ?? [];
  const others = layers
    .filter((layer) => layer.revision !== revision)
    .map((layer) => ({ ...layer, nodes: layer.nodes.filter((node) => !moved.has(node)) }));
  const own = { revision, commitId, nodes: [...new Set([...known, ...added])].sort() };
  return [own, ...others].filter(({ nodes }) => nodes.length > 0);
}

/** Releases the revision to all nodes, also to those that are not known. */
export function complete(rollout: Rollout, changes: Partial<Rollout>): Rollout {
  return next(rollout, { layers: [], state: "complete", settledSince: null, message: null, ...changes });
}

function fail(rollout: Rollout, gate: GateReading, { now, term }: Moment): Rollout {
  const isReverted = rollout.plan.onFailure === "revert";
  return next(rollout, {
    ...{ state: "failed", since: new Date(now).toISOString(), term, settledSince: null },
    message: `${describeGate(gate)}; ${isReverted ? `all nodes return to revision ${rollout.base}` : "nodes that have the revision keep it"}`,
    ...(isReverted ? { layers: [], wave: -1 } : {}),
  });
}

/** Waits, and says why. */
function hold(rollout: Rollout, message: string): Rollout {
  return rollout.message === message ? rollout : next(rollout, { message });
}

/** Returns the record with changes. */
export function next(rollout: Rollout, changes: Partial<Rollout>): Rollout {
  return { ...rollout, ...changes, serial: rollout.serial + 1 };
}

export function nameSome(names: readonly string[]): string {
  const rest = names.length - MOST_NAMED;
  return `${names.slice(0, MOST_NAMED).join(", ")}${rest > 0 ? ` and ${rest} more` : ""}`;
}

/** The canonical form of a time: a number, and `s`. */
export function secondsOf(time: string): number {
  return Number.parseInt(time, 10);
}
