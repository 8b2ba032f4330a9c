/**
 * Values: text as bytes. Long ones are compressed, since etcd compresses nothing; what is still
 * longer than a request may be is cut into parts, which stand under keys of their own.
 *
 * A value is one of: text · gzip of text · `parts <base> <count>`, where the parts, one after the
 * other, are a gzip of text. The parts' base names their content, so that two writers never mix.
 */
import { createHash } from "node:crypto";
import { gunzipSync, gzipSync } from "node:zlib";
import { StoreError } from "../../interfaces/store.js";

const COMPRESS_FROM = 512;
/** Of etcd's default limit of 1.5 MiB a request, with room for others in the same transaction. */
const PART_BYTES = 768 * 1024;
/** What a damaged or hostile value may unfold to. */
const MAX_TEXT_BYTES = 256 * 1024 * 1024;
const GZIP_MAGIC = 0x1f;
const PARTS = /^parts (\S+) (\d{1,6})$/;

export interface Encoded {
  readonly bytes: Buffer;
  /** To be written before the value itself. */
  readonly parts: readonly { readonly key: string; readonly bytes: Buffer }[];
}

export function compress(text: string): Buffer {
  return text.length < COMPRESS_FROM ? Buffer.from(text) : gzipSync(text);
}

/** @param key of the value; its parts stand below `parts/<key>/` */
export function encodeValue(key: string, text: string): Encoded {
  const bytes = compress(text);
  if (bytes.length <= PART_BYTES) return { bytes, parts: [] };
  const base = `${splitValue(key)}${createHash("sha256").update(bytes).digest("hex")}`;
  const count = Math.ceil(bytes.length / PART_BYTES);
  const parts = Array.from({ length: count }, (_, index) => ({
    key: `${base}/${index}`,
    bytes: bytes.subarray(index * PART_BYTES, (index + 1) * PART_BYTES),
  }));
  return { bytes: Buffer.from(`parts ${base} ${count}`), parts };
}

/** Everything that the value under a key may have put elsewhere. */
export function splitValue(key: string): string {
  return `parts/${key}/`;
}

/** The keys of the parts that a value refers to; empty for one that is whole. */
export function partKeys(bytes: Buffer): readonly string[] {
  if (bytes[0] === GZIP_MAGIC || bytes.length > 1000) return [];
  const [, base, count] = PARTS.exec(bytes.toString()) ?? [];
  return base === undefined ? [] : Array.from({ length: Number(count) }, (_, index) => `${base}/${index}`);
}

/** @throws StoreError `store-damaged` */
export function decodeValue(key: string, bytes: Buffer, maxBytes = MAX_TEXT_BYTES): string {
  if (bytes[0] !== GZIP_MAGIC) return bytes.toString();
  try {
    return gunzipSync(bytes, { maxOutputLength: maxBytes }).toString();
  } catch (error) {
    throw new StoreError(
      "store-damaged",
      `the store's record ${key} cannot be decompressed; restore the store from a backup`,
      {
        cause: error,
      },
    );
  }
}
