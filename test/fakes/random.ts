/** Randomness from a seed, so that a failure can be replayed: `ZTAP_SEED=<the printed number>`. */
import type { Random } from "../../src/interfaces/system.js";

/** The seed that the environment asks for, or a new one. */
export function chosenSeed(): number {
  const asked = Number(process.env["ZTAP_SEED"]);
  return Number.isSafeInteger(asked) && asked > 0 ? asked : 1 + Math.floor(Math.random() * 0x7ffffffe);
}

/** mulberry32: small, and good enough to choose moments and cases. */
export class SeededRandom implements Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  fraction(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number from 0 to below `end`. */
  below(end: number): number {
    return Math.floor(this.fraction() * end);
  }

  id(): string {
    return Array.from({ length: 4 }, () =>
      this.below(2 ** 32)
        .toString(16)
        .padStart(8, "0"),
    ).join("");
  }
}
