/** Reads the flows of this machine's agent. */
import { readdir } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { FlowMessage, FlowQuery, FlowRefusal } from "../../model/flow.js";
import { isMessage, isRefusal, LAST_LINE, parseLine } from "./records.js";
import { flowsFolder, foreignFlows, nodeOfSocket, socketName, withFolder } from "./socket.js";

/** `gone`: no agent serves flows there; `not-permitted`: only root may read them; `foreign`: they may be somebody else's; `stopped`: the agent ended in between. */
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

/** The nodes whose agents tell their flows on this machine now. @throws FlowsUnavailable `not-permitted`, `foreign` */
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
          // A socket that nobody answers on was left by an agent that was killed.
          return false;
        },
      ),
    ),
  );
  return nodes.filter((_, index) => answers[index]);
}

/**
 * Connects; what comes then ends when all that is remembered was read, or when the signal aborts.
 * @throws FlowsUnavailable, and of the messages FlowsRefused too
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
      // A newer agent may tell what this version does not know.
      if (message !== null) yield message;
    }
    if (!isOver(signal)) throw new FlowsUnavailable("stopped", path);
  } finally {
    signal.removeEventListener("abort", close);
    socket.destroy();
  }
}

/** Asked through a function, since the answer changes while lines are waited for. */
function isOver(signal: AbortSignal): boolean {
  return signal.aborted;
}

/** @throws FlowsUnavailable `foreign`: anybody can tell anything where he may make a socket */
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
