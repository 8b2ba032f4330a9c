/** What etcd and gRPC say, as StoreErrors. Branches on etcd3's error classes; texts only where etcd gives nothing else. */
import {
  EtcdAuthenticationFailedError,
  EtcdInvalidAuthTokenError,
  EtcdPermissionDeniedError,
  EtcdWatchStreamEnded,
  GRPCCancelledError,
  GRPCDeadlineExceededError,
  GRPCInternalError,
  GRPCInvalidArgumentError,
  GRPCUnauthenticatedError,
  GRPCUnavailableError,
  GRPCUnknownError,
} from "etcd3";
import { StoreError } from "../../interfaces/store.js";

const UNREACHABLE = [
  GRPCUnavailableError,
  GRPCDeadlineExceededError,
  GRPCCancelledError,
  GRPCInternalError,
  GRPCUnknownError,
  EtcdWatchStreamEnded,
];
const REFUSED = [
  EtcdPermissionDeniedError,
  EtcdAuthenticationFailedError,
  EtcdInvalidAuthTokenError,
  GRPCUnauthenticatedError,
];

/** Whether another endpoint, or the same one later, may answer. */
export function isUnreachable(error: unknown): boolean {
  return UNREACHABLE.some((kind) => error instanceof kind);
}

/** What a member says of a request, or the connection of a member: matched in order, with what to do about it. */
const REASONS: readonly (readonly [RegExp, (etcd: string, why: string) => string])[] = [
  [
    /message larger than|request is too large/,
    (etcd, why) =>
      `a record is larger than ${etcd} takes (${why}); raise its --max-request-bytes, or make what is written smaller`,
  ],
  [
    /database space exceeded/,
    (etcd, why) =>
      `${etcd} takes no more data (${why}); compact and defragment it, then disarm its alarm, or raise --quota-backend-bytes`,
  ],
  [
    /verify|self.signed|issuer|certificate has expired|not yet valid|does not match certificate|ALTNAME/i,
    (etcd, why) =>
      `${etcd} was connected to, but its certificate is not accepted here: ${why}; etcd.ca has to name its authority, and the certificate this address`,
  ],
  [
    /\balert\b/,
    (etcd, why) =>
      `${etcd}: it accepts no connection with this certificate: ${why}; etcd.cert and etcd.key have to be of the authority that it trusts, and not expired`,
  ],
  [
    /Name resolution failed/,
    (etcd) => `${etcd} cannot be reached: no name server knows a host of that name; check --store`,
  ],
  [
    /Failed to connect|wrong version number/,
    (etcd, why) =>
      `${etcd} ended the connection at once (${why}): with TLS the store is etcds://…, without it etcd://…`,
  ],
];

/** A signed token of before a change of users or roles; a new connection asks for a new one. */
export function isOutdatedToken(error: unknown): boolean {
  return error instanceof Error && /revision of auth store is old/.test(error.message);
}

/** The message has what is worth knowing of the cause, which is not carried along to be said twice. */
export function toStoreError(error: unknown, endpoints: readonly string[]): StoreError {
  if (error instanceof StoreError) return error;
  const why = shorten(error instanceof Error ? error.message : String(error));
  const etcd = `etcd at ${endpoints.join(", ")}`;
  // "user name is empty": etcd asks for authentication and was given none.
  const isRefused =
    REFUSED.some((kind) => error instanceof kind) ||
    (error instanceof GRPCInvalidArgumentError && /user name/.test(why));
  if (isRefused) {
    return new StoreError(
      "store-permission",
      `${etcd} refused: ${why}; check the user, its password or certificate, and its roles`,
    );
  }
  const [, explain] = REASONS.find(([pattern]) => pattern.test(why)) ?? [];
  const general = isUnreachable(error)
    ? `${etcd} cannot be reached, or has no majority: ${why}; nothing that is enforced changes meanwhile`
    : `${etcd} failed: ${why}`;
  return new StoreError("store-unavailable", explain?.(etcd, why) ?? general);
}

/** gRPC wraps what happened on the socket into notes of its own. */
function shorten(message: string): string {
  const line = message.replace(/\s+/g, " ").trim();
  const [, last] = /Last error: (.*?)(?:\. Resolution note:.*)?$/.exec(line) ?? [];
  return (last ?? line).replace(/^Error: /, "").replace(/^\d+ [A-Z_]+: /, "");
}
