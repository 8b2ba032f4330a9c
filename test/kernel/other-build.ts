/**
 * Another build of ztap with another ABI version: the header's numbers and layouts are changed, programs and generated
 * types are made of it anew, and everything else is as it was built here. It has its own ./bin/ztap.
 */
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { Test } from "tap";
import type { EbpfEnforcer, EbpfOptions } from "../../src/adapters/ebpf/enforcer.js";
import { ABI } from "../../src/adapters/ebpf/kernel/abi.generated.js";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const LAYOUT: readonly (readonly [from: RegExp, to: string])[] = [
  // What each map of conversations and of cgroups holds stands elsewhere, or is longer.
  [/(struct ztap_flow_half \{\n)/, "$1\t__u64 other;\n"],
  [/ZTAP_SIZE\(struct ztap_flow_half, .*\n/, ""],
  [/ZTAP_SIZE\(struct ztap_flow, .*\n/, ""],
  [/(struct ztap_flow_key \{[^}]*?)(\t__u8 local\[16\];\n)(\t__u8 remote\[16\];\n)/, "$1$3$2"],
  [/(struct ztap_sock \{[^}]*?__u16 slot;\n)/, "$1\t__u64 other;\n"],
  [/ZTAP_SIZE\(struct ztap_sock, .*\n/, ""],
  [/(struct ztap_cgroup \{[^}]*?)(\t__u32 subject;\n)(\t__u32 level;\n)/, "$1$3$2"],
  [/(\t__u32 ingress_profile;\n)(\t__u32 egress_profile;\n)/, "$2$1"],
];

export interface OtherBuild {
  readonly root: string;
  readonly ztap: string;
  readonly abi: number;
  enforcer(options: EbpfOptions): EbpfEnforcer;
  /** Of a script of the kernel tests. */
  script(name: string): string;
}

/** @param by how many versions later than this one */
export async function buildOther(t: Test, by = 1): Promise<OtherBuild> {
  const abi = ABI.VERSION + by;
  const root = mkdtempSync(join(tmpdir(), "ztap-other-"));
  t.teardown(() => rmSync(root, { recursive: true, force: true }));
  for (const name of ["bin", "native", "schemas", "package.json", "oclif.manifest.json"])
    cpSync(join(ROOT, name), join(root, name), { recursive: true });
  for (const name of ["node_modules", ".node"])
    if (existsSync(join(ROOT, name))) symlinkSync(join(ROOT, name), join(root, name));
  changeHeader(join(root, "native/include/ztap_abi.h"), abi);

  const dist = join(root, "dist");
  mkdirSync(join(dist, "native"), { recursive: true });
  // Where ./bin/ztap looks; the scripts of the tests look for the same at src.
  cpSync(join(ROOT, "dist/src"), join(dist, "cli"), { recursive: true });
  symlinkSync("cli", join(dist, "src"));
  for (const name of ["kernel", "wait.js"])
    cpSync(join(ROOT, "dist/test", name), join(dist, "test", name), { recursive: true });
  cpSync(join(ROOT, "dist/native/ztap.node"), join(dist, "native/ztap.node"));
  execFileSync("make", ["--silent", "-C", join(root, "native"), join(dist, "native/ztap.bpf.o")], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  const types = execFileSync(process.execPath, [join(root, "native/generate.mjs"), "--print"], { encoding: "utf8" });
  const generated = join(dist, "cli/adapters/ebpf/kernel/abi.generated.js");
  writeFileSync(generated, types.replaceAll("} as const;", "};"));

  const path = join(dist, "cli/adapters/ebpf/enforcer.js");
  const { EbpfEnforcer: Other }: { EbpfEnforcer: typeof EbpfEnforcer } = await import(pathToFileURL(path).href);
  return {
    root,
    ztap: join(root, "bin/ztap"),
    abi,
    enforcer: (options) => new Other(options),
    script: (name) => join(dist, "test/kernel", name),
  };
}

function changeHeader(file: string, abi: number): void {
  let text = readFileSync(file, "utf8");
  for (const [from, to] of [...LAYOUT, [/ZTAP_ABI = \d+/, `ZTAP_ABI = ${abi}`] as const]) {
    if (!from.test(text)) throw new Error(`the header has nothing like ${String(from)} any more`);
    text = text.replace(from, to);
  }
  writeFileSync(file, text);
}
