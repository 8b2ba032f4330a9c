/**
 * Withhold: workloads whose policy would cut management access keep the policy that is in force, and every other workload
 * follows. Pure: a command that reports on a node finds the ruleset that its agent enforces.
 *
 * What is in force is attached to cgroups, so that cgroups, and not names, decide what stays. In the place of a withheld
 * workload stays what is in force at its cgroup, around it or in it, and what it has in force itself, unless the wanted
 * ruleset gives that cgroup to a workload that follows. So nothing is cut, and nothing that was closed opens because its
 * successor is withheld. A withheld workload in whose place nothing is in force is not attached; its addresses count as
 * declared all the same.
 *
 * The host has what no other workload has. So in its place stays every workload in force that the wanted ruleset does not name, and
 * a ruleset without one of them gives the host more than before.
 */
import type { ManagementAccess } from "../model/management-access.js";
import type { Profile, Ruleset, Subject, SubjectDirection } from "../model/ruleset.js";
import type { Withholding } from "../model/withholding.js";
import { digestOfText } from "../model/digest.js";
import { digestRuleset } from "./compile/compile.js";
import { holds, mayDecide } from "./holds.js";
import { findForeignAddresses, findLockouts, type Client } from "./lockout.js";
import type { Denial } from "./needed-connections.js";

/** The part of a withholding that decides what is enforced. */
export type Kept = Pick<Withholding, "kept"> & { readonly workloads: readonly { readonly workload: string }[] };

/** A ruleset that cuts no management connection that was not cut before. */
export interface SafeRuleset {
  /** The wanted ruleset itself if nothing is withheld. */
  readonly ruleset: Ruleset;
  /** Sorted by workload. */
  readonly workloads: readonly Withheld[];
  readonly kept: Withholding["kept"];
  /** Sentences: the connections that the policy in force denies, too. */
  readonly remaining: readonly string[];
}

export interface Withheld {
  readonly workload: string;
  /** Sentences. */
  readonly reasons: readonly string[];
  /** Policies of the wanted ruleset that cut; none if the workload's cgroup does. */
  readonly policies: readonly string[];
  readonly keeps: readonly string[];
}

/**
 * Withholds workloads until the ruleset cuts nothing, or only by policy that is in force already.
 * @param inForce what is in force now
 */
export function makeSafe(
  wanted: Ruleset,
  inForce: Ruleset,
  access: ManagementAccess,
  clients: readonly Client[],
): SafeRuleset {
  const isInForce = comparedWith(wanted, inForce);
  const subjects = new Set(wanted.subjects);
  const reasons = new Map<Subject, Denial[]>();
  const mayBeWithheld = (subject: Subject): boolean =>
    subjects.has(subject) && !reasons.has(subject) && !isInForce(subject);
  for (;;) {
    const kept = keep(wanted, inForce, new Set(reasons.keys()));
    const workloads = [...reasons]
      .map(([subject, denials]) => describe(subject, denials, kept))
      .sort((a, b) => (a.workload < b.workload ? -1 : 1));
    const ruleset = mixRulesets(wanted, { workloads, kept });
    const lockouts = findLockouts(ruleset, access, clients);
    // Each round withholds one workload for each connection; the next one sees what is left.
    const found = lockouts.flatMap((lockout) => lockout.find(({ subject }) => mayBeWithheld(subject)) ?? []);
    if (found.length === 0) {
      return { ruleset, workloads, kept, remaining: lockouts.map(([{ message }]) => message) };
    }
    for (const denial of found) reasons.set(denial.subject, [...(reasons.get(denial.subject) ?? []), denial]);
  }
}

/** Returns whether a subject of a ruleset is in force as it is at its cgroup. Compares each once: many connections ask. */
function comparedWith(wanted: Ruleset, inForce: Ruleset): (subject: Subject) => boolean {
  const current = new Map(inForce.subjects.map((subject) => [placeOf(subject), subject]));
  const known = new Map<Subject, boolean>();
  return (subject) => {
    const before = known.get(subject);
    if (before !== undefined) return before;
    const other = current.get(placeOf(subject));
    const isEqual = other !== undefined && contentOf(subject, wanted) === contentOf(other, inForce);
    known.set(subject, isEqual);
    return isEqual;
  };
}

/** Returns what `findForeignAddresses` finds in a ruleset, but for what holds of the one in force as well. */
export function newForeignAddresses(ruleset: Ruleset, inForce: Ruleset, access: ManagementAccess): readonly string[] {
  const before = new Set(findForeignAddresses(inForce, access));
  return findForeignAddresses(ruleset, access).filter((one) => !before.has(one));
}

function describe(subject: Subject, denials: readonly Denial[], kept: Withholding["kept"]): Withheld {
  return {
    workload: subject.workload,
    reasons: denials.map(({ message }) => message),
    policies: [...new Set(denials.flatMap((denial) => denial.policies))],
    keeps: kept.subjects.filter((one) => stands(one, subject, kept.subjects)).map(({ workload }) => workload),
  };
}

function isIsolated({ ingress, egress, override }: Subject): boolean {
  return override?.kind === "quarantine" || ingress.mode !== "open" || egress.mode !== "open";
}

/** Where a subject is enforced: its cgroup, or what no other workload has; null if nowhere. */
export function placeOf({ cgroup, isHost }: Subject): string | null {
  return isHost === true ? REST : cgroup;
}

/** No path of a cgroup. */
const REST = "\0";

/**
 * Returns whether something in force stands in the place of a withheld workload.
 * @param all what is in force, or of it what may stand there
 */
function stands(inForce: Subject, withheld: Subject, all: readonly Subject[]): boolean {
  if (inForce.workload === withheld.workload || withheld.isHost === true) return true;
  if (inForce.isHost === true)
    return isIsolated(inForce) && mayDecide({ subjects: all }, inForce, [withheld.cgroup ?? ""]);
  const [one, other] = [inForce.cgroup, withheld.cgroup];
  return one !== null && other !== null && (holds(one, other) || holds(other, one));
}

/** Returns what stays in force. A name that a workload has which follows is another one here. */
function keep(wanted: Ruleset, inForce: Ruleset, withheld: ReadonlySet<Subject>): Withholding["kept"] {
  const followed = wanted.subjects.filter((subject) => !withheld.has(subject));
  const taken = new Set(followed.map(placeOf));
  const names = new Set([...wanted.subjects, ...inForce.subjects].map(({ workload }) => workload));
  const followedNames = new Set(followed.map(({ workload }) => workload));
  const subjects = inForce.subjects
    .filter((subject) => placeOf(subject) !== null && !taken.has(placeOf(subject)))
    .filter((subject) => [...withheld].some((one) => stands(subject, one, inForce.subjects)))
    .map((subject) =>
      followedNames.has(subject.workload) ? { ...subject, workload: freeName(subject.workload, names) } : subject,
    );
  const used = profilesOf(subjects);
  return { subjects, profiles: inForce.profiles.filter(({ key }) => used.has(key)) };
}

/** A name must not have a dot or hyphen before a dot. */
function withoutTail(name: string): string {
  let end = name.length;
  while (end > 0 && "-.".includes(name.charAt(end - 1))) end--;
  return name.slice(0, end);
}

/** Returns a name that no workload has, and adds it to the names. */
function freeName(workload: string, names: Set<string>): string {
  // Of an instance, the name of its workload.
  const [namespace = "", name = ""] = workload.split(/[/@]/);
  const stem = `${namespace}/${withoutTail(name.slice(0, 230))}.withheld`;
  let [free, nth] = [stem, 2];
  while (names.has(free)) free = `${stem}-${nth++}`;
  names.add(free);
  return free;
}

/** Returns the ruleset in which these workloads are withheld, and what is kept is in force in their place. */
export function mixRulesets(wanted: Ruleset, { workloads, kept }: Kept): Ruleset {
  if (workloads.length === 0) return wanted;
  const withheld = new Set(workloads.map(({ workload }) => workload));
  const followed = wanted.subjects.filter(({ workload }) => !withheld.has(workload));
  const taken = new Set(followed.map(placeOf));
  const staying = kept.subjects.filter((subject) => !taken.has(placeOf(subject)));
  const names = new Set([...followed, ...staying].map(({ workload }) => workload));
  const bare = wanted.subjects.filter(({ workload }) => withheld.has(workload) && !names.has(workload)).map(detach);
  // Profiles of two rulesets may have one key and different rules.
  const wantedProfiles = new Map(wanted.profiles.map((profile) => [profile.key, profile]));
  const keptProfiles = new Map(
    kept.profiles.map((profile) => {
      const other = wantedProfiles.get(profile.key);
      const isClear = other === undefined || rulesOf(other) === rulesOf(profile);
      return [profile.key, isClear ? profile : { ...profile, key: ownKey(profile) }];
    }),
  );
  const subjects = [...followed, ...staying.map((subject) => renameProfiles(subject, keptProfiles)), ...bare];
  const used = profilesOf([...subjects, ...(wanted.births?.templates ?? []).map(({ subject }) => subject)]);
  const all = new Map([...keptProfiles.values(), ...wanted.profiles].map((profile) => [profile.key, profile]));
  const profiles = [...all.values()].filter(({ key }) => used.has(key));
  subjects.sort((a, b) => (a.workload < b.workload ? -1 : 1));
  profiles.sort((a, b) => (a.key < b.key ? -1 : 1));
  const mixed = { ...wanted, subjects, profiles };
  return { ...mixed, digest: digestRuleset(mixed) };
}

const OPEN: SubjectDirection = { mode: "open", profile: null, policies: [] };

/** Without a cgroup nothing is attached, and its addresses are still those of a workload. */
function detach(subject: Subject): Subject {
  const { workload, isHost, addresses, user, tolerates } = subject;
  return {
    workload,
    cgroup: null,
    ...(isHost === undefined ? {} : { isHost }),
    addresses,
    ...(user === undefined ? {} : { user }),
    ...(tolerates === undefined ? {} : { tolerates }),
    ingress: OPEN,
    egress: OPEN,
  };
}

function ownKey(profile: Profile): string {
  return `${profile.key} (withheld ${digestOfText(rulesOf(profile)).slice(0, 16)})`;
}

function renameProfiles(subject: Subject, profiles: ReadonlyMap<string, Profile>): Subject {
  const rename = (direction: SubjectDirection): SubjectDirection =>
    direction.profile === null
      ? direction
      : { ...direction, profile: profiles.get(direction.profile)?.key ?? direction.profile };
  const { identity } = subject;
  return {
    ...subject,
    ingress: rename(subject.ingress),
    egress: rename(subject.egress),
    ...(identity === undefined ? {} : { identity: profiles.get(identity)?.key ?? identity }),
  };
}

function profilesOf(subjects: readonly Subject[]): ReadonlySet<string | null> {
  return new Set(
    subjects.flatMap(({ ingress, egress, identity = null }) => [ingress.profile, egress.profile, identity]),
  );
}

/** Equal texts mean equal rules. */
function rulesOf({ direction, rules, clauses }: Profile): string {
  return JSON.stringify([direction, rules.map(({ key }) => key), clauses]);
}

/** Equal texts mean that two subjects are enforced alike. */
function contentOf(
  { addresses, isHost, ingress, egress, identity, override }: Subject,
  { subjects, profiles }: Ruleset,
): string {
  const others = isHost === true ? subjects.flatMap(({ cgroup }) => cgroup ?? []).sort() : [];
  const directions = [ingress, egress].map(({ mode, profile: key }) => {
    const profile = profiles.find((one) => one.key === key);
    return [mode, profile === undefined ? null : rulesOf(profile)];
  });
  const limits = profiles.find(({ key }) => key === identity);
  return JSON.stringify([
    addresses,
    directions,
    limits === undefined ? null : rulesOf(limits),
    others,
    override ?? null,
  ]);
}
