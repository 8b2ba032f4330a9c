/**
 * Serves the agent's flows to readers on this machine. Each reader has its own queue in the feed; the server writes as
 * fast as the reader reads.
 */
import { once } from "node:events";
import { chmod, rm } from "node:fs/promises";
import { connect, createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { makeFolder } from "../system/folder.js";
import type { FlowFeed } from "../../interfaces/flows.js";
import type { Logger } from "../../interfaces/system.js";
import { isQuery, LAST_LINE, parseLine } from "./records.js";
import { flowsFolder, foreignFlows, socketName, withFolder } from "./socket.js";

const MAX_READERS = 32;
const MAX_QUERY_BYTES = 4_096;
const QUERY_TIMEOUT_MS = 5_000;

export interface FlowServer {
  close(): Promise<void>;
}

/**
 * Serves the flows.
 * @throws if the socket cannot be created, or another agent of this node serves on it
 */
export async function serveFlows(stateDir: string, node: string, feed: FlowFeed, logger: Logger): Promise<FlowServer> {
  const folder = flowsFolder(stateDir);
  makeFolder(folder, 0o700);
  // A user without access to the folder cannot reach the socket, even in the moment before its own mode is set.
  await chmod(folder, 0o700);
  const why = foreignFlows(folder);
  if (why !== null)
    throw new Error(`flows are not served in ${folder}, since other users could serve events there: ${why}`);
  const stop = new AbortController();
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket);
    // A reader that disconnects is no error.
    socket.on("error", () => undefined);
    socket.on("close", () => open.delete(socket));
    serve(socket, feed, stop.signal).catch((error: unknown) => {
      logger.warn("a reader of the flows was disconnected", { error });
      socket.destroy();
    });
  });
  server.maxConnections = MAX_READERS;
  await withFolder(folder, async (short) => {
    const path = join(short, socketName(node));
    await clearStale(path);
    await listen(server, path);
    await chmod(path, 0o600);
  });
  return {
    close: async () => {
      stop.abort();
      const closed = once(server, "close");
      server.close();
      for (const socket of open) socket.destroy();
      await closed;
      await rm(join(folder, socketName(node)), { force: true });
    },
  };
}

/** A killed agent left a socket without a server. */
async function clearStale(path: string): Promise<void> {
  const code = await new Promise<string | null>((resolve) => {
    const probe = connect(path);
    probe.once("connect", () => {
      probe.destroy();
      resolve(null);
    });
    probe.once("error", (error) => resolve("code" in error ? String(error.code) : "unknown"));
  });
  if (code === null) throw new Error("another agent of this node serves its flows already; stop it first");
  if (code !== "ENOENT") await rm(path, { force: true });
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

async function serve(socket: Socket, feed: FlowFeed, stopped: AbortSignal): Promise<void> {
  const asked = await readQuery(socket);
  // The reader only tested whether an agent answers.
  if (asked === "") return;
  const query = parseLine(asked, isQuery);
  if (query === null) throw new Error("its query is invalid");
  const refusal = feed.refuse(query);
  if (refusal !== null) {
    socket.end(`${JSON.stringify(refusal)}\n`);
    return;
  }
  const gone = new AbortController();
  socket.on("close", () => gone.abort());
  const signal = AbortSignal.any([stopped, gone.signal]);
  for await (const message of feed.open(query, signal)) {
    if (socket.destroyed) return;
    if (!socket.write(`${JSON.stringify(message)}\n`)) await drained(socket);
  }
  if (signal.aborted) socket.destroy();
  else socket.end(`${LAST_LINE}\n`);
}

/** Reads the first line. */
function readQuery(socket: Socket): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    socket.setTimeout(QUERY_TIMEOUT_MS, () => reject(new Error("it sent no query in time")));
    socket.setEncoding("utf8");
    socket.on("data", (chunk: string) => {
      text += chunk;
      const end = text.indexOf("\n");
      if (end < 0 && text.length < MAX_QUERY_BYTES) return;
      socket.setTimeout(0);
      resolve(text.slice(0, Math.max(end, 0)));
    });
    socket.once("close", () => resolve(""));
  });
}

/** Also resolves if the reader has disconnected. */
function drained(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      socket.off("drain", done);
      socket.off("close", done);
      resolve();
    };
    socket.on("drain", done);
    socket.on("close", done);
    if (socket.destroyed) done();
  });
}
