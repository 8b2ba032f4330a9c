/** Capacity: counts the entries that a ruleset needs, without building them. Pure; `lower` counts with the same code. */
import type { CgroupPattern, Profile, Ruleset, Subject } from "../../../model/ruleset.js";
import { EnforcerError, type Capacity, type Refusal, type TableSize } from "../../../interfaces/enforcer.js";
import { ABI } from "../kernel/abi.generated.js";
import { cgroupLevel, cgroupParts, isNameable } from "../kernel/paths.js";
import { EVERY_PREFIX, WalkedProfiles, walkClasses, type PrefixClass } from "./prefix-classes.js";
import { walkSenders } from "./sender-classes.js";
import type { Effort } from "./coverage.js";
import { isIsolatedHost } from "./image.js";
import { countGuardEntries, guardAddresses } from "./guarded-addresses.js";
import { listOwnAddresses, withBirths } from "./own-addresses.js";
import { countPortEntries } from "./port-entries.js";

/** The capacity of one node's tables, for all its workloads together. */
export const EBPF_CAPACITY: Capacity = {
  limit: { addresses: ABI.MAX_ADDRS, ports: ABI.MAX_PORTS },
  words: { addresses: "address entries", ports: "port entries" },
  holds: (subject) => subject.cgroup !== null || isIsolatedHost(subject),
  profile: (profile) => countProfileEntries(profile),
  subjects: countSubjectEntries,
  refuse: (ruleset) => [...refuseUsers(ruleset), ...refuseNames(ruleset), ...refusePatterns(ruleset)],
};

/** Old and new names stand together in the kernel's table during a change. */
const MAX_NAMES = ABI.MAX_NAMES / 2;

/** Old and new patterns stand together in the kernel's table during a change. */
export const MAX_PATTERNS = ABI.MAX_PATTERNS / 2;

export function patternText(pattern: CgroupPattern): string {
  return "cgroup" in pattern ? pattern.cgroup : pattern.systemdUnit;
}

/** Ignoring a user would let more processes belong to the workload than its author intended. */
function refuseUsers({ subjects }: Ruleset): readonly Refusal[] {
  return subjects.flatMap(({ workload, user }) =>
    user === undefined
      ? []
      : [
          {
            workload,
            message: `eBPF identifies a workload by its cgroup, not by the user ${user}`,
            fix: "leave out user, and put that user's processes into a cgroup of their own",
          },
        ],
  );
}

function refuseNames({ subjects }: Ruleset): readonly Refusal[] {
  const count = countNames(subjects);
  if (count <= MAX_NAMES) return [];
  const levels = ({ cgroup }: Subject): number => cgroupLevel(cgroup ?? "");
  const [deepest] = subjects.toSorted((a, b) => levels(b) - levels(a));
  if (deepest === undefined) return [];
  return [
    {
      workload: deepest.workload,
      message: `the cgroup paths of its node have ${count} names, and the kernel's tables hold at most ${MAX_NAMES}`,
      fix: "use shorter cgroup paths, let workloads share the cgroups above their own, or spread the workloads over more nodes",
    },
  ];
}

/** Counts the names of cgroups: every path of a workload's cgroup or above one, once. */
function countNames(subjects: readonly Subject[]): number {
  const paths = new Set<string>();
  for (const { cgroup } of subjects) {
    if (cgroup === null || !isNameable(cgroup)) continue;
    const parts = cgroupParts(cgroup);
    for (let level = 1; level <= parts.length; level++) paths.add(parts.slice(0, level).join("/"));
  }
  return paths.size;
}

/** Every newborn cgroup is compared with every pattern. */
function refusePatterns({ births }: Pick<Ruleset, "births">): readonly Refusal[] {
  const templates = births?.templates ?? [];
  const found = templates.flatMap(({ subject: { workload }, pattern }): readonly Refusal[] =>
    isNameable(patternText(pattern))
      ? []
      : [
          {
            workload,
            message: `the pattern ${patternText(pattern)} has more than ${ABI.MAX_LEVEL} parts, or one of ${ABI.NAME_BYTES} bytes or more`,
            fix: "write a shorter pattern",
          },
        ],
  );
  const [last] = templates.slice(MAX_PATTERNS);
  if (last === undefined) return found;
  const message = `its node has ${templates.length} patterns of units and cgroups, and the kernel's tables hold at most ${MAX_PATTERNS}`;
  const fix =
    "let one pattern stand for several, spread the workloads over more nodes, or set newborn: open in the Cluster";
  return [...found, { workload: last.subject.workload, message, fix }];
}

/** Counts the entries of a profile; stops when the tables could not hold this profile alone. */
export function countProfileEntries(profile: Profile, effort: Effort = { runs: 0 }): TableSize {
  return sum(countClassEntries(walkClasses(profile, effort)), countSenderEntries(profile, effort));
}

/** Entries of senders have tables of their own, as large as those of addresses: they count like these. */
function countSenderEntries(profile: Profile, effort: Effort): TableSize {
  return countClassEntries(walkSenders(profile, effort));
}

function sum(a: TableSize, b: TableSize): TableSize {
  return { addresses: a.addresses + b.addresses, ports: a.ports + b.ports };
}

function countClassEntries(classes: Iterable<Pick<PrefixClass, "clauses" | "coverage">>): TableSize {
  const { limit } = EBPF_CAPACITY;
  const seen = new Set<string>();
  let [addresses, ports] = [0, 0];
  for (const { clauses, coverage } of classes) {
    addresses += 1;
    const identity = clauses.join();
    if (seen.has(identity)) continue;
    seen.add(identity);
    ports += countPortEntries(coverage());
    if (addresses > limit.addresses || ports > limit.ports) break;
  }
  return { addresses, ports };
}

/** Declared addresses count for each workload that owns them, and once for the node; with them what guards them. */
function countSubjectEntries(subjects: readonly Subject[]): TableSize {
  let addresses = new Set(subjects.flatMap((subject) => subject.addresses)).size;
  for (const { declared, hasUndeclared } of listOwnAddresses(subjects).values())
    addresses += declared.size + (hasUndeclared ? EVERY_PREFIX.length : 0);
  return { addresses: addresses + countGuardEntries(guardAddresses({ subjects })), ports: 0 };
}

/** The entries of each profile. Profiles are immutable, so that each is counted once. */
const counted = new WeakMap<Profile, TableSize>();

/**
 * Checks the limits.
 * @returns the classes of the profiles that were not counted before
 * @throws EnforcerError `limit` before anything is built
 */
export function requireRoom(ruleset: Ruleset): WalkedProfiles {
  const { limit } = EBPF_CAPACITY;
  const names = countNames(ruleset.subjects);
  if (names > MAX_NAMES)
    throw new EnforcerError(
      "limit",
      `The cgroup paths of the ruleset's workloads have ${names} names, and the kernel's tables hold at most ${MAX_NAMES}.`,
    );
  const walked = new WalkedProfiles();
  const needed = { addresses: 0, ports: 0 };
  const add = ({ addresses, ports }: TableSize): void => {
    needed.addresses += addresses;
    needed.ports += ports;
    for (const name of ["addresses", "ports"] as const) {
      if (needed[name] > limit[name])
        throw new EnforcerError(
          "limit",
          `The ruleset needs more ${name === "ports" ? "port" : "address"} entries than the ${limit[name]} that the kernel's tables hold.`,
        );
    }
  };
  const [refused] = refusePatterns(ruleset);
  if (refused !== undefined) throw new EnforcerError("limit", `${refused.workload}: ${refused.message}.`);
  add(countSubjectEntries(withBirths(ruleset)));
  for (const profile of ruleset.profiles) {
    const size =
      counted.get(profile) ??
      sum(countClassEntries(walked.walk(profile, { runs: 0 })), countSenderEntries(profile, { runs: 0 }));
    counted.set(profile, size);
    add(size);
  }
  return walked;
}
