/**
 * Remove: takes all that a node, or every node, holds in the kernel away. The only thing that ends
 * enforcement; needs no loaded object and no agent.
 */
import { rmdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Removed } from "../../model/inspection.js";
import { EnforcerError } from "../../ports/enforcer.js";
import { entriesOf, removeLinks } from "./pins.js";
import { kernel, loadNative, type Native } from "./native.js";
import { DEFAULT_PIN_ROOT, nodeFolders, pinName, unpinName } from "./paths.js";

export interface RemoveOptions {
  /** Absent: every node below the pin root. */
  readonly node?: string;
  readonly pinRoot?: string;
  readonly nativeDir?: string;
}

/** @returns what was there. Safe to repeat, also after it was interrupted. */
export function removeEnforcement(options: RemoveOptions = {}): readonly Removed[] {
  const pinRoot = options.pinRoot ?? DEFAULT_PIN_ROOT;
  const held = entriesOf(pinRoot);
  const names = options.node === undefined ? held : held.filter((name) => name === pinName(options.node ?? ""));
  if (names.length === 0) return [];
  const native = loadNative(options.nativeDir);
  const removed = names.map((name) => removeNode(native, pinRoot, unpinName(name)));
  removeIfEmpty(pinRoot);
  return removed;
}

/** Another node's agent may start, or another remove may end, at this very moment. */
function removeIfEmpty(folder: string): void {
  try {
    rmdirSync(folder);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code !== "ENOTEMPTY" && code !== "ENOENT") throw error;
  }
}

function removeNode(native: Native, pinRoot: string, node: string): Removed {
  const folders = nodeFolders(pinRoot, node);
  const lock = kernel("Locking the node's folder", () => native.lockFolder(folders.node));
  if (lock < 0) {
    throw new EnforcerError(
      "busy",
      `the agent of node ${node} is running, and would put everything back; stop it first`,
    );
  }
  try {
    return takeAway(native, folders, node);
  } finally {
    native.closeFd(lock);
  }
}

function takeAway(native: Native, folders: ReturnType<typeof nodeFolders>, node: string): Removed {
  const workloads = entriesOf(folders.links);
  // Programs first: while they are attached they need their maps.
  for (const workload of workloads) removeLinks(native, join(folders.links, workload));
  rmSync(folders.node, { recursive: true, force: true });
  return { node, workloads: workloads.map(unpinName) };
}
