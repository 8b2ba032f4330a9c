/**
 * A node's side of enrolment and renewal: sends one request to the authority, and nothing before the peer has proved who it
 * is. For an enrolment that is the key that the token names, whatever certificate it shows. For a renewal it is a certificate
 * of the node's own authority for the one name that no member of the cluster has.
 */
import { createHash } from "node:crypto";
import { request as requestHttps } from "node:https";
import { connect, type ConnectionOptions, type TLSSocket } from "node:tls";
import type { EnrolmentAnswer, EnrolmentRequest, RenewalRequest } from "../../interfaces/enrolment.js";
import { isString, nullable, shaped } from "../../model/guards.js";
import { OperationError } from "../../model/operation-error.js";
import { printableLine } from "../../model/printable.js";
import { messageInWords } from "../../model/system-error.js";
import { PATHS } from "./server.js";

/** In words: without them, NODE_TLS_REJECT_UNAUTHORIZED decides. */
const VERIFIED: ConnectionOptions = { rejectUnauthorized: true };

const TIMEOUT_MS = 30_000;
const MAX_ANSWER_BYTES = 65_536;

const isAnswer = shaped<EnrolmentAnswer>({
  certificate: isString,
  authority: isString,
  store: isString,
  warning: nullable(isString),
});

/** Returns the fingerprint of a public key (SPKI in DER), as tokens hold it. */
export function fingerprintOf(publicKey: Buffer): string {
  return createHash("sha256").update(publicKey).digest("base64url");
}

/** The authority has issued nothing for this request: it refused it, or has never had it. */
export class NotIssued extends OperationError {
  constructor(
    code: "enrolment" | "unverified",
    readonly reason: "refused" | "not-sent",
    message: string,
    options?: ErrorOptions,
  ) {
    super(code, message, options);
  }
}

interface Address {
  readonly host: string;
  readonly port: number;
}

/** @throws OperationError `enrolment` if the authority refuses, `unverified` if the peer is another one */
export async function requestCertificate(
  address: Address,
  fingerprint: string,
  asked: EnrolmentRequest,
): Promise<EnrolmentAnswer> {
  // The key is checked against the token: no authority of the system may vouch for another one.
  const socket = await connectTo(address, { rejectUnauthorized: false }, (found) => {
    const key = found.getPeerX509Certificate()?.publicKey.export({ type: "spki", format: "der" });
    return key !== undefined && fingerprintOf(key) === fingerprint
      ? null
      : "is not the one that the token names: its key is another one; nothing was sent to it";
  });
  const retry = "until it expires, the token stays good for the key of this node";
  return exchange(address, socket, { path: PATHS.enroll, body: JSON.stringify(asked), retry });
}

/** What a node shows, and whom it trusts. PEM. */
export interface NodeIdentity {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
  /** The name that the authority's server has to prove. */
  readonly serverName: string;
}

/**
 * @throws OperationError `enrolment` if the authority refuses, `unverified` if the peer is another one: NotIssued, where it
 * is known that nothing was issued
 */
export async function requestRenewal(
  address: Address,
  { serverName, ...identity }: NodeIdentity,
  asked: RenewalRequest,
): Promise<EnrolmentAnswer> {
  const socket = await connectTo(address, { ...identity, servername: serverName, ...VERIFIED }, () => null);
  const retry = "what the authority has issued for this key stays good";
  return exchange(address, socket, { path: PATHS.renew, body: JSON.stringify(asked), retry });
}

interface Sent {
  readonly path: string;
  readonly body: string;
  /** Why the same command may be run again. */
  readonly retry: string;
}

async function exchange({ host, port }: Address, socket: TLSSocket, request: Sent): Promise<EnrolmentAnswer> {
  try {
    const { status, text } = await post(socket, request);
    const value = parse(text);
    if (status === 200 && isAnswer(value)) return value;
    const error: unknown = Reflect.get(Object(value), "error");
    const why = isString(error) ? printableLine(error.slice(0, 300)) : `it answered with the status ${status}`;
    const message = `the authority at ${host}:${port} gave no certificate: ${why}`;
    if (status >= 400 && status < 500) throw new NotIssued("enrolment", "refused", message);
    throw new OperationError("enrolment", message);
  } finally {
    socket.destroy();
  }
}

/** @param distrust returns why the server is another one; null if it is the authority */
function connectTo(
  { host, port }: Address,
  options: ConnectionOptions,
  distrust: (socket: TLSSocket) => string | null,
): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const fail = (why: string, cause?: Error): void => {
      socket.destroy();
      reject(new NotIssued("enrolment", "not-sent", `the authority at ${host}:${port} ${why}`, { cause }));
    };
    const refuse = (why: string): void => {
      socket.destroy();
      reject(new NotIssued("unverified", "not-sent", `the server at ${host}:${port} ${why}`));
    };
    const socket = connect({ ...options, host, port, minVersion: "TLSv1.3" });
    socket.setTimeout(TIMEOUT_MS, () => fail("does not answer"));
    socket.once("error", (error: Error) => {
      // Node.js gives the reason for which it trusts no certificate here, and here alone.
      const reason: unknown = socket.authorizationError;
      if (reason !== null && reason !== undefined)
        refuse(`is not this cluster's authority: ${error.message}; nothing was sent to it`);
      else fail(`cannot be reached: ${messageInWords(error)}`, error);
    });
    socket.once("secureConnect", () => {
      const why = distrust(socket);
      if (why === null) resolve(socket);
      else refuse(why);
    });
  });
}

function post(
  socket: TLSSocket,
  { path, body, retry }: Sent,
): Promise<{ readonly status: number; readonly text: string }> {
  return new Promise((resolve, reject) => {
    const fail = (error: Error): void =>
      reject(
        new OperationError("enrolment", `the authority's answer did not come; try again: ${retry}`, { cause: error }),
      );
    const headers = {
      "content-type": "application/json",
      "content-length": Buffer.byteLength(body),
      host: "authority",
    };
    const sent = requestHttps({ method: "POST", path, headers, createConnection: () => socket });
    sent.setTimeout(TIMEOUT_MS, () => sent.destroy(new Error("it took too long")));
    sent.once("error", fail);
    sent.once("response", (response) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      response.on("data", (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > MAX_ANSWER_BYTES) sent.destroy(new Error("it is too long"));
        else chunks.push(chunk);
      });
      response.once("error", fail);
      response.once("end", () => resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString() }));
    });
    sent.end(body);
  });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
