/** Results of files that have not changed since the last read, so that a poll parses only what a commit changed. */
import type { FileResult } from "./document/file.js";
import type { ManifestFile } from "./read.js";

/** By path; holds at most `limit` files. */
export interface ManifestCache {
  get(file: ManifestFile): FileResult | undefined;
  set(file: ManifestFile, result: FileResult): void;
}

/** Enough for the largest repository that is planned for, at one file an object. */
const CACHED_FILES = 20_000;

export function createManifestCache(limit = CACHED_FILES): ManifestCache {
  const entries = new Map<string, { readonly blobId: string; readonly result: FileResult }>();
  return {
    get({ path, blobId }) {
      const entry = entries.get(path);
      return entry?.blobId === blobId ? entry.result : undefined;
    },
    set({ path, blobId }, result) {
      entries.delete(path);
      entries.set(path, { blobId, result });
      // A Map keeps the order of insertion: the first one is the one that has not changed for longest.
      const oldest = entries.keys().next();
      if (entries.size > limit && oldest.done !== true) entries.delete(oldest.value);
    },
  };
}
