/**
 * The Unix socket on which an agent serves its flows, below the state folder, for root only.
 *
 * The path of a Unix socket is limited to 107 bytes, and a state folder can be anywhere; so the folder is opened, and
 * the socket is named through its descriptor (`/proc/self/fd/N/…`).
 */
import { open, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { writableByOthers } from "../system/ownership.js";

export function flowsFolder(stateDir: string): string {
  return join(stateDir, "flows");
}

export function socketName(node: string): string {
  return `${node}.sock`;
}

/** Returns the node of a socket file; null for any other file. */
export function nodeOfSocket(name: string): string | null {
  return name.endsWith(".sock") ? name.slice(0, -".sock".length) : null;
}

/**
 * Returns why the process that answers there may be another user's, in one phrase; null if it is this user's or root's.
 */
export function foreignFlows(path: string): string | null {
  return writableByOthers(path, process.geteuid?.() ?? 0);
}

/** Calls `use` with a short path of the folder, which is valid until `use` returns. */
export async function withFolder<T>(folder: string, use: (short: string) => Promise<T>): Promise<T> {
  const handle: FileHandle = await open(folder, "r");
  try {
    return await use(`/proc/self/fd/${handle.fd}`);
  } finally {
    await handle.close();
  }
}
