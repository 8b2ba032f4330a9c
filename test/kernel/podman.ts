/** A podman of a test's own: its storage, its network namespace, and a pure cgroup v2 as podman wants it. */
import { execFile, spawn, type ChildProcess } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmdirSync, rmSync, symlinkSync, copyFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { findCgroupMount } from "../../src/adapters/system/cgroup-mount.js";
import { waitUntil } from "../wait.js";
import { freezeProcess } from "./freeze.js";

const run = promisify(execFile);
const BUSYBOX = "/bin/busybox";
const PROGRAMS = ["/usr/bin/podman", "/usr/sbin/runc", "/usr/sbin/iptables", BUSYBOX];

/** Returns why podman cannot be tested here; null if it can. */
export function whyNoPodman(): string | null {
  const missing = PROGRAMS.filter((path) => !existsSync(path));
  return missing.length === 0 ? null : `missing: ${missing.join(", ")}; \`sh bin/setup tests\` brings them`;
}

/** A container here may be given no limits that this machine's root has not. */
const LIMITS = ["--pids-limit", "0", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"];

export interface PodmanContainer {
  readonly name: string;
  readonly image: string;
  readonly labels?: Readonly<Record<string, string>>;
  /** Default: the bridge. */
  readonly network?: string;
  /** A static program of this machine, and its arguments, in place of one that sleeps. */
  readonly program?: readonly [path: string, ...args: string[]];
}

export class Podman {
  readonly folder = mkdtempSync(join(tmpdir(), "ztap-podman-"));
  readonly socket = join(this.folder, "podman.sock");
  /** Holds the namespaces. */
  readonly #holder: ChildProcess;
  #service: ChildProcess | null = null;
  #images = new Set<string>();

  constructor() {
    chmodSync(this.folder, 0o700);
    const prepare =
      "umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; ip link set lo up; echo; exec sleep 86400";
    this.#holder = spawn("unshare", ["--mount", "--net", "sh", "-c", prepare], { stdio: ["ignore", "pipe", "ignore"] });
  }

  async start(): Promise<void> {
    await new Promise((resolve) => this.#holder.stdout?.once("data", resolve));
    await this.serve();
  }

  /** Starts the API, also again. */
  async serve(): Promise<void> {
    rmSync(this.socket, { force: true });
    const [command = "", ...args] = this.#command("system", "service", "--time", "0", `unix://${this.socket}`);
    this.#service = spawn(command, args, { stdio: "ignore" });
    await waitUntil(() => existsSync(this.socket), { what: "podman's socket" });
  }

  async stopServing(): Promise<void> {
    const service = this.#service;
    if (service === null || service.exitCode !== null) return;
    const ended = new Promise((resolve) => service.once("exit", resolve));
    service.kill("SIGKILL");
    await ended;
  }

  /** Stops it in the middle of what it does; it keeps its socket. */
  async freeze(): Promise<void> {
    if (this.#service !== null) await freezeProcess(this.#service);
  }

  thaw(): void {
    this.#service?.kill("SIGCONT");
  }

  /** In its network namespace are the bridge and its address. */
  get networkNamespace(): string {
    return `/proc/${this.#holder.pid}/ns/net`;
  }

  async logs(name: string): Promise<string> {
    return this.#podman("logs", name);
  }

  async run({ name, image, labels = {}, network = "podman", program }: PodmanContainer): Promise<void> {
    await this.#import(image);
    const given = Object.entries(labels).flatMap(([key, value]) => ["--label", `${key}=${value}`]);
    const open = ["--security-opt", "seccomp=unconfined", "--network", network];
    const [path, ...args] = program ?? [];
    const mounted = path === undefined ? [] : ["--volume", `${path}:/program:ro`];
    const command = path === undefined ? ["sleep", "86400"] : ["/program", ...args];
    await this.#podman("run", "--detach", "--name", name, ...given, ...LIMITS, ...open, ...mounted, image, ...command);
  }

  async inspect(name: string, format: string): Promise<string> {
    return (await this.#podman("inspect", "--format", format, name)).trim();
  }

  async restart(name: string): Promise<void> {
    await this.#podman("restart", "--time", "0", name);
  }

  async remove(name: string): Promise<void> {
    await this.#podman("rm", "--force", "--time", "0", name);
  }

  async clear(): Promise<void> {
    try {
      // A container whose namespace others share can only be removed after these.
      const removeAll = () => this.#podman("rm", "--force", "--all", "--time", "0");
      await removeAll().catch(removeAll);
    } finally {
      this.thaw();
      await this.stopServing();
      this.#holder.kill("SIGKILL");
      rmSync(this.folder, { recursive: true, force: true });
      // podman leaves its own; another test's may still be in use.
      for (const cgroup of ["libpod_parent/conmon", "libpod_parent"]) removeIfEmpty(join(cgroupRoot(), cgroup));
    }
  }

  async #import(image: string): Promise<void> {
    if (this.#images.has(image)) return;
    const root = join(this.folder, "image");
    if (!existsSync(root)) {
      mkdirSync(join(root, "bin"), { recursive: true });
      copyFileSync(BUSYBOX, join(root, "bin/busybox"));
      symlinkSync("busybox", join(root, "bin/sleep"));
      await run("tar", ["-C", root, "-cf", join(this.folder, "image.tar"), "."]);
    }
    await this.#podman("import", "--quiet", join(this.folder, "image.tar"), image);
    this.#images.add(image);
  }

  async #podman(...args: readonly string[]): Promise<string> {
    const [command = "", ...rest] = this.#command(...args);
    return (await run(command, rest)).stdout;
  }

  #command(...args: readonly string[]): readonly string[] {
    const enter = ["nsenter", "--target", String(this.#holder.pid), "--mount", "--net", "podman"];
    const storage = [
      "--root",
      join(this.folder, "root"),
      "--runroot",
      join(this.folder, "run"),
      "--storage-driver",
      "vfs",
    ];
    const how = ["--cgroup-manager", "cgroupfs", "--runtime", "runc", "--events-backend", "file"];
    return [...enter, ...storage, "--tmpdir", join(this.folder, "tmp"), ...how, ...args];
  }
}

const cgroupRoot = (): string => findCgroupMount()?.point ?? "";

function removeIfEmpty(folder: string): void {
  try {
    rmdirSync(folder);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && ["EBUSY", "ENOTEMPTY", "ENOENT"].includes(String(error.code))))
      throw error;
  }
}
