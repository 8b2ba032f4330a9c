/** Overrides: operators put a workload or a node into quarantine, or open it, for a time, and end that before its time. */
import {
  describeTarget,
  isOverriding,
  MOST_ENDED,
  MOST_OVERRIDES,
  type Override,
  type OverrideKind,
  type OverrideTarget,
} from "../../model/override.js";
import { OperationError } from "../../model/operation-error.js";
import { refKey, type ObjectSet } from "../../model/state.js";
import { suggest } from "../../model/suggest.js";
import type { Store } from "../../interfaces/store.js";
import type { Clock, Random } from "../../interfaces/system.js";

export interface OverrideDeps {
  readonly store: Pick<Store, "readHead" | "readState" | "readOverrides" | "changeOverrides" | "listMembers">;
  readonly clock: Clock;
  readonly random: Random;
}

export interface OverrideOrder {
  readonly kind: OverrideKind;
  readonly target: OverrideTarget;
  readonly forMs: number;
  /** The operator, `user@host`. */
  readonly by: string;
  readonly reason: string;
}

/** An override, and what the nodes say of it. */
export interface ListedOverride extends Override {
  readonly state: "InForce" | "Expired" | "Ended";
  /** Nodes on which it is in force, by their own report. */
  readonly nodes: readonly string[];
}

const [LEAST_MS, MOST_MS] = [10_000, 7 * 24 * 3_600_000];
const ID_LENGTH = 8;

/**
 * Puts an override in force.
 * @throws OperationError `usage`; `not-found` if head has no such node or workload; `conflict` if there are too many
 */
export async function override(deps: OverrideDeps, order: OverrideOrder): Promise<Override> {
  const { store, clock, random } = deps;
  const { kind, target, forMs, by, reason } = order;
  if (reason.trim() === "")
    throw new OperationError("usage", "--reason is empty: give a reason for the other operators");
  if (forMs < LEAST_MS || forMs > MOST_MS)
    throw new OperationError("usage", "--for must be between 10s and 168h: an override is for an incident");
  await requireTarget(store, target);
  const now = clock.now();
  const made: Override = {
    id: random.id().replaceAll("-", "").slice(0, ID_LENGTH),
    kind,
    target,
    by,
    reason,
    since: new Date(now).toISOString(),
    until: new Date(Math.ceil((now + forMs) / 1000) * 1000).toISOString(),
  };
  const after = await store.changeOverrides((before) => {
    // The answer to a write that was made may be lost, and the write repeated.
    if (before.some(({ id }) => id === made.id)) return before;
    const active = before.filter((one) => isOverriding(one, now));
    const ended = before.filter((one) => !isOverriding(one, now));
    return active.length < MOST_OVERRIDES ? [made, ...active, ...ended.slice(0, MOST_ENDED)] : before;
  });
  if (!after.some(({ id }) => id === made.id))
    throw new OperationError("usage", `${MOST_OVERRIDES} overrides are in force already; end one first`);
  return made;
}

async function requireTarget(store: OverrideDeps["store"], target: OverrideTarget): Promise<void> {
  const head = await store.readHead();
  const objects: ObjectSet = head === null ? new Map() : (await store.readState(head)).objects;
  const [namespace = "", name = ""] = "workload" in target ? target.workload.split("/") : [];
  const key =
    "workload" in target
      ? refKey({ kind: "Workload", namespace, name })
      : refKey({ kind: "Node", namespace: null, name: target.node });
  if (objects.has(key)) return;
  // Nodes of a NodeGroup have no object of their own.
  const members = "node" in target ? (await store.listMembers()).map(({ id }) => id) : [];
  if ("node" in target && members.includes(target.node)) return;
  const kind = "workload" in target ? "Workload/" : "Node//";
  const known = [...objects.keys()].flatMap((one) => (one.startsWith(kind) ? [one.slice(kind.length)] : []));
  const wanted = "workload" in target ? target.workload : target.node;
  const meant = suggest(wanted, [...known, ...members]);
  throw new OperationError(
    "not-found",
    `head has no ${describeTarget(target)}${meant === undefined ? "" : `; did you mean ${meant}?`}`,
  );
}

/**
 * Ends an override before its time.
 * @throws OperationError `not-found` if none with this id is in force
 */
export async function endOverride({ store, clock }: OverrideDeps, id: string, by: string): Promise<Override> {
  const now = clock.now();
  const ended = { by, at: new Date(now).toISOString() };
  const after = await store.changeOverrides((before) => {
    const isMeant = (one: Override): boolean => one.id === id && isOverriding(one, now);
    return before.some(isMeant) ? before.map((one) => (isMeant(one) ? { ...one, ended } : one)) : before;
  });
  const done = after.find((one) => one.id === id && one.ended?.by === by && one.ended.at === ended.at);
  if (done === undefined)
    throw new OperationError("not-found", `no override ${id} is in force: \`ztap override list\` shows them`);
  return done;
}

/** Returns the overrides in force, and the last that ended, the newest first. */
export async function listOverrides({
  store,
  clock,
}: {
  readonly store: Pick<Store, "readOverrides" | "listNodeStatus">;
  readonly clock: Clock;
}): Promise<readonly ListedOverride[]> {
  const [overrides, statuses] = await Promise.all([store.readOverrides(), store.listNodeStatus()]);
  const now = clock.now();
  return overrides.map((one) => ({
    ...one,
    state: one.ended !== undefined ? "Ended" : isOverriding(one, now) ? "InForce" : "Expired",
    nodes: statuses.filter(({ overrides: ids }) => ids?.includes(one.id)).map(({ node }) => node),
  }));
}
