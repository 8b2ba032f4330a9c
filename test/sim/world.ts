/** What all parts of one history share: its time, its randomness, its trace, and the first thing that was wrong. */
import { SeededRandom } from "../fakes/random.js";
import { VirtualTime } from "./time.js";

/** When the histories begin, by the wall clock. */
export const WALL_START_MS = Date.UTC(2026, 0, 1);

export class World {
  readonly time = new VirtualTime();
  readonly random: SeededRandom;
  readonly trace: string[] = [];
  #violation: string | null = null;

  constructor(readonly seed: number) {
    this.random = new SeededRandom(seed);
  }

  /** The first invariant that did not hold; null while all do. */
  get violation(): string | null {
    return this.#violation;
  }

  note(actor: string, text: string): void {
    this.trace.push(`${(this.time.now / 1000).toFixed(3).padStart(9)} ${actor.padEnd(7)} ${text}`);
  }

  /** An invariant does not hold. The history ends with it. */
  fail(actor: string, text: string): void {
    this.note(actor, `VIOLATION ${text}`);
    this.#violation ??= `${actor}: ${text}`;
  }

  /** A whole number from `first` to `last`. */
  between(first: number, last: number): number {
    return first + this.random.below(last - first + 1);
  }

  chance(probability: number): boolean {
    return this.random.fraction() < probability;
  }

  pick<T>(list: readonly T[]): T {
    const found = list[this.random.below(list.length)];
    if (found === undefined) throw new TypeError("nothing to pick from");
    return found;
  }
}
