/**
 * Migration of flows: the state of live connections from the version that is taken over: the initiator of TCP
 * connections, and the flows of other protocols. The frozen part of native/include/ztap_abi.h describes where a build
 * of any version finds them.
 */
import { existsSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { makeFolder } from "../../system/folder.js";
import { EXPORTED_FLOW } from "../kernel/abi.generated.js";
import { mapOf, programOf } from "../kernel/load.js";
import { kernel, type LoadedObject, type Native } from "../kernel/native.js";
import type { VersionFolders } from "../kernel/paths.js";
import { withPin } from "../attach/pins.js";
import { EXPORT_FLOWS, IMPORT_ROLES, IMPORT_FLOW } from "../kernel/programs.js";

/** The name of the iterator's pin. */
const FLOWS = "flows";

export function areFlowsExported(folders: VersionFolders): boolean {
  return existsSync(join(folders.exports, FLOWS));
}

/** Pins the iterator that exports flows. The pin of an earlier agent may read a map that is no longer ours. */
export function exportFlows(native: Native, object: LoadedObject, folders: VersionFolders): void {
  makeFolder(folders.exports, 0o700);
  const next = join(folders.exports, `next-${FLOWS}`);
  rmSync(next, { force: true });
  const doing = "Pinning the iterator that exports the flows";
  const fd = kernel(doing, () => native.iterCreate(programOf(object, EXPORT_FLOWS), mapOf(object, "ztap_flows")));
  try {
    kernel(doing, () => native.pin(fd, next));
  } finally {
    native.closeFd(fd);
  }
  renameSync(next, join(folders.exports, FLOWS));
}

/**
 * Adds the state of another version to the state that ours has learned. Runs twice: before the first run ends, a
 * listener may accept sockets without our programs' knowledge, and an iterator may skip entries that move.
 * @returns the number of dropped flows
 */
export function importFrom(native: Native, importers: LoadedObject, version: VersionFolders): number {
  importFlows(native, importers, version);
  importRoles(native, importers, version);
  importRoles(native, importers, version);
  return importFlows(native, importers, version);
}

function importRoles(native: Native, importers: LoadedObject, { maps }: VersionFolders): void {
  const pin = join(maps, "ztap_socks");
  if (!existsSync(pin)) return;
  withPin(native, pin, (socks) => {
    const doing = "Importing the initiators of live connections";
    const link = kernel(doing, () => native.iterCreate(programOf(importers, IMPORT_ROLES), socks));
    try {
      kernel(doing, () => native.iterRead(link));
    } finally {
      native.closeFd(link);
    }
  });
}

function importFlows(native: Native, importers: LoadedObject, { exports: give }: VersionFolders): number {
  const pin = join(give, FLOWS);
  // Its agent was killed before it had pinned the iterator: then it never enforced.
  if (!existsSync(pin)) return 0;
  let left = 0;
  withPin(native, pin, (link) => {
    left = kernel("Importing the flows", () =>
      native.runEach(programOf(importers, IMPORT_FLOW), native.iterRead(link), EXPORTED_FLOW.size),
    );
  });
  return left;
}
