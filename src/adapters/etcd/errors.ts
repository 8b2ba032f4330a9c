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
  GRPCResourceExhastedError,
  GRPCUnauthenticatedError,
  GRPCUnavailableError,
  GRPCUnknownError,
} from "etcd3";
import { StoreError } from "../../ports/store.js";

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

export function toStoreError(error: unknown, endpoints: readonly string[]): StoreError {
  if (error instanceof StoreError) return error;
  const why = error instanceof Error ? error.message : String(error);
  const etcd = `etcd at ${endpoints.join(", ")}`;
  // "user name is empty": etcd asks for authentication and was given none.
  const isRefused =
    REFUSED.some((kind) => error instanceof kind) ||
    (error instanceof GRPCInvalidArgumentError && /user name/.test(why));
  if (isRefused) {
    return new StoreError(
      "store-permission",
      `${etcd} refused: ${why}; check the user, its password or certificate, and its roles`,
      {
        cause: error,
      },
    );
  }
  if (error instanceof GRPCResourceExhastedError) {
    const fix = "compact and defragment it, then disarm its alarm, or raise --quota-backend-bytes";
    return new StoreError("store-unavailable", `${etcd} takes no more data (${why}); ${fix}`, { cause: error });
  }
  const message = isUnreachable(error)
    ? `${etcd} cannot be reached, or has no majority: ${why}; nothing that is enforced changes meanwhile`
    : `${etcd} failed: ${why}`;
  return new StoreError("store-unavailable", message, { cause: error });
}
