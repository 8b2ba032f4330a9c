/** Reads the flows of this machine's agent. */
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { FlowMessage, FlowQuery } from "../../model/flow.js";
import { isMessage, LAST_LINE, parseLine } from "./records.js";
import { flowsFolder, socketName, withFolder } from "./socket.js";

/** `gone`: no agent serves flows there; `not-permitted`: only root may read them; `stopped`: the agent ended in between. */
export class FlowsUnavailable extends Error {
  override readonly name = "FlowsUnavailable";
  constructor(
    readonly code: "gone" | "not-permitted" | "stopped",
    readonly path: string,
    options?: ErrorOptions,
  ) {
    super(`cannot read ${path}`, options);
  }
}

/**
 * Ends when all that is remembered was read, or when the signal aborts.
 * @throws FlowsUnavailable
 */
export async function* readFlows(
  stateDir: string,
  node: string,
  query: FlowQuery,
  signal: AbortSignal,
): AsyncGenerator<FlowMessage> {
  const socket = await reach(stateDir, node);
  const close = (): void => {
    socket.destroy();
  };
  signal.addEventListener("abort", close, { once: true });
  if (signal.aborted) close();
  try {
    socket.write(`${JSON.stringify(query)}\n`);
    for await (const line of createInterface({ input: socket, crlfDelay: Infinity })) {
      if (line === LAST_LINE) return;
      const message = parseLine(line, isMessage);
      // A newer agent may tell what this version does not know.
      if (message !== null) yield message;
    }
    if (!isOver(signal)) throw new FlowsUnavailable("stopped", join(flowsFolder(stateDir), socketName(node)));
  } finally {
    signal.removeEventListener("abort", close);
    socket.destroy();
  }
}

/** Asked through a function, since the answer changes while lines are waited for. */
function isOver(signal: AbortSignal): boolean {
  return signal.aborted;
}

async function reach(stateDir: string, node: string): Promise<Socket> {
  const folder = flowsFolder(stateDir);
  try {
    return await withFolder(
      folder,
      (short) =>
        new Promise((resolve, reject) => {
          const socket = connect(join(short, socketName(node)));
          socket.once("error", reject);
          socket.once("connect", () => {
            socket.off("error", reject);
            // What goes wrong later ends the lines.
            socket.on("error", () => undefined);
            resolve(socket);
          });
        }),
    );
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
    const path = join(folder, socketName(node));
    if (code === "EACCES" || code === "EPERM") throw new FlowsUnavailable("not-permitted", path, { cause });
    if (code === "ENOENT" || code === "ECONNREFUSED" || code === "ENOTDIR")
      throw new FlowsUnavailable("gone", path, { cause });
    throw cause;
  }
}
