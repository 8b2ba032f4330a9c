/** Reads the flows of this machine's agent. */
import { readdir } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { FlowMessage, FlowQuery, FlowRefusal } from "../../model/flow.js";
import { isMessage, isRefusal, LAST_LINE, parseLine } from "./records.js";
import { flowsFolder, foreignFlows, nodeOfSocket, socketName, withFolder } from "./socket.js";

/**
 * `gone`: no agent serves flows there; `not-permitted`: only root may read them; `foreign`: they may come from another
 * user; `stopped`: the agent ended during the read.
 */
export class FlowsUnavailable extends Error {
  override readonly name = "FlowsUnavailable";
  constructor(
    readonly code: "gone" | "not-permitted" | "foreign" | "stopped",
    readonly path: string,
    options?: ErrorOptions,
  ) {
    super(`cannot read ${path}`, options);
  }
}

/** The agent answered that its node has no such workload. */
export class FlowsRefused extends Error {
  override readonly name = "FlowsRefused";
  constructor(readonly refusal: FlowRefusal) {
    super(`no workload ${refusal.workload} on node ${refusal.node}`);
  }
}

/**
 * Returns the nodes whose agents serve flows on this machine now.
 * @throws FlowsUnavailable `not-permitted`, `foreign`
 */
export async function listFlowNodes(stateDir: string): Promise<readonly string[]> {
  const folder = flowsFolder(stateDir);
  const names = await readdir(folder).catch((cause: unknown) => {
    const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
    if (code === "EACCES" || code === "EPERM") throw new FlowsUnavailable("not-permitted", folder, { cause });
    if (code === "ENOENT" || code === "ENOTDIR") return [];
    throw cause;
  });
  if (names.length > 0) refuseForeign(folder);
  const nodes = names.flatMap((name) => nodeOfSocket(name) ?? []).sort();
  const answers = await Promise.all(
    nodes.map((node) =>
      reach(stateDir, node).then(
        (socket) => socket.destroy().destroyed,
        (error: unknown) => {
          if (error instanceof FlowsUnavailable && error.code === "foreign") throw error;
          // A killed agent left a socket without a server.
          return false;
        },
      ),
    ),
  );
  return nodes.filter((_, index) => answers[index]);
}

/**
 * Connects. The messages end after the stored ones, or when the signal aborts.
 * @throws FlowsUnavailable, and from the messages also FlowsRefused
 */
export async function openFlows(
  stateDir: string,
  node: string,
  query: FlowQuery,
  signal: AbortSignal,
): Promise<AsyncGenerator<FlowMessage>> {
  return readMessages(await reach(stateDir, node), join(flowsFolder(stateDir), socketName(node)), query, signal);
}

async function* readMessages(
  socket: Socket,
  path: string,
  query: FlowQuery,
  signal: AbortSignal,
): AsyncGenerator<FlowMessage> {
  const close = (): void => {
    socket.destroy();
  };
  signal.addEventListener("abort", close, { once: true });
  if (signal.aborted) close();
  try {
    socket.write(`${JSON.stringify(query)}\n`);
    for await (const line of createInterface({ input: socket, crlfDelay: Infinity })) {
      if (line === LAST_LINE) return;
      const refusal = parseLine(line, isRefusal);
      if (refusal !== null) throw new FlowsRefused(refusal);
      const message = parseLine(line, isMessage);
      // A newer agent may send messages that this version does not know.
      if (message !== null) yield message;
    }
    if (!isOver(signal)) throw new FlowsUnavailable("stopped", path);
  } finally {
    signal.removeEventListener("abort", close);
    socket.destroy();
  }
}

/** A function, since the value changes while lines are awaited. */
function isOver(signal: AbortSignal): boolean {
  return signal.aborted;
}

/**
 * Refuses a socket of another user.
 * @throws FlowsUnavailable `foreign`: a user who can create a socket there can serve any events
 */
function refuseForeign(path: string): void {
  const why = foreignFlows(path);
  if (why !== null) throw new FlowsUnavailable("foreign", path, { cause: new Error(why) });
}

async function reach(stateDir: string, node: string): Promise<Socket> {
  const folder = flowsFolder(stateDir);
  refuseForeign(join(folder, socketName(node)));
  try {
    return await withFolder(
      folder,
      (short) =>
        new Promise((resolve, reject) => {
          const socket = connect(join(short, socketName(node)));
          socket.once("error", reject);
          socket.once("connect", () => {
            socket.off("error", reject);
            // Later errors end the lines.
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
