/**
 * Machine: a whole Debian 12 in an emulator, from its own disk, with its own init and kernel. What it writes stays on the disk:
 * a machine whose power is cut comes back with what had reached it.
 *
 * bin/kernels brings the kernels, bin/roots the file tree.
 */
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { connect, type Socket } from "node:net";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { waitUntil, within } from "../wait.js";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const FILES = join(ROOT, "test/hosts/machine");
const EMULATOR = "qemu-system-x86_64";
const BUSYBOX = "/bin/busybox";
const TREE = join(ROOT, ".roots/hosts");
const DISK_BYTES = 4 * 2 ** 30;
const BOOT_MS = 600_000;

/** @returns why such a machine cannot be booted here, or null */
export function whyNoMachine(series: string): string | null {
  if (process.getuid?.() !== 0) return "needs root";
  if (!existsSync(join(ROOT, ".kernels", series, "version")))
    return `needs .kernels/${series}, which bin/kernels could not bring`;
  if (!existsSync(join(TREE, "sbin/init"))) return "needs .roots/hosts, which bin/roots could not bring";
  if (!existsSync(BUSYBOX)) return `needs ${BUSYBOX} (busybox-static)`;
  try {
    execFileSync(EMULATOR, ["--version"], { stdio: "ignore" });
    execFileSync("mke2fs", ["-V"], { stdio: "ignore" });
  } catch {
    return `needs ${EMULATOR} and mke2fs`;
  }
  return null;
}

/** A file of the machine, by its path below the root of its file tree. */
export type Files = Readonly<Record<string, string>>;

export interface MachineOptions {
  readonly series: string;
  /** An empty folder, for the disk and the console. */
  readonly folder: string;
  /** Units that the machine starts at boot, with all that they need. */
  readonly files: Files;
  /** Those of the files that are units to be started by multi-user.target. */
  readonly units: readonly string[];
  /** A folder of this machine, which the guest sees below /mnt. */
  readonly share: string;
}

export class Machine {
  readonly #options: MachineOptions;
  readonly #disk: string;
  readonly #initrd: string;
  #process: ChildProcess | null = null;
  #shell: Shell | null = null;

  /** Makes the disk. */
  constructor(options: MachineOptions) {
    this.#options = options;
    this.#disk = join(options.folder, "disk");
    this.#initrd = makeInitrd(options);
    makeDisk(options, this.#disk);
  }

  get release(): string {
    return readFileSync(join(ROOT, ".kernels", this.#options.series, "version"), "utf8").trim();
  }

  /** The messages of kernel and init, of all boots. */
  console(): string {
    return readFileSync(join(this.#options.folder, "console"), "utf8");
  }

  /** Switches the machine on, and waits for its shell. */
  async boot(): Promise<void> {
    const { folder, series, share } = this.#options;
    const socket = join(folder, "shell");
    // That of a boot before, whose power was cut.
    rmSync(socket, { force: true });
    const child = spawn(
      EMULATOR,
      [
        ...["-accel", "tcg,thread=single", "-smp", "2", "-m", "1536", "-display", "none", "-monitor", "none"],
        ...["-chardev", `file,id=console,path=${join(folder, "console")},append=on`, "-serial", "chardev:console"],
        ...["-chardev", `socket,id=shell,path=${socket},server=on,wait=off`, "-serial", "chardev:shell"],
        ...["-kernel", join(ROOT, ".kernels", series, "vmlinuz"), "-initrd", this.#initrd],
        ...["-drive", `file=${this.#disk},format=raw,if=virtio`],
        ...["-virtfs", `local,path=${share},mount_tag=share,security_model=none,readonly=on`],
        ...["-append", "console=ttyS0 quiet panic=1 systemd.show_status=0 net.ifnames=0"],
      ],
      { stdio: ["ignore", "ignore", "inherit"] },
    );
    this.#process = child;
    await waitUntil(() => existsSync(socket), { what: "the socket of the emulator" });
    this.#shell = await within(Shell.open(socket), { what: "the shell of the machine", timeoutMs: BOOT_MS });
  }

  /** Runs a command of bash there as root. @returns its output @throws Error with it, where it fails */
  async run(command: string): Promise<string> {
    const { code, output } = await this.try(command);
    if (code !== 0) throw new Error(`${command}: exit code ${code}\n${output}`);
    return output;
  }

  async try(command: string): Promise<{ readonly code: number; readonly output: string }> {
    if (this.#shell === null) throw new TypeError("the machine is off");
    return this.#shell.run(command);
  }

  /** Starts again, as an operator does it. */
  async reboot(): Promise<void> {
    const shell = this.#shell;
    if (shell === null) throw new TypeError("the machine is off");
    await shell.run("systemctl --no-block reboot");
    await within(shell.ready(), { what: "the machine to come back", timeoutMs: BOOT_MS });
  }

  /** Cuts the power. What the machine had not written is lost. */
  async cutPower(): Promise<void> {
    const child = this.#process;
    this.#process = null;
    this.#shell?.close();
    this.#shell = null;
    if (child === null || child.exitCode !== null) return;
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  }
}

/** The other end of test/hosts/machine/shell. */
class Shell {
  readonly #lines: AsyncIterator<string>;

  private constructor(private readonly socket: Socket) {
    this.#lines = createInterface({ input: socket })[Symbol.asyncIterator]();
  }

  static async open(path: string): Promise<Shell> {
    const socket = connect(path);
    await once(socket, "connect");
    const shell = new Shell(socket);
    await shell.ready();
    return shell;
  }

  async ready(): Promise<void> {
    while (!(await this.#next()).endsWith("ready")) continue;
  }

  async run(command: string): Promise<{ readonly code: number; readonly output: string }> {
    this.socket.write(`${Buffer.from(command).toString("base64")}\n`);
    const line = await this.#next();
    const [code = "", output = ""] = line.split(" ");
    if (!/^\d+$/.test(code)) throw new Error(`the machine answered ${JSON.stringify(line)} to ${command}`);
    return { code: Number(code), output: Buffer.from(output, "base64").toString().trimEnd() };
  }

  close(): void {
    this.socket.destroy();
  }

  async #next(): Promise<string> {
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error("the machine went off");
    return value;
  }
}

function makeInitrd({ folder, series }: MachineOptions): string {
  const tree = join(folder, "initrd.d");
  for (const name of ["bin", "dev", "proc", "root"]) mkdirSync(join(tree, name), { recursive: true });
  copyFileSync(BUSYBOX, join(tree, "bin/busybox"));
  copyFileSync(join(FILES, "init"), join(tree, "init"));
  chmodSync(join(tree, "init"), 0o755);
  cpSync(join(ROOT, ".kernels", series, "modules"), join(tree, "modules"), { recursive: true });
  const initrd = join(folder, "initrd");
  const pack = `find . | ${BUSYBOX} cpio -o -H newc 2>/dev/null >"$1"`;
  execFileSync("sh", ["-c", pack, "sh", initrd], { cwd: tree });
  return initrd;
}

function makeDisk({ folder, files, units }: MachineOptions, disk: string): void {
  const tree = join(folder, "tree");
  execFileSync("cp", ["-a", "--reflink=auto", TREE, tree]);
  const own: Files = {
    "usr/local/lib/test-shell": readFileSync(join(FILES, "shell"), "utf8"),
    "etc/systemd/system/test-shell.service": readFileSync(join(FILES, "shell.service"), "utf8"),
    "etc/hostname": "host\n",
    "etc/fstab": "/dev/vda / ext4 defaults 0 0\nshare /mnt 9p trans=virtio,version=9p2000.L,ro,nofail 0 0\n",
    ...files,
  };
  for (const [path, text] of Object.entries(own)) {
    mkdirSync(dirname(join(tree, path)), { recursive: true });
    writeFileSync(join(tree, path), text, { mode: text.startsWith("#!") ? 0o755 : 0o644 });
  }
  const wants = join(tree, "etc/systemd/system/multi-user.target.wants");
  mkdirSync(wants, { recursive: true });
  for (const unit of ["test-shell.service", ...units]) symlinkSync(`../${unit}`, join(wants, unit));
  // Nobody logs in, and the shell of the test is at this line.
  for (const unit of ["serial-getty@ttyS1.service", "serial-getty@ttyS0.service", "getty@tty1.service"])
    symlinkSync("/dev/null", join(tree, "etc/systemd/system", unit));
  writeFileSync(disk, "");
  truncateSync(disk, DISK_BYTES);
  execFileSync("mke2fs", ["-q", "-t", "ext4", "-d", tree, disk]);
  rmSync(tree, { recursive: true });
}
