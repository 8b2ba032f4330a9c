/** The cgroup of a container, from one of its processes. */
import { readFileSync } from "node:fs";
import { belowMount, type CgroupMount } from "../system/cgroup-mount.js";

/**
 * Returns the container's cgroup, below the cgroup root: the topmost on the way to its process that has the container's ID in
 * its name. Below it the container may make others. Null if there is none: the process has ended, or the container shares the
 * cgroup of whoever started it.
 * @param id full: no user can make a cgroup above the container's own
 */
export function containerCgroup(mount: CgroupMount, pid: number, id: string): string | null {
  if (!/^[0-9a-f]{64}$/.test(id)) return null;
  const path = readCgroup(pid);
  const parts = (path === null ? null : belowMount(mount, path))?.split("/") ?? [];
  const index = parts.findIndex((part) => part.includes(id));
  return index === -1 ? null : parts.slice(0, index + 1).join("/");
}

function readCgroup(pid: number): string | null {
  try {
    const lines = readFileSync(`/proc/${pid}/cgroup`, "utf8").split("\n");
    // cgroups(7): the line of cgroup v2.
    return lines.find((line) => line.startsWith("0::"))?.slice("0::".length) ?? null;
  } catch (error) {
    // ESRCH: it ended while it was read.
    if (error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ESRCH")) return null;
    throw error;
  }
}
