/**
 * Root: a minimal Debian of .roots/ (brought by bin/roots) in which a test installs packages. What it writes is in memory, above an overlay
 * of its own; kernel and cgroups are this machine's, the BPF file system, the mounts and the host name are its own.
 */
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Test } from "tap";
import { Running, type Result } from "../cli/ztap.js";
import { isOver } from "../sweep.js";
import { waitUntil } from "../wait.js";

/** Tests run from dist/test/package. */
export const ROOT = fileURLToPath(new URL("../../..", import.meta.url));

/** @returns why packages cannot be installed into this release of Debian here, or null */
export function whyNoRoot(release: string): string | null {
  if (process.getuid?.() !== 0) return "needs root";
  if (!existsSync(join(ROOT, ".roots", release, "etc/ztap-test")))
    return `needs .roots/${release}, which bin/roots brings`;
  return null;
}

/** Makes the mounts, says that they are made, and keeps them until its input ends. */
const HOLD = `
set -e
mount -t tmpfs -o mode=755 tmpfs "$2"
mkdir "$2/upper" "$2/work" "$2/root"
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$2/root"
mount -t proc proc "$2/root/proc"
mount --rbind /sys "$2/root/sys"
mount -t bpf bpf "$2/root/sys/fs/bpf"
mount --rbind /dev "$2/root/dev"
hostname "$3"
echo ready
cat >/dev/null
`;

export class Root {
  readonly #folder: string;
  readonly #holder: ChildProcess;
  readonly #running = new Set<Running>();

  private constructor(t: Test, release: string, hostname: string, namespace: string | null) {
    // The name says whose it is: test/sweep.ts removes it where the test was killed.
    this.#folder = mkdtempSync(join(tmpdir(), `ztap-root-${process.pid}-`));
    const hold = ["sh", "-c", HOLD, "sh", join(ROOT, ".roots", release), this.#folder, hostname];
    const unshare = ["unshare", "--mount", "--uts", ...hold];
    const [command = "", ...args] =
      namespace === null ? unshare : ["nsenter", `--net=/run/netns/${namespace}`, ...unshare];
    this.#holder = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"] });
    t.teardown(() => this.#end());
  }

  /** @param namespace the network namespace in which it stands; null for this machine's */
  static async open(t: Test, release: string, hostname: string, namespace: string | null = null): Promise<Root> {
    const root = new Root(t, release, hostname, namespace);
    if (root.#holder.stdout === null) throw new TypeError("the holder of the mounts has no output");
    await once(root.#holder.stdout, "data");
    return root;
  }

  #enter(command: readonly string[]): readonly [string, readonly string[]] {
    const inside = [
      "chroot",
      join(this.#folder, "root"),
      "env",
      "-i",
      "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
      "HOME=/root",
    ];
    return [
      "nsenter",
      ["--target", String(this.#holder.pid), "--mount", "--uts", "--net", ...inside, "LC_ALL=C.UTF-8", ...command],
    ];
  }

  /** Runs a script in the root; it ends before this returns. */
  run(script: string): Result {
    const [command, args] = this.#enter(["DEBIAN_FRONTEND=noninteractive", "bash", "-ec", script]);
    const { status, signal, stdout, stderr } = spawnSync(command, args, { encoding: "utf8", input: "" });
    return { code: status, signal, stdout, stderr };
  }

  /** Starts a program that goes on until it is stopped, or the test ends. */
  start(command: readonly string[]): Running {
    const [program, args] = this.#enter(command);
    const running = new Running(spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] }));
    this.#running.add(running);
    return running;
  }

  /** The path at which this machine sees a file of the root. What the overlay shows is changed through it alone. */
  at(path: string): string {
    return join(`/proc/${this.#holder.pid}/root`, this.#folder, "root", path);
  }

  /** Copies a file or folder of this machine into /tmp of the root. @returns its path there */
  copy(file: string): string {
    const path = `/tmp/${basename(file)}`;
    cpSync(file, this.at(path), { recursive: true });
    return path;
  }

  read(path: string): string {
    return readFileSync(this.at(path), "utf8");
  }

  async #end(): Promise<void> {
    for (const one of this.#running) if (!one.isOver) await one.stop("SIGKILL");
    const { pid } = this.#holder;
    this.#holder.kill("SIGKILL");
    await waitUntil(() => pid === undefined || isOver(String(pid)), { what: "the end of the holder of the mounts" });
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
