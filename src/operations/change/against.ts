/**
 * `ztap plan --against`: compares the desired state with another commit of the same repository, without a store, as the
 * checks of a pull request do.
 */
import { CODES } from "../../manifest/codes.js";
import type { readManifests } from "../../manifest/read.js";
import type { Diagnostic } from "../../model/diagnostic.js";
import type { DesiredState } from "../../model/state.js";
import { planAgainst } from "../../plan/plan.js";
import type { BaseSource, SourceFile } from "../../interfaces/source.js";
import { OperationError } from "../../model/operation-error.js";
import type { Planned } from "./plan.js";

/** Errors of a state whose objects were all read: a comparison with it misses nothing. */
const WHOLE: ReadonlySet<string> = new Set([CODES.testFailed.code, CODES.tooLarge.code]);

export interface Base {
  readonly state: DesiredState;
  /** The errors of the base. It was read completely, but a leader would have rejected it. */
  readonly errors: readonly Diagnostic[];
  readonly files: readonly SourceFile[];
}

export interface BaseChoice {
  /** As the user wrote it. */
  readonly ref: string;
  /** Compares with the ref itself, not with the commit where the desired state branched off. */
  readonly exact: boolean;
}

/**
 * Reads the base.
 * @throws OperationError `invalid-base` if some of its objects could not be read: they would all seem to be new
 */
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
      `the state at ${ref} (commit ${commit}) does not validate, so that no comparison is possible:  ${first.file}:${first.line}:${first.column} ${first.code} ${first.message}${more}; fix it there first, or name the last good commit with --against`,
    );
  }
  return { state: { source: snapshot.source, objects }, errors, files: snapshot.files };
}

export function planAgainstBase(desired: DesiredState, { state }: Base): Planned {
  return { plan: planAgainst(desired, state), desired, base: state };
}
