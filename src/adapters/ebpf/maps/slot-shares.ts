/**
 * Seats: where each workload counts, and which share of the places of flows is its own. Pure.
 *
 * Half of the places is everybody's. The other half is divided evenly, by a power of two that changes only as the
 * number of workloads doubles: so a workload that opens flows without end leaves every other one its share.
 */
import { ABI } from "../kernel/abi.generated.js";
import type { Image } from "../lower/image.js";

export interface Seat {
  /** Index into ztap_subject_counts; 0: it counts with all that have none. */
  readonly place: number;
  /** Into ztap_places. A size of 0: it has only what is everybody's. */
  readonly flowsFirst: number;
  readonly flowsSize: number;
}

export type Seats = ReadonlyMap<number, Seat>;

export const NO_SEAT: Seat = { place: 0, flowsFirst: 0, flowsSize: 0 };

/** Of a workload whose programs learn beside another version's: they count and tell nothing. */
export const LEARNING_SEAT: Seat = { ...NO_SEAT, place: ABI.PLACE_LEARNING };

/** @param places by subject id, as Counters keeps them. @returns the seats of the image's subjects, by subject id */
export function seatsOf(image: Image, places: ReadonlyMap<number, number>): Seats {
  const taken = [...image.subjects.values()].map(({ id }) => ({ id, place: places.get(id) ?? 0 }));
  const highest = taken.reduce((most, { place }) => Math.max(most, place), 1);
  const shares = 2 ** Math.ceil(Math.log2(highest));
  const flowsSize = (ABI.MAX_FLOWS - ABI.COMMON_FLOWS) / shares;
  return new Map(
    taken.map(({ id, place }) => {
      if (place === 0) return [id, NO_SEAT];
      return [id, { place, flowsFirst: ABI.COMMON_FLOWS + (place - 1) * flowsSize, flowsSize }];
    }),
  );
}

export function sameSeat(a: Seat, b: Seat): boolean {
  return a.place === b.place && a.flowsFirst === b.flowsFirst && a.flowsSize === b.flowsSize;
}
