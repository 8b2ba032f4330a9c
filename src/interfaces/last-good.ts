/**
 * StateCopy: the last state that this node enforced, kept on its own disk, so that it can be enforced
 * again after a restart while the store is away.
 *
 * Guarantees: a copy is replaced whole or not at all, also by a crash; what is read has had its
 * digests checked, and is null where there is none or it is not whole.
 */
import type { CommittedState } from "../model/state.js";

export interface LastGoodState {
  read(): Promise<CommittedState | null>;
  /** @throws where it could not be kept; the earlier copy is still there then */
  write(state: CommittedState): Promise<void>;
}
