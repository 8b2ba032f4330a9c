/**
 * A machine: its kernel, which outlives processes and not a reboot, and its disk, which outlives both. `protection.ts` holds it
 * to what must be so at every write.
 */
import type { CommittedState } from "../../src/model/state.js";
import type { LastGood, LastGoodState } from "../../src/interfaces/last-good.js";
import { FakeMachine } from "../fakes/enforcer.js";
import type { SimProcess } from "./process.js";
import { Protection, type Truth } from "./protection.js";
import type { World } from "./world.js";

export class SimDisk {
  state: CommittedState | null = null;
  isFull = false;
  /** The longest that a write takes. */
  slownessMs = 20;
}

export class SimMachine extends FakeMachine {
  readonly disk = new SimDisk();
  readonly protection: Protection;
  boot = 1;
  #restarts = 0;

  constructor(
    world: World,
    readonly node: string,
    truth: Truth,
  ) {
    super();
    for (const name of ["w", "x"]) this.places.set(`default/${name}${node.slice(1)}`, `cgroup-${name}`);
    this.protection = new Protection(world, this, truth);
    this.written = () => this.protection.look();
    this.applying = (wanted) => this.protection.checkNeeded(wanted);
  }

  reboot(): void {
    this.boot += 1;
    this.items.clear();
    this.protection.rebooted();
  }

  /** Something that no agent did, and that its agent has to mend. */
  tamper(change: () => void): void {
    change();
    this.protection.tampered();
  }

  setAbsent(workload: string, isAbsent: boolean): void {
    if (isAbsent === this.absent.has(workload)) return;
    if (isAbsent) {
      this.absent.add(workload);
      this.items.delete(`link/${workload}`);
      this.items.delete(`subject/${workload}`);
    } else {
      this.absent.delete(workload);
    }
    this.protection.moved(workload);
    this.wake();
  }

  /** What ran in the workload's cgroup was started again, and has a new one. */
  restartWorkload(workload: string): void {
    if (this.absent.has(workload)) return;
    this.setAbsent(workload, true);
    this.#restarts += 1;
    this.places.set(workload, `cgroup-${this.#restarts}`);
    this.setAbsent(workload, false);
  }

  /** Whether it does what an enforcer asks of it. */
  get isFaulty(): boolean {
    return this.failApply !== null || this.failObserve !== null || this.refused.size > 0;
  }

  mend(): void {
    this.failApply = null;
    this.failObserve = null;
    this.refused.clear();
    this.disk.isFull = false;
    this.disk.slownessMs = 20;
  }
}

/** The last-good file as one process has it: replaced whole or not at all. */
export class SimLastGood implements LastGoodState {
  constructor(
    private readonly world: World,
    private readonly machine: SimMachine,
    private readonly process: SimProcess,
    private readonly onWrite: () => void,
  ) {}

  async read(): Promise<CommittedState | null> {
    await this.process.pause(1);
    return this.machine.disk.state;
  }

  async write(state: CommittedState): Promise<void> {
    const { world, machine, process } = this;
    const { disk, node, protection } = machine;
    protection.checkKept(state.revision.number);
    this.onWrite();
    await process.pause(this.#delayMs());
    if (disk.isFull) throw new Error("no space left on the disk");
    disk.state = state;
    world.note(node, `its disk holds revision ${state.revision.number}`);
    await process.pause(this.#delayMs());
  }

  readAnnounced(): Promise<null> {
    return Promise.resolve(null);
  }

  /** No revision is on trial here. */
  readTrial(): Promise<null> {
    return Promise.resolve(null);
  }

  writeTrial(): Promise<void> {
    return Promise.reject(new Error("a trial began"));
  }

  /** No operator overrides policy here. */
  readOverrides(): Promise<readonly []> {
    return Promise.resolve([]);
  }

  writeOverrides(): Promise<void> {
    return Promise.reject(new Error("overrides were written"));
  }

  /** No workload is found on nodes here. */
  writeEndpoints(): Promise<void> {
    return Promise.reject(new Error("endpoints were written"));
  }

  /** Nothing is withheld here: no machine has management access. */
  announce(state: LastGood | null): Promise<void> {
    return state === null ? Promise.resolve() : Promise.reject(new Error("a state was announced"));
  }

  #delayMs(): number {
    return 1 + this.world.random.below(this.machine.disk.slownessMs);
  }
}
