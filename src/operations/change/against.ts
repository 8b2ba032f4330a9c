/**
 * `ztap plan --against`: desired state against another commit of the same repository, where no store is at hand,
 * as in the checks of a pull request.
 */
import { CODES } from "../../manifest/codes.js";
import type { readManifests } from "../../manifest/read.js";
import type { Diagnostic } from "../../model/diagnostic.js";
import type { DesiredState } from "../../model/state.js";
import { planAgainst } from "../../plan/plan.js";
import type { BaseSource, SourceFile } from "../../interfaces/source.js";
import { OperationError } from "../../model/operation-error.js";
import type { Planned } from "./plan.js";

/** Errors of a state all of whose objects were read: a comparison with it leaves nothing out. */
const WHOLE: ReadonlySet<string> = new Set([CODES.testFailed.code, CODES.tooLarge.code]);

export interface Base {
  readonly state: DesiredState;
  /** Its errors: it was read whole, and a leader would have rejected it. */
  readonly errors: readonly Diagnostic[];
  readonly files: readonly SourceFile[];
}

export interface BaseChoice {
  /** As the user wrote it. */
  readonly ref: string;
  /** The ref itself, in place of where the desired state parted from it. */
  readonly exact: boolean;
}

/** @throws OperationError `invalid-base` where objects of it could not be read: all of them would seem to be new */
export async function readBase(
  source: BaseSource,
  desired: DesiredState,
  { ref, exact }: BaseChoice,
  read: typeof readManifests,
): Promise<Base> {
  const snapshot = await source.fetchBase(desired.source.commit, exact);
  const { objects, diagnostics } = read(snapshot.files);
  const errors = diagnostics.filter(({ severity }) => severity === "error");
  const [first, ...others] = errors.filter(({ code }) => !WHOLE.has(code));
  if (first !== undefined) {
    const commit = snapshot.source.commit?.slice(0, 12) ?? ref;
    const more = others.length === 0 ? "" : ` and ${others.length} more`;
    throw new OperationError(
      "invalid-base",
      `the state at ${ref} (commit ${commit}) does not validate, so that nothing can be compared with it: ${first.file}:${first.line}:${first.column} ${first.code} ${first.message}${more}; mend it there first, or name the last good commit with --against`,
    );
  }
  return { state: { source: snapshot.source, objects }, errors, files: snapshot.files };
}

export function planAgainstBase(desired: DesiredState, { state }: Base): Planned {
  return { plan: planAgainst(desired, state), desired, base: state };
}
