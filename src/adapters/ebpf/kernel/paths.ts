/** Paths: the cgroup hierarchy and the pins, and names for pins that are safe for any workload. */
import { statfsSync } from "node:fs";
import { join, relative } from "node:path";
import { EnforcerError } from "../../../interfaces/enforcer.js";
import { findCgroupMount } from "../../system/cgroup-mount.js";
import { ABI } from "./abi.generated.js";

export const DEFAULT_PIN_ROOT = "/sys/fs/bpf/ztap";
export const BPFFS = "/sys/fs/bpf";

/**
 * Returns the mount point of cgroup v2.
 * @throws EnforcerError `unsupported` if there is none
 */
export function findCgroupRoot(): string {
  const mount = findCgroupMount();
  if (mount !== null) return mount.point;
  throw new EnforcerError(
    "unsupported",
    "No cgroup v2 hierarchy is mounted. Mount one: mount -t cgroup2 none /sys/fs/cgroup",
  );
}

/**
 * Returns the folder of a workload's cgroup, never outside the hierarchy.
 * @throws TypeError for a path that leaves it
 */
export function cgroupPath(root: string, path: string): string {
  if (path.split("/").includes("..")) throw new TypeError(`the cgroup path ${path} leaves the hierarchy`);
  return join(root, path);
}

/** Returns the names of the cgroups on a path below the root, outermost first. */
export function cgroupParts(path: string): readonly string[] {
  return path.split("/").filter((part) => part !== "" && part !== ".");
}

/** Returns the depth of a cgroup below the root. */
export function cgroupLevel(path: string): number {
  return cgroupParts(path).length;
}

/** Returns the depth of the folder in the mounted hierarchy: 0 unless a part of it is taken for the root. */
export function mountedLevel(root: string): number {
  const mount = findCgroupMount();
  const below = mount === null ? ".." : relative(mount.point, root);
  return below.startsWith("..") ? 0 : cgroupLevel(below);
}

/** Returns whether the kernel tables can hold the path. */
export function isNameable(path: string): boolean {
  return (
    cgroupLevel(path) <= ABI.MAX_LEVEL && cgroupParts(path).every((part) => Buffer.byteLength(part) < ABI.NAME_BYTES)
  );
}

/** Returns a name for a pin: bpffs refuses dots, and `/` becomes `__`, which no encoded part contains. */
export function pinName(name: string): string {
  return name.split("/").map(encodePart).join("__");
}

export function unpinName(pin: string): string {
  return pin.split("__").map(decodePart).join("/");
}

function encodePart(part: string): string {
  return part.replace(/[^A-Za-z0-9-]/g, (found) =>
    [...Buffer.from(found)].map((byte) => `_${byte.toString(16).padStart(2, "0")}`).join(""),
  );
}

function decodePart(part: string): string {
  const bytes: number[] = [];
  for (let at = 0; at < part.length; at++) {
    if (part[at] === "_") {
      bytes.push(Number.parseInt(part.slice(at + 1, at + 3), 16));
      at += 2;
    } else bytes.push(part.charCodeAt(at));
  }
  return Buffer.from(bytes).toString();
}

/** The folders of the pins of one version of the kernel tables. */
export interface VersionFolders {
  readonly maps: string;
  readonly links: string;
  /** Folder of the pins that enforce newborn cgroups. */
  readonly births: string;
  /** Folder of the pins of attachments to network interfaces. */
  readonly interfaces: string;
  /** Folder of the pins that export to another version. */
  readonly exports: string;
}

export interface NodeFolders extends VersionFolders {
  readonly node: string;
}

/** Returns the folders of one node below the pin root, and in them those of this build's version. */
export function nodeFolders(pinRoot: string, node: string): NodeFolders {
  const folder = join(pinRoot, pinName(node));
  return { node: folder, ...versionFolders(join(folder, `abi-${ABI.VERSION}`)) };
}

export function versionFolders(folder: string): VersionFolders {
  return {
    maps: join(folder, "maps"),
    links: join(folder, "links"),
    births: join(folder, "births"),
    // Within the folder that another version removes when it takes over.
    interfaces: join(folder, "births", "interfaces"),
    exports: join(folder, "give"),
  };
}

/** From linux/magic.h. */
const CGROUP2_SUPER_MAGIC = 0x63677270;

/**
 * Requires the cgroup v2 file system: if another one is mounted over it, as in a service's sandbox, every workload
 * would seem to be gone.
 * @throws EnforcerError `unsupported`
 */
export function requireCgroup2(root: string): string {
  const { type } = statfsSync(root);
  if (type === CGROUP2_SUPER_MAGIC) return root;
  throw new EnforcerError("unsupported", `${root} is not the cgroup v2 hierarchy here; something is mounted over it`);
}
