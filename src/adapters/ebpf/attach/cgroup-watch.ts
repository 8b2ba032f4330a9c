/**
 * Notices cgroups that appear or are made anew: watches the nearest existing folder above each of
 * them (inotify works on cgroupfs for what is made there by hand or by a service manager). Only a
 * wake-up; the agent's regular check finds what is missed here.
 */
import { existsSync, watch, type FSWatcher } from "node:fs";
import { dirname } from "node:path";

/** More parents than this are not watched: the regular check serves the rest. */
const MAX_WATCHES = 1_024;

export class CgroupWatch {
  readonly #watchers = new Map<string, FSWatcher>();
  #wake: (() => void) | null = null;
  #isActive = false;
  #wanted: ReadonlySet<string> = new Set();

  /** @param paths absolute paths of the workloads' cgroups, there or not */
  update(paths: readonly string[]): void {
    this.#wanted = new Set(paths.map(nearestParent).slice(0, MAX_WATCHES));
    if (this.#isActive) this.#arm();
  }

  async *events(signal: AbortSignal): AsyncIterable<void> {
    this.#isActive = true;
    this.#arm();
    const onAbort = () => this.#wake?.();
    signal.addEventListener("abort", onAbort);
    try {
      while (!signal.aborted) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        if (isRunning(signal)) yield;
      }
    } finally {
      signal.removeEventListener("abort", onAbort);
      this.#isActive = false;
      for (const watcher of this.#watchers.values()) watcher.close();
      this.#watchers.clear();
    }
  }

  #arm(): void {
    for (const [folder, watcher] of this.#watchers) {
      if (this.#wanted.has(folder)) continue;
      watcher.close();
      this.#watchers.delete(folder);
    }
    for (const folder of this.#wanted) {
      if (this.#watchers.has(folder)) continue;
      try {
        const watcher = watch(folder, { persistent: false }, () => this.#wake?.());
        watcher.on("error", () => this.#forget(folder));
        this.#watchers.set(folder, watcher);
      } catch {
        // The folder is gone again, or the machine has no watches left: the regular check finds it.
        this.#wake?.();
      }
    }
  }

  #forget(folder: string): void {
    this.#watchers.get(folder)?.close();
    this.#watchers.delete(folder);
    this.#wake?.();
  }
}

/** Asked through a function, since the answer changes while the loop waits. */
function isRunning(signal: AbortSignal): boolean {
  return !signal.aborted;
}

function nearestParent(path: string): string {
  let folder = dirname(path);
  while (folder !== "/" && !existsSync(folder)) folder = dirname(folder);
  return folder;
}
