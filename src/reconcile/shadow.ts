/**
 * Shadow: while a revision waits for this node, what begins is evaluated by it as well as by what is in force, and the node reports where the
 * two differ. It changes nothing of what is enforced, and its failures fail nothing else. See docs/adr/0026-shadow.md.
 */
import type { ShadowDifference, ShadowReport } from "../model/shadow.js";
import type { Rule, Ruleset } from "../model/ruleset.js";
import type { NodeStatus } from "../model/status.js";
import { NO_NAMES, type FlowNames } from "../policy/flow-names.js";
import { inPlacesOf } from "../policy/same-workloads.js";
import { EnforcerError, type Enforcer, type ShadowCount } from "../interfaces/enforcer.js";
import { StoreError } from "../interfaces/store.js";
import type { Clock } from "../interfaces/system.js";
import { TargetCompiler, type Target, type TargetDeps } from "./target.js";

export interface ShadowDeps extends TargetDeps {
  readonly enforcer: Pick<Enforcer, "lower" | "shadow">;
  readonly clock: Clock;
}

/** What is compared. */
interface Compared {
  readonly coming: Target;
  readonly inForce: Target;
  /** The coming ruleset, for the workloads in force, and its names. */
  readonly ruleset: Ruleset;
  readonly names: FlowNames;
}

/** The differences that a report names, as `ShadowReport` says. */
const MOST_DIFFERENCES = 20;

/** The metrics are of what is followed. */
const UNTOLD: TargetDeps["telemetry"] = { policyVersions: () => undefined, refusedEndpoints: () => undefined };

export class ShadowWatch {
  /** Compiles the coming revision, and remembers nothing of the one in force. */
  readonly #targets: TargetCompiler;
  #compared: Compared | null = null;
  /** Why there is none, as it was logged last. */
  #problem: string | null = null;

  constructor(
    private readonly deps: ShadowDeps,
    node: string,
  ) {
    this.#targets = new TargetCompiler({ ...deps, telemetry: UNTOLD }, node);
  }

  /** Gives names to what the coming revision decides. */
  get names(): FlowNames {
    return this.#compared?.names ?? NO_NAMES;
  }

  /**
   * Begins, replaces or ends the shadow.
   * @param awaited the revision that this node waits for; null: none
   * @param inForce null if it is not known, or is on trial
   */
  async follow(awaited: number | null, inForce: Target | null): Promise<void> {
    try {
      await this.#follow(awaited, inForce);
      this.#problem = null;
    } catch (error) {
      if (!(error instanceof EnforcerError || error instanceof StoreError)) throw error;
      if (error.message !== this.#problem)
        this.deps.logger.warn(`revision ${awaited ?? ""} is not compared with live traffic: ${error.message}`);
      this.#problem = error.message;
    }
  }

  async #follow(awaited: number | null, inForce: Target | null): Promise<void> {
    const { enforcer, clock, logger } = this.deps;
    const { shadow } = enforcer;
    if (!shadow) return;
    if (awaited === null || inForce === null) {
      this.#compared = null;
      shadow.end();
      return;
    }
    const { target: coming } = await this.#targets.read(awaited);
    const before = this.#compared;
    const isKnown = before?.coming.ruleset === coming.ruleset && before.inForce.ruleset === inForce.ruleset;
    const ruleset = isKnown ? before.ruleset : inPlacesOf(coming.ruleset, inForce.ruleset);
    const compared = { coming, inForce, ruleset, names: coming.namesOf(ruleset) };
    if (isKnown && keyOf(before) === keyOf(compared) && shadow.read() !== null) {
      this.#compared = compared;
      return;
    }
    this.#compared = null;
    enforcer.lower(ruleset);
    await shadow.begin(ruleset, inForce.ruleset, keyOf(compared), clock.now());
    this.#compared = compared;
    if (before === null || keyOf(before) !== keyOf(compared))
      logger.info(`revision ${coming.revision.number} is compared with live traffic, and not enforced`);
  }

  /** Returns what a status says of a shadow. A kernel that cannot be read fails no report. */
  report(): Pick<NodeStatus, "shadow"> {
    try {
      const shadow = this.#read();
      return shadow === null ? {} : { shadow };
    } catch (error) {
      if (error instanceof EnforcerError) return {};
      throw error;
    }
  }

  #read(): ShadowReport | null {
    const compared = this.#compared;
    const reading = compared === null ? null : (this.deps.enforcer.shadow?.read() ?? null);
    if (compared === null || reading === null) return null;
    const { number: revision, commitId } = compared.coming.revision;
    const { sinceMs, judged, newDenials, newAllows } = reading;
    return {
      revision,
      commitId,
      since: new Date(sinceMs).toISOString(),
      judged,
      newDenials,
      newAllows,
      differences: sumUp(reading.differences.map((one) => nameDifference(one, compared))),
    };
  }
}

/** The counts are of these two revisions, under the same overrides. */
function keyOf({ coming, inForce }: Pick<Compared, "coming" | "inForce">): string {
  return `${inForce.revision.commitId} ${coming.revision.commitId} ${inForce.overriding.join()}`.trim();
}

function nameDifference(
  { effect, direction, workload, rule, comingRule, count }: ShadowCount,
  { inForce, names }: Compared,
): ShadowDifference {
  const isolating = (effect === "denied" ? names : inForce.names).policiesOf(workload, direction)[0];
  const by = placeOfRule(comingRule) ?? placeOfRule(rule) ?? isolating ?? { policy: null, file: null, line: null };
  return { effect, direction, workload, ...by, count };
}

/** Null for the rule of a ruleset that has a workload only since the other one has it. */
function placeOfRule(rule: Rule | null): Pick<ShadowDifference, "policy" | "file" | "line"> | null {
  if (rule === null || rule.policy.namespace === "") return null;
  const { policy, file = null, line = null } = rule;
  return { policy: `${policy.namespace}/${policy.name}`, file, line };
}

/** One difference for each place, the most frequent first. */
function sumUp(all: readonly ShadowDifference[]): readonly ShadowDifference[] {
  const sums = new Map<string, ShadowDifference>();
  for (const { count, ...place } of all) {
    const key = JSON.stringify(place);
    sums.set(key, { ...place, count: count + (sums.get(key)?.count ?? 0) });
  }
  return [...sums]
    .sort(([aKey, a], [bKey, b]) => b.count - a.count || (aKey < bKey ? -1 : 1))
    .slice(0, MOST_DIFFERENCES)
    .map(([, one]) => one);
}
