/** What servers of this machine have in common: they listen, or say why not, and no idle connection keeps others out. */
import type { Server } from "node:http";
import type { Socket } from "node:net";

/** A server that listens. */
export interface HttpServer {
  /** `host:port`. */
  readonly address: string;
  close(): Promise<void>;
}

const MAX_CONNECTIONS = 64;

/**
 * Listens on an address.
 * @throws Error of the operating system
 */
export async function listenOn(
  server: Server,
  { host, port }: { readonly host: string; readonly port: number },
): Promise<HttpServer> {
  server.headersTimeout = 5_000;
  server.requestTimeout = 10_000;
  evictIdle(server);
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, resolve);
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
