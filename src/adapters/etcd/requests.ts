/** Turns keys, conditions and operations into etcd's messages, and etcd's key-values into entries. Pure. */
import type { ICompare, IKeyValue, IRangeRequest, IRequestOp } from "etcd3";

/** A key with its value. Revisions are of etcd's whole database. */
export interface Entry {
  /** Without the prefix of the store. */
  readonly key: string;
  readonly bytes: Buffer;
  readonly created: number;
  readonly modified: number;
  /** "0": none. */
  readonly lease: string;
}

/** Requires that a key is unchanged since it was read; 0: that it is absent. */
export type Condition =
  { readonly key: string; readonly created: number } | { readonly key: string; readonly modified: number };

export type Operation =
  | { readonly get: string }
  | { readonly list: string }
  | { readonly put: string; readonly bytes: Buffer; readonly lease?: string }
  | { readonly remove: string }
  | { readonly removeAll: string };

/** A key, or the keys that begin with a prefix. */
export interface Range {
  readonly prefix: string;
  /** Only the key that is equal to the prefix. */
  readonly exact?: boolean;
  /** All keys from the prefix on, up to those that begin with this one. */
  readonly through?: string;
  readonly limit?: number;
  readonly descending?: boolean;
  /** Only keys below this one. */
  readonly before?: string;
  readonly keysOnly?: boolean;
}

export function toRangeRequest(root: string, range: Range): IRangeRequest {
  const { prefix, exact = false, through = prefix, limit, descending = false, before, keysOnly = false } = range;
  const key = Buffer.from(root + prefix);
  if (exact) return { key };
  return {
    key,
    range_end: before === undefined ? endOfPrefix(Buffer.from(root + through)) : Buffer.from(root + before),
    sort_target: "Key",
    sort_order: descending ? "Descend" : "Ascend",
    keys_only: keysOnly,
    ...(limit === undefined ? {} : { limit }),
  };
}

export function toCompare(root: string, condition: Condition): ICompare {
  const key = Buffer.from(root + condition.key);
  return "created" in condition
    ? { key, result: "Equal", target: "Create", create_revision: condition.created }
    : { key, result: "Equal", target: "Mod", mod_revision: condition.modified };
}

export function toRequestOp(root: string, operation: Operation): IRequestOp {
  if ("get" in operation) return { request_range: { key: Buffer.from(root + operation.get) } };
  if ("list" in operation) return { request_range: toRangeRequest(root, { prefix: operation.list }) };
  if ("remove" in operation) return { request_delete_range: { key: Buffer.from(root + operation.remove) } };
  if ("removeAll" in operation) {
    const key = Buffer.from(root + operation.removeAll);
    return { request_delete_range: { key, range_end: endOfPrefix(key) } };
  }
  const { put, bytes, lease = 0 } = operation;
  return { request_put: { key: Buffer.from(root + put), value: bytes, lease } };
}

export function toEntry(root: string, kv: IKeyValue): Entry {
  return {
    key: kv.key.toString().slice(root.length),
    bytes: kv.value,
    created: Number(kv.create_revision),
    modified: Number(kv.mod_revision),
    lease: kv.lease,
  };
}

/** Returns the first key after all that begin with `prefix`; its last byte is never 0xff here, since keys are text. */
export function endOfPrefix(prefix: Buffer): Buffer {
  const end = Buffer.from(prefix);
  end.writeUInt8(end.readUInt8(end.length - 1) + 1, end.length - 1);
  return end;
}
