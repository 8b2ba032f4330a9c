/** docs/tutorial.md, run from its first command to its last in one shell; what stands below a block is what it prints. */
import { readFileSync, rmSync } from "node:fs";
import { delimiter, join } from "node:path";
import t from "tap";
import { Ztap } from "../cli/ztap.js";
import { Sandbox, whyNot } from "../kernel/sandbox.js";
import { waitUntil } from "../wait.js";

/** Between the outputs of two blocks. */
const MARK = "\u001e";
const reason = whyNot();

/** The test's cgroups have longer names, so that columns are wider; and ages differ. */
const plain = (text: string, cgroups: string): string =>
  text
    .replaceAll(cgroups, "ztap-tutorial")
    .replace(/ +/g, " ")
    .replace(/ \d+ m?s$/gm, " N s");

t.test("the commands of the tutorial give the shown results", reason === null ? {} : { skip: reason }, async (t) => {
  const ztap = new Ztap(t);
  const page = readFileSync(join(ztap.root, "docs/tutorial.md"), "utf8");
  const steps = [...page.matchAll(/^```sh\n(.*?)^```$(?:\n\n^```(?:text|mermaid)\n(.*?)^```$)?/gms)];
  t.ok(steps.length > 10);

  const sandbox = new Sandbox(t);
  const pinRoot = `/sys/fs/bpf/ztap-tutorial-${process.pid}`;
  for (const name of ["web", "db"]) sandbox.cgroup(`tutorial/${name}`);
  const cgroups = sandbox.cgroupPathOf("tutorial");
  const script = steps
    .map(([, commands = ""]) => `${commands}printf '${MARK}'\n`)
    .join("")
    .replaceAll(/(?<!~\/|HOME\/)ztap-tutorial/g, cgroups)
    .replaceAll("/sys/fs/bpf/ztap/", `${pinRoot}/`);
  const identity = Object.fromEntries(
    ["AUTHOR", "COMMITTER"].flatMap((who) => [
      [`GIT_${who}_NAME`, "Ada Lovelace"],
      [`GIT_${who}_EMAIL`, "ada@example.org"],
    ]),
  );
  const path = [join(ztap.root, "bin"), ztap.env["PATH"]].join(delimiter);
  const env = { ...identity, PATH: path, ZTAP_PIN_ROOT: pinRoot };
  // Server, reader and agent are stopped with the shell, wherever that ends.
  const stop = `trap 'status=$?; kill \${db-} \${agent-} \${reader-} 2>&- || :; exit $status' EXIT\n`;
  // The address of the tutorial belongs to a network namespace that ends with the shell.
  const begin = `${stop}ip link set lo up\n`;
  t.teardown(async () => {
    await ztap.run(["enforcement", "remove", "--auto-approve"], { env });
    rmSync(pinRoot, { recursive: true, force: true });
  });
  const shell = ztap.spawn("unshare", ["--net", "sh", "-euc", begin + script], { env, isScript: true });
  await waitUntil(() => shell.isOver, { what: "the tutorial's end" });
  const { code, stdout, stderr } = await shell.ended;
  const printed = stdout.split(MARK);
  t.equal(code, 0, `after ${printed.length - 1} of ${steps.length} blocks: ${printed.at(-1) ?? ""}${stderr}`);
  for (const [index, [, commands = "", output]] of steps.entries())
    if (output !== undefined) t.equal(plain(printed[index] ?? "", cgroups), plain(output, cgroups), commands);
});
