/**
 * Values: text as bytes. Long ones are compressed, since etcd does not compress; values that still exceed a request are
 * split into parts, each under its own key.
 *
 * A value is one of: text · gzip of text · `parts <base> <count>`, where the parts, in order, are a gzip of text. The
 * parts' base depends on their content, so that the parts of two writers never mix.
 */
import { createHash } from "node:crypto";
import { gunzipSync, gzipSync } from "node:zlib";
import { StoreError } from "../../interfaces/store.js";

const COMPRESS_FROM = 512;
/** Below etcd's default limit of 1.5 MiB per request, with room for other operations of the same transaction. */
const PART_BYTES = 768 * 1024;
/** Limit for the decompressed size of a damaged or hostile value. */
const MAX_TEXT_BYTES = 256 * 1024 * 1024;
const GZIP_MAGIC = 0x1f;
const PARTS = /^parts (\S+) (\d{1,6})$/;

export interface Encoded {
  readonly bytes: Buffer;
  /** Parts, to be written before the value itself. */
  readonly parts: readonly { readonly key: string; readonly bytes: Buffer }[];
}

export function compress(text: string): Buffer {
  return text.length < COMPRESS_FROM ? Buffer.from(text) : gzipSync(text);
}

/**
 * Encodes a value.
 * @param key of the value; its parts are below `parts/<key>/`
 */
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

/** Returns the prefix of all parts that a value may have. */
export function splitValue(key: string): string {
  return `parts/${key}/`;
}

/** Returns the keys of the parts that a value refers to; empty for a value that is not split. */
export function partKeys(bytes: Buffer): readonly string[] {
  if (bytes[0] === GZIP_MAGIC || bytes.length > 1000) return [];
  const [, base, count] = PARTS.exec(bytes.toString()) ?? [];
  return base === undefined ? [] : Array.from({ length: Number(count) }, (_, index) => `${base}/${index}`);
}

/**
 * Decodes a value.
 * @throws StoreError `store-damaged`
 */
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
