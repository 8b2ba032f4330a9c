/** The commands of docs/etcd.md, run as they stand there, so that the page cannot lie. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { etcdProgram, ROOT } from "../../examples/cluster/etcd.js";
import { HANG_MS } from "../wait.js";

const PAGE = readFileSync(join(ROOT, "docs/etcd.md"), "utf8");

/** The block that begins with "```sh NAME". */
function commands(name: string): string {
  const [, text] = new RegExp(`^\`\`\`sh ${name}\\n(.*?)^\`\`\`$`, "ms").exec(PAGE) ?? [];
  if (text === undefined) throw new Error(`docs/etcd.md has no block of commands named ${name}`);
  return text;
}

/** @throws with what the commands said where one fails */
export function runFromPage(
  name: string,
  variables: Readonly<Record<string, string>>,
  cwd: string,
  change: (text: string) => string = (text) => text,
): void {
  const program = etcdProgram("etcdctl");
  const path = `${program.includes("/") ? `${dirname(program)}:` : ""}${process.env["PATH"] ?? ""}`;
  const { status, stdout, stderr } = spawnSync("sh", ["-eu", "-c", change(commands(name))], {
    cwd,
    encoding: "utf8",
    env: { PATH: path, ETCDCTL_API: "3", ...variables },
    timeout: HANG_MS,
  });
  if (status !== 0) throw new Error(`${name} of docs/etcd.md: ${stdout}${stderr}`);
}
