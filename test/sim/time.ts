/** Virtual time: events in the order of their moments, and of their making where moments are equal. Nothing here is real. */

interface Moment {
  readonly at: number;
  readonly order: number;
  run: (() => void) | null;
}

/** Takes an event back that has not happened yet. */
export type Cancel = () => void;

export class VirtualTime {
  #now = 0;
  #made = 0;
  /** A binary heap: the next event first. */
  readonly #heap: Moment[] = [];

  /** Milliseconds since the history began. */
  get now(): number {
    return this.#now;
  }

  after(ms: number, run: () => void): Cancel {
    this.#made += 1;
    const moment: Moment = { at: this.#now + Math.max(0, ms), order: this.#made, run };
    this.#push(moment);
    return () => {
      moment.run = null;
    };
  }

  /** Lets the next event happen; false where there is none. */
  step(): boolean {
    for (;;) {
      const moment = this.#pop();
      if (moment === undefined) return false;
      const { run } = moment;
      if (run === null) continue;
      this.#now = moment.at;
      run();
      return true;
    }
  }

  #push(moment: Moment): void {
    const heap = this.#heap;
    let index = heap.length;
    heap.push(moment);
    while (index > 0) {
      const above = (index - 1) >> 1;
      const other = heap[above];
      if (other === undefined || isBefore(other, moment)) break;
      heap[index] = other;
      index = above;
    }
    heap[index] = moment;
  }

  #pop(): Moment | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (first === undefined || last === undefined || first === last) return first;
    let index = 0;
    for (;;) {
      const left = heap[2 * index + 1];
      const right = heap[2 * index + 2];
      if (left === undefined) break;
      const isRight = right !== undefined && isBefore(right, left);
      const next = isRight ? right : left;
      if (isBefore(last, next)) break;
      heap[index] = next;
      index = 2 * index + (isRight ? 2 : 1);
    }
    heap[index] = last;
    return first;
  }
}

function isBefore(a: Moment, b: Moment): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
