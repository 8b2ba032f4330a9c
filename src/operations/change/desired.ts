/** Reads a source into a desired state, and reports every problem found on the way. */
import type { Diagnostic } from "../../model/diagnostic.js";
import { hasErrors } from "../../model/diagnostic.js";
import type { DesiredState } from "../../model/state.js";
import type { Unverified } from "../../model/status.js";
import type { readManifests } from "../../manifest/read.js";
import { OperationError } from "../../model/operation-error.js";
import type { Snapshot, Source, SourceFile } from "../../interfaces/source.js";

export interface ReadResult {
  /** Null if there are errors: a state that does not validate is never planned in part. */
  readonly desired: DesiredState | null;
  readonly diagnostics: readonly Diagnostic[];
  /** The files, to show the lines that diagnostics refer to. */
  readonly files: readonly SourceFile[];
}

/**
 * Reads the desired state.
 * @throws OperationError `unverified` if signatures are required, and one is missing
 */
export async function readDesired(source: Source, read: typeof readManifests, commit?: string): Promise<ReadResult> {
  return toDesired(await source.fetch(commit), read);
}

export function toDesired(snapshot: Snapshot, read: typeof readManifests): ReadResult {
  if (snapshot.unverified) throw unverified(snapshot.unverified);
  const { objects, diagnostics } = read(snapshot.files, { skipped: snapshot.skipped ?? [] });
  return {
    desired: hasErrors(diagnostics) ? null : { source: snapshot.source, objects },
    diagnostics,
    files: snapshot.files,
  };
}

function unverified({ commit, author, problem }: Unverified): OperationError {
  return new OperationError(
    "unverified",
    `commit ${commit.slice(0, 12)} of ${author} is not accepted: ${problem}; source.verify lists the allowed signers`,
  );
}
