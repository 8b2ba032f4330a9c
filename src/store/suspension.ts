/** Orders by the clock: which suspension still holds. Pure. */
import type { Suspension } from "../model/source-control.js";

/** Null for one that has run out. */
export function inForce(suspension: Suspension | null, now: number): Suspension | null {
  return suspension === null || (suspension.until !== null && Date.parse(suspension.until) <= now) ? null : suspension;
}
