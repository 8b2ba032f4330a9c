/**
 * Names this very process in a way that outlives it: boot, pid and start time. A successor on the
 * same machine can tell at once whether the process that holds a lease still runs.
 */
import { readFileSync } from "node:fs";
import { hostname } from "node:os";

export function processIdentity(): string {
  return `${bootId() ?? hostname()}/${process.pid}/${startTime(process.pid) ?? 0}`;
}

/** True also where it cannot be told: another machine, or a name that was not made by `describeSelf`. */
export function isProcessAlive(holder: string): boolean {
  const [boot, pid = "", started] = holder.split("/");
  if (started === undefined || boot !== bootId() || !/^[0-9]+$/.test(pid)) return true;
  return startTime(Number(pid)) === Number(started);
}

/** Names this boot of this machine; null where the system has no such id. */
export function bootId(): string | null {
  return readOrNull("/proc/sys/kernel/random/boot_id")?.trim() ?? null;
}

/** Field 22 of proc(5) stat: clock ticks from boot. The command name before it may hold spaces and brackets. */
function startTime(pid: number): number | null {
  const stat = readOrNull(`/proc/${pid}/stat`);
  const fields = stat?.slice(stat.lastIndexOf(")") + 2).split(" ");
  const ticks = Number(fields?.[19]);
  // A zombie holds nothing any more.
  return fields === undefined || fields[0] === "Z" || Number.isNaN(ticks) ? null : ticks;
}

function readOrNull(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}
