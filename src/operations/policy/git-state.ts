/**
 * What is in force against what Git says, as far as the store knows: the objects of head against those of the revision
 * that holds the commit which the leader accepted last. One answer, for every command that gives one.
 */
import type { Suspension } from "../../model/source-control.js";
import type { Revision } from "../../model/state.js";
import { refKey } from "../../model/state.js";
import type { SourceStatus } from "../../model/status.js";
import type { Store } from "../../interfaces/store.js";

export type GitState = "Synced" | "OutOfSync" | "Unknown";

/** Keys of objects that one has and the other has not, or in another form; null where the accepted revision is not kept. */
export type GitDifference = ReadonlySet<string> | null;

/** @returns null where no source is polled */
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

/** The leader's last finding was true of head as it was then: what was committed over Git since makes it OutOfSync. */
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
  const message = `head (revision ${head.number}) was committed over Git, and is not what commit ${source.acceptedCommit?.slice(0, 12) ?? "none"} says; ${when}`;
  return { ...source, state: "OutOfSync", message };
}
