/**
 * Turns errors of etcd and gRPC into StoreErrors. Branches on etcd3's error classes, and on texts only if etcd gives
 * nothing else.
 */
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

/** Returns whether another endpoint, or the same one later, may answer. */
export function isUnreachable(error: unknown): boolean {
  return UNREACHABLE.some((kind) => error instanceof kind);
}

/** Errors of a member about a request, or of the connection to a member: matched in order, with advice. */
const REASONS: readonly (readonly [RegExp, (etcd: string, why: string) => string])[] = [
  [
    /message larger than|request is too large/,
    (etcd, why) =>
      `a record is larger than ${etcd} accepts (${why}); raise its --max-request-bytes, or write a smaller record`,
  ],
  [
    /database space exceeded/,
    (etcd, why) =>
      `${etcd} accepts no more data (${why}); compact and defragment it, then disarm its alarm, or raise --quota-backend-bytes`,
  ],
  [
    /does not match certificate|ALTNAME/i,
    (etcd, why) =>
      `${etcd} is reachable, but its certificate is not accepted here: it is not for this address, but for ${namesIn(why)}; use such an address, or add this one to the certificate`,
  ],
  [
    /certificate has expired/i,
    (etcd) =>
      `${etcd} is reachable, but its certificate is not accepted here: it has expired; renew it on that member, or correct the clock`,
  ],
  [
    /verify|self.signed|issuer|not yet valid/i,
    (etcd, why) =>
      `${etcd} is reachable, but its certificate is not accepted here: ${why}; etcd.ca must contain its authority`,
  ],
  [
    /\balert\b/,
    (etcd, why) =>
      `${etcd} accepts no connection with this certificate: ${why}; etcd.cert and etcd.key must be issued by an authority that it trusts, and not be expired`,
  ],
  [/Name resolution failed/, (etcd) => `${etcd} cannot be reached: the host name cannot be resolved; check --store`],
  [
    /Failed to connect|wrong version number|before secure TLS/,
    (etcd) => `${etcd} closed the connection at once: use etcds://… with TLS, etcd://… without it`,
  ],
];

/** Returns whether a token was signed before a change of users or roles; a new connection requests a new one. */
export function isOutdatedToken(error: unknown): boolean {
  return error instanceof Error && /revision of auth store is old/.test(error.message);
}

/** Reasons of the operating system and of gRPC, in words. */
const PLAIN: readonly (readonly [RegExp, string])[] = [
  [/ECONNREFUSED/, "the connection is refused, since nothing listens there"],
  [/EHOSTUNREACH|ENETUNREACH/, "there is no route to it"],
  [/ETIMEDOUT|Deadline exceeded/, "it does not answer in time"],
  [/ECONNRESET|EPIPE|socket hang up/, "it closed the connection"],
];

/** The names of a certificate, out of the message of Node.js that it has none of the host. */
function namesIn(why: string): string {
  const names = /cert's (?:list|altnames):([^\n]*)/.exec(why)?.[1];
  if (names === undefined) return "other names";
  return names.trim() === "" ? "names alone and no IP address" : names.trim().replaceAll(/(DNS|IP Address):/g, "");
}

const UNCHANGED = "; enforcement does not change meanwhile";

/**
 * Returns the StoreError of a call that no endpoint has answered: endpoints with one reason are named together.
 * @param failures the last error of each endpoint, at least one
 */
export function toUnanswered(failures: ReadonlyMap<string, unknown>, user: string | null): StoreError {
  const groups = Map.groupBy([...failures], ([, error]) => toStoreError(error, [""], user).message);
  const errors = [...groups.values()].map((group) => {
    const endpoints = group.map(([endpoint]) => endpoint);
    return toStoreError(group[0]?.[1], endpoints, user);
  });
  const [first] = errors;
  if (first !== undefined && errors.length === 1) return first;
  const messages = errors.map(({ message }) => message.replace(UNCHANGED, ""));
  return new StoreError("store-unavailable", `${messages.join("; ")}${UNCHANGED}`);
}

/**
 * Returns the StoreError. Its message contains the useful part of the cause, which is not attached, so that it does not
 * appear twice.
 * @param user the user of etcd, by name or certificate; null if it is not known
 */
export function toStoreError(error: unknown, endpoints: readonly string[], user: string | null = null): StoreError {
  if (error instanceof StoreError) return error;
  const why = shorten(error instanceof Error ? error.message : String(error));
  const etcd = `etcd at ${endpoints.join(", ")}`;
  // "user name is empty": etcd requires authentication and got none.
  const isRefused =
    REFUSED.some((kind) => error instanceof kind) ||
    (error instanceof GRPCInvalidArgumentError && /user name/.test(why));
  if (error instanceof EtcdPermissionDeniedError && user !== null) {
    return new StoreError(
      "store-permission",
      `${etcd} refused: permission denied: no role of the user ${user} allows this; check its roles`,
    );
  }
  if (isRefused) {
    return new StoreError(
      "store-permission",
      `${etcd} refused: ${why}; check the user, its password or certificate, and its roles`,
    );
  }
  const [, explain] = REASONS.find(([pattern]) => pattern.test(why)) ?? [];
  const general = isUnreachable(error)
    ? `${etcd} cannot be reached, or has no majority: ${why}${UNCHANGED}`
    : `${etcd} failed: ${why}`;
  return new StoreError("store-unavailable", explain?.(etcd, why) ?? general);
}

const LAST_ERROR = "Last error: ";

/** Shortens a message: gRPC wraps the socket's error into notes of its own. */
function shorten(message: string): string {
  const line = message.replace(/\s+/g, " ").trim();
  const at = line.indexOf(LAST_ERROR);
  const last = at < 0 ? line : line.slice(at + LAST_ERROR.length).replace(/\. Resolution note:[^]*/, "");
  const why = last.replace(/^Error: /, "").replace(/^\d+ [A-Z_]+: /, "");
  const alert = /\balert [a-z ]+/.exec(why)?.[0].trim();
  return alert ?? PLAIN.find(([pattern]) => pattern.test(why))?.[1] ?? why;
}
