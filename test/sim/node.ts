/** A node: a machine, its way to the store and to the repository, and the real agent on it, which is started again when it ends. */
import { runAgent, type AgentDeps } from "../../src/reconcile/agent.js";
import type { ManifestReader } from "../../src/manifest/read.js";
import { OperationError } from "../../src/model/operation-error.js";
import { StoreError, type Store } from "../../src/interfaces/store.js";
import type { Enforcer } from "../../src/interfaces/enforcer.js";
import type { LastGoodState } from "../../src/interfaces/last-good.js";
import type { Logger } from "../../src/interfaces/system.js";
import { agentDeps, agentOptions } from "../fakes/agent.js";
import { FakeEnforcer, type EnforcerHost, type EnforcerStep } from "../fakes/enforcer.js";
import type { StoreCall } from "../fakes/store.js";
import { SeededRandom } from "../fakes/random.js";
import { SimLastGood, type SimMachine } from "./machine.js";
import { Link, RemoteStore } from "./network.js";
import { SimProcess } from "./process.js";
import type { SimServer } from "./server.js";
import { Remote, SimSource, type SimRepository } from "./source.js";
import type { World } from "./world.js";

/** Small, so that a minute of a history holds many of each. */
const INTERVALS = {
  heartbeatInterval: "3s",
  electionTimeout: "9s",
  sessionTtl: "9s",
  checkInterval: "10s",
  keepRevisions: "3",
  keepFor: "10s",
  "source.interval": "5s",
} as const;

/** What a test puts in the place of an agent's parts, to see whether the simulation notices. */
export interface Breakage {
  readonly store?: (store: Store, node: string) => Store;
  readonly enforcer?: (machine: SimMachine, host: EnforcerHost) => Enforcer;
  readonly lastGood?: (copy: LastGoodState, node: string) => LastGoodState;
  readonly read?: ManifestReader;
}

export interface Surroundings {
  readonly server: SimServer;
  readonly repository: SimRepository;
  readonly read: ManifestReader;
  readonly breakage: Breakage;
}

/** Where an agent may be ambushed: as it asks the store something, as it writes its machine, as it writes its disk. */
export type Place = StoreCall | EnforcerStep | "disk";

export class SimNode {
  readonly link: Link;
  readonly remote = new Remote();
  #process: SimProcess | null = null;
  #stop = new AbortController();
  #starts = 0;
  /** While it is down on purpose, nobody starts it. */
  #isDown = false;
  /** Since when the agent could do its work, as it was looked at last; null where it could not. */
  #unhinderedSince: number | null = null;
  #ambush: { readonly place: Place; readonly strike: () => void } | null = null;

  constructor(
    private readonly world: World,
    readonly name: string,
    readonly machine: SimMachine,
    private readonly around: Surroundings,
    /** Whether it has the source, and may lead. */
    readonly isCandidate: boolean,
    private readonly skewMs: number,
  ) {
    this.link = new Link(world);
  }

  start(): void {
    this.#isDown = false;
    if (this.#process !== null) return;
    this.#starts += 1;
    this.#unhinderedSince = null;
    const holder = `${this.name}/${this.#starts}`;
    const process = new SimProcess(this.world, holder, this.skewMs);
    const stop = new AbortController();
    this.#process = process;
    this.#stop = stop;
    this.world.note(this.name, `agent ${holder} starts`);
    const settings = { ...INTERVALS, node: this.name, address: `${this.name}:1` };
    const options = { ...agentOptions(settings, { holder }), boot: `${this.name}/boot-${this.machine.boot}` };
    void runAgent(this.#deps(process), options, stop.signal).then(
      () => this.#ended(process, null),
      (error: unknown) => this.#ended(process, error),
    );
  }

  /** As SIGTERM does. */
  stop(): void {
    this.world.note(this.name, "SIGTERM");
    this.#process?.deliver(() => this.#stop.abort());
  }

  freeze(): void {
    if (this.#process === null) return;
    this.world.note(this.name, "frozen");
    this.#process.freeze();
  }

  thaw(): void {
    if (this.#process?.isFrozen !== true) return;
    this.world.note(this.name, "goes on");
    this.#process.thaw();
  }

  /** As SIGKILL does; it is started again by `start`. */
  kill(): void {
    this.world.note(this.name, "SIGKILL");
    this.#isDown = true;
    this.#process?.kill();
    this.#process = null;
  }

  reboot(): void {
    this.kill();
    this.world.note(this.name, "reboots");
    this.machine.reboot();
  }

  /** Looks whether the machine is what its agent has had time to make it. */
  checkHealed(): void {
    const { machine, link, world } = this;
    const isHindered = this.#process === null || this.#process.isFrozen || machine.isFaulty;
    // A process that was started anew, and neither has a store nor the state on its disk, cannot know.
    const isBlind = link.isLost && !machine.protection.isOnDisk;
    this.#unhinderedSince = isHindered || isBlind ? null : (this.#unhinderedSince ?? world.time.now);
    machine.protection.checkHealed(this.#unhinderedSince);
  }

  /** Strikes as soon as the agent gets to the place. */
  ambush(place: Place, strike: () => void): void {
    this.#ambush = { place, strike };
  }

  #pass(place: Place): void {
    if (this.#ambush?.place !== place) return;
    const { strike } = this.#ambush;
    this.#ambush = null;
    strike();
  }

  #ended(process: SimProcess, error: unknown): void {
    if (process.isDead || this.#process !== process) return;
    process.kill();
    this.#process = null;
    const why = error instanceof Error ? `${error.message}\n${error.stack ?? ""}` : "no error";
    if (error !== null && !(error instanceof OperationError) && !(error instanceof StoreError))
      this.world.fail(this.name, `the agent ended with ${why}`);
    this.world.note(this.name, error === null ? "agent ended" : `agent ended: ${why.split("\n")[0] ?? ""}`);
    this.world.time.after(this.world.between(500, 3000), () => {
      if (!this.#isDown) this.start();
    });
  }

  #deps(process: SimProcess): AgentDeps {
    const { world, machine, link } = this;
    const { server, repository, read, breakage } = this.around;
    let isRestored = false;
    const store = new RemoteStore(world, link, process, server, {
      mayLead: this.isCandidate,
      onRequest: (call) => {
        this.#pass(call);
        if (!isRestored) machine.protection.checkRestored();
        isRestored = true;
      },
      onStatus: (status) => machine.protection.checkStatus(status),
    });
    const host: EnforcerHost = {
      pause: async (step) => {
        await process.pause(1 + world.random.below(5));
        if (step === "observing") machine.protection.observed();
        if (!process.isDead) this.#pass(step);
        // Whoever died or froze at this very place goes no step further.
        await process.pause(0);
      },
      deliver: (run) => process.deliver(run),
    };
    const lastGood = new SimLastGood(world, machine, process, () => this.#pass("disk"));
    const delayMs = (): number => world.between(1, 100);
    return agentDeps(breakage.store?.(store, this.name) ?? store, {
      source: this.isCandidate ? new SimSource(repository, this.remote, process, delayMs) : null,
      enforcer: breakage.enforcer?.(machine, host) ?? new FakeEnforcer(machine, host),
      lastGood: breakage.lastGood?.(lastGood, this.name) ?? lastGood,
      read: breakage.read ?? read,
      clock: process,
      random: new SeededRandom(world.random.below(2 ** 31)),
      logger: this.#logger(),
      isProcessAlive: (holder) => this.#process?.holder === holder,
    });
  }

  #logger(): Logger {
    const say = (message: string): void => this.world.note(this.name, message);
    return { debug: () => undefined, info: say, warn: say, error: say };
  }
}
