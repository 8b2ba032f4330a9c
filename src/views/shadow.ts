/** What a node's coming revision would decide otherwise, in sentences for people. */
import type { ShadowDifference, ShadowReport } from "../model/shadow.js";

/** The differences that the text names; the document has them all. */
const SHOWN = 5;

export function describeShadow({ revision, since, judged, newDenials, newAllows, differences }: ShadowReport): string {
  const all = `revision ${revision} is not in force there yet; of ${judged} first packets since ${since} it would deny ${newDenials} and allow ${newAllows} more than now`;
  const shown = differences.slice(0, SHOWN).map(describeDifference);
  const rest = differences.length - shown.length;
  return [all, ...shown, ...(rest > 0 ? [`and ${rest} more differences`] : [])].join("; ");
}

function describeDifference({ effect, direction, workload, policy, file, line, count }: ShadowDifference): string {
  const place = file === null ? "" : ` (${file}:${line ?? "?"})`;
  const by = policy === null ? "" : ` by ${policy}${place}`;
  return `${effect === "denied" ? "would deny" : "would allow"} ${direction} of ${workload}${by}, ${count} ${count === 1 ? "time" : "times"}`;
}
