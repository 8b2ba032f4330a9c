/** Node lock: the node's folder among the pins: its owner, its one writer, and whether this build can read it. */
import { fstatSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { EnforcerError } from "../../../interfaces/enforcer.js";
import { ABI } from "../kernel/abi.generated.js";
import { mountBpffs } from "../kernel/load.js";
import { kernel, type Native } from "../kernel/native.js";
import { BPFFS, type NodeFolders } from "../kernel/paths.js";
import { ownFolder, requireOwnFolder, requirePrivileges } from "../kernel/privileges.js";
import { adoptFlat, linksOf, listVersions } from "./versions.js";

/**
 * Creates the node's folder and takes its lock: one writer for a node's tables, whatever store it follows, and whatever
 * its version.
 */
export function lockNode(native: Native, pinRoot: string, folders: NodeFolders): number {
  requirePrivileges(native);
  if (pinRoot.startsWith(BPFFS)) mountBpffs(native);
  ownFolder(dirname(pinRoot), folders.node);
  if (!native.isBpffs(folders.node)) {
    throw new EnforcerError("unsupported", `${pinRoot} is not on a BPF file system, which pins require`);
  }
  const lock = kernel("Locking the node's folder", () => native.lockFolder(folders.node));
  if (lock >= 0 && !isThere(lock, folders.node)) {
    native.closeFd(lock);
    throw new EnforcerError("busy", `${folders.node} was removed at this moment; start again`);
  }
  if (lock < 0) throw new EnforcerError("busy", `another process enforces in ${folders.node}; stop it first`);
  try {
    requireOwnVersions(pinRoot, folders);
    adoptFlat(native, folders);
    for (const folder of [folders.links, folders.maps, folders.exports]) ownFolder(dirname(pinRoot), folder);
    return lock;
  } catch (error) {
    native.closeFd(lock);
    throw error;
  }
}

/** The previous holder of the lock may have removed the folder with its content. */
function isThere(lock: number, folder: string): boolean {
  return fstatSync(lock).ino === statSync(folder, { throwIfNoEntry: false })?.ino;
}

function requireOwnVersions(pinRoot: string, { node }: NodeFolders): void {
  requireOwnFolder(dirname(pinRoot), node);
  for (const { maps, links, exports: give } of listVersions(node))
    for (const folder of [maps, links, give]) requireOwnFolder(dirname(pinRoot), folder);
}

/**
 * Refuses to read another version.
 * @throws EnforcerError `abi-version` if only another version enforces: this one cannot read its tables
 */
export function requireReadable(native: Native, pinRoot: string, folders: NodeFolders): void {
  requireOwnVersions(pinRoot, folders);
  const enforcing = listVersions(folders.node).filter((one) => !one.isRetired && linksOf(native, one).length > 0);
  const [other] = enforcing;
  if (other === undefined || enforcing.some(({ maps }) => maps === folders.maps)) return;
  throw new EnforcerError(
    "abi-version",
    `Version ${other.abi} of the kernel tables is in force in ${other.folder}, and this ztap reads version ${ABI.VERSION}: ` +
      "use the ztap version of the running agent, or start the agent of this version, which takes over",
  );
}
