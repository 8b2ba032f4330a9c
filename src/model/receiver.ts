/** Who is told what became of a commit. Secrets are named by their files, and never part of these values. */
import type { CommitState } from "./outbox.js";

export const RECEIVER_TYPES = ["github", "gitlab", "gitea", "webhook", "slack"] as const;
export type ReceiverType = (typeof RECEIVER_TYPES)[number];

/** A URL, or the file that contains it. */
export type ReceiverLocation = { readonly url: string } | { readonly urlFile: string };

interface CommonReceiver {
  /** Unique; a DNS label. */
  readonly name: string;
  /** The states that it is told. */
  readonly events: readonly CommitState[];
  /** PEM file of the authorities of its certificate; null: the system's. */
  readonly caFile: string | null;
  /** Whether http may go to another host. */
  readonly isInsecureAllowed: boolean;
  readonly location: ReceiverLocation;
}

/** A Git host, whose commits have statuses. */
export interface CommitStatusReceiver extends CommonReceiver {
  readonly type: "github" | "gitlab" | "gitea";
  readonly repository: string;
  readonly tokenFile: string;
  /** Name of the status; null for the default. */
  readonly context: string | null;
}

export interface WebhookReceiver extends CommonReceiver {
  readonly type: "webhook";
  /** Events are signed with what it contains. */
  readonly secretFile: string;
}

export interface SlackReceiver extends CommonReceiver {
  readonly type: "slack";
}

export type Receiver = CommitStatusReceiver | WebhookReceiver | SlackReceiver;
