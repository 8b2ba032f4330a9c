/**
 * Guest: another Linux kernel in an emulator, over this machine's files. Test files run there as they run here, each bundled
 * with what it imports: some four hundred modules would be opened one by one through the emulator.
 *
 * bin/kernels brings the kernels. QEMU emulates the processor, since KVM is not everywhere to be had.
 */
import { execFileSync } from "node:child_process";
import { chmodSync, copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildSync } from "esbuild";
import type { Test } from "tap";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const EMULATOR = "qemu-system-x86_64";
const BUSYBOX = "/bin/busybox";
/** In the package systemd, which bin/kernels brings. */
const SYSTEMD = "/lib/systemd/systemd";
/** What the test files start as processes of their own. */
const SCRIPTS = ["actor", "holder", "manager", "mortal"];

/** What the guest's first process is: a script that runs the test files, or systemd, one of whose services does. */
export type FirstProcess = "script" | "systemd";

/** For the kernel's command line. systemd's messages go to the console. */
const OPTIONS: Readonly<Record<FirstProcess, string>> = {
  script: "FIRST=script",
  systemd: "FIRST=systemd systemd.unit=ztap-test.target systemd.log_target=console systemd.show_status=no",
};

export interface Guest {
  readonly release: string;
  readonly command: string;
  readonly args: readonly string[];
  /** The kernel's own messages. */
  console(): string;
}

/** @returns why the kernel of the series (`6.1`) cannot be booted here, or null */
export function whyNoGuest(series: string, first: FirstProcess = "script"): string | null {
  if (process.getuid?.() !== 0) return "needs root";
  if (!existsSync(join(ROOT, ".kernels", series, "version")))
    return `needs .kernels/${series}, which bin/kernels could not bring`;
  if (!existsSync(BUSYBOX)) return `needs ${BUSYBOX} (busybox-static)`;
  if (first === "systemd" && ![SYSTEMD, "/bin/systemctl", "/bin/systemd-run"].every((path) => existsSync(path)))
    return `needs ${SYSTEMD} (systemd)`;
  try {
    execFileSync(EMULATOR, ["--version"], { stdio: "ignore" });
  } catch {
    return `needs ${EMULATOR}`;
  }
  return null;
}

/**
 * @param files names of test files of this folder, without their ending
 * @returns the command whose standard output is the TAP of the files
 */
export function prepareGuest(t: Test, series: string, files: readonly string[], first: FirstProcess = "script"): Guest {
  const kernel = join(ROOT, ".kernels", series);
  const folder = mkdtempSync(join(tmpdir(), "ztap-guest-"));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const initrd = makeInitrd(folder, kernel, files);
  const log = join(folder, "console");
  return {
    release: readFileSync(join(kernel, "version"), "utf8").trim(),
    command: EMULATOR,
    args: [
      ...[
        // One thread for both processors: with one each, a processor may run code that the other is just patching (int3 oops).
        "-accel",
        "tcg,thread=single",
        "-smp",
        "2",
        "-m",
        "2048",
        "-display",
        "none",
        "-monitor",
        "none",
        "-no-reboot",
      ],
      ...["-serial", `file:${log}`, "-serial", "stdio"],
      ...["-kernel", join(kernel, "vmlinuz"), "-initrd", initrd],
      ...["-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap"],
      ...["-append", `console=ttyS0 quiet panic=1 CHECKOUT=${ROOT} FILES=${files.join(",")} ${OPTIONS[first]}`],
    ],
    console: () => readFileSync(log, "utf8"),
  };
}

function makeInitrd(folder: string, kernel: string, files: readonly string[]): string {
  const tree = join(folder, "tree");
  for (const name of ["bin", "proc", "root"]) mkdirSync(join(tree, name), { recursive: true });
  copyFileSync(BUSYBOX, join(tree, "bin/busybox"));
  copyFileSync(join(ROOT, "test/kernel/guest/init"), join(tree, "init"));
  chmodSync(join(tree, "init"), 0o755);
  cpSync(join(kernel, "modules"), join(tree, "modules"), { recursive: true });
  bundle([...files.map((file) => `${file}.test`), ...SCRIPTS], join(tree, "tests"));
  const initrd = join(folder, "initrd");
  execFileSync("sh", ["-c", `find . | ${BUSYBOX} cpio -o -H newc 2>/dev/null >"$1"`, "sh", initrd], { cwd: tree });
  return initrd;
}

/** Modules of this folder, which find their files relative to themselves: guest/init puts them where that is right. */
function bundle(names: readonly string[], outdir: string): void {
  buildSync({
    absWorkingDir: ROOT,
    entryPoints: names.map((name) => `dist/test/kernel/${name}.js`),
    outdir,
    bundle: true,
    splitting: true,
    format: "esm",
    platform: "node",
    target: "node22",
    logLevel: "warning",
    // CommonJS packages inside an ES module bundle still call require.
    banner: {
      js: 'import { createRequire as __createRequire } from "node:module"; const require = __createRequire(import.meta.url);',
    },
  });
}
