/**
 * The poll hook: a Git host says that something was pushed, and nothing it says is read but its signature. GitHub, and Gitea
 * and Forgejo, sign the body; GitLab sends the secret itself, which is accepted only from this machine: a proxy that ends
 * TLS. The body is hashed as it comes, and never kept.
 *
 * - GitHub, "Validating webhook deliveries": X-Hub-Signature-256, `sha256=` and the HMAC in hexadecimal; at most 25 MB.
 * - Gitea, "Webhooks": X-Gitea-Signature, the HMAC in hexadecimal. Forgejo also sends X-Forgejo-Signature.
 * - GitLab, "Webhooks": X-Gitlab-Token.
 */
import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { createServer, type IncomingHttpHeaders, type IncomingMessage } from "node:http";
import type { Clock } from "../../interfaces/system.js";
import { listenOn, type HttpServer } from "../system/listening.js";

export const POLL_PATH = "/poll";
export const MOST_BODY_BYTES = 25 * 1024 * 1024;
export const SHORTEST_SECRET = 16;
/** Requests of one address in one window, before anything of their body is read. */
export const MOST_REQUESTS = 120;
const WINDOW_MS = 60_000;
/** Addresses whose requests are counted; beyond, the oldest is forgotten. */
const MOST_ADDRESSES = 4_096;

export interface PollHookOptions {
  readonly listen: { readonly host: string; readonly port: number };
  /** Reads the secret, at each request. @throws Error that says why it is not used */
  readonly readSecret: () => string;
  readonly clock: Pick<Clock, "monotonic">;
  readonly on: {
    readonly accepted: () => void;
    readonly refused: (why: string) => void;
    readonly limited: () => void;
  };
}

/** @throws Error if it cannot listen there */
export async function servePollHook({ listen, readSecret, clock, on }: PollHookOptions): Promise<HttpServer> {
  const limit = new RequestLimit(clock);
  const server = createServer({ maxHeaderSize: 16_384, connectionsCheckingInterval: 1_000 }, (request, response) => {
    const reply = (status: number, text: string): void => {
      if (response.destroyed) return;
      response.writeHead(status, { "content-type": "text/plain; charset=utf-8", connection: "close" });
      response.end(`${text}\n`);
    };
    const refuse = (status: number, text: string): void => {
      on.refused(text);
      reply(status, text);
    };
    if (request.url?.split("?", 1)[0] !== POLL_PATH) return reply(404, `POST ${POLL_PATH}`);
    if (request.method !== "POST") return reply(405, "only POST");
    if (!limit.count(request.socket.remoteAddress ?? "")) {
      on.limited();
      return reply(429, "too many requests; wait a minute");
    }
    const proof = proofOf(request.headers);
    if (proof === null) return refuse(401, "there is no signature that is known here");
    if (Number(request.headers["content-length"] ?? 0) > MOST_BODY_BYTES) return refuse(413, "the body is too large");
    if (proof.kind === "token" && !isOwnHost(request.socket.remoteAddress))
      return refuse(403, "the token of GitLab is accepted only from this machine, where a proxy ends TLS");
    check(request, proof, readSecret).then(
      (isRight) => {
        if (!isRight) return refuse(401, "the signature is not right");
        on.accepted();
        reply(202, "the source is polled");
      },
      (error: unknown) =>
        refuse(500, error instanceof BodyError ? error.message : "the secret of this node is not used"),
    );
  });
  return listenOn(server, listen);
}

type Proof =
  { readonly kind: "signature"; readonly digest: Buffer } | { readonly kind: "token"; readonly token: string };

/** Returns what is to be compared; null if nothing known was sent. */
function proofOf(headers: IncomingHttpHeaders): Proof | null {
  const hub = /^sha256=([0-9a-f]{64})$/.exec(headerOf(headers, "x-hub-signature-256"))?.[1];
  const gitea = [headerOf(headers, "x-gitea-signature"), headerOf(headers, "x-forgejo-signature")];
  const digest = hub ?? gitea.find((text) => /^[0-9a-f]{64}$/.test(text));
  if (digest !== undefined) return { kind: "signature", digest: Buffer.from(digest, "hex") };
  const token = headerOf(headers, "x-gitlab-token");
  return token === "" ? null : { kind: "token", token };
}

function headerOf(headers: IncomingHttpHeaders, name: string): string {
  const value = headers[name];
  return typeof value === "string" ? value : "";
}

/** The body did not come as a whole. */
class BodyError extends Error {}

/** Compares in constant time. The body is read to its end in any case, so that the other side reads the answer. */
async function check(request: IncomingMessage, proof: Proof, readSecret: () => string): Promise<boolean> {
  const secret = readSecret();
  const hmac = createHmac("sha256", secret);
  let bytes = 0;
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > MOST_BODY_BYTES) throw new BodyError("the body is too large");
      if (proof.kind === "signature") hmac.update(chunk);
    }
  } catch (error) {
    throw error instanceof BodyError ? error : new BodyError("the body has not come as a whole");
  }
  if (proof.kind === "signature") return timingSafeEqual(hmac.digest(), proof.digest);
  const digestOf = (text: string): Buffer => createHash("sha256").update(text).digest();
  return timingSafeEqual(digestOf(proof.token), digestOf(secret));
}

function isOwnHost(address: string | undefined): boolean {
  return address === "::1" || /^(::ffff:)?127\./.test(address ?? "");
}

/** Counts requests by address, in windows. */
class RequestLimit {
  readonly #counts = new Map<string, { count: number; readonly since: number }>();

  constructor(private readonly clock: Pick<Clock, "monotonic">) {}

  /** Returns false for one too many. */
  count(address: string): boolean {
    const now = this.clock.monotonic();
    const found = this.#counts.get(address);
    if (found !== undefined && now - found.since < WINDOW_MS) {
      found.count += 1;
      return found.count <= MOST_REQUESTS;
    }
    this.#counts.delete(address);
    const [oldest] = this.#counts.keys();
    if (this.#counts.size >= MOST_ADDRESSES && oldest !== undefined) this.#counts.delete(oldest);
    this.#counts.set(address, { count: 1, since: now });
    return true;
  }
}
