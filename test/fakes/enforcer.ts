/**
 * An enforcer whose machine is a Map: for tests of the loops. Tampering goes past the interface, as it does in life. It
 * writes in the steps of the real one (prepare, switch, attach, detach) and is held to the same contract
 * (test/contract/enforcer.ts).
 */
import { compareItems } from "../../src/diff/drift.js";
import type { Ruleset } from "../../src/model/ruleset.js";
import type {
  EnforcementItem,
  Enforcer,
  ItemSet,
  Observation,
  ShadowCount,
  ShadowReading,
} from "../../src/interfaces/enforcer.js";
import { EnforcerError, NO_COUNTERS } from "../../src/interfaces/enforcer.js";

/** Between two steps an enforcer may be killed, and a test may look at the machine. */
export type EnforcerStep = "opened" | "observing" | "prepared" | "switched" | "attached";

export class FakeMachine {
  readonly items = new Map<string, EnforcementItem>();
  readonly absent = new Set<string>();
  /** Which cgroup a workload has; "first" where none is named. */
  readonly places = new Map<string, string>();
  failApply: string | null = null;
  failLower: string | null = null;
  failObserve: string | null = null;
  /** Workloads whose programs cannot be attached. */
  readonly refused = new Set<string>();
  applied = 0;
  /** Called before an enforcer writes what the machine is to hold. */
  applying: (wanted: ItemSet) => void = () => undefined;
  /** Called after each write of an enforcer. */
  written: () => void = () => undefined;
  /** What the machine goes back to, and when. */
  deadline: { readonly items: ItemSet; readonly at: number } | null = null;
  /** How often it went back. */
  returned = 0;
  /** What is counted for two rulesets. */
  shadowed: { readonly key: string; readonly sinceMs: number; readonly counts: ShadowCount[] } | null = null;
  /** Whether it is evaluated by both now. */
  isShadowed = false;
  readonly #watchers = new Set<() => void>();

  /** Goes back to the ruleset before, if it is time: nobody can tell when exactly it did. */
  passTime(): void {
    if (this.deadline === null || performance.now() < this.deadline.at) return;
    this.items.clear();
    for (const [key, item] of this.deadline.items) this.items.set(key, item);
    this.deadline = null;
    this.returned += 1;
    this.isShadowed = false;
  }

  /** First packets come on which the two rulesets differ. Without a shadow, nobody counts them. */
  differ(count: ShadowCount): void {
    if (this.isShadowed) this.shadowed?.counts.push(count);
  }

  /** Wakes whoever watches the machine, as a cgroup that appears does. */
  wake(): void {
    for (const wake of this.#watchers) wake();
  }

  watch(wake: () => void): () => void {
    this.#watchers.add(wake);
    return () => this.#watchers.delete(wake);
  }
}

/** The process that an enforcer runs in: a test may let it take its time, and die. */
export interface EnforcerHost {
  pause(step: EnforcerStep): Promise<void>;
  /** Passes on what the machine tells the process. */
  deliver(run: () => void): void;
}

const AT_ONCE: EnforcerHost = { pause: () => Promise.resolve(), deliver: (run) => run() };

export class FakeEnforcer implements Enforcer {
  #returnedBefore: number | null = null;

  readonly backend = "fake";
  readonly flowSource = null;
  readonly peerKeys = null;

  constructor(
    readonly machine: FakeMachine,
    private readonly host: EnforcerHost = AT_ONCE,
  ) {}

  readonly trials = {
    begin: async (ruleset: Ruleset, before: Ruleset, ms: number): Promise<Observation> => {
      const at = performance.now() + ms;
      const observation = await this.apply(ruleset);
      this.#returnedBefore = this.machine.returned;
      this.machine.deadline = { items: itemsOf(before), at };
      return observation;
    },
    end: (): boolean => {
      const isKept = !this.trials.hasReturned();
      this.machine.deadline = null;
      return isKept;
    },
    hasReturned: (): boolean => {
      this.machine.passTime();
      return this.#returnedBefore !== null && this.machine.returned !== this.#returnedBefore;
    },
  };

  #hasBegun = false;

  readonly shadow = {
    begin: async (coming: Ruleset, _inForce: Ruleset, key: string, now: number): Promise<void> => {
      const { machine } = this;
      if (machine.deadline !== null) throw new EnforcerError("busy", "a ruleset is on trial");
      this.shadow.end();
      this.lower(coming);
      await this.host.pause("prepared");
      if (machine.shadowed?.key !== key) machine.shadowed = { key, sinceMs: now, counts: [] };
      machine.isShadowed = true;
      this.#hasBegun = true;
    },
    end: (): void => {
      this.machine.isShadowed = false;
      this.#hasBegun = false;
    },
    read: (): ShadowReading | null => {
      this.machine.passTime();
      const { isShadowed, shadowed } = this.machine;
      if (!isShadowed || !this.#hasBegun || shadowed === null) return null;
      const sum = (kind: ShadowCount["effect"]): number =>
        shadowed.counts.filter(({ effect }) => effect === kind).reduce((total, { count }) => total + count, 0);
      const [newDenials, newAllows] = [sum("denied"), sum("allowed")];
      const { sinceMs, counts } = shadowed;
      return { sinceMs, judged: newDenials + newAllows, newDenials, newAllows, differences: [...counts] };
    },
  };

  lower(ruleset: Ruleset): ItemSet {
    if (this.machine.failLower !== null) throw new EnforcerError("limit", this.machine.failLower);
    return itemsOf(ruleset);
  }

  open(): Promise<void> {
    return this.host.pause("opened");
  }

  async observe(ruleset: Ruleset): Promise<Observation> {
    await this.host.pause("observing");
    this.machine.passTime();
    const { items, absent, places, failObserve } = this.machine;
    if (failObserve !== null) throw new EnforcerError("kernel", failObserve);
    const subjects = ruleset.subjects.map(({ workload, cgroup }) => {
      if (cgroup === null) return { workload, state: "Stalled" as const, message: "it has no cgroup" };
      return absent.has(workload)
        ? { workload, state: "Pending" as const }
        : { workload, state: "Enforced" as const, place: places.get(workload) ?? "first" };
    });
    return {
      ...compareItems(itemsOf(ruleset), items, subjects),
      packets: [],
      counters: NO_COUNTERS,
      escapes: [],
      refusals: [],
    };
  }

  async apply(ruleset: Ruleset): Promise<Observation> {
    const { machine } = this;
    machine.passTime();
    machine.deadline = null;
    machine.isShadowed = false;
    this.#returnedBefore = null;
    if (machine.failApply !== null) throw new EnforcerError("kernel", machine.failApply);
    machine.applied += 1;
    const wanted = itemsOf(ruleset);
    machine.applying(wanted);
    await this.host.pause("prepared");
    const isHere = ({ workload }: EnforcementItem): boolean => !machine.absent.has(workload ?? "");
    this.#switch(new Map([...wanted].filter(([, item]) => item.type === "entry" && isHere(item))));
    await this.host.pause("switched");
    const refused: string[] = [];
    for (const item of wanted.values()) {
      if (item.type !== "link" || !isHere(item) || machine.items.get(item.key)?.value === item.value) continue;
      if (machine.refused.has(item.workload ?? "")) {
        refused.push(item.workload ?? "");
        continue;
      }
      machine.items.set(item.key, item);
      machine.written();
      await this.host.pause("attached");
    }
    for (const [key, item] of machine.items) if (item.type === "link" && !wanted.has(key)) machine.items.delete(key);
    machine.written();
    if (refused.length > 0) throw new EnforcerError("kernel", `Attaching to ${refused.join(", ")} failed`);
    return this.observe(ruleset);
  }

  /** All records at once. */
  #switch(entries: ItemSet): void {
    const { items, written } = this.machine;
    for (const [key, item] of items) if (item.type === "entry" && !entries.has(key)) items.delete(key);
    for (const [key, item] of entries) items.set(key, item);
    written();
  }

  async *watch(signal: AbortSignal): AsyncIterable<void> {
    const news = { hasCome: false, come: (): void => undefined };
    const unwatch = this.machine.watch(() =>
      this.host.deliver(() => {
        news.hasCome = true;
        news.come();
      }),
    );
    const ended = new Promise<void>((resolve) => {
      signal.addEventListener("abort", () => resolve(), { once: true });
    });
    try {
      while (!signal.aborted) {
        if (!news.hasCome) await Promise.race([ended, new Promise<void>((resolve) => (news.come = resolve))]);
        if (!news.hasCome) return;
        news.hasCome = false;
        yield;
      }
    } finally {
      unwatch();
    }
  }

  async close(): Promise<void> {}
}

function itemsOf(ruleset: Ruleset): ItemSet {
  const items = new Map<string, EnforcementItem>();
  const add = (item: EnforcementItem): void => void items.set(item.key, item);
  for (const subject of ruleset.subjects) {
    const { workload, cgroup } = subject;
    if (cgroup === null) continue;
    const about = { workload, policies: [...subject.ingress.policies, ...subject.egress.policies] };
    const label = `program on ${workload}`;
    add({ key: `link/${workload}`, value: "attached", type: "link", label, ...about });
    const value = JSON.stringify(subject);
    add({ key: `subject/${workload}`, value, type: "entry", label: `subject ${workload}`, ...about });
  }
  for (const { key, clauses } of ruleset.profiles) {
    const value = JSON.stringify(clauses);
    add({ key: `profile/${key}`, value, type: "entry", label: `profile ${key}` });
  }
  return items;
}
