/**
 * The node's key pair, in a file of its state folder that its owner alone may read. It is made at the first start; a node
 * that loses it gets another one, and tells the others.
 */
import { createPrivateKey, createPublicKey, diffieHellman, generateKeyPairSync, type KeyObject } from "node:crypto";
import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  fsyncSync,
  linkSync,
  openSync,
  readFileSync,
  rmSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";
import type { NodeKey } from "../../interfaces/node-key.js";
import { OperationError } from "../../model/operation-error.js";
import { makeFolder } from "../system/folder.js";

/** Bytes of a raw X25519 key, and those before it in its SubjectPublicKeyInfo (RFC 8410). */
const RAW_BYTES = 32;
const PREFIX = Buffer.from("302a300506032b656e032100", "hex");

export function nodeKeyPath(stateDir: string, node: string): string {
  return join(stateDir, "nodes", `${node}.key`);
}

/**
 * Reads the key pair; makes one if there is none.
 * @throws OperationError `bad-key` if the file is not a key, or others may read it
 */
export function openNodeKey(path: string): NodeKey {
  const key = read(path) ?? make(path);
  const publicKey = createPublicKey(key).export({ type: "spki", format: "der" }).subarray(PREFIX.length);
  return {
    publicKey: publicKey.toString("base64url"),
    agree: (other) => agree(key, other),
  };
}

function agree(privateKey: KeyObject, other: string): Buffer | null {
  const raw = Buffer.from(other, "base64url");
  if (raw.length !== RAW_BYTES || raw.toString("base64url") !== other) return null;
  try {
    const publicKey = createPublicKey({ key: Buffer.concat([PREFIX, raw]), type: "spki", format: "der" });
    const secret = diffieHellman({ privateKey, publicKey });
    // A point of small order gives the same secret with everybody.
    return secret.every((byte) => byte === 0) ? null : secret;
  } catch {
    return null;
  }
}

function read(path: string): KeyObject | null {
  let file: number;
  try {
    file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return null;
    throw new OperationError("bad-key", `the node's key cannot be read: ${String(error)}`, { cause: error });
  }
  try {
    const { mode, uid } = fstatSync(file);
    if ((mode & 0o077) !== 0 || uid !== process.geteuid?.())
      throw new OperationError(
        "bad-key",
        `others may read the node's key ${path}; remove it, so that the agent makes another one, or run: chmod 600 ${path}`,
      );
    const key = createPrivateKey(readFileSync(file, "utf8"));
    if (key.asymmetricKeyType !== "x25519")
      throw new TypeError(`it is of the type ${key.asymmetricKeyType ?? "unknown"}`);
    return key;
  } catch (error) {
    if (error instanceof OperationError) throw error;
    const why = error instanceof Error ? error.message : String(error);
    throw new OperationError(
      "bad-key",
      `${path} is no X25519 key: ${why}; remove it, so that the agent makes another one`,
      {
        cause: error,
      },
    );
  } finally {
    closeSync(file);
  }
}

/** Two agents that start at once agree on one key: the second one finds the file. */
function make(path: string): KeyObject {
  makeFolder(dirname(path), 0o700);
  const { privateKey } = generateKeyPairSync("x25519");
  const next = `${path}.${process.pid}.next`;
  rmSync(next, { force: true });
  const file = openSync(next, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600);
  try {
    fchmodSync(file, 0o600);
    writeSync(file, privateKey.export({ type: "pkcs8", format: "pem" }).toString());
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  try {
    linkSync(next, path);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
  } finally {
    rmSync(next, { force: true });
  }
  const kept = read(path);
  if (kept === null) throw new OperationError("bad-key", `the node's key ${path} is gone`);
  return kept;
}
