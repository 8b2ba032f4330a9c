import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import t from "tap";

/** The generator asks the compiler and bpftool, which only development needs. */
function tool(name: string): boolean {
  try {
    execFileSync(name, ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

const missing = ["clang", "bpftool"].filter((name) => !tool(name));
await t.test(
  "abi.generated.ts equals the output of native/generate.mjs for the header",
  { skip: missing.length > 0 && `needs ${missing.join(", ")}` },
  async (t) => {
    const fresh = execFileSync(process.execPath, ["native/generate.mjs", "--print"], { encoding: "utf8" });
    t.equal(readFileSync("src/adapters/ebpf/kernel/abi.generated.ts", "utf8"), fresh);
  },
);
