/**
 * An enforcer whose machine is a Map: for tests of the loops. Tampering goes past the port, as it
 * does in life. It is held to the same contract as the real one (test/contract/enforcer.ts).
 */
import type { Ruleset } from "../../src/model/ruleset.js";
import type { EnforcementItem, Enforcer, ItemSet, Observation } from "../../src/interfaces/enforcer.js";
import { EnforcerError, NO_COUNTERS } from "../../src/interfaces/enforcer.js";

export class FakeMachine {
  readonly items = new Map<string, EnforcementItem>();
  readonly absent = new Set<string>();
  /** Which cgroup a workload has; "first" where none is named. */
  readonly places = new Map<string, string>();
  failApply: string | null = null;
  failLower: string | null = null;
  /** Workloads whose programs cannot be attached. */
  readonly refused = new Set<string>();
  applied = 0;
}

export class FakeEnforcer implements Enforcer {
  readonly backend = "fake";
  readonly flowSource = null;

  constructor(readonly machine: FakeMachine) {}

  lower(ruleset: Ruleset): ItemSet {
    if (this.machine.failLower !== null) throw new EnforcerError("limit", this.machine.failLower);
    return this.#items(ruleset);
  }

  #items(ruleset: Ruleset): ItemSet {
    const items = new Map<string, EnforcementItem>();
    for (const subject of ruleset.subjects) {
      const { workload } = subject;
      const policies = [...subject.ingress.policies, ...subject.egress.policies];
      items.set(`link/${workload}`, {
        key: `link/${workload}`,
        value: "attached",
        type: "link",
        label: `program on ${workload}`,
        workload,
        policies,
      });
      items.set(`subject/${workload}`, {
        key: `subject/${workload}`,
        value: JSON.stringify(subject),
        type: "entry",
        label: `subject ${workload}`,
        workload,
        policies,
      });
    }
    for (const { key, clauses } of ruleset.profiles) {
      items.set(`profile/${key}`, {
        key: `profile/${key}`,
        value: JSON.stringify(clauses),
        type: "entry",
        label: `profile ${key}`,
      });
    }
    return items;
  }

  async open(): Promise<void> {}

  async observe(ruleset: Ruleset): Promise<Observation> {
    const subjects = ruleset.subjects.map(({ workload }) =>
      this.machine.absent.has(workload)
        ? { workload, state: "Pending" as const }
        : { workload, state: "Enforced" as const, place: this.machine.places.get(workload) ?? "first" },
    );
    return { items: new Map(this.machine.items), subjects, packets: [], counters: NO_COUNTERS };
  }

  async apply(ruleset: Ruleset): Promise<void> {
    if (this.machine.failApply !== null) throw new EnforcerError("kernel", this.machine.failApply);
    this.machine.applied += 1;
    this.machine.items.clear();
    for (const [key, item] of this.#items(ruleset)) {
      const { workload = "", type } = item;
      if (this.machine.absent.has(workload) || (type === "link" && this.machine.refused.has(workload))) continue;
      this.machine.items.set(key, item);
    }
    const [refused] = this.machine.refused;
    if (refused !== undefined) throw new EnforcerError("kernel", `Attaching to ${refused} failed`);
  }

  async *watch(signal: AbortSignal): AsyncIterable<void> {
    if (signal.aborted) return;
    await new Promise<void>((resolve) => {
      signal.addEventListener("abort", () => resolve(), { once: true });
    });
  }

  async close(): Promise<void> {}
}
