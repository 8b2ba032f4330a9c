/**
 * A look at the data file before lmdb maps it. lmdb reads through the mapping, and a page that the
 * file does not have (any more) would end the process with SIGBUS in place of an error.
 *
 * A file may end before the last page that its header counts, when only free pages are missing.
 * Then, and only then, the pages that are in use are followed from the roots.
 *
 * Facts about the format are those of mdb.c, data version 2, 64 bit, little-endian: MDB_page_header,
 * MDB_meta, MDB_db, MDB_node, MDB_ovpage.
 */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { dirname } from "node:path";
import { damaged } from "./failure.js";

const PAGE_HEADER = 24;
const NODE_HEADER = 8;
const META_BYTES = 144;
const MAGIC = 0xbeefc0de;
const NO_PAGE = 0xffffffffffffffffn;
const BRANCH = 1;
const LEAF = 2;
const BIG_DATA = 1;
/** How often a writer may commit under the look before it is given up as good: such a file is alive. */
const ROUNDS = 5;

interface Meta {
  readonly pageSize: number;
  readonly roots: readonly bigint[];
  readonly lastPage: bigint;
  readonly transaction: bigint;
}

/** @returns false where there is no data yet. @throws StoreError `store-damaged`, or the system's error */
export function refuseBrokenFile(dataFile: string): boolean {
  const fd = openIfThere(dataFile);
  if (fd === null) return false;
  try {
    if (fstatSync(fd).size === 0) return false;
    for (let round = 0; round < ROUNDS; round += 1) {
      const meta = newestMeta(fd);
      if (meta === null) throw damaged(dirname(dataFile), "data.mdb is not an lmdb database");
      const { size } = fstatSync(fd);
      const isComplete = BigInt(size) >= (meta.lastPage + 1n) * BigInt(meta.pageSize);
      if (isComplete || meta.roots.every((root) => isWhole(fd, meta.pageSize, root))) return true;
      // While the transaction is still the newest, its pages are not written over: what was seen is so.
      if (newestMeta(fd)?.transaction === meta.transaction) throw damaged(dirname(dataFile), "data.mdb is cut short");
    }
    return true;
  } finally {
    closeSync(fd);
  }
}

/** The header pages take turns; the one with the higher transaction is in force. Null where either is none. */
function newestMeta(fd: number): Meta | null {
  const first = metaAt(fd, 0);
  const second = first === null ? null : metaAt(fd, first.pageSize);
  if (first === null || second === null) return null;
  return first.transaction > second.transaction ? first : second;
}

function metaAt(fd: number, position: number): Meta | null {
  const bytes = Buffer.alloc(PAGE_HEADER + META_BYTES);
  if (readSync(fd, bytes, 0, bytes.length, position) < bytes.length) return null;
  const meta = bytes.subarray(PAGE_HEADER);
  const pageSize = meta.readUInt32LE(24);
  if (meta.readUInt32LE(0) !== MAGIC || pageSize < 512 || pageSize > 65_536) return null;
  return {
    pageSize,
    roots: [meta.readBigUInt64LE(64), meta.readBigUInt64LE(112)],
    lastPage: meta.readBigUInt64LE(120),
    transaction: meta.readBigUInt64LE(128),
  };
}

/** True where the file has every page of the tree below `root`. */
function isWhole(fd: number, pageSize: number, root: bigint): boolean {
  const { size } = fstatSync(fd);
  const page = Buffer.alloc(pageSize);
  const waiting = root === NO_PAGE ? [] : [root];
  const seen = new Set(waiting);
  for (let number = waiting.pop(); number !== undefined; number = waiting.pop()) {
    if (!readPage(fd, page, number)) return false;
    const flags = page.readUInt16LE(18);
    const nodes = page.readUInt16LE(20) >> 1;
    if ((flags & (BRANCH | LEAF)) === 0 || PAGE_HEADER + 2 * nodes > pageSize) return false;
    for (let index = 0; index < nodes; index += 1) {
      const node = PAGE_HEADER + page.readUInt16LE(PAGE_HEADER + 2 * index);
      if (node + NODE_HEADER > pageSize) return false;
      if ((flags & BRANCH) !== 0) {
        const child = BigInt(page.readUInt32LE(node)) | (BigInt(page.readUInt16LE(node + 4)) << 32n);
        if (seen.has(child)) return false;
        seen.add(child);
        waiting.push(child);
      } else if (!hasOverflow(page, node, size)) return false;
    }
  }
  return true;
}

/** A value that is too large for its page stands on pages of its own. */
function hasOverflow(page: Buffer, node: number, size: number): boolean {
  if ((page.readUInt16LE(node + 4) & BIG_DATA) === 0) return true;
  const data = node + NODE_HEADER + page.readUInt16LE(node + 6);
  if (data + 24 > page.length) return false;
  const end = page.readBigUInt64LE(data) + page.readBigUInt64LE(data + 16);
  return end * BigInt(page.length) <= BigInt(size);
}

function readPage(fd: number, page: Buffer, number: bigint): boolean {
  const position = number * BigInt(page.length);
  if (position > BigInt(Number.MAX_SAFE_INTEGER)) return false;
  return readSync(fd, page, 0, page.length, Number(position)) === page.length && page.readBigUInt64LE(0) === number;
}

function openIfThere(path: string): number | null {
  try {
    return openSync(path, "r");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return null;
    throw error;
  }
}
