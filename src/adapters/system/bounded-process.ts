/**
 * Runs a script in a process of its own, with bounded memory and time. A thread would not do: a single large allocation
 * at the limit of its heap ends the whole process.
 */
import { spawn } from "node:child_process";
import { deserialize, serialize } from "node:v8";

export interface ProcessLimits {
  readonly memoryMib: number;
  /** Processor time, so that a busy machine changes no result; it ends the process also after the death of its parent. */
  readonly cpuSeconds: number;
  /** For a process that waits. */
  readonly deadlineMs: number;
  readonly answerBytes: number;
}

export interface ProcessOptions extends ProcessLimits {
  /** Ends the process, and fails the request with an AbortError. */
  readonly signal?: AbortSignal | undefined;
}

export class ProcessLimitError extends Error {
  override readonly name = "ProcessLimitError";
  constructor(readonly limit: "memory" | "time") {
    super(`a process exceeded its limit of ${limit}`);
  }
}

/** The exit status of a script whose memory ended without ending the process. */
export const EXHAUSTED = 3;

/** At the soft limit the kernel sends SIGXCPU, which tells this end from others. */
const START = 'ulimit -c 0; ulimit -S -t "$1"; ulimit -H -t $(($1 + 5)); shift; exec "$@"';
/** The end of what the script writes to stderr, for the error. */
const SAID = 2_000;

/**
 * Runs a script on a request.
 * @param script reads the request from stdin and writes its answer to stdout, both in the format of `v8.serialize`
 * @param request plain data
 * @throws ProcessLimitError if the script exceeds a limit; Error if it fails otherwise, or is asked to end
 */
export async function runBounded(script: string, request: unknown, options: ProcessOptions): Promise<unknown> {
  const bytes = await answerOf(script, serialize(request), options);
  return deserialize(bytes);
}

function answerOf(script: string, request: Uint8Array, { signal, ...limits }: ProcessOptions): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const command = [process.execPath, `--max-old-space-size=${limits.memoryMib}`, script];
    const child = spawn("/bin/sh", ["-c", START, "sh", String(limits.cpuSeconds), ...command], {
      stdio: ["pipe", "pipe", "pipe"],
      signal,
      killSignal: "SIGKILL",
      // The script needs nothing of the environment, and its secrets least of all.
      env: { MALLOC_ARENA_MAX: "1" },
    });
    const answer: Buffer[] = [];
    let [length, said] = [0, ""];
    let exceeded: ProcessLimitError["limit"] | null = null;
    const end = (limit: ProcessLimitError["limit"]): void => {
      exceeded ??= limit;
      child.kill("SIGKILL");
    };
    const deadline = setTimeout(() => end("time"), limits.deadlineMs);
    child.stdout.on("data", (chunk: Buffer) => {
      length += chunk.length;
      if (length > limits.answerBytes) end("memory");
      else answer.push(chunk);
    });
    child.stderr.on("data", (chunk: Buffer) => {
      said = (said + chunk.toString("utf8")).slice(-SAID);
    });
    // A script that has ended reads no further.
    child.stdin.on("error", () => undefined);
    child.stdin.end(request);
    child.on("error", (error) => {
      clearTimeout(deadline);
      reject(error);
    });
    child.on("close", (code, by) => {
      clearTimeout(deadline);
      const limit = exceeded ?? limitOf(code, by);
      if (limit !== null) reject(new ProcessLimitError(limit));
      else if (code === 0) resolve(Buffer.concat(answer));
      else reject(new Error(`the script ended with ${by ?? code ?? "nothing"}: ${said.trim()}`));
    });
  });
}

/** Returns the limit that ended a process: V8 aborts when its heap is full, and the kernel kills when memory is. */
function limitOf(code: number | null, signal: NodeJS.Signals | null): ProcessLimitError["limit"] | null {
  if (signal === "SIGXCPU") return "time";
  const isCrash = signal !== null && ["SIGABRT", "SIGBUS", "SIGILL", "SIGKILL", "SIGSEGV", "SIGTRAP"].includes(signal);
  return isCrash || code === EXHAUSTED ? "memory" : null;
}
