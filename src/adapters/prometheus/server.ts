/** Serves `/metrics`, `/healthz` and `/readyz` of an agent. Binds to loopback by default. */
import { createServer, type Server } from "node:http";
import type { Socket } from "node:net";
import type { Registry } from "prom-client";

export interface HealthProbes {
  /** Returns null if the loops are alive; otherwise the reason. */
  health(): string | null;
  /** Returns null if the node enforces head; otherwise the reason. */
  readiness(): string | null;
  /** Further facts, one a line, below the answer of `/readyz`; they do not change its status. */
  details(): readonly string[];
}

export interface HttpServer {
  readonly address: string;
  close(): Promise<void>;
}

/** The server cannot listen on the address. */
class ListenError extends Error {
  override readonly name = "ListenError";
  readonly code = "cannot-listen";
  constructor(address: string, cause: Error) {
    super(`cannot serve metrics and health on ${address}; choose another address with --listen, or --listen off`, {
      cause,
    });
  }
}

export async function serveHttp(
  listen: { readonly host: string; readonly port: number },
  registry: Registry,
  probes: HealthProbes,
): Promise<HttpServer> {
  const server = createServer((request, response) => {
    const reply = (status: number, body: string, type = "text/plain; charset=utf-8") => {
      response.writeHead(status, { "content-type": type, "cache-control": "no-store", connection: "close" });
      response.end(request.method === "HEAD" ? undefined : body);
    };
    const probe = (problem: string | null, details: readonly string[] = []) =>
      reply(problem === null ? 200 : 503, [problem ?? "ok", ...details].map((line) => `${line}\n`).join(""));
    if (request.method !== "GET" && request.method !== "HEAD") return reply(405, "only GET\n");
    const path = (request.url ?? "/").split("?", 1)[0];
    if (path === "/healthz") return probe(probes.health());
    if (path === "/readyz") return probe(probes.readiness(), probes.details());
    if (path !== "/metrics") return reply(404, "try /metrics, /healthz or /readyz\n");
    registry.metrics().then(
      (text) => reply(200, text, registry.contentType),
      (error: unknown) => reply(500, `${String(error)}\n`),
    );
  });
  server.headersTimeout = 5_000;
  server.requestTimeout = 10_000;
  evictIdle(server);
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause) => reject(new ListenError(`${listen.host}:${listen.port}`, cause)));
    server.listen(listen.port, listen.host, resolve);
  });
  return {
    address: addressOf(server),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/**
 * A new connection takes the place of the one that has been without a request for the longest time: connections that ask
 * for nothing, or that do not read their answer, do not exclude others.
 */
const MAX_CONNECTIONS = 64;

function evictIdle(server: Server): void {
  /** The one to evict first. */
  const open = new Set<Socket>();
  server.on("connection", (socket) => {
    open.add(socket);
    socket.once("close", () => open.delete(socket));
    const [oldest] = open;
    if (open.size > MAX_CONNECTIONS) oldest?.destroy();
  });
  server.on("request", ({ socket }) => {
    open.delete(socket);
    open.add(socket);
  });
}

function addressOf(server: Server): string {
  const bound = server.address();
  if (bound === null || typeof bound === "string") return String(bound);
  return bound.family === "IPv6" ? `[${bound.address}]:${bound.port}` : `${bound.address}:${bound.port}`;
}
