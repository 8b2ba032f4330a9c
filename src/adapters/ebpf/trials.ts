/** Trials of a node: rulesets that the kernel takes back by itself; see docs/adr/0024-commit-confirmed.md. */
import type { Observation, Trials } from "../../interfaces/enforcer.js";
import type { Ruleset } from "../../model/ruleset.js";
import type { Deadline } from "./maps/deadline.js";
import type { TableSets } from "./maps/table-sets.js";

/** What an enforcer does for a trial. */
export interface TrialSteps {
  /** Whether this process switched to the ruleset last. */
  readonly isInForce: (ruleset: Ruleset) => boolean;
  readonly apply: (ruleset: Ruleset) => Promise<Observation>;
  /** Applies, and leaves the deadline as it is. */
  readonly switchTo: (ruleset: Ruleset) => Promise<Observation>;
  /** Writes a ruleset into the set that is not in force, for the workloads of the one that is. */
  readonly prepare: (before: Ruleset, inForce: Ruleset) => Promise<unknown>;
  readonly observe: (ruleset: Ruleset) => Promise<Observation>;
}

export class KernelTrials implements Trials {
  /** How often the kernel had returned by itself before the trial; null without one. */
  #returned: bigint | null = null;

  constructor(
    private readonly deadline: Deadline,
    private readonly tables: Pick<TableSets, "epoch">,
    private readonly steps: TrialSteps,
  ) {}

  get isRunning(): boolean {
    return this.#returned !== null;
  }

  /** Whether a trial runs that this or an earlier process has begun. */
  isOnTrial(): boolean {
    return this.deadline.isFor(this.tables.epoch());
  }

  async begin(ruleset: Ruleset, before: Ruleset, ms: number): Promise<Observation> {
    const { deadline, tables, steps } = this;
    const until = performance.now() + ms;
    const left = (): number => until - performance.now();
    // Instances changed within a trial: then this does not go back and forth, and has no deadline until it has written all.
    const isOnTrial = this.isOnTrial();
    if (!isOnTrial && !steps.isInForce(before)) await steps.apply(before);
    const returned = deadline.returned();
    deadline.end();
    // That of the trial, also if the kernel returns before this has ended.
    const epoch = tables.epoch() + 1n;
    // Before the switch: this process may be killed right after it. The set in force is the one before.
    if (!isOnTrial) deadline.set(epoch, left());
    this.#returned = returned;
    await steps.switchTo(ruleset);
    // What the switch took away of the set before is written again.
    await steps.prepare(before, ruleset);
    deadline.set(epoch, left());
    return steps.observe(ruleset);
  }

  end(): boolean {
    this.deadline.end();
    const isKept = !this.hasReturned();
    this.#returned = null;
    return isKept;
  }

  hasReturned(): boolean {
    return this.#returned !== null && this.deadline.returned() !== this.#returned;
  }
}
