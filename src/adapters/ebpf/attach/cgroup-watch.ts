/**
 * Notices cgroups that appear or are made again: watches the nearest existing folder above each of them (inotify works
 * on cgroupfs for folders that a user or a service manager makes). Only a wake-up; the agent's regular check finds
 * changes that are missed here. Users may make folders in a delegated cgroup as fast as they like: the native part
 * bounds the rate.
 */
import { existsSync } from "node:fs";
import { dirname } from "node:path";
import { Notifier } from "../../../interfaces/notifier.js";
import { openFolderWatch, type FolderWatch } from "../../system/folder-watch.js";
import type { Native } from "../kernel/native.js";

export class CgroupWatch {
  readonly #native: Native;
  readonly #notifier = new Notifier();
  #watch: FolderWatch | null = null;
  #folders: readonly string[] = [];

  constructor(native: Native) {
    this.#native = native;
  }

  /**
   * Replaces the watched paths.
   * @param paths absolute paths of the workloads' cgroups, existing or not
   */
  update(paths: readonly string[]): void {
    this.#folders = [...new Set(paths.map(nearestParent))];
    this.#watch?.update(this.#folders);
  }

  async *events(signal: AbortSignal): AsyncIterable<void> {
    const watch = openFolderWatch(this.#native, this.#notifier);
    this.#watch = watch;
    watch.update(this.#folders);
    try {
      while (!signal.aborted) {
        if (await this.#notifier.wait(signal)) yield;
      }
    } finally {
      this.#watch = null;
      watch.close();
    }
  }
}

function nearestParent(path: string): string {
  let folder = dirname(path);
  while (folder !== "/" && !existsSync(folder)) folder = dirname(folder);
  return folder;
}
