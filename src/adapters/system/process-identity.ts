/**
 * Returns an identity of this process that outlives it: boot, pid and start time. A successor on the same machine can
 * see at once whether the process that holds a lease still runs.
 */
import { readFileSync } from "node:fs";
import { hostname } from "node:os";

export function processIdentity(): string {
  return `${bootId() ?? hostname()}/${process.pid}/${startTime(process.pid) ?? 0}`;
}

/**
 * Returns whether the process runs; true also if that is not known: another machine, or a name that `processIdentity`
 * did not make.
 */
export function isProcessAlive(holder: string): boolean {
  const [boot, pid = "", started] = holder.split("/");
  if (started === undefined || boot !== bootId() || !/^[0-9]+$/.test(pid)) return true;
  return startTime(Number(pid)) === Number(started);
}

/** Returns the identity of this boot of this machine; null if the system has no such id. */
export function bootId(): string | null {
  return readOrNull("/proc/sys/kernel/random/boot_id")?.trim() ?? null;
}

/**
 * Returns field 22 of proc(5) stat: clock ticks from boot. The command name before it may contain spaces and brackets.
 */
function startTime(pid: number): number | null {
  const stat = readOrNull(`/proc/${pid}/stat`);
  const fields = stat?.slice(stat.lastIndexOf(")") + 2).split(" ");
  const ticks = Number(fields?.[19]);
  // A zombie holds no resources any more.
  return fields === undefined || fields[0] === "Z" || Number.isNaN(ticks) ? null : ticks;
}

function readOrNull(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}
