/** Splits work into batches that etcd accepts, and runs some of them at a time. */

/** Below etcd's own default of 128 operations per transaction. */
export const MAX_OPERATIONS = 100;
/** Below etcd's own default of 1.5 MiB per request. */
const MAX_BYTES = 1024 * 1024;
const PARALLEL = 8;

/**
 * Splits items into batches.
 * @param sizeOf bytes; a single item may exceed the limit, and etcd reports it then
 */
export function inBatches<T>(items: readonly T[], sizeOf: (item: T) => number = () => 0): readonly (readonly T[])[] {
  const batches: T[][] = [];
  let bytes = 0;
  for (const item of items) {
    const size = sizeOf(item);
    const last = batches.at(-1);
    if (last === undefined || last.length === MAX_OPERATIONS || bytes + size > MAX_BYTES) {
      batches.push([item]);
      bytes = size;
    } else {
      last.push(item);
      bytes += size;
    }
  }
  return batches;
}

/** Returns the results in the order of the items; runs a limited number of them at once. */
export async function mapBounded<T, R>(items: readonly T[], run: (item: T) => Promise<R>): Promise<readonly R[]> {
  const results = new Map<number, R>();
  let next = 0;
  const work = async (): Promise<void> => {
    for (let index = next++; index < items.length; index = next++) {
      for (const item of items.slice(index, index + 1)) results.set(index, await run(item));
    }
  };
  await Promise.all(Array.from({ length: Math.min(PARALLEL, items.length) }, work));
  return [...results].sort(([a], [b]) => a - b).map(([, result]) => result);
}
