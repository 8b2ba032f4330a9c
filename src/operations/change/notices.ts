/** Notices for operators who plan or commit: the source is suspended, or a leader would hold this change. */
import type { Suspension } from "../../model/source-control.js";
import type { ConnectivityDiff } from "../../plan/connectivity/diff.js";
import { describeDeletion, massDeletion } from "../../plan/deletions.js";
import type { Store } from "../../interfaces/store.js";
import type { Lockouts } from "./lockout.js";
import type { Planned } from "./plan.js";

export interface Notice {
  readonly code: "suspended" | "mass-deletion" | "lockout" | "unenforced";
  readonly message: string;
}

export async function suspensionNotices(store: Store): Promise<readonly Notice[]> {
  const { suspension } = await store.readSourceControl();
  return suspension === null ? [] : [{ code: "suspended", message: describeSuspension(suspension) }];
}

export function deletionNotices({ desired, base }: Planned, maxDeletePercent: number): readonly Notice[] {
  const before = [...(base?.objects.values() ?? [])].map(({ ref }) => ref);
  const mass = massDeletion(desired.objects, before, maxDeletePercent);
  if (mass === null) return [];
  const message =
    `this deletes ${describeDeletion(mass)}, more than source.maxDeletePercent (${maxDeletePercent}): a leader that ` +
    "finds it in the source holds it until an operator confirms that commit, by `ztap cluster approve` or `ztap apply`";
  return [{ code: "mass-deletion", message }];
}

/** The number of workloads that a notice names. */
const SHOWN = 10;

export function unenforcedNotices({ unenforced }: Pick<ConnectivityDiff, "unenforced">): readonly Notice[] {
  if (unenforced.length === 0) return [];
  const rest = unenforced.length - SHOWN;
  const names = unenforced.slice(0, SHOWN).join(", ") + (rest > 0 ? ` and ${rest} more` : "");
  const message = `no longer enforced: ${names}: if their processes still run, no policy restricts them from then on`;
  return [{ code: "unenforced", message }];
}

export function lockoutNotices({ reported, warnings }: Omit<Lockouts, "own">): readonly Notice[] {
  const told = reported.map((lockout) => `that node will withhold the workload, by its own report: ${lockout}`);
  return [...warnings, ...told].map((message) => ({ code: "lockout", message }));
}

export function describeSuspension({ by, since, until, reason }: Suspension): string {
  const end = until === null ? "`ztap cluster resume` ends it" : `it ends at ${until}, or by \`ztap cluster resume\``;
  return `the source is suspended by ${by} since ${since}: ${reason}; nothing from it is committed, agents continue to heal drift; ${end}`;
}
