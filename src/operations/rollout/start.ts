/** The rollout of a commit, for every committer that goes through waves: the leader, `apply`, `policy sync` and `rollback`. */
import type { Revision } from "../../model/state.js";
import { startRollout, type RolloutStart } from "../../plan/rollout/start.js";
import { StoreError, type Store } from "../../interfaces/store.js";

/**
 * Returns what a draft has as `rollout`. Head's state is read only if it has a Cluster.
 * @param head the revision that the draft was planned against; null for none
 */
export async function rolloutAfter(
  store: Pick<Store, "readState">,
  head: Revision | null,
  draft: { readonly commitId: string; readonly time: string },
): Promise<RolloutStart> {
  if (head?.entries.some(({ kind }) => kind === "Cluster") !== true) return startRollout(null, draft);
  try {
    return startRollout((await store.readState(head.number)).objects, draft);
  } catch (error) {
    // No node can follow a damaged state: the commit that mends it does not wait for waves that nobody can read.
    if (error instanceof StoreError && ["object-damaged", "object-missing"].includes(error.code))
      return startRollout(null, draft);
    throw error;
  }
}
