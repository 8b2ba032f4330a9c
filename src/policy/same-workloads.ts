/** Two rulesets of which the machine may go from one to the other by itself: both attach to the same workloads. Pure. */
import type { Direction, Profile, Ruleset, Subject, SubjectDirection } from "../model/ruleset.js";
import { digestRuleset } from "./compile/compile.js";
import { placeOf } from "./withhold.js";

const OPEN: SubjectDirection = { mode: "open", profile: null, policies: [] };
const DIRECTIONS = ["ingress", "egress"] as const;

/**
 * Returns the ruleset with the workloads of another one, which it neither isolates nor limits. A cgroup that it gives to a workload of
 * its own stays with that. Nothing is attached to a host that is open: where the other isolates the host, this one lets it do
 * everything by a rule.
 */
export function withWorkloadsOf(ruleset: Ruleset, other: Ruleset): Ruleset {
  const names = new Set(ruleset.subjects.map(({ workload }) => workload));
  const places = new Set(ruleset.subjects.map(placeOf));
  const isFree = (subject: Subject): boolean => !names.has(subject.workload) && !places.has(placeOf(subject));
  const added = other.subjects.filter((subject) => placeOf(subject) !== null && isFree(subject)).map(open);
  const closed = new Set(
    other.subjects
      .filter(({ isHost }) => isHost === true)
      .flatMap((host) => DIRECTIONS.filter((direction) => host[direction].mode !== "open")),
  );
  const joined = [...ruleset.subjects, ...added].map((subject) => withRules(subject, closed));
  const subjects = joined.sort((a, b) => (a.workload < b.workload ? -1 : 1));
  const used = DIRECTIONS.filter((direction) => subjects.some((one) => one[direction].profile === keyOf(direction)));
  if (added.length === 0 && used.length === 0) return ruleset;
  const profiles = [...ruleset.profiles, ...used.map(anything)].sort((a, b) => (a.key < b.key ? -1 : 1));
  const whole = { ...ruleset, subjects, profiles };
  return { ...whole, digest: digestRuleset(whole) };
}

/**
 * Returns what a ruleset says of the workloads of another one, in the places that they have there. What only the ruleset has is left out, and
 * so is a host that the other one leaves open: nothing is attached to these.
 */
export function inPlacesOf(ruleset: Ruleset, other: Ruleset): Ruleset {
  const wanted = new Map(ruleset.subjects.map((subject) => [subject.workload, subject]));
  const templates = new Map((ruleset.births?.templates ?? []).map(({ subject }) => [subject.workload, subject]));
  const place = (held: Subject, found: Subject | undefined): Subject => {
    const born = held.template === undefined ? {} : { template: held.template };
    if (found === undefined || (held.isHost === true && isOpen(held))) return { ...open(held), ...born };
    const { ingress, egress, identity, addresses } = found;
    return { ...open(held), ...born, addresses, ingress, egress, ...(identity === undefined ? {} : { identity }) };
  };
  const subjects = other.subjects.map((held) => place(held, wanted.get(held.workload)));
  const births = other.births && {
    ...other.births,
    templates: other.births.templates.map((one) => ({
      ...one,
      subject: place(one.subject, templates.get(one.subject.workload)),
    })),
  };
  const all = [...subjects, ...(births?.templates ?? []).map(({ subject }) => subject)];
  const used = new Set(all.flatMap(({ ingress, egress, identity }) => [ingress.profile, egress.profile, identity]));
  const whole = {
    node: other.node,
    digest: "",
    subjects,
    profiles: ruleset.profiles.filter(({ key }) => used.has(key)),
    ...(other.hasSynIdentity === undefined ? {} : { hasSynIdentity: other.hasSynIdentity }),
    ...(births === undefined ? {} : { births }),
  };
  return withWorkloadsOf({ ...whole, digest: digestRuleset(whole) }, other);
}

function isOpen({ ingress, egress }: Subject): boolean {
  return ingress.mode === "open" && egress.mode === "open";
}

/** An override holds over each of them. */
function open({ workload, cgroup, isHost, addresses, user, tolerates, override }: Subject): Subject {
  return {
    workload,
    cgroup,
    ...(isHost === undefined ? {} : { isHost }),
    addresses,
    ...(user === undefined ? {} : { user }),
    ...(tolerates === undefined ? {} : { tolerates }),
    ...(override === undefined ? {} : { override }),
    ingress: OPEN,
    egress: OPEN,
  };
}

/** @param closed the directions in which the other ruleset isolates the host */
function withRules(subject: Subject, closed: ReadonlySet<Direction>): Subject {
  if (subject.isHost !== true) return subject;
  const direction = (name: Direction): SubjectDirection =>
    subject[name].mode === "open" && closed.has(name)
      ? { mode: "enforce", profile: keyOf(name), policies: [] }
      : subject[name];
  return { ...subject, ingress: direction("ingress"), egress: direction("egress") };
}

/** No key of a profile of policies begins like this. */
function keyOf(direction: Direction): string {
  return `trial ${direction}`;
}

function anything(direction: Direction): Profile {
  const key = keyOf(direction);
  const rule = { key, policy: { namespace: "", name: key }, direction, index: 0 };
  return { key, direction, rules: [rule], clauses: [{ rule: 0, peers: "any", ports: "any" }] };
}
