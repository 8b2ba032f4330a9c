import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import t from "tap";
import { HANG_MS } from "../wait.js";

t.test("bin/node finds the machine's Node.js, even if its own folder comes first in PATH", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), `ztap-node-${process.pid}-`));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const bin = join(folder, "bin");
  mkdirSync(bin);
  copyFileSync("bin/node", join(bin, "node"));
  const PATH = [bin, bin, dirname(process.execPath), "/usr/bin", "/bin"].join(":");
  const found = execFileSync(join(bin, "node"), ["-p", "process.execPath"], {
    env: { PATH },
    encoding: "utf8",
    timeout: HANG_MS,
  });
  t.equal(found.trim(), process.execPath);
});
