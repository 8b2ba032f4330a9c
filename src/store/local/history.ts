/** Revisions of a local store: reading them, and the one transaction that commits. */
import {
  StoreError,
  type CommitGuard,
  type CommitOutcome,
  type Fence,
  type PruneBounds,
  type Pruned,
  type RevisionDraft,
} from "../../interfaces/store.js";
import type { Release, Rollout } from "../../model/rollout.js";
import { refKey, type CommittedState, type Revision, type StateObject } from "../../model/state.js";
import { keys } from "../keys.js";
import { nextRevision, numberAfter, stageObjects } from "../next-revision.js";
import { decodeObject, encodeRevision, encodeSuspension } from "../records.js";
import { isSameRollout, tidyRollout } from "../rollout.js";
import { inForce } from "../suspension.js";
import type { KeyValueReader, KeyValueWriter } from "./key-value.js";
import { electionOf, headOf, leaderOf, leads, revisionOf, rolloutOfHead, suspensionOf, versionOf } from "./lookup.js";
import { pruneRevisions } from "./prune.js";
import { signalChange, type Transactions } from "./transactions.js";

export class LocalHistory {
  readonly #store: Transactions;

  constructor(store: Transactions) {
    this.#store = store;
  }

  async readHead(): Promise<number | null> {
    return this.#store.read(headOf);
  }

  async readRelease(): Promise<Release> {
    return this.#store.read((reader) => ({ head: headOf(reader), rollout: rolloutOfHead(reader) }));
  }

  async writeRollout(
    next: Rollout,
    { expect, fence }: { readonly expect: Rollout; readonly fence: Fence | null },
  ): Promise<boolean> {
    const isWritten = await this.#store.write((writer) => {
      if (fence !== null && !leads(electionOf(writer), fence, this.#store.clock.now())) return false;
      if (!isSameRollout(rolloutOfHead(writer), expect)) return false;
      writer.put(keys.rollout, JSON.stringify(tidyRollout(next)));
      return true;
    });
    if (isWritten) this.#store.announce();
    return isWritten;
  }

  async readRevision(number: number): Promise<Revision | null> {
    return this.#store.read((reader) => revisionOf(reader, number));
  }

  async readState(number: number): Promise<CommittedState> {
    return this.#store.read((reader) => {
      const revision = revisionOf(reader, number);
      if (revision === null)
        throw new StoreError(
          "revision-missing",
          `revision ${number} is not in the store: it was pruned, or never committed`,
        );
      const objects = new Map<string, StateObject>();
      for (const entry of revision.entries)
        objects.set(refKey(entry), decodeObject(reader.get(keys.object(entry.digest)), entry));
      return { revision, objects };
    });
  }

  async listRevisions({
    limit,
    before,
  }: {
    readonly limit: number;
    readonly before?: number;
  }): Promise<readonly Revision[]> {
    return this.#store.read((reader) => {
      const newest = Math.min(headOf(reader) ?? 0, (before ?? Infinity) - 1);
      const found: Revision[] = [];
      // Prune leaves no gap, so that the first missing number is the end.
      for (let number = newest; number >= 1 && found.length < limit; number -= 1) {
        const revision = revisionOf(reader, number);
        if (revision === null) break;
        found.push(revision);
      }
      return found;
    });
  }

  async commit(draft: RevisionDraft, guard: CommitGuard): Promise<CommitOutcome> {
    const staged = stageObjects(draft.objects);
    const result = await this.#store.write((writer): CommitOutcome => {
      const lost = lostRace(writer, draft, guard, this.#store.clock.now());
      if (lost !== null) return lost;
      const head = guard.expectHead === null ? null : revisionOf(writer, guard.expectHead);
      if (guard.expectHead !== null && head === null) {
        throw new StoreError(
          "store-damaged",
          `revision ${guard.expectHead} is head and is not in the store; restore the store from a backup`,
        );
      }
      const { revision, raised } = nextRevision(draft, head, (namespace, name) => versionOf(writer, namespace, name));
      for (const [digest, text] of staged) {
        // An existing object is written again only if it was damaged.
        if (writer.get(keys.object(digest)) !== text) writer.put(keys.object(digest), text);
      }
      for (const { namespace, name, version } of raised) writer.put(keys.policy(namespace, name), String(version));
      putRollout(writer, draft, revision.number);
      writer.put(keys.revision(revision.number), encodeRevision(revision));
      writer.put(keys.head, String(revision.number));
      if (draft.suspension !== undefined) {
        writer.put(keys.suspension, encodeSuspension(draft.suspension));
        signalChange(writer, "status");
      }
      return { outcome: "committed", revision };
    });
    if (result.outcome === "committed") this.#store.announce();
    return result;
  }

  async readPolicyVersion(namespace: string, name: string): Promise<number> {
    return this.#store.read((reader) => versionOf(reader, namespace, name));
  }

  async prune(keep: PruneBounds): Promise<Pruned> {
    return pruneRevisions(this.#store, keep);
  }
}

/** A commit without a rollout does not read the record before: an undo goes over a damaged one as well. */
function putRollout(writer: KeyValueWriter, { rollout }: RevisionDraft, number: number): void {
  const next = rollout?.(rolloutOfHead(writer), number) ?? null;
  if (next !== null) writer.put(keys.rollout, JSON.stringify(tidyRollout(next)));
  else if (writer.get(keys.rollout) !== undefined) writer.remove(keys.rollout);
}

/** Returns the reason why the draft cannot be committed, or its earlier commit; null if it can be committed. */
function lostRace(reader: KeyValueReader, draft: RevisionDraft, guard: CommitGuard, now: number): CommitOutcome | null {
  const head = headOf(reader);
  if (head !== guard.expectHead) {
    // The draft can only have become this number: this finds a commit whose reply was lost.
    const own = revisionOf(reader, numberAfter(guard.expectHead));
    if (own !== null && own.commitId === draft.commitId) return { outcome: "committed", revision: own };
  }
  const election = electionOf(reader);
  if (guard.fence !== null && !leads(election, guard.fence, now))
    return { outcome: "fenced", leader: leaderOf(election, now) };
  const suspension = guard.heedSuspension === true ? inForce(suspensionOf(reader), now) : null;
  if (suspension !== null) return { outcome: "suspended", suspension };
  return head === guard.expectHead ? null : { outcome: "stale-head", head };
}
