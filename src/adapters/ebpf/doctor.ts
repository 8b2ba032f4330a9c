/**
 * Doctor: checks one by one the requirements of eBPF enforcement on this machine, and shows how to fix each. It mounts,
 * attaches and pins nothing; to ask the verifier it loads the programs, over maps of their own, and unloads them.
 */
import { existsSync } from "node:fs";
import { release } from "node:os";
import { join } from "node:path";
import type { Check } from "../../model/doctor.js";
import { messageInWords } from "../../model/system-error.js";
import { cgroupNamespaceProblem, findCgroupMount, type CgroupMount } from "../system/cgroup-mount.js";
import { ABI } from "./kernel/abi.generated.js";
import { tryPrograms } from "./kernel/load.js";
import { defaultNativeDir, loadNative, type KernelFeature, type Native } from "./kernel/native.js";
import { missingCapabilities } from "./kernel/privileges.js";
import { BPFFS, findCgroupRoot, unpinName } from "./kernel/paths.js";
import { entriesOf } from "./attach/pins.js";
import { listVersions } from "./upgrade/versions.js";

/** Runs the checks. Later checks that depend on a failed one are left out. */
export function checkKernel(options: { readonly nativeDir?: string }): readonly Check[] {
  const nativeDir = options.nativeDir ?? defaultNativeDir();
  const checks: Check[] = [];
  const check = <T>(
    name: string,
    mend: string,
    look: () => { readonly detail: string; readonly value: T },
  ): T | undefined => {
    try {
      const { detail, value } = look();
      checks.push({ name, state: "ok", detail, fix: null });
      return value;
    } catch (error) {
      checks.push({ name, state: "failed", detail: messageInWords(error), fix: mend });
      return undefined;
    }
  };
  check("Linux", "eBPF is Linux only; --backend none reports and enforces nothing.", () => {
    if (process.platform !== "linux") throw new Error(`this is ${process.platform}`);
    return { detail: "yes", value: true };
  });
  check("eBPF programs", 'Build them: "make -C native".', () => {
    const file = join(nativeDir, "ztap.bpf.o");
    if (!existsSync(file)) throw new Error(`${file} does not exist`);
    return { detail: file, value: true };
  });
  const native = check("eBPF addon and libbpf", 'Install libbpf1 and build the addon: "make -C native".', () => {
    const value = loadNative(nativeDir);
    return { detail: `libbpf ${value.libbpfVersion()}`, value };
  });
  check("cgroup v2", "Mount it: mount -t cgroup2 none /sys/fs/cgroup", () => {
    const value = findCgroupRoot();
    return { detail: value, value };
  });
  const mount = process.platform === "linux" ? findCgroupMount() : null;
  if (mount !== null) checks.push(checkCgroupNamespace(mount));
  if (native !== undefined) checkWithAddon(native, nativeDir, check, (one) => checks.push(one));
  return checks;
}

function checkCgroupNamespace(mount: CgroupMount): Check {
  const name = "cgroup namespace";
  const problem = cgroupNamespaceProblem(mount);
  return problem === null
    ? { name, state: "ok", detail: "cgroups of processes and of workloads have one root", fix: null }
    : { name, state: "warning", ...problem };
}

/** Lists the versions of the kernel tables on this machine. An agent takes over from one that is not this build's. */
export function checkVersions(pinRoot: string): Check {
  const name = "kernel tables";
  try {
    const nodes = entriesOf(pinRoot).map((node) => {
      const abis = listVersions(join(pinRoot, node)).map(
        ({ abi, isRetired }) => `${abi}${isRetired ? " (retired)" : ""}`,
      );
      return `${unpinName(node)} has version ${abis.join(" and ")}`;
    });
    const found = nodes.length === 0 ? "none yet" : nodes.join("; ");
    return { name, state: "ok", detail: `${found}; this build makes version ${ABI.VERSION}`, fix: null };
  } catch (error) {
    return { name, state: "warning", detail: messageInWords(error), fix: "Run as root to see what is pinned." };
  }
}

type Probe = <T>(
  name: string,
  mend: string,
  look: () => { readonly detail: string; readonly value: T },
) => T | undefined;

function checkWithAddon(native: Native, nativeDir: string, check: Probe, add: (check: Check) => void): void {
  const privileged = check("privileges", "Run as root, or with CAP_BPF, CAP_NET_ADMIN and CAP_SYS_ADMIN.", () => {
    const missing = missingCapabilities(native);
    if (missing.length > 0) throw new Error(`missing ${missing.join(", ")}`);
    return { detail: "sufficient", value: true };
  });
  check("BPF file system", `Mount it: mount -t bpf -o mode=0700 bpf ${BPFFS}`, () => {
    if (native.isBpffs(BPFFS)) return { detail: BPFFS, value: true };
    if (existsSync(BPFFS) && privileged === true)
      return { detail: `${BPFFS}: not mounted yet; the agent mounts it`, value: true };
    throw new Error(`${BPFFS} is not a BPF file system`);
  });
  if (privileged !== true) return;
  const features = featureCheck(native.kernelFeatures(), release());
  add(features);
  if (features.state === "failed") return;
  add(securityCheck(native));
  add(hostStackCheck(native));
  check(PROGRAMS_LOAD, REFUSED, () => {
    tryPrograms(native, nativeDir);
    return { detail: "the kernel's verifier accepts them", value: true };
  });
}

const ATTACHMENTS = {
  link: "judged at network interfaces (tcx links, which outlive the agent)",
  filter: "judged at network interfaces (clsact filters, which outlive the agent)",
};

function hostStackCheck(native: Native): Check {
  const name = "ICMP errors and resets";
  const kind = native.interfaceAttachment();
  if (kind !== "none") return { name, state: "ok", detail: ATTACHMENTS[kind], fix: null };
  return {
    name,
    state: "warning",
    detail:
      "this kernel takes no programs at network interfaces: ICMP errors carry data to isolated workloads, and resets tell which " +
      "of their ports are open",
    fix: "Boot a kernel with CONFIG_NET_CLS_ACT, CONFIG_NET_SCH_INGRESS and CONFIG_NET_CLS_BPF, as Debian 12's own.",
  };
}

/** Some kernels take no program that changes the result of a security function. */
function securityCheck(native: Native): Check {
  const name = "sockets of other families";
  if (native.takesSecurityPrograms())
    return { name, state: "ok", detail: "refused to isolated workloads, where they would join two of them", fix: null };
  return {
    name,
    state: "warning",
    detail:
      "this kernel takes no programs at its security functions: isolated workloads of one network namespace can talk by " +
      "abstract Unix addresses, NETLINK_USERSOCK and sockets of other families",
    fix: "Give such workloads network namespaces of their own, or boot a kernel that takes them, as those of Debian 12 do.",
  };
}

/** The name of the check that asks the verifier, on a kernel that has every feature. */
export const PROGRAMS_LOAD = "eBPF programs load";

/** The kernel has every feature, so that another version of it may not help: the programs must be fixed. */
const REFUSED =
  "This kernel has every feature that ztap needs, but refuses a program: please report this as a bug of ztap, " +
  "with these lines. Every change is tested on Linux 6.1 and 6.12 of Debian 12; until it is fixed, boot one of them.";

/** Reports each feature that the kernel lacks, with the release and the build option that provide it. */
export function featureCheck(features: readonly KernelFeature[], release: string): Check {
  const name = "kernel features";
  const lacking = features.filter(({ present }) => !present);
  if (lacking.length === 0)
    return { name, state: "ok", detail: `Linux ${release} has all ${features.length}`, fix: null };
  const detail = lacking.map(
    (one) => `${one.name}, which Linux ${one.since} and later have where built with ${one.option}=y`,
  );
  const options = [...new Set(lacking.map(({ option }) => `${option}=y`))].join(" and ");
  return {
    name,
    state: "failed",
    detail: `Linux ${release} lacks ${detail.join("; ")}`,
    fix: `Boot a kernel that has them: Debian 12's own (linux-image-amd64) does. One of your own needs ${options}.`,
  };
}
