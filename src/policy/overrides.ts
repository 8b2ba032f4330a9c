/** Overrides: puts the orders of operators over the policies of a ruleset. Pure. */
import { instantOf } from "../model/guards.js";
import { workloadOf } from "../model/endpoints.js";
import type { Override } from "../model/override.js";
import type { Direction, Profile, Ruleset, Subject, SubjectDirection } from "../model/ruleset.js";
import { digestRuleset } from "./compile/compile.js";

type InForce = NonNullable<Subject["override"]>;

/**
 * Returns the ruleset under overrides that are in force. A quarantine holds over break-glass: somebody found that workload to be
 * dangerous. A node's quarantine spares the host: it would cut off whoever has to look at the machine.
 * @param endsThem whether the backend ends overrides by itself; otherwise they are isolation to it
 */
export function withOverrides(ruleset: Ruleset, all: readonly Override[], endsThem = true): Ruleset {
  if (all.length === 0) return ruleset;
  const put = (subject: Subject): Subject => {
    const override = strongest(all.filter((one) => concerns(one, subject, ruleset.node)));
    return override === null ? subject : { ...subject, override };
  };
  const subjects = ruleset.subjects.map(put);
  const { births } = ruleset;
  const templates = births?.templates.map((template) => ({ ...template, subject: put(template.subject) }));
  const whole = {
    ...ruleset,
    subjects,
    ...(births === undefined || templates === undefined ? {} : { births: { ...births, templates } }),
  };
  const over = { ...whole, digest: digestRuleset(whole) };
  return endsThem ? over : asIsolation(over);
}

/** Returns the ids of the overrides that hold over a workload of the ruleset. */
export function overridesOver({ subjects, node }: Ruleset, overrides: readonly Override[]): readonly string[] {
  return overrides.filter((one) => subjects.some((subject) => concerns(one, subject, node))).map(({ id }) => id);
}

function concerns({ kind, target }: Override, { workload, isHost }: Subject, node: string): boolean {
  if ("workload" in target) return target.workload === workloadOf(workload);
  return target.node === node && (kind === "breakglass" || isHost !== true);
}

function strongest(all: readonly Override[]): InForce | null {
  const quarantines = all.filter(({ kind }) => kind === "quarantine");
  const [kind, chosen] =
    quarantines.length > 0 ? (["quarantine", quarantines] as const) : (["breakglass", all] as const);
  if (chosen.length === 0) return null;
  return { kind, until: Math.max(...chosen.map(({ until }) => Math.floor(instantOf(until) / 1000))) };
}

const DIRECTIONS = ["ingress", "egress"] as const;

/** Returns the same policy without overrides, by isolation alone. */
function asIsolation(ruleset: Ruleset): Ruleset {
  const subjects = ruleset.subjects.map(({ override, ...subject }): Subject => {
    if (override === undefined) return subject;
    const direction = (name: Direction): SubjectDirection =>
      override.kind === "breakglass"
        ? { mode: "open", profile: null, policies: subject[name].policies }
        : { mode: "enforce", profile: keyOf(name), policies: subject[name].policies };
    return { ...subject, ingress: direction("ingress"), egress: direction("egress") };
  });
  const closed = DIRECTIONS.filter((name) => subjects.some((one) => one[name].profile === keyOf(name)));
  const profiles = [...ruleset.profiles, ...closed.map(nothing)].sort((a, b) => (a.key < b.key ? -1 : 1));
  return { ...ruleset, subjects, profiles };
}

/** No key of a profile of policies begins like this. */
function keyOf(direction: Direction): string {
  return `quarantine ${direction}`;
}

function nothing(direction: Direction): Profile {
  return { key: keyOf(direction), direction, rules: [], clauses: [] };
}
