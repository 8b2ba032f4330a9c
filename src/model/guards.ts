/**
 * Guards for values that are read from a store: `unknown` in, a typed value or a refusal out. They check the structure
 * that the rest of the program relies on, once, at the boundary, and how long and how large each field may be.
 */

export type Guard<T> = (value: unknown) => value is T;

/** One guard for each field of T; an optional field has a guard that accepts `undefined`. */
type Fields<T> = { readonly [K in keyof Required<T>]: Guard<T[K]> };

export const isString: Guard<string> = (value) => typeof value === "string";
export const isBoolean: Guard<boolean> = (value) => typeof value === "boolean";
/** Accepts a count: an integer from 0 that a double holds exactly. */
export const isCount: Guard<number> = (value): value is number => Number.isSafeInteger(value) && Number(value) >= 0;

/** Accepts a number that counts from 1: a revision, a line. */
export const isPositive: Guard<number> = (value): value is number => isCount(value) && value > 0;

/** Accepts milliseconds since 1970 that a date can hold. */
export const isInstant: Guard<number> = (value): value is number =>
  typeof value === "number" && value >= 0 && value <= 8.64e15;

const MAX_TEXT = 65_536;
const MAX_ITEMS = 1_000_000;

/** Accepts a text for people of a bounded length. */
export const isText: Guard<string> = (value): value is string => isString(value) && value.length <= MAX_TEXT;

function like(pattern: RegExp): Guard<string> {
  return (value): value is string => isString(value) && pattern.test(value);
}

/** Accepts the name of a Node or a Namespace: a DNS label. */
export const isLabel = like(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/);
/** Accepts the name of any object: a DNS subdomain. */
export const isObjectName = like(/^(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/);
/** Accepts `namespace/name`. */
export const isQualifiedName: Guard<string> = (value): value is string => {
  const [namespace, name, ...rest] = isString(value) ? value.split("/") : [];
  return isLabel(namespace) && isObjectName(name) && rest.length === 0;
};
/** Accepts an address as `host:port`; empty for none. */
export const isAddress = like(/^[\x21-\x7e]{0,300}$/);
/** Accepts a port. */
export const isPort: Guard<number> = (value): value is number => isCount(value) && value <= 65_535;
/** Accepts an identity that no person reads: ASCII without spaces. */
export const isToken = like(/^[\x21-\x7e]{1,300}$/);
/** Accepts a SHA-256 digest, hexadecimal. */
export const isDigest = like(/^[0-9a-f]{64}$/);
/** Accepts the full id of a commit. */
export const isCommitId = like(/^([0-9a-f]{40}|[0-9a-f]{64})$/);

const TIME = /^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?Z$/;

/** Accepts a time of RFC 3339 in UTC that can be parsed: any other text would never come due. */
export const isTime: Guard<string> = (value): value is string =>
  isString(value) && TIME.test(value) && !Number.isNaN(Date.parse(value));

/** Returns milliseconds since 1970. @param time as `isTime` accepts it */
export function instantOf(time: string): number {
  return Date.parse(time);
}

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

export function listOf<T>(guard: Guard<T>, most = MAX_ITEMS): Guard<readonly T[]> {
  return (value): value is readonly T[] => Array.isArray(value) && value.length <= most && value.every(guard);
}

/** Accepts an object with at least these fields. Unknown fields pass: a newer ztap may have added them. */
export function shaped<T extends object>(fields: Fields<T>): Guard<T> {
  const checks = Object.entries<Guard<unknown>>(fields);
  return (value): value is T => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
    return checks.every(([name, guard]) => guard(Reflect.get(value, name)));
  };
}
