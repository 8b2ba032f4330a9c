/**
 * Notices cgroups that appear or are made again: watches the nearest existing folder above each of them (inotify works
 * on cgroupfs for folders that a user or a service manager makes). Only a wake-up; the agent's regular check finds
 * changes that are missed here. Users may make folders in a delegated cgroup as fast as they like: the native part
 * bounds the rate.
 */
import { existsSync } from "node:fs";
import { dirname } from "node:path";
import { Notifier } from "../../../interfaces/notifier.js";
import type { Native, WatchHandle } from "../kernel/native.js";

/** Largest number of watched folders: the regular check covers the rest. */
const MAX_WATCHES = 1_024;

export class CgroupWatch {
  readonly #native: Native;
  /** Descriptors by folder. */
  readonly #watched = new Map<string, number>();
  readonly #notifier = new Notifier();
  #handle: WatchHandle | null = null;
  #wanted: ReadonlySet<string> = new Set();

  constructor(native: Native) {
    this.#native = native;
  }

  /**
   * Replaces the watched paths.
   * @param paths absolute paths of the workloads' cgroups, existing or not
   */
  update(paths: readonly string[]): void {
    this.#wanted = new Set([...new Set(paths.map(nearestParent))].slice(0, MAX_WATCHES));
    if (this.#handle !== null) this.#arm(this.#handle);
  }

  async *events(signal: AbortSignal): AsyncIterable<void> {
    const handle = this.#native.watchOpen(() => this.#notifier.notify());
    this.#handle = handle;
    this.#arm(handle);
    try {
      while (!signal.aborted) {
        if (await this.#notifier.wait(signal)) yield;
      }
    } finally {
      this.#handle = null;
      this.#watched.clear();
      this.#native.watchClose(handle);
    }
  }

  #arm(handle: WatchHandle): void {
    for (const [folder, descriptor] of this.#watched) {
      if (this.#wanted.has(folder)) continue;
      this.#native.watchRemove(handle, descriptor);
      this.#watched.delete(folder);
    }
    for (const folder of this.#wanted) {
      try {
        // Also if it is watched already: a folder that was made again has another watch.
        const descriptor = this.#native.watchAdd(handle, folder);
        // A cgroup may have been made just before the watch was.
        if (this.#watched.get(folder) !== descriptor) this.#notifier.notify();
        this.#watched.set(folder, descriptor);
      } catch (error) {
        // If the folder is gone again, the next run of the loop finds its parent. If the machine has no watches left, the
        // regular check must do: a notification would make the loop run, fail here and run again without a pause.
        if (error instanceof Error && "code" in error && error.code === "ENOENT") this.#notifier.notify();
      }
    }
  }
}

function nearestParent(path: string): string {
  let folder = dirname(path);
  while (folder !== "/" && !existsSync(folder)) folder = dirname(folder);
  return folder;
}
