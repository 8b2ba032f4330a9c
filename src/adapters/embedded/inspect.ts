/**
 * A look at the data file before lmdb maps it. lmdb reads through the mapping, and a page that the
 * file does not have any more would end the process (SIGBUS) in place of an error.
 */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { dirname } from "node:path";
import { damaged } from "./failure.js";

/** lmdb's file format, version 2 (mdb.c: MDB_page_header, MDB_meta), little-endian, 64 bit. */
const PAGE_HEADER = 24;
const MAGIC = 0xbeefc0de;
const META_BYTES = 176;

/** @returns false where there is no data yet. @throws StoreError `store-damaged`, or the system's error */
export function refuseBrokenFile(dataFile: string): boolean {
  const fd = openIfThere(dataFile);
  if (fd === null) return false;
  try {
    const meta = Buffer.alloc(PAGE_HEADER + META_BYTES);
    const read = readSync(fd, meta, 0, meta.length, 0);
    if (read === 0) return false;
    if (read < meta.length || meta.readUInt32LE(PAGE_HEADER) !== MAGIC)
      throw damaged(dirname(dataFile), "data.mdb is not an lmdb database");
    const { size } = fstatSync(fd);
    const pageSize = meta.readUInt32LE(PAGE_HEADER + 24);
    if (size < 2 * pageSize) throw damaged(dirname(dataFile), "data.mdb is cut short");
    return true;
  } finally {
    closeSync(fd);
  }
}

function openIfThere(path: string): number | null {
  try {
    return openSync(path, "r");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return null;
    throw error;
  }
}
