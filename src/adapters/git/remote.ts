/**
 * Runs the two commands that talk to a remote. simple-git can end git, but not the transport that git has started,
 * which would keep a connection to a silent remote for minutes; here both are in one process group and end together.
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { SourceError } from "../../interfaces/source.js";
import { configArguments, environment, type GitOptions } from "./git.js";

/** How long the remote may be silent; progress messages count as signs of life. */
const SILENCE_MS = 60_000;
/** How long a command may take in total. */
const TOTAL_MS = 15 * 60_000;
/** git removes its locks and temporary files after SIGTERM; it gets this long to do so. */
const GRACE_MS = 2_000;
const OUTPUT_BYTES = 4 * 1024 * 1024;

/**
 * Runs a command.
 * @returns git's stdout; rejects with an Error whose message is git's stderr
 */
export function runRemote(options: GitOptions, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    // A missing folder would look like a missing git.
    if (!existsSync(options.folder))
      return reject(new SourceError("git-failed", `the folder ${options.folder} is gone`));
    const child = spawn("git", [...configArguments(options), ...args], {
      cwd: options.folder,
      env: environment(options),
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
    });
    const timers = new Set<NodeJS.Timeout>();
    const output: Buffer[] = [];
    let bytes = 0;
    let said = "";
    let ended: string | null = null;
    const end = (why: string): void => {
      ended ??= why;
      signalGroup(child.pid, "SIGTERM");
      timers.add(setTimeout(() => signalGroup(child.pid, "SIGKILL"), GRACE_MS));
    };
    const silence = setTimeout(() => end("timeout reached: the remote is silent"), options.silenceMs ?? SILENCE_MS);
    timers.add(silence).add(setTimeout(() => end("timeout reached: it takes too long"), TOTAL_MS));
    const onAbort = (): void => end("abort signal: ztap was asked to stop");
    options.signal?.addEventListener("abort", onAbort, { once: true });
    if (options.signal?.aborted === true) onAbort();
    const finish = (settle: () => void): void => {
      options.signal?.removeEventListener("abort", onAbort);
      for (const timer of timers) clearTimeout(timer);
      settle();
    };
    child.stdout.on("data", (chunk: Buffer) => {
      silence.refresh();
      output.push(chunk);
      bytes += chunk.length;
      if (bytes > OUTPUT_BYTES) end("the remote's answer is too long");
    });
    child.stderr.on("data", (chunk: Buffer) => {
      silence.refresh();
      said = (said + chunk.toString("utf8")).slice(-16_384);
    });
    child.on("error", (error) => finish(() => reject(error)));
    child.on("close", (code) =>
      finish(() => {
        if (ended !== null) reject(new Error(`fatal: ${ended}`));
        else if (code === 0) resolve(Buffer.concat(output).toString("utf8"));
        else reject(new Error(said === "" ? `git exited with ${code}` : said));
      }),
    );
  });
}

function signalGroup(pid: number | undefined, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch {
    // All processes of the group have ended already, which is the goal.
  }
}
