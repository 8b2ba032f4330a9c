/**
 * Versions: the pins of a node are separated by ABI version, so that one version can be brought up beside another and
 * take over from it; see docs/adr/0005-abi-versions.md.
 *
 * `abi-<version>` may be in force. Another version has taken over from `retired-<version>-<n>`: it exists while its
 * links are detached, and while there are live sockets that no other program can reach.
 */
import { existsSync, renameSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { makeFolder } from "../../system/folder.js";
import { ABI } from "../kernel/abi.generated.js";
import { pinnedVersion } from "../kernel/load.js";
import type { Native } from "../kernel/native.js";
import { versionFolders, type NodeFolders, type VersionFolders } from "../kernel/paths.js";
import { entriesOf, linkFolder, listLinks, removeLinks, removePins, type Link } from "../attach/pins.js";

export interface AbiVersion extends VersionFolders {
  readonly abi: number;
  readonly folder: string;
  /** The folder's name, or empty for pins directly in the node's own folder. */
  readonly name: string;
  readonly isRetired: boolean;
}

/** The ABI version of pins from before there were version folders. */
const FLAT_ABI = 1;

/** Returns every version that has pins here, including this build's. */
export function listVersions(nodeFolder: string): readonly AbiVersion[] {
  const names = entriesOf(nodeFolder);
  const versions = names.flatMap((name): readonly AbiVersion[] => {
    const [, kind, abi] = /^(abi|retired)-(\d+)(?:-\d+)?$/.exec(name) ?? [];
    if (kind === undefined) return [];
    const folder = join(nodeFolder, name);
    return [{ ...versionFolders(folder), abi: Number(abi), folder, name, isRetired: kind === "retired" }];
  });
  if (!names.includes("maps") && !names.includes("links")) return versions;
  return [
    ...versions,
    { ...versionFolders(nodeFolder), abi: FLAT_ABI, folder: nodeFolder, name: "", isRetired: false },
  ];
}

/** Returns those that this build has to take over from, or to remove. */
export function listOthers(nodeFolder: string): readonly AbiVersion[] {
  return listVersions(nodeFolder).filter(({ abi, isRetired }) => isRetired || abi !== ABI.VERSION);
}

/**
 * Moves pins from before there were version folders into the folder of their version. If it is killed, the next run
 * continues: the maps, which contain the version, are moved last.
 */
export function adoptFlat(native: Native, { node }: NodeFolders): void {
  if (!["links", "maps"].some((name) => existsSync(join(node, name)))) return;
  const target = join(node, `abi-${pinnedVersion(native, join(node, "maps")) ?? FLAT_ABI}`);
  // An older build that came back made its pins again beside the moved ones: both enforce, and both are taken over.
  if (["links", "maps"].some((name) => existsSync(join(node, name)) && existsSync(join(target, name))))
    retire({ ...versionFolders(target), abi: FLAT_ABI, folder: target, name: basename(target), isRetired: false });
  for (const name of ["links", "maps"]) {
    if (!existsSync(join(node, name))) continue;
    makeFolder(target, 0o700);
    renameSync(join(node, name), join(target, name));
  }
}

/**
 * Marks a version as retired in one step: from now on it is known that another version is complete, and that this one
 * may be detached.
 */
export function retire(version: AbiVersion): AbiVersion {
  const parent = dirname(version.folder);
  for (let at = 0; ; at++) {
    const name = `retired-${version.abi}-${at}`;
    const folder = join(parent, name);
    if (existsSync(folder)) continue;
    renameSync(version.folder, folder);
    return { ...versionFolders(folder), abi: version.abi, folder, name, isRetired: true };
  }
}

export function linksOf(native: Native, version: AbiVersion): readonly Link[] {
  return [...listLinks(native, version.links).values()].flat();
}

/** Detaches links that are not kept, and what enforces newborn cgroups; with the last link the whole version is removed. */
export function takeOff(native: Native, version: AbiVersion, isKept: (link: Link) => boolean): void {
  // It would go on giving newborn cgroups a policy that nobody updates.
  rmSync(version.births, { recursive: true, force: true });
  let kept = 0;
  for (const [workload, links] of listLinks(native, version.links)) {
    const rest = links.filter((link) => !isKept(link));
    kept += links.length - rest.length;
    if (rest.length === links.length) removeLinks(native, linkFolder(version.links, workload));
    else removePins(native, linkFolder(version.links, workload), rest);
  }
  if (kept === 0) rmSync(version.folder, { recursive: true, force: true });
}
