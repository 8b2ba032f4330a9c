/**
 * Delivery of an event to one receiver, over the network. Guarantees: it never rejects, ends within a bounded time, follows
 * no redirection, and its words hold no secret.
 */
import type { CommitEvent, CommitState } from "../model/outbox.js";

export type DeliveryOutcome =
  | { readonly outcome: "delivered" }
  /** It would refuse the same event again. */
  | { readonly outcome: "refused"; readonly problem: string }
  /** Another attempt may succeed. */
  | {
      readonly outcome: "failed";
      readonly problem: string;
      /** What the receiver asks for; null if it does not. */
      readonly retryAfterMs: number | null;
    };

export interface DeliveryTarget {
  /** Unique; a DNS label. */
  readonly name: string;
  /** Digest of where it is: events that one target refused, another may accept. */
  readonly target: string;
  /** The states that it is told. */
  readonly events: readonly CommitState[];
  /** Whether it is also told that only the words for a state have changed: what it shows is replaced by that. */
  readonly showsLast: boolean;
  /** @param signal ends the attempt, as `failed` */
  send(event: CommitEvent, signal: AbortSignal): Promise<DeliveryOutcome>;
}
