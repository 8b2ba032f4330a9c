/** Warnings: what is legal and probably wrong. Pure over the objects of a state. */
import type { Kind } from "../model/objects.js";
import type { ObjectSet } from "../model/state.js";
import type { Problem } from "./problem.js";

export interface Warning {
  /** `refKey` of the object it is reported at. */
  readonly key: string;
  readonly problem: Problem;
}

export function lintObjects(objects: ObjectSet, unread: ReadonlySet<Kind | null>): readonly Warning[] {
  void objects;
  void unread;
  return [];
}
