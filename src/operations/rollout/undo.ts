/**
 * `ztap rollout undo`: commits the whole state of an earlier revision as head, and suspends the source in the same
 * transaction, so that no leader brings the undone state back. Needs the store alone.
 */
import { rereadObjects } from "../change/revalidate.js";
import { hasErrors, type Diagnostic } from "../../model/diagnostic.js";
import { OperationError } from "../../model/operation-error.js";
import type { Suspension } from "../../model/source-control.js";
import type { CommittedState, ObjectSet, Revision } from "../../model/state.js";
import type { readManifests } from "../../manifest/read.js";
import { planChanges } from "../../plan/plan.js";
import type { Store } from "../../interfaces/store.js";
import type { Clock, Random } from "../../interfaces/system.js";
import type { Planned } from "../change/plan.js";
import { readSound } from "../cluster/damage.js";
import { eachRevision } from "../policy/revisions.js";

export interface UndoDeps {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly read: typeof readManifests;
  /**
   * Refuses a lock-out.
   * @throws OperationError `lockout` if the state would cut off an agent, or a session in use
   */
  readonly requireWayIn: (objects: ObjectSet) => Promise<void>;
}

/** An undo that was planned, and is not committed yet. */
export interface Undo {
  /** The revision whose state is to be restored. */
  readonly target: CommittedState;
  /** Head, and the revisions between it and the target, newest first. */
  readonly undone: readonly Revision[];
  /** From head to the restored state. */
  readonly planned: Planned;
}

export interface UndoRequest {
  /** The operator, `user@host`. */
  readonly author: string;
  readonly node: string;
  /** Empty for none. */
  readonly reason: string;
}

export type Undone =
  /** The earlier state does not validate any more. */
  | { readonly outcome: "invalid"; readonly diagnostics: readonly Diagnostic[] }
  | {
      readonly outcome: "undone";
      /** Null if head had this state already: only the source was suspended. */
      readonly revision: Revision | null;
      readonly undone: readonly Revision[];
      readonly suspension: Suspension;
    };

/**
 * Plans an undo.
 * @param to number of the revision to restore; null for the last one before head that every node had
 * @throws OperationError `not-found` without an earlier revision, `usage` if `to` is head or later, or if head is an undo
 * itself and `to` is null
 */
export async function planUndo(store: Store, to: number | null): Promise<Undo> {
  const head = await store.readHead();
  const revision = head === null ? null : await store.readRevision(head);
  if (revision === null) throw new OperationError("not-found", "the store has no revision: there is nothing to undo");
  const number = to ?? (await previousOf(store, revision));
  if (number >= revision.number)
    throw new OperationError("usage", `--to ${number} is not before head, which is revision ${revision.number}`);
  const undone: Revision[] = [];
  for await (const one of eachRevision(store)) {
    if (one.number <= number) break;
    if (one.number <= revision.number) undone.push(one);
  }
  if ((await store.readRevision(number)) === null) throw pruned(number, undone.at(-1)?.number ?? revision.number);
  const target = await store.readState(number);
  const desired = { source: target.revision.source, objects: target.objects };
  const base = await store.readState(revision.number);
  return { target, undone, planned: { plan: planChanges(desired, base), desired, base } };
}

function pruned(number: number, oldest: number): OperationError {
  return new OperationError(
    "not-found",
    `revision ${number} was pruned from the store; the oldest that it keeps is ${oldest}: \`ztap policy history\` lists them`,
  );
}

/**
 * Returns the last revision before head that every node had: between the two may be some that a rollout never released to all.
 * A second undo would bring back what the first one took away.
 */
async function previousOf(store: Store, { number, parent, restores }: Revision): Promise<number> {
  if (restores !== undefined)
    throw new OperationError(
      "usage",
      `head (revision ${number}) is an undo already: it has the state of revision ${restores}; ` +
        "to go further back, give --to a number that `ztap policy history` lists",
    );
  if (parent === null)
    throw new OperationError("not-found", `revision ${number} is the first: there is none before it to restore`);
  // A damaged record of a rollout must not be in the way of the one command that goes over it.
  const { value } = await readSound(store.readRelease());
  return value?.rollout?.revision === number ? value.rollout.base : parent;
}

const ATTEMPTS = 8;

/**
 * Commits an undo, over whatever became head meanwhile: the target stays the one that was planned.
 * @throws OperationError `lockout`, `lost-race`
 */
export async function commitUndo(deps: UndoDeps, undo: Undo, request: UndoRequest): Promise<Undone> {
  const { store, read } = deps;
  const { target } = undo;
  const { diagnostics } = rereadObjects([...target.objects.values()], read, `revision ${target.revision.number}`);
  if (hasErrors(diagnostics)) return { outcome: "invalid", diagnostics };
  await deps.requireWayIn(target.objects);
  let { planned, undone } = undo;
  for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
    const suspension = suspensionOf(deps, undone, request);
    if (planned.plan.changes.length === 0 && (await isEverywhere(store))) {
      await store.writeSuspension(suspension);
      // Head may have moved before the suspension was in force; after it, no leader moves it.
      if ((await store.readHead()) === planned.plan.base)
        return { outcome: "undone", revision: null, undone, suspension };
    } else {
      const draft = draftOf(deps, target, request);
      const committed = await store.commit({ ...draft, suspension }, { expectHead: planned.plan.base, fence: null });
      if (committed.outcome === "committed")
        return { outcome: "undone", revision: committed.revision, undone, suspension };
    }
    ({ planned, undone } = await planUndo(store, target.revision.number));
  }
  throw new OperationError(
    "lost-race",
    `head changed ${ATTEMPTS} times meanwhile; nothing was undone: suspend the source first (\`ztap cluster suspend\`), and try again`,
  );
}

/** Whether all nodes have head released: else some may enforce a revision that is neither head nor the target. */
async function isEverywhere(store: Store): Promise<boolean> {
  const { value } = await readSound(store.readRelease());
  return value !== null && (value.rollout === null || value.rollout.state === "complete");
}

function suspensionOf({ clock }: UndoDeps, undone: readonly Revision[], { author, reason }: UndoRequest): Suspension {
  const what = `undo of ${describeUndone(undone)}`;
  const since = new Date(clock.now()).toISOString();
  return { by: author, reason: reason === "" ? what : `${what}: ${reason}`, since, until: null };
}

/** Returns `revision 12` or `revisions 9 to 12`. */
export function describeUndone(undone: Undo["undone"]): string {
  const [newest, oldest] = [undone[0]?.number, undone.at(-1)?.number];
  return newest === oldest ? `revision ${newest}` : `revisions ${oldest} to ${newest}`;
}

function draftOf({ clock, random }: UndoDeps, { revision, objects }: CommittedState, request: UndoRequest) {
  const why = `undo to revision ${revision.number}`;
  return {
    objects: [...objects.values()],
    source: revision.source,
    node: request.node,
    author: request.author,
    reason: request.reason === "" ? why : `${why}: ${request.reason}`,
    commitId: random.id(),
    time: new Date(clock.now()).toISOString(),
    restores: revision.number,
  };
}
