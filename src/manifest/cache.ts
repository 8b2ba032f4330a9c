/** Caches the results of unchanged files, so that a poll parses only the files that a commit changed. */
import type { FileResult } from "./document/file.js";
import type { ManifestFile } from "./read.js";

/** By path; holds at most `limit` files. */
export interface ManifestCache {
  get(file: ManifestFile): FileResult | undefined;
  set(file: ManifestFile, result: FileResult): void;
}

/** Enough for the largest supported repository with one object in each file. */
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
      // A Map keeps the order of insertion: the first entry is the least recently stored one.
      const oldest = entries.keys().next();
      if (entries.size > limit && oldest.done !== true) entries.delete(oldest.value);
    },
  };
}
