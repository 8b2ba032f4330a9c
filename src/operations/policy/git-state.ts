/**
 * Compares head with Git as far as the store knows it: the objects of head with those of the revision of the last
 * accepted commit. One answer for all commands that need it.
 */
import type { Suspension } from "../../model/source-control.js";
import type { Revision } from "../../model/state.js";
import { refKey } from "../../model/state.js";
import type { SourceStatus } from "../../model/status.js";
import type { Store } from "../../interfaces/store.js";

export type GitState = "Synced" | "OutOfSync" | "Unknown";

/** Keys of objects that are missing on one side, or differ; null if the accepted revision was pruned. */
export type GitDifference = ReadonlySet<string> | null;

/**
 * Returns the difference.
 * @returns null if no source is polled
 */
export async function readGitDifference(
  store: Store,
  head: Revision,
  source: SourceStatus | null,
): Promise<{ readonly differs: GitDifference } | null> {
  if (source === null) return null;
  if (source.acceptedRevision === undefined) return { differs: null };
  const accepted = await store.readRevision(source.acceptedRevision);
  return { differs: accepted === null ? null : differences(head, accepted) };
}

function differences(one: Revision, other: Revision): ReadonlySet<string> {
  const [ours, theirs] = [one, other].map(
    ({ entries }) => new Map(entries.map((entry) => [refKey(entry), entry.digest])),
  );
  const keys = [...(ours?.keys() ?? []), ...(theirs?.keys() ?? [])];
  return new Set(keys.filter((key) => ours?.get(key) !== theirs?.get(key)));
}

/**
 * Returns the source's status now. The leader's last result was true for the head of that time: a later commit over Git
 * makes it OutOfSync.
 */
export async function readSourceNow(
  store: Store,
  head: Revision | null,
  suspension: Suspension | null,
): Promise<SourceStatus | null> {
  const source = await store.readSourceStatus();
  if (source?.state !== "Synced" || head === null) return source;
  const differs = (await readGitDifference(store, head, source))?.differs ?? new Set();
  if (differs.size === 0) return source;
  const when =
    suspension === null ? "the leader returns to that at its next poll" : "while the source is suspended it stays";
  const message = `head (revision ${head.number}) was committed over Git, and differs from commit ${source.acceptedCommit?.slice(0, 12) ?? "none"}; ${when}`;
  return { ...source, state: "OutOfSync", message };
}
