/**
 * Notices cgroups that appear or are made again: watches the nearest existing folder above each of them (inotify works
 * on cgroupfs for folders that a user or a service manager makes). Only a wake-up; the agent's regular check finds
 * changes that are missed here.
 */
import { existsSync, watch, type FSWatcher } from "node:fs";
import { dirname } from "node:path";
import { Notifier } from "../../../interfaces/notifier.js";

/** Largest number of watched folders: the regular check covers the rest. */
const MAX_WATCHES = 1_024;

export class CgroupWatch {
  readonly #watchers = new Map<string, FSWatcher>();
  readonly #notifier = new Notifier();
  #isActive = false;
  #wanted: ReadonlySet<string> = new Set();

  /**
   * Replaces the watched paths.
   * @param paths absolute paths of the workloads' cgroups, existing or not
   */
  update(paths: readonly string[]): void {
    this.#wanted = new Set(paths.map(nearestParent).slice(0, MAX_WATCHES));
    if (this.#isActive) this.#arm();
  }

  async *events(signal: AbortSignal): AsyncIterable<void> {
    this.#isActive = true;
    this.#arm();
    try {
      while (!signal.aborted) {
        if (await this.#notifier.wait(signal)) yield;
      }
    } finally {
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
        const watcher = watch(folder, { persistent: false }, () => this.#notifier.notify());
        watcher.on("error", () => this.#forget(folder));
        this.#watchers.set(folder, watcher);
      } catch (error) {
        // If the folder is gone again, the next run of the loop finds its parent. If the machine has no watches left, the
        // regular check must do: a notification would make the loop run, fail here and run again without a pause.
        if (error instanceof Error && "code" in error && error.code === "ENOENT") this.#notifier.notify();
      }
    }
  }

  #forget(folder: string): void {
    this.#watchers.get(folder)?.close();
    this.#watchers.delete(folder);
    this.#notifier.notify();
  }
}

function nearestParent(path: string): string {
  let folder = dirname(path);
  while (folder !== "/" && !existsSync(folder)) folder = dirname(folder);
  return folder;
}
