/** Serves `/metrics`, `/healthz` and `/readyz` of an agent. Binds to loopback by default. */
import { createServer } from "node:http";
import type { Registry } from "prom-client";
import { listenOn, type HttpServer } from "../system/listening.js";

export interface HealthProbes {
  /** Returns null if the loops are alive; otherwise the reason. */
  health(): string | null;
  /** Returns null if the node enforces head; otherwise the reason. */
  readiness(): string | null;
  /** Further facts, one a line, below the answer of `/readyz`; they do not change its status. */
  details(): readonly string[];
}

/** The server cannot listen on the address. */
class ListenError extends Error {
  override readonly name = "ListenError";
  readonly code = "cannot-listen";
  constructor(address: string, cause: unknown) {
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
  return listenOn(server, listen).catch((cause: unknown) => {
    throw new ListenError(`${listen.host}:${listen.port}`, cause);
  });
}
