/**
 * A fleet in which a rollout goes on: leaders that are frozen, cut off and replaced, with clocks of their own; nodes that die,
 * stall, go back, lie, and are of an older version; commits and operators at any time. What must hold is told from the records
 * that are written, without the code that writes them.
 */
import { MemoryTable, openMemoryStore } from "../../src/adapters/memory/store.js";
import type { KeyValueWriter } from "../../src/store/local/key-value.js";
import { awaitedBy, releasedTo, type Rollout, type RolloutPlan } from "../../src/model/rollout.js";
import type { Cluster, Node } from "../../src/model/objects.js";
import type { NodeStatus } from "../../src/model/status.js";
import { startRollout } from "../../src/plan/rollout/start.js";
import { StoreError, type Store } from "../../src/interfaces/store.js";
import { Election } from "../../src/reconcile/election.js";
import { RolloutEngine } from "../../src/reconcile/rollout.js";
import * as control from "../../src/operations/rollout/control.js";
import { recordTelemetry, silentLogger } from "../fakes/ambient.js";
import { ManualClock } from "../fakes/clock.js";
import { draft, policy } from "../fakes/objects.js";
import type { SeededRandom } from "../fakes/random.js";
import { InterceptedStore, type StoreCall } from "../fakes/store.js";

const LEASE_MS = 15_000;
/** Saturday morning: the freeze window of half of the plans begins a few minutes later. */
const START = Date.UTC(2026, 0, 3, 10, 56);
const SOAK_MS = 20_000;
const SHADOW_MS = 30_000;
/** A leader that is held up takes its time before it writes; what it saw then counts from then on. */
const HELD_UP_MS = 1000;

/** How a revision is for a node that gets it. */
type Effect = "good" | "stalls" | "reverts";

interface Revised {
  readonly number: number;
  /** The nodes that it hurts; of a harmless one there are none. */
  readonly hurts: ReadonlyMap<string, Exclude<Effect, "good">>;
  readonly denials: number;
}

/** The store as one process reaches it: away, or with an answer that is lost. */
class Link extends InterceptedStore {
  isDown = false;
  /** Called before a call, at times. */
  delay: (call: StoreCall) => Promise<void> = async () => undefined;
  isAnswerLost: (call: StoreCall) => boolean = () => false;

  constructor(protected readonly inner: Store) {
    super();
  }

  protected async intercept<T>(call: StoreCall, run: (store: Store) => Promise<T>): Promise<T> {
    if (this.isDown) throw new StoreError("store-unavailable", "no route to the store");
    await this.delay(call);
    const result = await run(this.inner);
    if (this.isAnswerLost(call)) throw new StoreError("store-unavailable", "the answer is lost");
    return result;
  }
}

/** Sees each record as it is written. */
class WatchedTable extends MemoryTable {
  onRollout: (before: Rollout | null, after: Rollout | null) => void = () => undefined;

  override write<T>(work: (writer: KeyValueWriter) => T): T {
    const read = (): Rollout | null => JSON.parse(this.get("rollout") ?? "null");
    const before = read();
    const result = super.write(work);
    const after = read();
    if (before?.serial !== after?.serial || before?.commitId !== after?.commitId) this.onRollout(before, after);
    return result;
  }
}

class FleetNode {
  isAlive = true;
  isDown = false;
  enforced: number | null = null;
  reverted: NodeStatus["reverted"];
  shadowSince: string | null = null;
  trialUntil = 0;
  /** Says that it enforces what it does not. */
  isLiar = false;
  /** Its agent knows no rollouts. */
  isOld = false;
  readonly link: Link;

  constructor(
    readonly name: string,
    private readonly world: RolloutWorld,
  ) {
    this.link = new Link(world.open());
  }

  async tick(): Promise<void> {
    if (!this.isAlive || this.isDown) return;
    const { clock } = this.world;
    await this.link.heartbeat({ id: this.name, address: `${this.name}:1`, holder: this.name }, LEASE_MS);
    const { head, rollout } = await this.link.readRelease();
    if (head === null) return;
    const wanted = this.isOld ? head : releasedTo(rollout, head, this.name);
    if (!this.isOld) this.world.checkReleased(this.name, wanted);
    const effect = this.world.effectOn(this.name, wanted);
    const commitId = `c${wanted}`;
    const now = clock.now();
    if (wanted !== this.enforced && effect === "reverts" && this.reverted?.commitId !== commitId) {
      this.reverted = {
        revision: wanted,
        commitId,
        reason: "the store is not reached",
        at: new Date(now).toISOString(),
      };
    } else if (wanted !== this.enforced && effect === "good") {
      if (!this.isLiar) this.enforced = wanted;
      this.trialUntil = now + 8000;
    }
    const says = this.isLiar ? wanted : this.enforced;
    const awaited = this.isOld ? null : awaitedBy(rollout, head, this.name);
    this.shadowSince = awaited === null ? null : (this.shadowSince ?? new Date(now).toISOString());
    const isTried = now < this.trialUntil && says === wanted;
    await this.link.writeNodeStatus({
      ...{ node: this.name, backend: "ebpf", attemptedRevision: wanted, enforcedRevision: says, rulesetDigest: null },
      ...{ state: says === wanted ? "InSync" : "Stalled", message: null, drift: [], healed: 0, subjects: [] },
      ...(isTried ? { unconfirmed: { revision: wanted, until: new Date(this.trialUntil).toISOString() } } : {}),
      ...(this.reverted === undefined ? {} : { reverted: this.reverted }),
      ...(awaited === null || this.shadowSince === null
        ? {}
        : { shadow: { ...this.world.shadowOf(awaited), since: this.shadowSince } }),
      observedAt: new Date(now).toISOString(),
    });
  }
}

class LeaderProcess {
  readonly link: Link;
  readonly skewMs: number;
  #term = 0;
  #election: Election;
  #engine: RolloutEngine;
  isFrozen = false;

  constructor(
    readonly name: string,
    private readonly world: RolloutWorld,
  ) {
    this.link = new Link(world.open());
    this.skewMs = (world.random.below(21) - 10) * 60_000;
    [this.#election, this.#engine] = this.#start();
  }

  /** A new process: it remembers nothing. */
  restart(): void {
    [this.#election, this.#engine] = this.#start();
  }

  #start(): [Election, RolloutEngine] {
    const { clock } = this.world;
    this.#term += 1;
    const holder = `${this.name}-${this.#term}`;
    const election = new Election(this.link, clock, { id: this.name, holder, ttlMs: LEASE_MS });
    const skewed = {
      now: () => clock.now() + this.skewMs,
      monotonic: () => clock.monotonic(),
      sleep: async () => undefined,
    };
    const { telemetry } = recordTelemetry();
    return [
      election,
      new RolloutEngine({ store: this.link, election, clock: skewed, logger: silentLogger, telemetry }),
    ];
  }

  async tick(): Promise<void> {
    if (this.isFrozen) return;
    await this.#election.campaign();
    await this.#engine.run();
  }
}

export class RolloutWorld {
  readonly clock = new ManualClock(START);
  readonly table = new WatchedTable();
  readonly nodes: readonly FleetNode[];
  readonly leaders: readonly LeaderProcess[];
  readonly store: Store;
  readonly counts: Record<string, number> = {};
  readonly violations: string[] = [];
  readonly #revisions = new Map<number, Revised>();
  /** The operators' and committers' writes are theirs: other rules hold. */
  #isOperator = false;
  #wave: { readonly commitId: string; readonly wave: number; readonly at: number } | null = null;
  #settledAt: number | null = null;
  #failed: string | null = null;
  #isNested = false;

  constructor(
    readonly random: SeededRandom,
    size: number,
  ) {
    this.store = this.open();
    this.table.onRollout = (before, after) => this.#check(before, after);
    this.nodes = Array.from({ length: size }, (_unused, index) => new FleetNode(`n${index}`, this));
    this.leaders = ["l0", "l1", "l2"].map((name) => new LeaderProcess(name, this));
    for (const leader of this.leaders) this.#ambush(leader);
  }

  open(): Store {
    return openMemoryStore(this.clock, this.table);
  }

  count(what: string): void {
    this.counts[what] = (this.counts[what] ?? 0) + 1;
  }

  fail(what: string): void {
    this.violations.push(`at ${(this.clock.now() - START) / 1000} s: ${what}`);
  }

  effectOn(node: string, revision: number): Effect {
    return this.#revisions.get(revision)?.hurts.get(node) ?? "good";
  }

  shadowOf(revision: number) {
    const newDenials = this.#revisions.get(revision)?.denials ?? 0;
    return { revision, commitId: `c${revision}`, judged: 10, newDenials, newAllows: 0, differences: [] };
  }

  /** Commits as a leader or an operator does; `at once`: as an undo does. */
  async commit(kind: "good" | "bad" | "denying", atOnce = false): Promise<number> {
    const head = await this.store.readHead();
    const before = head === null ? null : await this.store.readState(head);
    const number = (head ?? 0) + 1;
    const victims = this.nodes.filter(() => this.random.below(4) === 0).map(({ name }) => name);
    const hurts =
      kind !== "bad" ? [] : victims.map((name) => [name, this.random.below(2) ? "stalls" : "reverts"] as const);
    this.#revisions.set(number, { number, hurts: new Map(hurts), denials: kind === "denying" ? 1 : 0 });
    const next = draft([this.#cluster(), ...this.#declared(), policy("web", number)], { commitId: `c${number}` });
    const rollout = startRollout(before?.objects ?? null, next);
    this.#isOperator = true;
    const result = await this.store.commit(atOnce ? next : { ...next, rollout }, { expectHead: head, fence: null });
    this.#isOperator = false;
    if (result.outcome !== "committed") throw new Error(result.outcome);
    return number;
  }

  async operate(what: "pause" | "resume" | "promote" | "promote all" | "abort" | "retry"): Promise<void> {
    const deps = { store: this.store, clock: this.clock };
    this.#isOperator = true;
    try {
      if (what === "pause") await control.pauseRollout(deps, "ops");
      else if (what === "abort") await control.abortRollout(deps, "ops");
      else if (what === "resume" || what === "retry") await control.resumeAll(deps, "ops", what === "retry");
      else await control.promoteRollout(deps, { by: "ops", all: what === "promote all" });
      this.count(what);
    } catch (error) {
      // What is not under way cannot be paused.
      if (!(error instanceof Error) || error.name !== "OperationError") throw error;
    } finally {
      this.#isOperator = false;
    }
  }

  /** Lets time pass, and everybody run once, in a random order. */
  async tick(ms: number): Promise<void> {
    this.clock.advance(ms);
    const actors = [...this.nodes, ...this.leaders].map((actor) => ({ actor, at: this.random.below(1000) }));
    for (const { actor } of actors.sort((a, b) => a.at - b.at))
      await actor.tick().catch((error: unknown) => {
        if (!(error instanceof StoreError) || error.code !== "store-unavailable") throw error;
      });
  }

  async release(): Promise<{ readonly head: number; readonly rollout: Rollout | null }> {
    const { head, rollout } = await this.store.readRelease();
    return { head: head ?? 0, rollout };
  }

  /** Reads the record that stands now, without the code of the rollout. */
  checkReleased(node: string, wanted: number): void {
    const head = Number(this.table.get("head"));
    const record: Rollout | null = JSON.parse(this.table.get("rollout") ?? "null");
    const listed = record?.layers.find(({ nodes }) => nodes.includes(node))?.revision;
    const right = record === null || record.state === "complete" ? head : (listed ?? record.base);
    if (wanted !== right) this.fail(`${node} enforces revision ${wanted}, and has ${right} released`);
  }

  /** What is wrong ends: everybody lives, is reached, and is what it says. */
  heal(): void {
    for (const node of this.nodes) {
      node.isAlive = true;
      node.isDown = false;
      node.link.isDown = false;
      node.isLiar = false;
      node.isOld = false;
    }
    for (const leader of this.leaders) {
      leader.isFrozen = false;
      leader.link.isDown = false;
      leader.link.delay = async () => undefined;
      leader.link.isAnswerLost = () => false;
    }
  }

  /** A leader is held up in the middle of its run, while everybody else goes on; or an answer to it is lost. */
  #ambush(leader: LeaderProcess): void {
    leader.link.delay = async (call) => {
      if (this.#isNested || this.random.below(call === "writeRollout" ? 12 : 300) !== 0) return;
      this.#isNested = true;
      leader.isFrozen = true;
      this.count("frozen in a run");
      const isDown = leader.link.isDown;
      const meanwhile = this.random.below(6);
      if (meanwhile === 0) await this.commit("good");
      if (meanwhile === 1) await this.operate("pause");
      if (meanwhile === 2) await this.operate("promote");
      const isLong = this.random.below(2) === 0;
      for (let step = 0; step < (isLong ? 6 : 1); step += 1) await this.tick(isLong ? 5000 : HELD_UP_MS);
      leader.isFrozen = false;
      leader.link.isDown = isDown;
      this.#isNested = false;
    };
    leader.link.isAnswerLost = (call) => call === "writeRollout" && this.random.below(20) === 0;
  }

  #check(before: Rollout | null, after: Rollout | null): void {
    const head = Number(this.table.get("head"));
    if (after === null) return;
    if (after.revision !== head) this.fail(`the rollout is of ${after.revision}, and head is ${head}`);
    this.count(after.state);
    const isNew = before?.commitId !== after.commitId;
    if (isNew) this.#checkBegin(before, after);
    else this.#checkStep(before, after);
    const listed = after.layers.flatMap(({ nodes }) => nodes);
    if (new Set(listed).size < listed.length) this.fail("a node is in two layers");
    if (after.layers.some(({ revision }) => revision > after.revision || revision <= after.base))
      this.fail("a layer is older than the base, or newer than head");
  }

  #checkBegin(before: Rollout | null, after: Rollout): void {
    this.#failed = null;
    this.#wave = { commitId: after.commitId, wave: -1, at: this.clock.monotonic() };
    this.#settledAt = null;
    const isOpen = before !== null && before.state !== "complete" && before.revision === after.revision - 1;
    const base = isOpen ? before.base : after.revision - 1;
    if (after.base !== base) this.fail(`a commit moves the base from ${base} to ${after.base}`);
    if (isOpen && JSON.stringify(after.plan) !== JSON.stringify(before.plan)) this.fail("a commit changes the plan");
  }

  #checkStep(before: Rollout | null, after: Rollout): void {
    if (before === null) return this.fail("a record comes from nowhere");
    if (after.serial !== before.serial + 1) this.fail("a record was written over another one");
    if (after.base !== before.base) this.fail("the base moves within a rollout");
    const grown = releasedTotal(after) > releasedTotal(before);
    const isReleased = after.wave > before.wave || (after.state === "complete" && before.state !== "complete");
    if (this.#isOperator) {
      this.#failed = null;
      if (after.wave !== before.wave || after.state !== before.state) this.#note(after);
      return;
    }
    if (before.state === "paused" || before.state === "aborted" || before.state === "complete")
      this.fail(`an engine changes what is ${before.state}`);
    if (this.#failed !== null && (grown || isReleased)) this.fail("a wave begins after a gate failed");
    if (after.state === "failed") {
      this.#failed = after.commitId;
      if (after.plan.onFailure === "revert" && after.layers.length > 0) this.fail("nodes keep a revision that failed");
    }
    if (grown && !isReleased) this.fail("nodes are released without a wave");
    if (isReleased) return this.#checkWave(before, after);
    if (after.settledSince !== null && before.settledSince === null) this.#settledAt = this.clock.monotonic();
    if (after.settledSince === null) this.#settledAt = null;
  }

  #note({ commitId, wave }: Rollout): void {
    this.#wave = { commitId, wave, at: this.clock.monotonic() };
    this.#settledAt = null;
  }

  #checkWave(before: Rollout, after: Rollout): void {
    const last = this.#wave;
    const now = this.clock.monotonic();
    if (after.wave > before.wave + 1) this.fail("a wave is left out");
    if (before.wave < 0 && last !== null && now - last.at < SHADOW_MS - HELD_UP_MS)
      this.fail("the shadow was cut short");
    // The wave of all that are left, which no plan names, has no soak.
    const soakMs = before.wave < before.plan.waves.length ? SOAK_MS : 0;
    if (before.wave >= 0 && (this.#settledAt === null || now - this.#settledAt < soakMs - HELD_UP_MS))
      this.fail(`wave ${before.wave} has not soaked`);
    if (after.state !== "complete" && before.plan.freeze.length > 0) {
      // By the clock of the leader that wrote it.
      const at = new Date(after.since);
      if (at.getUTCDay() === 6 && at.getUTCHours() === 11) this.fail("a wave begins in a freeze window");
    }
    const released = after.layers.find(({ revision }) => revision === after.revision)?.nodes ?? [];
    const limit = Math.ceil(
      (this.nodes.length * Number.parseInt(String(after.plan.waves[after.wave]?.max ?? "100%"), 10)) / 100,
    );
    if (after.state !== "complete" && released.length > limit)
      this.fail(`wave ${after.wave} releases ${released.length} nodes`);
    this.count(after.state === "complete" ? "completed by itself" : "waves begun");
    this.#note(after);
  }

  /** Its plan is drawn once for each state: the one of the base counts. */
  #cluster(): Cluster {
    const soak = `${SOAK_MS / 1000}s`;
    const plan: RolloutPlan = {
      waves: this.random.below(2)
        ? [
            { nodes: { matchLabels: { canary: "true" } }, max: "100%", soak },
            { max: "50%", soak },
            { max: "100%", soak },
          ]
        : [
            { max: "20%", soak },
            { max: "60%", soak },
          ],
      shadow: `${SHADOW_MS / 1000}s`,
      gates: this.random.below(2)
        ? { newDenials: 0, stalled: 0, unconfirmed: 0 }
        : { stalled: 1, unconfirmed: 1, drift: 0 },
      onFailure: this.random.below(3) ? "revert" : "pause",
      freeze: this.random.below(2) ? [{ from: "Sat 11:00", to: "Sat 12:00", timezone: "UTC" }] : [],
    };
    return { apiVersion: "ztap/v1", kind: "Cluster", metadata: { name: "cluster" }, spec: { rollout: plan } };
  }

  #declared(): readonly Node[] {
    return this.nodes.map(({ name }, index) => ({
      apiVersion: "ztap/v1",
      kind: "Node",
      metadata: { name, labels: { canary: index < 2 ? "true" : "false" } },
      spec: { addresses: [] },
    }));
  }
}

function releasedTotal({ layers, revision }: Rollout): number {
  return layers.find((layer) => layer.revision === revision)?.nodes.length ?? 0;
}
