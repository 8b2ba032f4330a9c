/** The differences between two keyed sets, as a value. */
export interface KeyedDiff<T> {
  /** In `wanted`, not in `actual`. */
  readonly missing: readonly { readonly key: string; readonly wanted: T }[];
  /** In `actual`, not in `wanted`. */
  readonly extra: readonly { readonly key: string; readonly actual: T }[];
  /** In both, and not equal. */
  readonly changed: readonly { readonly key: string; readonly wanted: T; readonly actual: T }[];
}
