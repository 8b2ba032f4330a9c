/** The policies in force, and every change of them as it is committed. */
import { diffKeyed } from "../diff/keyed.js";
import { qualifiedName } from "../model/state.js";
import type { Store } from "../ports/store.js";
import type { PolicyRow } from "./policies.js";
import { policyRows } from "./policies.js";

export interface PolicyEvent extends PolicyRow {
  readonly action: "current" | "created" | "updated" | "deleted";
}

/**
 * Every revision is looked at, also when several were committed between two wake-ups, so that no
 * version is skipped; only revisions that were pruned meanwhile are passed over.
 */
export async function* watchPolicies(store: Store, signal: AbortSignal): AsyncGenerator<PolicyEvent> {
  let last: number | null = null;
  let known: ReadonlyMap<string, PolicyRow> = new Map();
  for await (const event of store.watch(signal)) {
    if (event.changed !== "head") continue;
    const head: number = (await store.readHead()) ?? 0;
    const isFirst = last === null;
    for (let number = last === null ? Math.max(head, 1) : last + 1; number <= head; number += 1) {
      const revision = await store.readRevision(number);
      if (revision === null) continue;
      const rows = new Map(policyRows(revision).map((row) => [qualifiedName(row), row]));
      yield* changes(known, rows, isFirst ? "current" : "created");
      known = rows;
    }
    last = head;
  }
}

function* changes(
  before: ReadonlyMap<string, PolicyRow>,
  after: ReadonlyMap<string, PolicyRow>,
  created: "current" | "created",
): Generator<PolicyEvent> {
  const diff = diffKeyed(after, before, (a, b) => a.version === b.version);
  for (const { wanted } of diff.missing) yield { ...wanted, action: created };
  for (const { wanted } of diff.changed) yield { ...wanted, action: "updated" };
  for (const { actual } of diff.extra) yield { ...actual, action: "deleted" };
}
