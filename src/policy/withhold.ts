/**
 * Withhold: a ruleset of which some workloads keep what is in force for them. Pure, so that a report can tell which
 * ruleset a node with withheld workloads enforces.
 */
import { digestOf } from "../model/digest.js";
import { digestRuleset } from "./compile/compile.js";
import type { Profile, Ruleset, Subject, SubjectDirection } from "../model/ruleset.js";

/**
 * Returns the wanted ruleset, except that each of the workloads keeps its subject of the ruleset in force. A workload that
 * has none there, or whose cgroup another workload has now, is left out: nothing is attached for it, and what is attached
 * goes.
 */
export function withhold(wanted: Ruleset, inForce: Ruleset | null, workloads: ReadonlySet<string>): Ruleset {
  if (workloads.size === 0) return wanted;
  const followed = wanted.subjects.filter(({ workload }) => !workloads.has(workload));
  const taken = new Set(followed.flatMap(({ cgroup }) => (cgroup === null ? [] : [cgroup])));
  const kept = (inForce?.subjects ?? []).filter(
    ({ workload, cgroup }) => workloads.has(workload) && (cgroup === null || !taken.has(cgroup)),
  );
  const keys = new Map((inForce?.profiles ?? []).map((profile) => [profile.key, keptKey(profile)]));
  const subjects = [...followed, ...kept.map((subject) => keepProfiles(subject, keys))];
  const used = new Set(subjects.flatMap(({ ingress, egress }) => [ingress.profile, egress.profile]));
  const keptProfiles = (inForce?.profiles ?? []).map((profile) => ({ ...profile, key: keys.get(profile.key) ?? "" }));
  const profiles = [...wanted.profiles, ...keptProfiles].filter(({ key }) => used.has(key));
  subjects.sort((a, b) => (a.workload < b.workload ? -1 : 1));
  profiles.sort((a, b) => (a.key < b.key ? -1 : 1));
  return { node: wanted.node, digest: digestRuleset(wanted.node, subjects, profiles), subjects, profiles };
}

/** By content: profiles of both rulesets may have the same key, with other rules. */
function keptKey({ key, ...content }: Profile): string {
  return `${key.replace(/ \(kept [0-9a-f]+\)$/, "")} (kept ${digestOf(content).slice(0, 16)})`;
}

function keepProfiles(subject: Subject, keys: ReadonlyMap<string, string>): Subject {
  const direction = (one: SubjectDirection): SubjectDirection =>
    one.profile === null ? one : { ...one, profile: keys.get(one.profile) ?? one.profile };
  return { ...subject, ingress: direction(subject.ingress), egress: direction(subject.egress) };
}
