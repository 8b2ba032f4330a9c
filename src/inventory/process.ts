/** Process patterns: what of a pattern can be told from the path of a cgroup, and how it is called. */
import type { ProcessPattern, Workload } from "../model/objects.js";
import { hasWildcard, matchesGlob } from "./glob.js";

/**
 * Returns whether the instances of a workload are found on its nodes. Otherwise it is one instance, known from Git
 * alone.
 */
export function isDiscovered({ spec }: Pick<Workload, "spec">): boolean {
  return spec.nodeSelector !== undefined || spec.process !== undefined;
}

/** Returns the pattern of a workload that is found on its nodes; null if it has none. */
export function patternOf({ spec }: Pick<Workload, "spec">): ProcessPattern | null {
  return spec.process ?? (spec.cgroup === undefined ? null : { cgroup: spec.cgroup });
}

/** Returns the one cgroup that a pattern can match, whichever the node; null if only the node knows it. */
function fixedCgroup(pattern: ProcessPattern | null): string | null {
  return pattern !== null && "cgroup" in pattern && !hasWildcard(pattern.cgroup) ? pattern.cgroup : null;
}

/**
 * Returns the unit of the system's own systemd whose cgroup this is; null if it is none. Below the cgroup of a service
 * or of a scope, users and containers make cgroups with names of their choice.
 */
export function systemUnitOf(cgroup: string): string | null {
  const names = cgroup.split("/").map(unescapeName);
  const [unit = "", ...slices] = names.reverse();
  return /\.(service|scope|slice)$/.test(unit) && slices.every((name) => name.endsWith(".slice")) ? unit : null;
}

/**
 * Returns the cgroup that a pattern matches on every node if nothing special is configured; null if only the node knows it.
 * systemd puts a service into system.slice, that of a template into a slice of its own (systemd.unit(5), systemd.slice(5)).
 */
export function expectedCgroup(pattern: ProcessPattern | null): string | null {
  if (pattern === null || !("systemdUnit" in pattern)) return fixedCgroup(pattern);
  const { systemdUnit } = pattern;
  if (hasWildcard(systemdUnit)) return null;
  if (systemdUnit.endsWith(".slice")) return slicePath(systemdUnit);
  if (!systemdUnit.endsWith(".service")) return null;
  const [template, instance] = systemdUnit.split("@");
  const slice =
    instance === undefined || template === undefined ? "" : `system-${template.replaceAll("-", "\\x2d")}.slice/`;
  return `system.slice/${slice}${escapeName(systemdUnit)}`;
}

/**
 * Returns the pattern if cgroups that it matches may be born where only the pattern tells them: in an unknown slice, or by any
 * name. Null if Git tells the one path.
 */
export function birthPattern(pattern: ProcessPattern | null): Exclude<ProcessPattern, { host: true }> | null {
  return pattern === null || "host" in pattern || fixedCgroup(pattern) !== null ? null : pattern;
}

/** `a-b.slice` lies in `a.slice`. */
function slicePath(slice: string): string {
  const parts = slice.slice(0, -".slice".length).split("-");
  return parts.map((_, index) => `${parts.slice(0, index + 1).join("-")}.slice`).join("/");
}

/** See cg_escape of systemd: names of files that the kernel has, or may have, in a cgroup. */
function escapeName(name: string): string {
  const isKernels = /^(_|\.|cgroup\.|notify_on_release|release_agent|tasks)/.test(name) || CONTROLLERS.test(name);
  return isKernels ? `_${name}` : name;
}

const CONTROLLERS = /^(cpu|cpuacct|cpuset|io|blkio|memory|devices|pids|hugetlb|misc|rdma|dmem|perf_event)\./;

/** systemd puts `_` before a name that the kernel could take for one of its own files (cg_escape). */
function unescapeName(name: string): string {
  return name.startsWith("_") ? name.slice(1) : name;
}

/** One cgroup that a node claims for a pattern. */
export interface ClaimedCgroup {
  readonly cgroup: string;
  readonly instance: string;
}

/**
 * Returns what is wrong with a claim, as far as the path shows; null if nothing is. What runs in a container only its
 * node knows.
 */
export function refuseClaim(pattern: ProcessPattern, { cgroup, instance }: ClaimedCgroup): string | null {
  if ("host" in pattern) return cgroup === "" && instance === "" ? null : "the host has no cgroup of its own";
  if (cgroup === "") return "it has no cgroup";
  if ("systemdUnit" in pattern) {
    const unit = systemUnitOf(cgroup);
    if (unit === null || !matchesGlob(pattern.systemdUnit, unit))
      return `${cgroup} is not the cgroup of a unit ${pattern.systemdUnit}`;
    return refuseName(instance, hasWildcard(pattern.systemdUnit) ? unit : "");
  }
  if ("cgroup" in pattern) {
    if (!matchesGlob(pattern.cgroup, cgroup)) return `${cgroup} does not match ${pattern.cgroup}`;
    return refuseName(instance, hasWildcard(pattern.cgroup) ? cgroup : "");
  }
  const { name } = pattern.container;
  if (instance === "") return "an instance of containers has the container's name";
  return name === undefined || matchesGlob(name, instance) ? null : `${instance} does not match ${name}`;
}

function refuseName(instance: string, wanted: string): string | null {
  return instance === wanted
    ? null
    : `the instance is called ${JSON.stringify(instance)}, not ${JSON.stringify(wanted)}`;
}

/** Describes a pattern in one line. */
export function describePattern(pattern: ProcessPattern): string {
  if ("host" in pattern) return "host";
  if ("systemdUnit" in pattern) return `unit ${pattern.systemdUnit}`;
  if ("cgroup" in pattern) return `cgroup ${pattern.cgroup}`;
  const { name, image, labels = {} } = pattern.container;
  return [
    "container",
    ...(name === undefined ? [] : [name]),
    ...(image === undefined ? [] : [`image ${image}`]),
    ...Object.entries(labels).map(([key, value]) => `${key}=${value}`),
  ].join(" ");
}
