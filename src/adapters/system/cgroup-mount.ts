/** The cgroup v2 hierarchy as this process sees it: where it is mounted, and which part of it. */
import { readFileSync } from "node:fs";

export interface CgroupMount {
  /** The mount point: workloads' cgroups are named from here. */
  readonly point: string;
  /**
   * The cgroup that is mounted there, named from the root of this process's cgroup namespace, as the cgroups of processes
   * are. It begins with `/..` if that root is below the mount point.
   */
  readonly root: string;
}

/** Returns the first mount of cgroup v2; null if there is none. */
export function findCgroupMount(): CgroupMount | null {
  for (const line of readFileSync("/proc/self/mountinfo", "utf8").split("\n")) {
    // proc_pid_mountinfo(5): "36 35 98:0 /root /mount/point options [tags...] - type source options"
    const [before = "", after = ""] = line.split(" - ");
    const [, , , root = "", point = ""] = before.split(" ");
    if (after.startsWith("cgroup2 ")) return { point: decode(point), root: decode(root) };
  }
  return null;
}

function decode(path: string): string {
  return path.replace(/\\(\d{3})/g, (_match, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

/** Says why the cgroups of processes cannot be compared with those of workloads; null if they can. */
export function cgroupNamespaceProblem({
  point,
  root,
}: CgroupMount): { readonly detail: string; readonly fix: string } | null {
  if (!isAbove(root)) return null;
  const detail = `this process is in a cgroup namespace of its own, and ${point} shows cgroups outside it: a policy that would cut off the agent, an SSH session, or a store or source on this machine is not recognized`;
  return { detail, fix: "start it in the machine's cgroup namespace (Docker: --cgroupns=host)" };
}

/**
 * Returns the path below the mount point of a process's cgroup, as /proc names it: empty for the mounted cgroup itself,
 * null if it is outside, or cannot be compared.
 */
export function belowMount({ root }: CgroupMount, path: string): string | null {
  if (isAbove(root) || isAbove(path)) return null;
  if (root === "/") return path.slice(1);
  if (path === root) return "";
  return path.startsWith(`${root}/`) ? path.slice(root.length + 1) : null;
}

function isAbove(path: string): boolean {
  return path === "/.." || path.startsWith("/../");
}
