/** The failure of an operation, with a stable code. Callers branch on `code`, never on text. */
export type OperationErrorCode =
  | "agent-running"
  | "agent-replaced"
  | "agent-away"
  | "bad-key"
  | "interrupted"
  | "invalid-base"
  | "invalid-query"
  | "invalid-settings"
  | "invalid-source"
  | "no-address"
  | "no-such-version"
  | "node-alive"
  | "not-found"
  | "not-in-sync"
  | "not-leader"
  | "lockout"
  | "empty-source"
  | "enrolment"
  | "lost-race"
  | "override-needed"
  | "plan-damaged"
  | "stale-plan"
  | "not-confirmed"
  | "target-not-empty"
  | "unsupported"
  | "unverified"
  | "usage";

export class OperationError extends Error {
  override readonly name = "OperationError";
  constructor(
    readonly code: OperationErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
