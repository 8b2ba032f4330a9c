/**
 * Slot shares: where each workload counts, and which share of the slots of flows is its own. Pure.
 *
 * Half of the slots is everybody's. The other half is divided evenly, by a power of two that changes only as the
 * number of workloads doubles: so a workload that opens flows without end leaves every other one its share.
 */
import { ABI } from "../kernel/abi.generated.js";
import type { Image } from "../lower/image.js";

export interface SlotShare {
  /** Index into ztap_subject_counts; 0: it counts with all that have none. */
  readonly slot: number;
  /** Into ztap_places. A size of 0: it has only what is everybody's. */
  readonly flowsFirst: number;
  readonly flowsSize: number;
}

export type SlotShares = ReadonlyMap<number, SlotShare>;

export const NO_SLOT: SlotShare = { slot: 0, flowsFirst: 0, flowsSize: 0 };

/** Of a workload whose programs learn beside another version's: they count and tell nothing. */
export const LEARNING_SLOT: SlotShare = { ...NO_SLOT, slot: ABI.SLOT_LEARNING };

/** @param slots by subject id, as Counters keeps them. @returns the shares of the image's subjects, by subject id */
export function slotSharesOf(image: Image, slots: ReadonlyMap<number, number>): SlotShares {
  const taken = [...image.subjects.values()].map(({ id }) => ({ id, slot: slots.get(id) ?? 0 }));
  const highest = taken.reduce((most, { slot }) => Math.max(most, slot), 1);
  const shares = 2 ** Math.ceil(Math.log2(highest));
  const flowsSize = (ABI.MAX_FLOWS - ABI.COMMON_FLOWS) / shares;
  return new Map(
    taken.map(({ id, slot }) => {
      if (slot === 0) return [id, NO_SLOT];
      return [id, { slot, flowsFirst: ABI.COMMON_FLOWS + (slot - 1) * flowsSize, flowsSize }];
    }),
  );
}

export function sameSlotShare(a: SlotShare, b: SlotShare): boolean {
  return a.slot === b.slot && a.flowsFirst === b.flowsFirst && a.flowsSize === b.flowsSize;
}
