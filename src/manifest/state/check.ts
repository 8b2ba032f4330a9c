/**
 * The state stage: turns the objects of all files into the state, and finds the problems that show only in the whole of
 * it. Cheap checks come first: a state that they refuse is neither compiled nor tested.
 */
import type { Kind } from "../../model/objects.js";
import type { ObjectSet, StateObject } from "../../model/state.js";
import { CODES } from "../codes.js";
import type { FileObject, PlacedProblem } from "../document/file.js";
import { checkCapacity, type Capacities } from "./capacity.js";
import { compareObjects } from "./conflicts.js";
import { checkTests } from "./connectivity-tests.js";
import { lintObjects } from "./lint.js";
import type { ObjectProblem } from "./object-problem.js";

export interface CheckedState {
  /** In the order of the keys. */
  readonly objects: ObjectSet;
  readonly problems: readonly PlacedProblem[];
}

export interface CheckOptions {
  /** Kinds of which objects may be missing because of errors; their absence is not reported. */
  readonly unread: ReadonlySet<Kind | null>;
  /** Whether a file has an error by itself. */
  readonly hasErrors: boolean;
  /** The limits and features of the nodes' backends; null: no limits. */
  readonly capacities: Capacities | null;
}

export function checkState(all: readonly FileObject[], { unread, hasErrors, capacities }: CheckOptions): CheckedState {
  const { accepted, problems: conflicts } = compareObjects(all, unread);
  const objects: ObjectSet = new Map<string, StateObject>(
    [...accepted].sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, { state }]) => [key, state]),
  );
  const placed = (found: readonly ObjectProblem[]): readonly PlacedProblem[] =>
    found.flatMap(({ key, problem }) => {
      const at = accepted.get(key);
      return at === undefined ? [] : [{ at, problem }];
    });
  const problems = [...conflicts, ...placed(lintObjects(objects, unread))];
  if (hasErrors || problems.some(({ problem }) => CODES[problem.code].severity === "error"))
    return { objects, problems };
  const tooLarge = capacities === null ? [] : checkCapacity(objects, capacities);
  return { objects, problems: [...problems, ...placed([...tooLarge, ...checkTests(objects)])] };
}
