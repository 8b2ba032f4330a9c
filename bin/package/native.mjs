/** Builds the addon for a machine, with its libraries linked in, and refuses one that needs more than the packages promise. */
import { join } from "node:path";
import { fail, MACHINES, run } from "./project.mjs";

/** glibc's of Debian 11 and Ubuntu 20.04. */
export const OLDEST_GLIBC = "2.31";
/** Of glibc; everything else is linked in. */
const LIBRARIES = /^(libc|libm|libpthread|libdl|ld-linux-(x86-64|aarch64))\.so\.[0-9]+$/;

/** @returns the addon's file */
export function buildNative(project, machine) {
  const { root, packaging } = project;
  const { triple } = MACHINES[machine];
  const sources = join(packaging, "sources");
  const libraries = join(packaging, machine, "static");
  const target = `--target=${triple} --sysroot=${join(packaging, machine, "sysroot")}`;
  const env = { ...process.env, MAKEFLAGS: "", SOURCE_DATE_EPOCH: String(project.epoch) };
  const make = (args) => run("make", ["--no-print-directory", "-j2", ...args], { cwd: root, env });
  make(["-f", "native/static.mk", `PACKAGING=${packaging}`, `MACHINE=${machine}`]);
  const out = join(packaging, machine, "native");
  make([
    ...["-C", "native", `OUT=${out}`, "CXX=clang++"],
    `TARGET_FLAGS=${target} -isystem ${libraries}/include -isystem ${sources}/libbpf/include/uapi`,
    "LIBRARIES=-fuse-ld=lld -static-libstdc++ -static-libgcc -Wl,--exclude-libs,ALL -Wl,--gc-sections -Wl,-z,relro,-z,now " +
      `-Wl,--build-id=sha1 -s ${libraries}/libbpf.a ${libraries}/libelf.a -l:libz.a`,
    `${out}/ztap.node`,
  ]);
  const addon = join(out, "ztap.node");
  checkAddon(addon, machine);
  return addon;
}

/** @returns the eBPF programs, which run on every machine */
export function buildPrograms({ root, packaging }) {
  const out = join(packaging, "programs");
  const env = { ...process.env, MAKEFLAGS: "" };
  run("make", ["--no-print-directory", "-C", "native", `OUT=${out}`, "LLVM_STRIP=llvm-strip", `${out}/ztap.bpf.o`], {
    cwd: root,
    env,
  });
  return join(out, "ztap.bpf.o");
}

function checkAddon(addon, machine) {
  const needed = neededLibraries(addon);
  const foreign = needed.filter((name) => !LIBRARIES.test(name));
  if (foreign.length > 0) fail(`the addon for ${machine} needs ${foreign.join(", ")}`);
  checkGlibc(addon, `the addon for ${machine}`);
}

/** Fails if a file needs a newer glibc than OLDEST_GLIBC. */
export function checkGlibc(file, what) {
  const newer = glibcVersions(file).filter((version) => compare(version, OLDEST_GLIBC) > 0);
  if (newer.length > 0) fail(`${what} needs glibc ${newer.join(", ")}, and ${OLDEST_GLIBC} is promised`);
}

function neededLibraries(file) {
  return [
    ...run("llvm-objdump", ["-p", file])
      .toString()
      .matchAll(/^\s*NEEDED\s+(\S+)/gm),
  ].map(([, name]) => name);
}

/** @returns the versions of glibc's symbols that a file asks for */
export function glibcVersions(file) {
  const text = run("llvm-objdump", ["-p", file]).toString();
  return [...new Set([...text.matchAll(/\bGLIBC_([0-9.]+)/g)].map(([, version]) => version))].sort(compare);
}

function compare(a, b) {
  const [left, right] = [a, b].map((version) => version.split(".").map(Number));
  for (let at = 0; at < Math.max(left.length, right.length); at++) {
    const difference = (left[at] ?? 0) - (right[at] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
