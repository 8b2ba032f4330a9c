/**
 * Lock: one process enforces with this machine's pf. It is a socket that its owner listens at, since the system closes
 * it with the process, however that ends; a file would outlive it.
 */
import { mkdir, rm } from "node:fs/promises";
import { connect, createServer, type Server } from "node:net";
import { join } from "node:path";
import { EnforcerError } from "../../ports/enforcer.js";

export interface Lock {
  release(): Promise<void>;
}

/** @throws EnforcerError `busy` where another process has it */
export async function takeLock(folder: string): Promise<Lock> {
  const path = join(folder, "pf.lock");
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const server = (await listen(path)) ?? (await takeOver(path));
  // It is held, and keeps nobody waiting.
  server.unref();
  return { release: () => new Promise((resolve) => void server.close(() => resolve())) };
}

async function takeOver(path: string): Promise<Server> {
  const busy = new EnforcerError("busy", "another process enforces with this machine's pf; stop its agent first");
  if (await isAnswered(path)) throw busy;
  await rm(path, { force: true });
  const server = await listen(path);
  if (server === null) throw busy;
  return server;
}

/** Null where the name is taken, be it by a socket that nobody listens at. */
function listen(path: string): Promise<Server | null> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once("error", (error) => ("code" in error && error.code === "EADDRINUSE" ? resolve(null) : reject(error)));
    server.listen(path, () => resolve(server));
  });
}

function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
