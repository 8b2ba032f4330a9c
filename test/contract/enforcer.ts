/**
 * The guarantees of every Enforcer: one suite for each backend. A backend gives each case a machine with two workloads,
 * and ways to change that machine behind the enforcer's back.
 */
import t, { type Test } from "tap";
import { isEmptyDiff } from "../../src/diff/keyed.js";
import { lacksOnlyAttachments } from "../../src/diff/drift.js";
import type { Enforcer, Observation } from "../../src/interfaces/enforcer.js";
import type { Ruleset } from "../../src/model/ruleset.js";
import { rulesetOf } from "../kernel/rulesets.js";
import { pause, waitUntil, within } from "../wait.js";

export interface EnforcerMachine {
  readonly node: string;
  /** The workloads `demo/a` and `demo/b`, both present at first. */
  readonly workloads: Readonly<Record<"demo/a" | "demo/b", Place>>;
  /** Returns another process's enforcer, not yet open. The suite closes it. */
  enforcer(): Enforcer;
  /** Takes `demo/b` away from the machine; `restore` brings it back. */
  remove(): void;
  restore(): void;
  /** Damages the enforcement of `demo/a`. */
  damage(): void;
  /** Makes every apply of a ruleset that is not in force fail, until the returned function is called. */
  refuseChanges(): () => void;
}

export interface Place {
  readonly cgroup: string | null;
  readonly addresses: readonly string[];
}

/** Makes a machine for each case, and clears it away afterwards. */
export type WithMachine = (t: Test, test: (machine: EnforcerMachine) => Promise<void>) => Promise<void>;

interface Scene {
  readonly machine: EnforcerMachine;
  readonly enforcer: Enforcer;
  /** `narrow` allows less than `wide`. */
  readonly wide: Ruleset;
  readonly narrow: Ruleset;
  readonly empty: Ruleset;
}

type Case = (t: Test, scene: Scene) => Promise<void>;

function isInForce({ difference, subjects, isEnforcing }: Observation): boolean {
  return isEmptyDiff(difference) && subjects.every(({ state }) => state === "Enforced") && isEnforcing;
}

/** Of a trial: it is over before the test asks, or after the test has ended. */
const [SHORT_MS, LONG_MS] = [300, 600_000];

/** Of pf, whose agent returns while it runs; see Trials. */
function hasNoTrials(t: Test, { backend }: Enforcer): void {
  t.equal(backend, "pf", "every other backend returns by itself");
}

/** The same of shadows. */
function hasNoShadow(t: Test, { backend }: Enforcer): void {
  t.equal(backend, "pf", "every other backend evaluates by two rulesets");
}

const [BEGUN, LATER] = [1_000_000_000_000, 1_000_000_060_000];

const cases: Readonly<Record<string, Case>> = {
  async "lowering is pure: equal rulesets give equal items, in equal order"(t, { enforcer, wide, narrow }) {
    const items = enforcer.lower(wide);
    const plain = (from: Ruleset) => [...enforcer.lower(from)].map(([key, { value, type }]) => [key, value, type]);
    t.strictSame(plain(structuredClone(wide)), plain(wide));
    t.notSame(plain(narrow), plain(wide));
    t.ok([...items].every(([key, item]) => item.key === key));
  },

  async "on a fresh machine nothing is enforced, and observing changes nothing"(t, { enforcer, wide }) {
    for (let round = 0; round < 2; round += 1) {
      const { difference, subjects, isEnforcing } = await enforcer.observe(wide);
      t.equal(isEnforcing, false);
      t.ok(difference.missing.length > 0);
      t.strictSame(
        subjects.map(({ workload, state }) => [workload, state]),
        [
          ["demo/a", "Stalled"],
          ["demo/b", "Stalled"],
        ],
      );
    }
  },

  async "apply returns what it read back"(t, { enforcer, wide }) {
    const applied = await enforcer.apply(wide);
    t.ok(isInForce(applied));
    const observed = await enforcer.observe(wide);
    t.strictSame(observed.subjects, applied.subjects);
    t.ok(isInForce(observed));
  },

  async "a ruleset replaces another, and each is told from the other"(t, { enforcer, wide, narrow }) {
    for (const [next, other] of [
      [wide, narrow],
      [narrow, wide],
      [wide, narrow],
    ] as const) {
      t.ok(isInForce(await enforcer.apply(next)));
      t.notOk(isEmptyDiff((await enforcer.observe(other)).difference));
      t.ok(isInForce(await enforcer.observe(next)), "asking about another ruleset changed nothing");
    }
  },

  async "a ruleset without workloads leaves nothing behind"(t, { enforcer, wide, empty }) {
    await enforcer.apply(wide);
    t.equal((await enforcer.observe(empty)).isEnforcing, true, "by whatever ruleset");
    const { difference, isEnforcing } = await enforcer.apply(empty);
    t.ok(isEmptyDiff(difference));
    t.equal(isEnforcing, false);
  },

  async "damage is seen, named by workload, and healed"(t, { machine, enforcer, wide }) {
    await enforcer.apply(wide);
    machine.damage();
    const { difference, subjects } = await enforcer.observe(wide);
    t.notOk(isEmptyDiff(difference));
    t.ok(subjects.some(({ state, message }) => state === "Stalled" && message !== undefined));
    t.ok(isInForce(await enforcer.apply(wide)));
  },

  async "a workload that is not there is Pending, misses nothing, and holds up no other"(t, scene) {
    const { machine, enforcer, wide } = scene;
    machine.remove();
    const { difference, subjects } = await enforcer.apply(wide);
    t.ok(isEmptyDiff(difference));
    t.match(subjects, [
      { workload: "demo/a", state: "Enforced" },
      { workload: "demo/b", state: "Pending" },
    ]);
    machine.restore();
    t.ok(isInForce(await enforcer.apply(wide)));
  },

  async "closing leaves enforcement in force, and the next enforcer finds it"(t, { machine, enforcer, wide, narrow }) {
    await enforcer.apply(wide);
    await enforcer.close();
    const next = machine.enforcer();
    await next.open();
    t.ok(isInForce(await next.observe(wide)), "before it applies anything");
    t.ok(isInForce(await next.apply(narrow)));
    await next.close();
  },

  async "a change that fails leaves one ruleset whole, except for attachments"(t, scene) {
    const { machine, enforcer, wide, narrow } = scene;
    await enforcer.apply(wide);
    const allow = machine.refuseChanges();
    await t.rejects(enforcer.apply(narrow), { name: "EnforcerError", message: /./ });
    const [before, after] = [await enforcer.observe(wide), await enforcer.observe(narrow)];
    t.ok(lacksOnlyAttachments(before.difference) !== lacksOnlyAttachments(after.difference));
    t.equal(before.isEnforcing, true);
    allow();
    t.ok(isInForce(await enforcer.apply(narrow)));
  },

  async "a ruleset on trial stays if the trial is ended in time"(t, { enforcer, wide, narrow }) {
    await enforcer.apply(wide);
    const { trials } = enforcer;
    if (!trials) return hasNoTrials(t, enforcer);
    t.ok(isInForce(await trials.begin(narrow, wide, LONG_MS)));
    t.equal(trials.hasReturned(), false);
    t.equal(trials.end(), true);
    t.ok(isInForce(await enforcer.observe(narrow)));
    t.ok(isInForce(await enforcer.apply(wide)), "and is followed like any other");
  },

  async "without an end, the machine returns to the ruleset before by itself"(t, { machine, enforcer, wide, narrow }) {
    await enforcer.apply(wide);
    const { trials } = enforcer;
    if (!trials) return hasNoTrials(t, enforcer);
    t.ok(isInForce(await trials.begin(narrow, wide, LONG_MS)));
    // What is left of it may be over before this has ended.
    await trials.begin(narrow, wide, SHORT_MS);
    await waitUntil(() => trials.hasReturned(), { what: "the return of the machine" });
    t.ok(isInForce(await enforcer.observe(wide)), "the whole ruleset before");
    t.equal(trials.end(), false, "too late");
    t.ok(isInForce(await trials.begin(narrow, wide, LONG_MS)), "it may be tried again");
    await trials.begin(narrow, wide, SHORT_MS);
    await enforcer.close();
    const next = machine.enforcer();
    await next.open();
    await waitUntil(async () => isInForce(await next.observe(wide)), { what: "the return without the process" });
    await next.close();
  },

  async "a trial that is over before it has begun leaves the ruleset before"(t, { enforcer, wide, narrow }) {
    await enforcer.apply(wide);
    const { trials } = enforcer;
    if (!trials) return hasNoTrials(t, enforcer);
    await trials.begin(narrow, wide, 1);
    await waitUntil(async () => isInForce(await enforcer.observe(wide)), { what: "the return" });
    await pause(SHORT_MS);
    t.ok(isInForce(await enforcer.observe(wide)), "and it stays");
  },

  async "an apply ends a trial"(t, { enforcer, wide, narrow }) {
    await enforcer.apply(wide);
    const { trials } = enforcer;
    if (!trials) return hasNoTrials(t, enforcer);
    await trials.begin(narrow, wide, SHORT_MS);
    await enforcer.apply(narrow);
    await trials.begin(narrow, wide, LONG_MS);
    t.equal(trials.hasReturned(), false, "what was due in between did not come about");
    t.ok(isInForce(await enforcer.observe(narrow)));
    t.equal(trials.end(), true);
  },

  async "a shadow changes nothing of what is in force, and ends with it"(t, { enforcer, wide, narrow }) {
    const { shadow } = enforcer;
    await enforcer.apply(wide);
    if (!shadow) return hasNoShadow(t, enforcer);
    t.equal(shadow.read(), null);
    await shadow.begin(narrow, wide, "1 2", BEGUN);
    t.strictSame(shadow.read(), { sinceMs: BEGUN, judged: 0, newDenials: 0, newAllows: 0, differences: [] });
    t.ok(isInForce(await enforcer.observe(wide)));
    t.notOk(isEmptyDiff((await enforcer.observe(narrow)).difference));
    for (const next of [wide, narrow, wide]) {
      t.ok(isInForce(await enforcer.apply(next)), "the set that it stood in is written again");
      t.equal(shadow.read(), null);
      await shadow.begin(next === wide ? narrow : wide, next, "1 2", LATER);
      t.ok(isInForce(await enforcer.observe(next)));
    }
    shadow.end();
    t.equal(shadow.read(), null);
    t.ok(isInForce(await enforcer.observe(wide)));
  },

  async "the counts of a shadow go on for the same revisions, also in the next process"(t, scene) {
    const { machine, enforcer, wide, narrow } = scene;
    await enforcer.apply(wide);
    if (!enforcer.shadow) return hasNoShadow(t, enforcer);
    await enforcer.shadow.begin(narrow, wide, "1 2", BEGUN);
    await enforcer.apply(wide);
    await enforcer.shadow.begin(narrow, wide, "1 2", LATER);
    t.equal(enforcer.shadow.read()?.sinceMs, BEGUN);
    await enforcer.close();
    const next = machine.enforcer();
    await next.open();
    t.equal(next.shadow?.read(), null, "it did not begin one");
    await next.shadow?.begin(narrow, wide, "1 2", LATER);
    t.equal(next.shadow?.read()?.sinceMs, BEGUN);
    await next.shadow?.begin(narrow, wide, "1 3", LATER);
    t.equal(next.shadow?.read()?.sinceMs, LATER, "another revision replaces it");
    await next.close();
  },

  async "a trial ends a shadow"(t, { enforcer, wide, narrow }) {
    const { shadow, trials } = enforcer;
    await enforcer.apply(wide);
    if (!shadow || !trials) return hasNoShadow(t, enforcer);
    await shadow.begin(narrow, wide, "1 2", BEGUN);
    t.ok(isInForce(await trials.begin(narrow, wide, LONG_MS)));
    t.equal(shadow.read(), null);
    await t.rejects(shadow.begin(wide, narrow, "2 3", BEGUN), { name: "EnforcerError", code: "busy" });
    t.equal(trials.end(), true);
    await shadow.begin(wide, narrow, "2 3", BEGUN);
    await trials.begin(wide, narrow, SHORT_MS);
    await waitUntil(() => trials.hasReturned(), { what: "the return of the machine" });
    t.equal(shadow.read(), null);
    t.ok(isInForce(await enforcer.observe(narrow)), "the whole ruleset before");
  },

  async "a watch ends with its signal"(t, { enforcer, wide }) {
    await enforcer.apply(wide);
    const stop = new AbortController();
    const watched = (async () => {
      const events = enforcer.watch(stop.signal)[Symbol.asyncIterator]();
      let count = 0;
      while ((await events.next()).done !== true) count += 1;
      return count;
    })();
    stop.abort();
    t.equal(typeof (await within(watched, { what: "the end of the watch" })), "number");
  },
};

export async function enforcerContract(name: string, withMachine: WithMachine): Promise<void> {
  await t.test(`enforcer: ${name}`, async (t) => {
    for (const [title, run] of Object.entries(cases)) {
      await t.test(title, (t) =>
        withMachine(t, async (machine) => {
          const { "demo/a": a, "demo/b": b } = machine.workloads;
          const ruleset = (...ports: readonly string[]): Ruleset => {
            const ingress = { allow: [{ peers: ["10.9.0.0/16"], ports }] };
            return rulesetOf(machine.node, { "demo/a": { ...a, ingress }, "demo/b": { ...b, ingress } });
          };
          const enforcer = machine.enforcer();
          await enforcer.open();
          try {
            const rulesets = { wide: ruleset("tcp/80", "udp/53"), narrow: ruleset("tcp/80") };
            await run(t, { machine, enforcer, ...rulesets, empty: rulesetOf(machine.node, {}) });
          } finally {
            await enforcer.close();
          }
        }),
      );
    }
  });
}
