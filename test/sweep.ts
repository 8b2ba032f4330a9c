/**
 * Takes away what tests, benchmarks and examples left that were killed before their end: processes, network namespaces,
 * cgroups, pins and temporary folders. Everything that they make has the process id of its maker in its name.
 */
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BPFFS, DEFAULT_PIN_ROOT, findCgroupRoot, unpinName } from "../src/adapters/ebpf/kernel/paths.js";
import { removeNodes } from "../src/adapters/ebpf/remove.js";
import { waitUntil } from "./wait.js";

/** `zt123`, `zb123n0a`, `ztap-c123-switch`, `ztap-demo-123`. */
const NAME = /^((?:zt|zb|ztap-c|ztap-(?:demo|bench|bench-idle|foreign|reader|readme|tutorial)-)(\d+))(?!\d)/;
/** As `mkdtemp` makes them: `ztap-cli-123-AbCdEf`, `ztap-c123-AbCdEf`. */
const FOLDER = /^(ztap-(?:c|[a-z]+-)(\d+))-\w{6}$/;
const NAMESPACES = "/run/netns";

/** The part of the name that its maker's other names begin with, too; null where the maker lives, or it is none of ours. */
function deadMaker(name: string): string | null {
  const [, start, pid] = NAME.exec(name) ?? FOLDER.exec(name) ?? [];
  return start !== undefined && pid !== undefined && isOver(pid) ? start : null;
}

/**
 * Needs root. Best effort: another run may be sweeping as well.
 * @returns the names of what was found
 * @throws EnforcerError where no cgroup v2 is mounted
 */
export async function sweepDead(): Promise<readonly string[]> {
  const cgroupRoot = findCgroupRoot();
  const left = {
    nodes: listDead(DEFAULT_PIN_ROOT),
    pinRoots: listDead(BPFFS),
    namespaces: listDead(NAMESPACES),
    cgroups: listDead(cgroupRoot),
    folders: listDead(tmpdir()).filter((name) => FOLDER.test(name)),
  };
  const names = [...new Set(Object.values(left).flat())].sort();
  if (names.length === 0) return [];
  const cgroups = left.cgroups.map((name) => join(cgroupRoot, name));
  await endProcesses([...new Set(names.flatMap((name) => deadMaker(name) ?? []))], left.namespaces, cgroups);
  for (const name of left.nodes) attempt(() => removeNodes({ node: unpinName(name) }));
  for (const name of left.pinRoots) attempt(() => rmSync(join(BPFFS, name), { recursive: true }));
  for (const name of left.namespaces) attempt(() => execFileSync("ip", ["netns", "delete", name], { stdio: "ignore" }));
  for (const path of cgroups) attempt(() => removeCgroup(path));
  for (const name of left.folders) attempt(() => rmSync(join(tmpdir(), name), { recursive: true }));
  return names;
}

function listDead(folder: string): readonly string[] {
  return existsSync(folder) ? readdirSync(folder).filter((name) => deadMaker(name) !== null) : [];
}

/** Those in the namespaces and the cgroups, and those that have a maker's name in their environment: agents on the host. */
async function endProcesses(
  makers: readonly string[],
  namespaces: readonly string[],
  cgroups: readonly string[],
): Promise<void> {
  const named = new RegExp(`\\b(?:${makers.join("|")})(?!\\d)`);
  const pids = [
    ...namespaces.flatMap((name) => words(() => execFileSync("ip", ["netns", "pids", name], { encoding: "utf8" }))),
    ...readdirSync("/proc").filter((pid) =>
      words(() => (/^\d+$/.test(pid) ? readFileSync(`/proc/${pid}/environ`, "utf8") : "")).some((one) =>
        named.test(one),
      ),
    ),
  ];
  // With all cgroups below it.
  for (const path of cgroups) attempt(() => writeFileSync(join(path, "cgroup.kill"), "1"));
  for (const pid of pids) attempt(() => process.kill(Number(pid), "SIGKILL"));
  const isEmpty = (path: string) => words(() => readFileSync(join(path, "cgroup.events"), "utf8"))[1] !== "1";
  await waitUntil(() => pids.every(isOver) && cgroups.every(isEmpty), { what: `the end of ${makers.join(", ")}` });
}

/** A process that nobody has waited for yet is over, too. */
export function isOver(pid: string): boolean {
  const [status = ""] = words(() => readFileSync(`/proc/${pid}/stat`, "utf8").replace(/^.*\) /s, ""));
  return status === "" || status === "Z";
}

/** A test makes cgroups whose paths are longer than a system call takes. */
function removeCgroup(path: string): void {
  execFileSync("find", [path, "-depth", "-type", "d", "-delete"], { stdio: "ignore" });
}

/** What the text is made of; nothing where what it is read from is gone. */
function words(read: () => string): readonly string[] {
  try {
    return read()
      .split(/[\s\0]+/)
      .filter((word) => word !== "");
  } catch {
    return [];
  }
}

function attempt(act: () => unknown): void {
  try {
    act();
  } catch {
    return;
  }
}
