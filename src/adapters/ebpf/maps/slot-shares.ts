/**
 * Slot shares: the counter slot of each workload, and its share of the flow slots. Pure.
 *
 * All workloads share one half of the flow slots. The other half is divided evenly, by a power of two that changes only
 * when the number of workloads doubles: so a workload that opens any number of flows cannot take another one's share.
 */
import { ABI } from "../kernel/abi.generated.js";
import { allSubjects, type Image } from "../lower/image.js";

export interface SlotShare {
  /** Index into ztap_subject_counts; 0: its packets count in the aggregate. */
  readonly slot: number;
  /** Index into ztap_places. With a size of 0 it has only the common slots. */
  readonly flowsFirst: number;
  readonly flowsSize: number;
}

export type SlotShares = ReadonlyMap<number, SlotShare>;

export const NO_SLOT: SlotShare = { slot: 0, flowsFirst: 0, flowsSize: 0 };

/** The share of a workload whose programs learn beside another version's: they neither count nor emit events. */
export const LEARNING_SLOT: SlotShare = { ...NO_SLOT, slot: ABI.SLOT_LEARNING };

/**
 * Returns the shares.
 * @param slots by subject id, as Counters assigns them
 * @returns the shares of the image's subjects, by subject id
 */
export function slotSharesOf(image: Image, slots: ReadonlyMap<number, number>): SlotShares {
  const taken = [...allSubjects(image).values()].map(({ id }) => ({ id, slot: slots.get(id) ?? 0 }));
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
