/**
 * Random histories of one node whose policies would cut sessions: commits, logins, kills at every step, restarts with and
 * without the store, reboots. No run cuts a session that was allowed before it, and nothing is enforced at a cgroup that
 * was neither in force there nor committed. `ZTAP_SEED` repeats a run.
 */
import t from "tap";
import { openMemoryStore } from "../../src/adapters/memory/store.js";
import { systemClock } from "../../src/adapters/system/clock.js";
import type { NodeEndpoints } from "../../src/model/endpoints.js";
import type { Override } from "../../src/model/override.js";
import type { TrialRecord } from "../../src/model/trial.js";
import type { Session } from "../../src/model/management-access.js";
import type { Ruleset } from "../../src/model/ruleset.js";
import { compile } from "../../src/policy/compile/compile.js";
import { createEvaluator } from "../../src/policy/evaluate.js";
import { Follower } from "../../src/reconcile/follower.js";
import type { LastGood } from "../../src/interfaces/last-good.js";
import { objectsOf, policy } from "../builders/state.js";
import { commitOnHead } from "../contract/store-commits.js";
import { recordTelemetry, silentLogger } from "../fakes/ambient.js";
import { fakeAccess } from "../fakes/management-access.js";
import { FakeEnforcer, FakeMachine, type EnforcerStep } from "../fakes/enforcer.js";
import { MemoryLastGood } from "../fakes/last-good.js";
import { draft } from "../fakes/objects.js";
import { SeededRandom } from "../fakes/random.js";
import { FaultyStore } from "../fakes/store.js";

const CGROUPS = ["w/a", "w/b", "w/c", "w/d"];
const NAMES = ["a", "b", "c", "d", "e"];
const INGRESS = ["[{}]", "[]", "[{ ports: [{ port: 22 }] }]", "[{ ports: [{ port: 80 }] }]", null];
const PORTS = [22, 80, 443];
const PEER = "192.0.2.9";

/** What may enter each cgroup: a digit for each port. Nothing is enforced where every port is open. */
type Verdicts = ReadonlyMap<string, string>;

function verdictsOf(ruleset: Ruleset): Verdicts {
  const evaluate = createEvaluator(ruleset);
  const isOpen = (workload: string, port: number): boolean =>
    evaluate({ workload, direction: "ingress", peer: PEER, protocol: 6, port }).verdict === "Allowed";
  const found = new Map(CGROUPS.map((cgroup) => [cgroup, "111"]));
  for (const { workload, cgroup } of ruleset.subjects)
    if (cgroup !== null) found.set(cgroup, PORTS.map((port) => (isOpen(workload, port) ? "1" : "0")).join(""));
  return found;
}

/** Reads the ruleset that a machine enforces, from its items: only of workloads that are attached. */
function rulesetOn({ items }: FakeMachine): Ruleset {
  const values = [...items.values()];
  const subjects = values
    .filter(({ key, workload }) => key.startsWith("subject/") && items.has(`link/${workload ?? ""}`))
    .map(({ value }) => JSON.parse(value));
  const rule = { key: "", policy: { namespace: "", name: "" }, direction: "ingress" as const, index: 0 };
  const profiles = values
    .filter(({ key }) => key.startsWith("profile/"))
    .map(({ key, value }) => ({
      ...{ key: key.slice("profile/".length), direction: "ingress" as const },
      ...{ rules: Array.from({ length: 9 }, () => rule), clauses: JSON.parse(value) },
    }));
  return { node: "n1", digest: "", subjects, profiles };
}

/** Between the switch and the last attachment, a new workload is not attached yet. */
const HALFWAY = ["switched", "attached"] as const;
const KILLS = [
  ...HALFWAY,
  "prepared",
  "before announcing",
  "after announcing",
  "before writing",
  "after writing",
] as const;
type Kill = (typeof KILLS)[number];

class History {
  readonly machine = new FakeMachine();
  readonly store = new FaultyStore(openMemoryStore(systemClock));
  readonly #disk = new MemoryLastGood();
  #sessions: readonly Session[] = [];
  #follower: Follower | null = null;
  #kill: { readonly at: Kill; readonly strike: () => void } | null = null;
  #wasKilled = false;
  #boot = 1;
  #isHalfway = false;
  /** Head, and the revisions before it that an agent may still be about to enforce. */
  #committed: Verdicts[] = [];
  /** What was in force after the last run that was not killed: the disk may still have it. */
  #kept: Verdicts = new Map();
  /** What was in force before a reboot. */
  #lost: Verdicts | null = null;
  readonly counts = { withheld: 0, killed: 0, whole: 0 };

  constructor(private readonly random: SeededRandom) {}

  #pick<T>(list: readonly T[]): T {
    const found = list[this.random.below(list.length)];
    if (found === undefined) throw new RangeError("an empty list");
    return found;
  }

  /** A process that is killed does not go on: nothing that it waits for ever comes. */
  #pass(at: string): Promise<void> {
    if (this.#kill?.at !== at) return Promise.resolve();
    this.#kill.strike();
    return new Promise(() => undefined);
  }

  #start(): Follower {
    const disk = this.#disk;
    const managementAccess = {
      ...fakeAccess().reader,
      sessions: async () => ({ items: this.#sessions, isComplete: true }),
    };
    const host = { pause: (step: EnforcerStep) => this.#pass(step), deliver: (run: () => void) => run() };
    const lastGood = {
      ...{ read: () => disk.read(), readAnnounced: () => disk.readAnnounced() },
      write: async (state: LastGood) => {
        await this.#pass("before writing");
        await disk.write(state);
        await this.#pass("after writing");
      },
      writeEndpoints: (endpoints: readonly NodeEndpoints[]) => disk.writeEndpoints(endpoints),
      readTrial: () => disk.readTrial(),
      writeTrial: (trial: TrialRecord | null) => disk.writeTrial(trial),
      readOverrides: () => disk.readOverrides(),
      writeOverrides: (overrides: readonly Override[]) => disk.writeOverrides(overrides),
      announce: async (state: LastGood | null) => {
        await this.#pass("before announcing");
        await disk.announce(state);
        await this.#pass("after announcing");
      },
    };
    const deps = { ...{ store: this.store, lastGood, managementAccess }, clock: systemClock, logger: silentLogger };
    const enforcer = new FakeEnforcer(this.machine, host);
    return new Follower({ ...deps, enforcer, telemetry: recordTelemetry().telemetry }, "n1", `boot-${this.#boot}`);
  }

  /** Runs a step of an agent, which may be killed within. @returns whether it was not */
  async #perform(step: () => Promise<void>): Promise<boolean> {
    const at = this.random.below(4) === 0 ? this.#pick(KILLS) : null;
    const killed = new Promise<boolean>((resolve) => {
      this.#kill = at === null ? null : { at, strike: () => resolve(false) };
    });
    const ended = step().then(
      () => true,
      () => true,
    );
    const isAlive = await Promise.race([ended, killed]);
    this.#kill = null;
    if (isAlive) return true;
    this.counts.killed += 1;
    this.#follower = null;
    this.#wasKilled = true;
    this.#isHalfway ||= HALFWAY.some((one) => one === at);
    return false;
  }

  async commit(): Promise<void> {
    const isEmpty = this.random.below(6) === 0;
    const names = NAMES.filter(() => !isEmpty && this.random.below(3) > 0).slice(0, CGROUPS.length);
    const cgroups = [...CGROUPS];
    const documents = names.map((name, index) => {
      const [cgroup = ""] = cgroups.splice(this.random.below(3) > 0 ? 0 : this.random.below(cgroups.length), 1);
      const ingress = this.#pick(INGRESS);
      const selector = `  podSelector: { matchLabels: { app: ${name} } }\n`;
      return (
        `---\napiVersion: ztap/v1\nkind: Workload\nmetadata: { name: ${name}, labels: { app: ${name} } }\n` +
        `spec: { node: n1, cgroup: ${cgroup}, addresses: ["10.0.0.${index + 1}"] }\n` +
        (ingress === null ? "" : policy(name, `${selector}  ingress: ${ingress}`))
      );
    });
    const objects = objectsOf(documents.join("") === "" ? policy("none", "  podSelector: {}") : documents.join(""));
    this.store.mend();
    await commitOnHead(this.store, draft([...objects.values()].map(({ object }) => object)));
    this.#committed.push(verdictsOf(compile(objects, "n1")));
  }

  /**
   * Somebody logs in where the machine lets him. After a reboot the agent comes first; a machine that enforces nothing, since
   * an agent was killed as it came to a revision without workloads, gets the last-good state, whatever it cuts. Where an agent was killed
   * halfway, the next one attaches all workloads.
   */
  login(): void {
    if (this.#lost !== null || this.#isHalfway || (this.#wasKilled && rulesetOn(this.machine).subjects.length === 0))
      return;
    const cgroup = this.#pick(CGROUPS);
    const session = { peer: PEER, port: this.#pick(PORTS), cgroups: [`${cgroup}/session`] };
    if (this.#isAllowed(session)) this.#sessions = [...this.#sessions, session];
  }

  logout(): void {
    this.#sessions = this.#sessions.filter(() => this.random.below(2) === 0);
  }

  toggleStore(): void {
    if (this.random.below(2) === 0) this.store.cutOff();
    else this.store.mend();
  }

  reboot(): void {
    this.#boot += 1;
    this.#lost ??= verdictsOf(rulesetOn(this.machine));
    this.machine.items.clear();
    this.#sessions = [];
    this.#follower = null;
  }

  stop(): void {
    this.#follower = null;
  }

  #isAllowed({ port, cgroups: [cgroup = ""] }: Session): boolean {
    const verdicts = verdictsOf(rulesetOn(this.machine)).get(cgroup.replace("/session", "")) ?? "";
    return verdicts[PORTS.indexOf(port)] === "1";
  }

  /** Runs the agent, which starts if it does not run, and checks the machine. */
  async run(): Promise<void> {
    const before = this.#lost ?? verdictsOf(rulesetOn(this.machine));
    const allowed = this.#sessions.filter((session) => this.#isAllowed(session));
    const check = (): void => {
      for (const session of allowed) if (!this.#isAllowed(session)) throw new Error(`cut: ${JSON.stringify(session)}`);
    };
    this.machine.written = check;
    const isStarted = this.#follower !== null;
    const follower = (this.#follower ??= this.#start());
    let refused: unknown;
    const isAlive =
      (isStarted || (await this.#perform(() => follower.loadLastGood()))) &&
      (await this.#perform(() => follower.reconcile().catch((error: unknown) => void (refused = error))));
    this.machine.written = () => undefined;
    check();
    const possible = [before, this.#kept, ...this.#committed];
    if (isAlive) this.#checkFollowed(refused);
    const after = verdictsOf(rulesetOn(this.machine));
    for (const [cgroup, verdicts] of after) {
      const known = possible.map((one) => one.get(cgroup));
      // Killed after a reboot, or before it wrote anything to the disk, it may not have come to enforce anything.
      const mayBeBare = this.#isHalfway || (this.#lost !== null && (!isAlive || this.#disk.state === null));
      const isBare = mayBeBare && verdicts === "111";
      if (!known.includes(verdicts) && !isBare) throw new Error(`${cgroup}: ${verdicts} of ${known.join()}`);
    }
    if (isAlive) this.#kept = after;
    if (isAlive && this.#disk.state !== null) this.#lost = null;
  }

  /** A run that read head enforces it wherever head denies no session. */
  #checkFollowed(refused: unknown): void {
    const head = this.#committed.at(-1);
    const message = refused instanceof Error ? refused.message : "";
    if (head === undefined || message.includes("no route to the store")) return;
    if (message.includes("nothing else of it is enforced")) {
      if (!this.#wasKilled) throw new Error("the whole revision is withheld, and no agent was killed");
      this.counts.whole += 1;
      return;
    }
    if (message !== "" && !message.includes("all other workloads follow")) throw new Error(message);
    if (message !== "") this.counts.withheld += 1;
    this.#wasKilled = false;
    this.#isHalfway = false;
    this.#committed = [head];
    const after = verdictsOf(rulesetOn(this.machine));
    for (const [cgroup, verdicts] of head) {
      const denied = this.#sessions.some(
        ({ port, cgroups: [inner = ""] }) => inner.startsWith(`${cgroup}/`) && verdicts[PORTS.indexOf(port)] === "0",
      );
      // Where head has no policy, a withheld workload that has moved away may keep its own.
      const isFree = verdicts === "111" && message !== "";
      if (!denied && !isFree && after.get(cgroup) !== verdicts) throw new Error(`${cgroup} does not follow`);
    }
  }

  /** Ends everything that holds head off. */
  async settle(): Promise<void> {
    this.store.mend();
    this.#sessions = [];
    const follower = this.#start();
    await follower.loadLastGood();
    await follower.reconcile();
    const head = await this.store.readState((await this.store.readHead()) ?? 0);
    const { difference } = await new FakeEnforcer(this.machine).observe(compile(head.objects, "n1"));
    if (difference.missing.length + difference.changed.length + difference.extra.length > 0)
      throw new Error(`head is not in force: ${JSON.stringify(difference)}`);
    const [status] = await this.store.listNodeStatus();
    if (status?.state !== "InSync" || status.withheld !== undefined) throw new Error(JSON.stringify(status));
  }
}

t.test("histories", async (t) => {
  const counts = { withheld: 0, killed: 0, whole: 0 };
  const first = Number(process.env["ZTAP_SEED"] ?? 1);
  const histories = process.env["ZTAP_SEED"] === undefined ? 150 : 1;
  for (let seed = first; seed < first + histories; seed += 1) {
    const random = new SeededRandom(seed);
    const history = new History(random);
    const steps = ["commit", "commit", "login", "login", "logout", "toggleStore", "stop", "reboot"] as const;
    const told: string[] = [];
    try {
      await history.commit();
      for (let login = 0; login < random.below(3); login += 1) history.login();
      await history.run();
      for (let step = 0; step < 40; step += 1) {
        const name = steps[random.below(steps.length)];
        told.push(name ?? "");
        if (name !== undefined) await history[name]();
        if (random.below(3) > 0) await history.run();
      }
      await history.settle();
    } catch (error) {
      t.fail(`ZTAP_SEED=${seed}: ${error instanceof Error ? error.message : String(error)}`, { told });
      return;
    }
    for (const name of ["withheld", "killed", "whole"] as const) counts[name] += history.counts[name];
  }
  if (histories > 1) t.ok(counts.withheld > 100 && counts.killed > 100, JSON.stringify(counts));
});
