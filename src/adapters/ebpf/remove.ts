/**
 * Remove: deletes everything that a node, or every node, holds in the kernel, of every version. The only function that
 * ends enforcement; needs no loaded object and no agent.
 */
import { rmdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Removed } from "../../model/inspection.js";
import { EnforcerError } from "../../interfaces/enforcer.js";
import { entriesOf, removeLinks } from "./attach/pins.js";
import { kernel, loadNative, type Native } from "./kernel/native.js";
import { DEFAULT_PIN_ROOT, pinName, unpinName } from "./kernel/paths.js";
import { listVersions } from "./upgrade/versions.js";

export interface RemoveOptions {
  /** Absent: every node below the pin root. */
  readonly node?: string;
  readonly pinRoot?: string;
  readonly nativeDir?: string;
}

/**
 * Removes the enforcement.
 * @returns the nodes and workloads that were covered. May be repeated, also after an interruption.
 */
export function removeNodes(options: RemoveOptions = {}): readonly Removed[] {
  const pinRoot = options.pinRoot ?? DEFAULT_PIN_ROOT;
  const held = entriesOf(pinRoot);
  const names = options.node === undefined ? held : held.filter((name) => name === pinName(options.node ?? ""));
  if (names.length === 0) return [];
  const native = loadNative(options.nativeDir);
  const removed = names.map((name) => removeNode(native, pinRoot, unpinName(name)));
  return removed;
}

/** Returns the enforcement that `removeEnforcement` would remove; changes nothing. */
export function listRemovableNodes(options: RemoveOptions = {}): readonly Removed[] {
  const pinRoot = options.pinRoot ?? DEFAULT_PIN_ROOT;
  return entriesOf(pinRoot).map((name) => ({ node: unpinName(name), workloads: coveredBy(join(pinRoot, name)) }));
}

function coveredBy(folder: string): readonly string[] {
  const names = listVersions(folder).flatMap(({ links }) => entriesOf(links).map(unpinName));
  return [...new Set(names)].sort();
}

/** Another node's agent may start, or another remove may end, at this moment. */
function removeIfEmpty(folder: string): void {
  try {
    rmdirSync(folder);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code !== "ENOTEMPTY" && code !== "ENOENT") throw error;
  }
}

function removeNode(native: Native, pinRoot: string, node: string): Removed {
  const folder = join(pinRoot, pinName(node));
  const lock = kernel("Locking the node's folder", () => native.lockFolder(folder));
  if (lock < 0) {
    throw new EnforcerError(
      "busy",
      `the agent of node ${node} is running, and would restore everything; stop it first`,
    );
  }
  try {
    return { node, workloads: takeAway(native, folder) };
  } finally {
    native.closeFd(lock);
  }
}

/** Removes a node's folder. Nothing below it may be attached any more. */
export function removeNodeFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true });
  removeIfEmpty(dirname(folder));
}

/** @returns the workloads that were covered */
function takeAway(native: Native, folder: string): readonly string[] {
  const workloads = new Set<string>();
  // Programs first: while they are attached they need their maps.
  for (const { links } of listVersions(folder)) {
    for (const workload of entriesOf(links)) {
      removeLinks(native, join(links, workload));
      workloads.add(unpinName(workload));
    }
  }
  removeNodeFolder(folder);
  return [...workloads].sort();
}
