/**
 * Wakes when an entry of a watched folder, or an address of the machine, came or went. Only a wake-up: what is missed here,
 * such as folders beyond the bound, the agent's regular check finds.
 */
import type { Notifier } from "../../interfaces/notifier.js";

/** Largest number of watched folders. */
const MAX_WATCHES = 1_024;

/** The part of the native addon that watches; Handle is what it calls one watch. */
export interface WatchFunctions<Handle> {
  watchOpen(onChange: () => void): Handle;
  watchAdd(watch: Handle, folder: string): number;
  watchRemove(watch: Handle, descriptor: number): void;
  watchClose(watch: Handle): void;
}

export interface FolderWatch {
  /** Replaces the watched folders. */
  update(folders: readonly string[]): void;
  close(): void;
}

/** Opens watches that notify. */
export type OpenFolderWatch = (notifier: Notifier) => FolderWatch;

export function openFolderWatch<Handle>(native: WatchFunctions<Handle>, notifier: Notifier): FolderWatch {
  return new NativeFolderWatch(native, notifier);
}

class NativeFolderWatch<Handle> implements FolderWatch {
  readonly #handle: Handle;
  /** Descriptors by folder. */
  readonly #watched = new Map<string, number>();

  constructor(
    private readonly native: WatchFunctions<Handle>,
    private readonly notifier: Notifier,
  ) {
    this.#handle = native.watchOpen(() => notifier.notify());
  }

  update(folders: readonly string[]): void {
    const wanted = new Set(folders.slice(0, MAX_WATCHES));
    for (const [folder, descriptor] of this.#watched) {
      if (wanted.has(folder)) continue;
      this.native.watchRemove(this.#handle, descriptor);
      this.#watched.delete(folder);
    }
    for (const folder of wanted) this.#add(folder);
  }

  #add(folder: string): void {
    try {
      // Also if it is watched already: a folder that was made again has another watch.
      const descriptor = this.native.watchAdd(this.#handle, folder);
      // Something may have been made in it just before the watch was.
      if (this.#watched.get(folder) !== descriptor) this.notifier.notify();
      this.#watched.set(folder, descriptor);
    } catch (error) {
      this.#watched.delete(folder);
      // A folder that is gone: the next look finds the one above it. Without watches left, the regular check must do.
      if (error instanceof Error && "code" in error && error.code === "ENOENT") this.notifier.notify();
    }
  }

  close(): void {
    this.#watched.clear();
    this.native.watchClose(this.#handle);
  }
}
