/**
 * Guards for values that are read from a store: `unknown` in, a typed value or a refusal out. They check the structure
 * that the rest of the program relies on, once, at the boundary.
 */

export type Guard<T> = (value: unknown) => value is T;

/** One guard for each field of T; an optional field has a guard that accepts `undefined`. */
type Fields<T> = { readonly [K in keyof Required<T>]: Guard<T[K]> };

export const isString: Guard<string> = (value) => typeof value === "string";
export const isBoolean: Guard<boolean> = (value) => typeof value === "boolean";
export const isNumber: Guard<number> = (value) => typeof value === "number";
/** Accepts a count: an integer from 0 that a double holds exactly. */
export const isCount: Guard<number> = (value): value is number => Number.isSafeInteger(value) && Number(value) >= 0;

export function oneOf<const T extends string>(...allowed: readonly T[]): Guard<T> {
  const set: ReadonlySet<unknown> = new Set(allowed);
  return (value): value is T => set.has(value);
}

export function nullable<T>(guard: Guard<T>): Guard<T | null> {
  return (value): value is T | null => value === null || guard(value);
}

export function optional<T>(guard: Guard<T>): Guard<T | undefined> {
  return (value): value is T | undefined => value === undefined || guard(value);
}

export function listOf<T>(guard: Guard<T>): Guard<readonly T[]> {
  return (value): value is readonly T[] => Array.isArray(value) && value.every(guard);
}

/** Accepts an object with at least these fields. Unknown fields pass: a newer ztap may have added them. */
export function shaped<T extends object>(fields: Fields<T>): Guard<T> {
  const checks = Object.entries<Guard<unknown>>(fields);
  return (value): value is T => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
    return checks.every(([name, guard]) => guard(Reflect.get(value, name)));
  };
}
