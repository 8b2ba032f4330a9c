/**
 * Where an agent serves its flows: a Unix socket below the state folder, for root alone.
 *
 * The path of a Unix socket may have 107 bytes and no more, and a state folder can be anywhere; so the folder is
 * opened, and the socket is named through it (`/proc/self/fd/N/…`).
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

/** Null for a file that is no agent's socket. */
export function nodeOfSocket(name: string): string | null {
  return name.endsWith(".sock") ? name.slice(0, -".sock".length) : null;
}

/** Why what answers there may be somebody else's, in one phrase; null where it is this user's or root's. */
export function foreignFlows(path: string): string | null {
  return writableByOthers(path, process.geteuid?.() ?? 0);
}

/** Calls `use` with a short path of the folder, which is good until `use` returns. */
export async function withFolder<T>(folder: string, use: (short: string) => Promise<T>): Promise<T> {
  const handle: FileHandle = await open(folder, "r");
  try {
    return await use(`/proc/self/fd/${handle.fd}`);
  } finally {
    await handle.close();
  }
}
