/**
 * Handover: what living conversations need of the version that is taken over from: for TCP who asked, and for the
 * rest the flows. The frozen part of native/include/ztap_abi.h says where a build of any version finds them.
 */
import { existsSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { makeFolder } from "../../system/folder.js";
import { EXPORTED_FLOW } from "../kernel/abi.generated.js";
import { kernel, type LoadedObject, type Native } from "../kernel/native.js";
import type { VersionFolders } from "../kernel/paths.js";
import { withPin } from "../attach/pins.js";
import { EXPORT_FLOWS, IMPORT_ROLES, IMPORT_FLOW } from "../kernel/programs.js";

/** The name of the iterator's pin. */
const FLOWS = "flows";

export function areFlowsExported(folders: VersionFolders): boolean {
  return existsSync(join(folders.exports, FLOWS));
}

/** Pins what reads the flows out. One that an earlier agent left may read a map that is not ours any more. */
export function exportFlows(native: Native, object: LoadedObject, folders: VersionFolders): void {
  makeFolder(folders.exports, 0o700);
  const next = join(folders.exports, `next-${FLOWS}`);
  rmSync(next, { force: true });
  const doing = "Pinning what gives the flows to another version";
  const fd = kernel(doing, () => native.iterCreate(programOf(object, EXPORT_FLOWS), mapOf(object, "ztap_flows")));
  try {
    kernel(doing, () => native.pin(fd, next));
  } finally {
    native.closeFd(fd);
  }
  renameSync(next, join(folders.exports, FLOWS));
}

/**
 * Adds what another version knows to what ours has learned. Twice: the first time over, a listener accepts sockets
 * without our knowledge until it was met itself, and an iterator may pass over what moves.
 * @returns flows for which there was no room
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
    const doing = "Taking over who asked for the connections that live";
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
  // Killed before its first agent had pinned it: then that one never enforced.
  if (!existsSync(pin)) return 0;
  let left = 0;
  withPin(native, pin, (link) => {
    left = kernel("Taking over the flows", () =>
      native.runEach(programOf(importers, IMPORT_FLOW), native.iterRead(link), EXPORTED_FLOW.size),
    );
  });
  return left;
}

function programOf(object: LoadedObject, name: string): number {
  const fd = object.programs[name];
  if (fd === undefined) throw new TypeError(`no program ${name}`);
  return fd;
}

function mapOf(object: LoadedObject, name: string): number {
  const fd = object.maps[name];
  if (fd === undefined) throw new TypeError(`no map ${name}`);
  return fd;
}
