/**
 * LastGoodState: the last state that this node enforced, kept on its own disk, so that it can be enforced again after a
 * restart while the store is unreachable.
 *
 * Guarantees: a state is replaced as a whole or not at all, even by a crash; `read` checks its digests, and returns
 * null if there is none or it is incomplete.
 */
import type { CommittedState } from "../model/state.js";

export interface LastGoodState {
  read(): Promise<CommittedState | null>;
  /** @throws if it could not be written; the earlier state is still there then */
  write(state: CommittedState): Promise<void>;
}
