/** Script: a sequence of rulesets and packets that the programs and the reference both run; and how to make one smaller. */
import type { Clause, Profile, Ruleset } from "../../src/model/ruleset.js";
import type { Bench } from "./bench.js";
import { BY_IDENTITY, Reference, type Decided, type Step } from "./reference.js";
import { readFrame } from "./wire.js";

/** A ruleset, and the packets until the next one. */
export interface Act {
  readonly ruleset: Ruleset;
  readonly steps: readonly Step[];
}

export interface Disagreement {
  readonly act: number;
  readonly step: number;
  readonly kernel: Decided;
  readonly reference: Decided;
}

/** More than any idle time: what an earlier script left has ended. */
const PAUSE = 4_000;
/** Of making a script smaller: each waits for a grace period or two. */
const MAX_ATTEMPTS = 400;

export class Stage {
  #epoch = 1;

  constructor(readonly bench: Bench) {}

  /**
   * @param verdicts counts what the packets got
   * @returns the first packet on which the two differ, or null
   */
  async play(acts: readonly Act[], verdicts = new Map<string, number>()): Promise<Disagreement | null> {
    const reference = new Reference();
    const last = acts.at(-1)?.steps.at(-1)?.now ?? 0;
    const epoch = this.#epoch;
    this.#epoch = (this.#epoch + last + PAUSE) >>> 0;
    for (const [act, { ruleset, steps }] of acts.entries()) {
      reference.load(ruleset);
      await this.bench.load(ruleset);
      const decided = this.bench.decide(steps, epoch);
      for (const [step, kernel] of decided.entries()) {
        const wanted = steps[step];
        if (wanted === undefined) continue;
        const expected = reference.decide(wanted);
        if (expected.verdict !== kernel.verdict || expected.rule !== kernel.rule)
          return { act, step, kernel, reference: expected };
        const by = kernel.rule === BY_IDENTITY ? "identity" : "a rule";
        const name = kernel.rule === null ? kernel.verdict : `${kernel.verdict} by ${by}`;
        verdicts.set(name, (verdicts.get(name) ?? 0) + 1);
      }
    }
    return null;
  }

  /** The smallest script found that still disagrees; `acts` must. */
  async shrink(acts: readonly Act[]): Promise<readonly Act[]> {
    let best = acts;
    let left = MAX_ATTEMPTS;
    const attempt = async (smaller: readonly Act[]): Promise<boolean> => {
      if (left-- <= 0 || (await this.play(smaller)) === null) return false;
      best = smaller;
      return true;
    };
    for (let size = total(best); size >= 1; size = size >> 1) {
      for (let at = 0; at < total(best);) if (!(await attempt(withoutSteps(best, at, size)))) at += size;
    }
    await attempt(best.filter(({ steps }, at) => steps.length > 0 || at === best.length - 1));
    for (let progress = true; progress && left > 0;) {
      progress = false;
      for (const smaller of smallerRulesets(best)) {
        if (!(await attempt(smaller))) continue;
        progress = true;
        break;
      }
    }
    return best;
  }
}

function total(acts: readonly Act[]): number {
  return acts.reduce((sum, { steps }) => sum + steps.length, 0);
}

function withoutSteps(acts: readonly Act[], from: number, count: number): readonly Act[] {
  let next = 0;
  return acts.map((act) => ({
    ...act,
    steps: act.steps.filter(() => {
      const at = next++;
      return at < from || at >= from + count;
    }),
  }));
}

/** Each with one thing less: a clause, a peer, a range of ports. */
function* smallerRulesets(acts: readonly Act[]): Generator<readonly Act[]> {
  for (const [index, act] of acts.entries()) {
    const used = new Set(act.steps.map(({ workload }) => workload));
    const replace = (ruleset: Ruleset): readonly Act[] => acts.with(index, { ...act, ruleset });
    const { subjects, profiles } = act.ruleset;
    for (const subject of subjects)
      if (!used.has(subject.workload))
        yield replace({ ...act.ruleset, subjects: subjects.filter((one) => one !== subject) });
    for (const [at, profile] of profiles.entries()) {
      for (const smaller of smallerProfiles(profile))
        yield replace({ ...act.ruleset, profiles: profiles.with(at, smaller) });
    }
  }
}

function* smallerProfiles(profile: Profile): Generator<Profile> {
  const { clauses } = profile;
  for (const [at, clause] of clauses.entries()) {
    yield { ...profile, clauses: clauses.toSpliced(at, 1) };
    for (const smaller of smallerClauses(clause)) yield { ...profile, clauses: clauses.with(at, smaller) };
  }
}

function* smallerClauses(clause: Clause): Generator<Clause> {
  const { peers, ports } = clause;
  if (peers !== "any" && peers.length > 1)
    for (const at of peers.keys()) yield { ...clause, peers: peers.toSpliced(at, 1) };
  if (ports !== "any" && ports.length > 1)
    for (const at of ports.keys()) yield { ...clause, ports: ports.toSpliced(at, 1) };
}

/** For people: the rulesets and packets of a script, and where it went wrong. */
export function describe(acts: readonly Act[], { act, step, kernel, reference }: Disagreement): readonly string[] {
  const say = ({ verdict, rule }: Decided): string => (rule === null ? verdict : `${verdict} by ${rule}`);
  const lines = acts.flatMap(({ ruleset, steps }, index) => [
    `ruleset ${index + 1}`,
    ...ruleset.subjects.flatMap(({ workload, ingress, egress }) => [
      `  ${workload}: ingress ${ingress.mode} ${ingress.profile ?? ""}, egress ${egress.mode} ${egress.profile ?? ""}`,
    ]),
    ...namedProfiles(ruleset).flatMap(({ key, rules, clauses }) => [
      `  ${key}`,
      ...clauses.map(
        (clause) =>
          `    ${clause.effect ?? "allow"} ${rules[clause.rule ?? -1]?.key ?? ""}: ${JSON.stringify([clause.peers, clause.ports])}`,
      ),
    ]),
    ...steps.map((one, at) => {
      const mark = index === act && at === step ? ">>" : "  ";
      const { workload, direction, frame, now } = one;
      return `${mark} at ${now} ${workload} ${direction} ${JSON.stringify(readFrame(frame))} ${frame.toString("hex")}`;
    }),
  ]);
  return [...lines, `the programs: ${say(kernel)}`, `the reference: ${say(reference)}`];
}

function namedProfiles({ subjects, profiles }: Ruleset): readonly Profile[] {
  const named = new Set(
    subjects.flatMap(({ ingress, egress, identity = "" }) => [ingress.profile, egress.profile, identity]),
  );
  return profiles.filter(({ key }) => named.has(key));
}
