/** What a node has to enforce, and what it waits for: head, and its rollout. */
import { awaitedBy, releasedTo } from "../model/rollout.js";
import type { Store } from "../interfaces/store.js";
import type { Telemetry } from "../interfaces/telemetry.js";

export interface NodeRelease {
  /** The revision that this node must enforce; null for none. */
  readonly revision: number | null;
  /** The newer revision that it waits for; null for none. */
  readonly awaited: number | null;
}

/** @throws StoreError */
export async function readNodeRelease(
  { store, telemetry }: { readonly store: Pick<Store, "readRelease">; readonly telemetry: Pick<Telemetry, "head"> },
  node: string,
): Promise<NodeRelease> {
  const { head, rollout } = await store.readRelease({ watched: true });
  telemetry.head(head);
  if (head === null) return { revision: null, awaited: null };
  return { revision: releasedTo(rollout, head, node), awaited: awaitedBy(rollout, head, node) };
}
