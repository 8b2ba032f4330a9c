/**
 * One process of an agent. What the world has for it (an answer, an alarm, a finished write) is delivered while it runs, kept
 * while it is frozen, and lost once it is dead.
 */
import type { Clock } from "../../src/interfaces/system.js";
import { WALL_START_MS, type World } from "./world.js";

export interface Settle<T> {
  resolve(value: T): void;
  reject(error: unknown): void;
}

export class SimProcess implements Clock {
  #state: "running" | "frozen" | "dead" = "running";
  #kept: (() => void)[] = [];

  /** @param skewMs how far the machine's wall clock is off */
  constructor(
    private readonly world: World,
    readonly holder: string,
    private readonly skewMs: number,
  ) {}

  get isDead(): boolean {
    return this.#state === "dead";
  }

  get isFrozen(): boolean {
    return this.#state === "frozen";
  }

  freeze(): void {
    if (this.#state === "running") this.#state = "frozen";
  }

  /** What was kept is delivered one after the other, each in a moment of its own. */
  thaw(): void {
    if (this.#state !== "frozen") return;
    this.#state = "running";
    const kept = this.#kept;
    this.#kept = [];
    for (const run of kept) this.world.time.after(0, () => this.deliver(run));
  }

  kill(): void {
    this.#state = "dead";
    this.#kept = [];
  }

  deliver(run: () => void): void {
    if (this.#state === "frozen") this.#kept.push(run);
    else if (this.#state === "running") run();
  }

  /** A promise that the world settles; never, where the process is dead by then. */
  wait<T>(begin: (settle: Settle<T>) => void): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      begin({
        resolve: (value) => this.deliver(() => resolve(value)),
        reject: (error) => this.deliver(() => reject(error instanceof Error ? error : new TypeError("no error"))),
      });
    });
  }

  /** Something that takes its time, of this machine. */
  pause(ms: number): Promise<void> {
    return this.wait(({ resolve }) => void this.world.time.after(ms, () => resolve()));
  }

  now(): number {
    return WALL_START_MS + this.skewMs + this.world.time.now;
  }

  monotonic(): number {
    return this.world.time.now;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted === true || ms <= 0) return Promise.resolve();
    return new Promise<void>((resolve) => {
      const wake = (): void => {
        cancel();
        signal?.removeEventListener("abort", wake);
        this.deliver(resolve);
      };
      const cancel = this.world.time.after(ms, wake);
      signal?.addEventListener("abort", wake);
    });
  }
}
