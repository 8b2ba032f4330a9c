/** Selects the one object of a list that has a name. */
import { OperationError } from "../../model/operation-error.js";
import { qualifiedName } from "../../model/state.js";
import { suggest } from "../../model/suggest.js";

interface Named {
  readonly namespace: string;
  readonly name: string;
}

export interface NamedChoice {
  /** Such as `policy`. */
  readonly noun: string;
  /** NAMESPACE/NAME, or NAME in the namespace default; undefined: all. */
  readonly name: string | undefined;
  /** Whether it may be missing: a watcher waits for it. */
  readonly mayBeMissing: boolean;
}

/** @throws OperationError `not-found`, which names the object that was probably meant */
export function selectNamed<T extends Named>(
  all: readonly T[],
  { noun, name, mayBeMissing }: NamedChoice,
): readonly T[] {
  if (name === undefined) return all;
  const full = name.includes("/") ? name : `default/${name}`;
  const found = all.filter((one) => qualifiedName(one) === full);
  if (found.length > 0 || mayBeMissing) return found;
  const elsewhere = all.filter((one) => one.name === full.split("/")[1]).map(qualifiedName);
  const meant = elsewhere[0] ?? suggest(full, all.map(qualifiedName));
  const hint = meant === undefined ? `ztap ${noun} list has them all` : `did you mean ${meant}?`;
  throw new OperationError("not-found", `there is no ${noun} ${full} in the head revision; ${hint}`);
}
