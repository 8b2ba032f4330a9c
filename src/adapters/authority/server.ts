/**
 * Serves enrolment and renewal: one path each, over TLS 1.3 with a key that each token names. What is read of a peer, and for how long, is
 * bounded before that is known to be good: connections, their number from one address, the time of a request and its size. A
 * connection whose token or certificate was accepted makes no place for others.
 */
import { createServer } from "node:https";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { TLSSocket, type SecureContextOptions } from "node:tls";
import type { EnrolmentCall, EnrolmentReply, ShownCertificate } from "../../interfaces/enrolment.js";
import type { Clock } from "../../interfaces/system.js";
import { OperationError } from "../../model/operation-error.js";
import { messageInWords } from "../../model/system-error.js";

export const PATHS: Readonly<Record<EnrolmentCall["kind"], string>> = { enroll: "/v1/enroll", renew: "/v1/renew" };
export const MAX_REQUEST_BYTES = 8_192;

const MAX_CONNECTIONS = 64;
const REQUEST_TIMEOUT_MS = 10_000;
/** Attempts of one address, or of one node that has shown its certificate, in one window. */
const MAX_ATTEMPTS = 20;
const WINDOW_MS = 60_000;
/** Addresses and nodes whose attempts are counted; beyond, the oldest is forgotten. */
const MAX_ADDRESSES = 4_096;

/** What the server shows, and whom it trusts. PEM. */
export interface ServerIdentity {
  readonly certificate: string;
  readonly privateKey: string;
  /** The authority whose certificates clients may show. */
  readonly authority: string;
}

export interface EnrolmentServerOptions extends ServerIdentity {
  readonly host: string;
  readonly port: number;
  readonly clock: Pick<Clock, "monotonic">;
}

/**
 * Answers a request.
 * @param accepted is called once its token or certificate is known to be good
 */
export type AnswerEnrolment = (call: EnrolmentCall, accepted: () => void) => Promise<EnrolmentReply>;

export interface EnrolmentServer {
  /** `host:port`. */
  readonly address: string;
  /** New connections are served with this. */
  readonly use: (identity: ServerIdentity) => void;
  readonly close: () => Promise<void>;
}

/**
 * @param answer never rejects
 * @throws OperationError `no-address` if it cannot listen there
 */
export async function serveEnrolment(
  options: EnrolmentServerOptions,
  answer: AnswerEnrolment,
): Promise<EnrolmentServer> {
  const { host, port, clock } = options;
  const attempts = new Attempts(clock);
  const server = createServer(
    {
      ...contextOf(options),
      // Asked for and not demanded: a node that enrolls has none, and one that is refused is told why.
      requestCert: true,
      rejectUnauthorized: false,
      handshakeTimeout: REQUEST_TIMEOUT_MS,
      headersTimeout: REQUEST_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      connectionsCheckingInterval: 1_000,
      maxHeaderSize: MAX_REQUEST_BYTES,
    },
    (request, response) =>
      void serveOne(request, response, attempts, (call) => answer(call, () => unknown.delete(peerOf(request.socket)))),
  );
  // Below TLS, so that a peer that shakes no hands is counted too.
  const open = new Set<Socket>();
  const unknown = new Map<string, Socket>();
  server.on("connection", (socket: Socket) => {
    const peer = peerOf(socket);
    open.add(socket);
    unknown.set(peer, socket);
    socket.once("close", () => {
      open.delete(socket);
      if (unknown.get(peer) === socket) unknown.delete(peer);
    });
    // A connection that does nothing for so long is of no use, whatever it is at.
    socket.setTimeout(2 * REQUEST_TIMEOUT_MS, () => socket.destroy());
    if (unknown.size > MAX_CONNECTIONS) oldestOfMost(unknown.values())?.destroy();
  });
  server.on("tlsClientError", (_error, socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    const refuse = (error: Error): void =>
      reject(new OperationError("no-address", `--listen ${host}:${port}: ${whyNotListening(error)}`, { cause: error }));
    server.once("error", refuse);
    server.listen(port, host, resolve);
  });
  return {
    address: describeAddress(server.address()),
    use: (identity) => server.setSecureContext(contextOf(identity)),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of open) socket.destroy();
      }),
  };
}

function contextOf({ certificate, privateKey, authority }: ServerIdentity): SecureContextOptions {
  return { cert: certificate, key: privateKey, ca: authority, minVersion: "TLSv1.3" };
}

function whyNotListening(error: Error): string {
  const known = "code" in error ? LISTEN_PROBLEMS[String(error.code)] : undefined;
  return known ?? messageInWords(error);
}

const LISTEN_PROBLEMS: Readonly<Record<string, string>> = {
  EADDRINUSE: "another process listens there already; stop it, or choose another port",
  EADDRNOTAVAIL: "this host has no such address; choose one of its own, or 0.0.0.0",
  EACCES: "only root may listen on this port; choose one above 1023",
  ENOTFOUND: "the name cannot be resolved",
};

/** One address that opens many connections keeps no other one out. */
function oldestOfMost(sockets: Iterable<Socket>): Socket | undefined {
  const byAddress = Map.groupBy(sockets, ({ remoteAddress }) => remoteAddress);
  const [most] = [...byAddress.values()].sort((one, other) => other.length - one.length);
  return most?.[0];
}

/** The same for a connection and for TLS on it. */
function peerOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}

async function serveOne(
  request: IncomingMessage,
  response: ServerResponse,
  attempts: Attempts,
  answer: (call: EnrolmentCall) => Promise<EnrolmentReply>,
): Promise<void> {
  const from = request.socket.remoteAddress ?? "";
  const reply = (status: number, body: object): void => {
    if (response.destroyed) return;
    response.writeHead(status, { "content-type": "application/json", connection: "close" });
    response.end(JSON.stringify(body));
  };
  const kind = request.method === "POST" ? KINDS.find((one) => PATHS[one] === request.url) : undefined;
  if (kind === undefined) return reply(404, { error: "there is nothing here" });
  if (!attempts.count(whoseAttempt(request.socket))) return reply(429, { error: "too many attempts; wait a minute" });
  const body = await readBody(request);
  if (body === null) return reply(400, { error: "the request is too long, or has not come as a whole" });
  const { status, body: message } = await answer({ kind, body: parse(body), from, shown: shownBy(request.socket) });
  reply(status, message);
}

const KINDS = ["enroll", "renew"] as const;

/** A node that proves who it is has attempts of its own: what else runs at its address takes none of them. */
function whoseAttempt(socket: Socket): string {
  const own = socket instanceof TLSSocket && socket.authorized ? socket.getPeerX509Certificate() : undefined;
  return own === undefined ? `at ${socket.remoteAddress}` : `of ${own.subject}`;
}

/** The handshake proves that the peer has the key of the certificate, whether or not that is trusted. */
function shownBy(socket: Socket): ShownCertificate | null {
  if (!(socket instanceof TLSSocket)) return null;
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) return null;
  return {
    certificate: certificate.toString(),
    distrust: socket.authorized ? null : String(socket.authorizationError),
  };
}

/** Returns the body; null if it is too long, or ends before its end. */
function readBody(request: IncomingMessage): Promise<string | null> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    request.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > MAX_REQUEST_BYTES) {
        request.pause();
        resolve(null);
      } else chunks.push(chunk);
    });
    request.once("end", () => resolve(Buffer.concat(chunks).toString()));
    request.once("error", () => resolve(null));
    request.once("close", () => resolve(null));
  });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** Counts attempts by whose they are, in windows. */
class Attempts {
  readonly #counts = new Map<string, { count: number; readonly since: number }>();

  constructor(private readonly clock: Pick<Clock, "monotonic">) {}

  /** Returns false for one too many. */
  count(whose: string): boolean {
    const now = this.clock.monotonic();
    const found = this.#counts.get(whose);
    if (found !== undefined && now - found.since < WINDOW_MS) {
      found.count += 1;
      return found.count <= MAX_ATTEMPTS;
    }
    this.#counts.delete(whose);
    const [oldest] = this.#counts.keys();
    if (this.#counts.size >= MAX_ADDRESSES && oldest !== undefined) this.#counts.delete(oldest);
    this.#counts.set(whose, { count: 1, since: now });
    return true;
  }
}

function describeAddress(address: AddressInfo | string | null): string {
  if (address === null || typeof address === "string") return String(address);
  return address.family === "IPv6" ? `[${address.address}]:${address.port}` : `${address.address}:${address.port}`;
}
