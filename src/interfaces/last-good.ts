/**
 * LastGoodState: the last state that this node enforced, kept on its own disk, so that it can be enforced again after a
 * restart while the store is unreachable. A state of which a part is withheld, and the one that follows it, is announced
 * before it is applied: an agent that is killed meanwhile must find it. A revision on trial is no last-good state before the
 * node has confirmed it.
 *
 * Guarantees: a state is replaced as a whole or not at all, even by a crash; `read` and `readAnnounced` check its
 * digests, and return null if there is none or it is incomplete.
 */
import type { NodeEndpoints } from "../model/endpoints.js";
import type { Override } from "../model/override.js";
import type { CommittedState } from "../model/state.js";
import type { TrialRecord } from "../model/trial.js";
import type { Withholding } from "../model/withholding.js";

export interface LastGood extends CommittedState {
  /** The part of the revision that was not enforced; absent if all of it was. */
  readonly withholding?: Withholding;
  /** The boot of this machine in which it was announced; absent if that is not known, and from a state that is in force. */
  readonly boot?: string;
  /** What the nodes had reported that concerned this one; absent: nothing. Written apart, since it changes more often. */
  readonly endpoints?: readonly NodeEndpoints[];
}

export interface LastGoodState {
  /** Reads the state that was known to be in force. */
  read(): Promise<LastGood | null>;
  /**
   * Writes all but the endpoints.
   * @throws if it could not be written; the earlier state is still there then
   */
  write(state: LastGood): Promise<void>;
  /** @throws if they could not be written; the earlier ones are still there then */
  writeEndpoints(endpoints: readonly NodeEndpoints[]): Promise<void>;
  /** Reads the state that was about to be applied; null if its outcome is known. */
  readAnnounced(): Promise<LastGood | null>;
  /**
   * Replaces the announced state; null ends the announcement.
   * @throws if it could not be written; the earlier announcement is still there then
   */
  announce(state: LastGood | null): Promise<void>;
  /** Reads the trial; null if there is none, or it cannot be read. */
  readTrial(): Promise<TrialRecord | null>;
  /**
   * Replaces the trial; null ends it.
   * @throws if it could not be written; the earlier one is still there then
   */
  writeTrial(trial: TrialRecord | null): Promise<void>;
  /** Reads the overrides that were known last; none if they cannot be read. */
  readOverrides(): Promise<readonly Override[]>;
  /** @throws if they could not be written; the earlier ones are still there then */
  writeOverrides(overrides: readonly Override[]): Promise<void>;
}
