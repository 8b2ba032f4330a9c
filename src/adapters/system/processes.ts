/** Processes of this machine, as far as the search for management access needs them: see proc(5). */
import { opendirSync, readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { basename } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import type { Clock } from "../../interfaces/system.js";

/** Any user can open files and start processes: looking through them must not block the event loop. */
const TURN_MS = 5;
/** Nor may all of it together take longer than this: policy waits for it. */
const SEARCH_MS = 5_000;
/** How many descriptors of one group are read before it is the next one's turn. */
const SLICE = 256;

/** The time of one search, or of a part of it. */
export class Search {
  readonly #end: number;
  #turnEnd: number;
  #isComplete = true;

  constructor(
    private readonly clock: Clock,
    ms = SEARCH_MS,
  ) {
    this.#end = clock.monotonic() + ms;
    this.#turnEnd = clock.monotonic() + TURN_MS;
  }

  /** False if the time was over before the end. */
  get isComplete(): boolean {
    return this.#isComplete;
  }

  /** Lets the event loop turn if this has taken a while. Resolves to false when the time is over. */
  async goesOn(): Promise<boolean> {
    const now = this.clock.monotonic();
    if (now >= this.#end) this.#isComplete = false;
    else if (now >= this.#turnEnd) {
      await turn();
      this.#turnEnd = this.clock.monotonic() + TURN_MS;
    }
    return this.#isComplete;
  }
}

export function listProcesses(): readonly string[] {
  return readdirSync("/proc").filter((name) => /^\d+$/.test(name));
}

export interface Identity {
  readonly parent: string;
  /** The real, effective, saved and file system user. */
  readonly users: readonly number[];
}

/**
 * Returns the users of a process; null if it has ended. The owner of its folder in /proc says less: everything of a
 * process that must not be dumped belongs to root, and any process can ask for that.
 */
export function identify(pid: string): Identity | null {
  const text = orGone(() => readFileSync(`/proc/${pid}/status`, "utf8"));
  const parent = /^PPid:\t(\d+)$/m.exec(text ?? "")?.[1];
  const users = /^Uid:\t(\d+\t\d+\t\d+\t\d+)$/m.exec(text ?? "")?.[1];
  return parent === undefined || users === undefined ? null : { parent, users: users.split("\t").map(Number) };
}

/** Returns the name of a process's program, also of one that was replaced on disk since; empty if it is not known. */
export function programName(pid: string): string {
  return basename((orGone(() => readlinkSync(`/proc/${pid}/exe`)) ?? "").replace(/ \(deleted\)$/, ""));
}

/** Returns the device and inode of a process's program; null if it has ended. */
export function programId(pid: string): string | null {
  const found = orGone(() => statSync(`/proc/${pid}/exe`, { bigint: true }));
  return found === undefined ? null : `${found.dev}:${found.ino}`;
}

/** Returns the title that a process gave itself, or its program's first argument. */
export function processTitle(pid: string): string {
  return (orGone(() => readFileSync(`/proc/${pid}/cmdline`, "utf8")) ?? "").replace(/\0[^]*/, "").trimEnd();
}

export function hasChildren(pid: string): boolean {
  return (orGone(() => readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8")) ?? "") !== "";
}

/** Reads the line of cgroup v2 in proc(5) cgroup: "0::/system.slice/ssh.service". Null if there is none. */
export function cgroupPathOf(pid: string): string | null {
  const text = orGone(() => readFileSync(`/proc/${pid}/cgroup`, "utf8")) ?? "";
  // The process still has the name of a cgroup that was removed under it.
  return /^0::(\/.*)$/m.exec(text)?.[1]?.replace(/ \(deleted\)$/, "") ?? null;
}

/** The inodes of the sockets that processes have open, by process. */
export type OpenSockets = ReadonlyMap<string, ReadonlySet<string>>;

/**
 * Reads the descriptors of processes until the search's time is over. The groups take turns: one with more descriptors
 * than can be read delays only itself.
 */
export async function readOpenSockets(groups: readonly (readonly string[])[], search: Search): Promise<OpenSockets> {
  const found = new Map<string, Set<string>>();
  let active = groups.map((pids) => descriptorsOf(pids));
  try {
    while (active.length > 0 && search.isComplete) {
      const ended = new Set<unknown>();
      for (const reading of active) if (await readSlice(reading, found, search)) ended.add(reading);
      active = active.filter((reading) => !ended.has(reading));
    }
  } finally {
    for (const reading of active) reading.return();
  }
  return found;
}

/** Returns whether it was the last one of this group. */
async function readSlice(
  reading: Generator<Descriptor, void>,
  found: Map<string, Set<string>>,
  search: Search,
): Promise<boolean> {
  for (let count = 0; count < SLICE && (await search.goesOn()); count += 1) {
    const next = reading.next();
    if (next.done === true) return true;
    const { pid, socket } = next.value;
    if (socket !== null) found.set(pid, (found.get(pid) ?? new Set()).add(socket));
  }
  return false;
}

interface Descriptor {
  readonly pid: string;
  /** The inode of the socket that it is; null if it is none. */
  readonly socket: string | null;
}

/** Yields each descriptor of each process; none of a process that has ended, or is another user's. */
function* descriptorsOf(pids: readonly string[]): Generator<Descriptor, void> {
  for (const pid of pids) {
    const folder = `/proc/${pid}/fd`;
    const open = orGone(() => opendirSync(folder));
    if (open === undefined) continue;
    try {
      for (let entry = orGone(() => open.readSync()); entry; entry = orGone(() => open.readSync())) {
        const { name } = entry;
        const target = orGone(() => readlinkSync(`${folder}/${name}`)) ?? "";
        yield { pid, socket: /^socket:\[(\d+)\]$/.exec(target)?.[1] ?? null };
      }
    } finally {
      open.closeSync();
    }
  }
}

/**
 * Returns the result of reading a process; undefined if it has just ended or cannot be read. Whatever a process does, such
 * as opening a file with a path longer than PATH_MAX, must not hide the others.
 */
function orGone<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof Error && "code" in error) return undefined;
    throw error;
  }
}
