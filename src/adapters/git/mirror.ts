/**
 * Mirror: a bare repository in the cache that follows one remote. Losing it does no harm: its content comes from the
 * remote, and a broken one is created again. Several processes may share one; only git itself changes it in place.
 */
import { createHash, randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { makeFolder } from "../system/folder.js";
import { withReason } from "../../model/system-error.js";
import { SourceError } from "../../interfaces/source.js";
import { git, gitFailure, globalConfigText, type GitOptions } from "./git.js";
import type { Location } from "./location.js";
import { runRemote } from "./remote.js";

/** Another process that fetches at the same moment holds a ref's lock for milliseconds. */
const ATTEMPTS = 3;
const ATTEMPT_DELAY_MS = 100;

/** How long a remote may delay a command. */
interface Bounds {
  readonly silenceMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

export class Mirror {
  readonly folder: string;
  readonly #location: Location;
  readonly #cacheDir: string;
  readonly #bounds: Bounds;

  constructor(location: Location, cacheDir: string, bounds: Bounds = {}) {
    this.#location = location;
    this.#cacheDir = cacheDir;
    this.#bounds = bounds;
    this.folder = join(cacheDir, `${createHash("sha256").update(location.url).digest("hex").slice(0, 24)}.git`);
  }

  /** The options of commands in the mirror. */
  get options(): GitOptions {
    return { ...this.#network, folder: this.folder };
  }

  /**
   * Returns the remote's object ids for these exact ref names.
   * @throws SourceError
   */
  async listRemote(names: readonly string[]): Promise<ReadonlyMap<string, string>> {
    await this.#prepare();
    // Runs outside the mirror, so that a broken mirror is not mistaken for an unreachable remote.
    const answer = await runRemote(this.#network, [
      "ls-remote",
      "--quiet",
      "--end-of-options",
      this.#location.url,
      ...names,
    ]).catch((error: unknown) => {
      const { shown, meant } = this.#location;
      // A path that does not exist may be a host, written without a scheme.
      if (meant !== undefined && !existsSync(shown))
        throw new SourceError("source-not-found", `there is no ${shown} on this machine; did you mean ${meant}?`);
      throw gitFailure(error, `${shown} cannot be reached`, "source-unreachable");
    });
    const wanted = new Set(names);
    const found = answer.split("\n").map((line) => line.split("\t"));
    return new Map(found.flatMap(([id = "", name = ""]) => (wanted.has(name) ? [[name, id] as const] : [])));
  }

  /**
   * Fetches these refs, or all branches and tags, into the mirror. If the remote answers but the mirror still fails
   * after some attempts, the mirror is created again, once.
   */
  async fetch(refspecs: readonly string[]): Promise<void> {
    for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
      try {
        await this.#ensure();
        return await this.#fetchInto(this.options, refspecs);
      } catch (error) {
        const failure = gitFailure(error, `${this.#location.shown} could not be fetched`, "git-failed");
        if (failure.code !== "git-failed") throw failure;
        // Listing costs one round trip and distinguishes an unreachable remote from a broken mirror.
        await this.listRemote(["HEAD"]);
        if (attempt < ATTEMPTS) await pause(ATTEMPT_DELAY_MS * attempt);
      }
    }
    await this.rebuild(refspecs);
  }

  /** Creates the mirror again beside the old one and replaces it. */
  async rebuild(refspecs: readonly string[]): Promise<void> {
    const fresh = await this.#make();
    try {
      await this.#fetchInto({ ...this.options, folder: fresh }, refspecs);
      await this.#install(fresh);
    } catch (error) {
      await rm(fresh, { recursive: true, force: true });
      throw gitFailure(error, `${this.#location.shown} could not be fetched`, "git-failed");
    }
  }

  async #fetchInto(options: GitOptions, refspecs: readonly string[]): Promise<void> {
    await runRemote(options, [
      "fetch",
      "--force",
      "--no-tags",
      "--no-write-fetch-head",
      "--no-recurse-submodules",
      "--progress",
      "--end-of-options",
      this.#location.url,
      ...refspecs,
    ]);
  }

  /** Creates the mirror, still without objects. Safe if two processes do it at once. */
  async #ensure(): Promise<void> {
    await this.#prepare();
    if ((await stat(this.folder).catch(() => null)) !== null) return;
    const fresh = await this.#make();
    // This fails if another process was first; its mirror, which it may be using, is equivalent.
    await rename(fresh, this.folder).catch(() => rm(fresh, { recursive: true, force: true }));
  }

  async #make(): Promise<string> {
    const fresh = join(this.#cacheDir, `.new-${randomBytes(8).toString("hex")}`);
    try {
      await this.#prepare();
      await mkdir(fresh, { mode: 0o700 });
      // Garbage collection ends before the command does, so that no process outlives us.
      const init = git({ ...this.#network, folder: fresh });
      await init.raw(["init", "--quiet", "--bare", "--template=", "--initial-branch=main", "."]);
      await init.raw(["config", "gc.autoDetach", "false"]);
      return fresh;
    } catch (error) {
      await rm(fresh, { recursive: true, force: true });
      throw gitFailure(error, `the mirror in ${this.#cacheDir} could not be made`, "git-failed");
    }
  }

  /** A folder cannot replace another in one step, so that the old one is moved aside first. */
  async #install(fresh: string): Promise<void> {
    const aside = join(this.#cacheDir, `.old-${randomBytes(8).toString("hex")}`);
    await rename(this.folder, aside).catch(() => undefined);
    await rename(fresh, this.folder).catch(async (error: unknown) => {
      await rm(fresh, { recursive: true, force: true });
      // Another process has just installed its own, which is equivalent.
      if ((await stat(this.folder).catch(() => null)) === null) {
        throw new SourceError("git-failed", `the mirror in ${this.#cacheDir} could not be put in place`, {
          cause: error,
        });
      }
    });
    await rm(aside, { recursive: true, force: true });
  }

  get #network(): GitOptions {
    return {
      folder: this.#cacheDir,
      alone: true,
      ...(this.#bounds.silenceMs === undefined ? {} : { silenceMs: this.#bounds.silenceMs }),
      ...(this.#bounds.signal === undefined ? {} : { signal: this.#bounds.signal }),
      ...(this.#location.local ? { globalConfig: this.#globalConfig } : {}),
      ...(this.#location.credential === null ? {} : { credentialFile: this.#credentialFile }),
    };
  }

  get #globalConfig(): string {
    return join(this.#cacheDir, "global-config");
  }

  get #credentialFile(): string {
    return `${this.folder}-credential`;
  }

  /**
   * Prepares the folder and the files for git's commands. The password is in a file that only its owner can read, never
   * on a command line. git empties the file when the remote refuses the password, so that it is written each time.
   */
  async #prepare(): Promise<void> {
    try {
      makeFolder(this.#cacheDir, 0o700);
      if (this.#location.local) await replaceFile(this.#globalConfig, globalConfigText());
      if (this.#location.credential !== null) await replaceFile(this.#credentialFile, `${this.#location.credential}\n`);
    } catch (error) {
      const message = withReason(`the cache folder ${this.#cacheDir} cannot be written`, error);
      throw new SourceError("git-failed", message, { cause: error });
    }
  }
}

/** Replaces a file: a process that reads it sees the old text or the new one. */
async function replaceFile(path: string, text: string): Promise<void> {
  const fresh = `${path}.${randomBytes(8).toString("hex")}`;
  await writeFile(fresh, text, { mode: 0o600 });
  await rename(fresh, path);
}
