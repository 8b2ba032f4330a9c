/** Decides by the clock whether a suspension is still in force. Pure. */
import type { Suspension } from "../model/source-control.js";

/** Returns null for an expired one. */
export function inForce(suspension: Suspension | null, now: number): Suspension | null {
  return suspension === null || (suspension.until !== null && Date.parse(suspension.until) <= now) ? null : suspension;
}
