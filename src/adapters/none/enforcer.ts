/**
 * The backend `none`: follows head, compiles, reports, and enforces nothing. Every status says so. It is chosen only by
 * name, never as a fallback.
 */
import type { Ruleset } from "../../model/ruleset.js";
import { compareItems } from "../../diff/drift.js";
import { NO_COUNTERS, type Enforcer, type ItemSet, type Observation } from "../../interfaces/enforcer.js";

export class NoneEnforcer implements Enforcer {
  readonly backend = "none";
  readonly flowSource = null;
  readonly peerKeys = null;

  lower(): ItemSet {
    return new Map();
  }

  async open(): Promise<void> {}

  async observe(ruleset: Ruleset): Promise<Observation> {
    const subjects = ruleset.subjects.map(({ workload }) => ({
      workload,
      state: "Stalled" as const,
      message: "not enforced: this agent runs with the backend none",
    }));
    return {
      ...compareItems(new Map(), new Map(), subjects),
      packets: [],
      counters: NO_COUNTERS,
      escapes: [],
      refusals: [],
    };
  }

  async apply(ruleset: Ruleset): Promise<Observation> {
    return this.observe(ruleset);
  }

  async *watch(signal: AbortSignal): AsyncIterable<void> {
    await new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      else signal.addEventListener("abort", () => resolve(), { once: true });
    });
  }

  async close(): Promise<void> {}
}
