/** Stops a process: a signal reaches its threads one after another, and until then they still answer. */
import { readdirSync, readFileSync } from "node:fs";
import { waitUntil } from "../wait.js";

/** Resolves when no thread of the process runs. */
export async function freezeProcess({ pid }: { readonly pid?: number | undefined }): Promise<void> {
  if (pid === undefined) throw new TypeError("the process has not started");
  process.kill(pid, "SIGSTOP");
  await waitUntil(() => readdirSync(`/proc/${pid}/task`).every((task) => isStopped(`/proc/${pid}/task/${task}`)), {
    what: `the stop of process ${pid}`,
  });
}

function isStopped(task: string): boolean {
  try {
    const stat = readFileSync(`${task}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).startsWith("T");
  } catch {
    // It has ended.
    return true;
  }
}
