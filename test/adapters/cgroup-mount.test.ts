/** The agent in a cgroup namespace of its own: it maps cgroups where it can, and says where it cannot. */
import { spawnSync } from "node:child_process";
import { mkdirSync, rmdirSync } from "node:fs";
import { join, resolve } from "node:path";
import t from "tap";
import { belowMount, cgroupNamespaceProblem, findCgroupMount } from "../../src/adapters/system/cgroup-mount.js";
import { HANG_MS } from "../wait.js";

t.test("a process's cgroup is named from the mount point", async (t) => {
  const below = (root: string, path: string): string | null => belowMount({ point: "/sys/fs/cgroup", root }, path);
  t.equal(below("/", "/"), "");
  t.equal(below("/", "/a/b"), "a/b");
  t.equal(below("/a", "/a"), "");
  t.equal(below("/a", "/a/b"), "b", "a part of the hierarchy is mounted");
  t.equal(below("/a", "/ab"), null, "it is outside");
  t.equal(below("/", "/../b"), null, "it is outside the namespace, and so of the mount");
  t.equal(below("/..", "/"), null, "it has no known name");
  t.equal(below("/..", "/../b"), null);
  t.equal(cgroupNamespaceProblem({ point: "/sys/fs/cgroup", root: "/" }), null);
  t.equal(cgroupNamespaceProblem({ point: "/sys/fs/cgroup", root: "/..a" }), null);
  t.match(cgroupNamespaceProblem({ point: "/sys/fs/cgroup", root: "/../.." }), { detail: /\/sys\/fs\/cgroup shows/ });
});

const mount = process.platform === "linux" ? findCgroupMount() : null;
const skip = mount === null || process.getuid?.() !== 0 ? "needs root and cgroup v2" : false;

t.test("in a cgroup namespace of its own", { skip }, async (t) => {
  const point = mount?.point ?? "";
  const outer = join(point, `zt${process.pid}`);
  const inner = join(outer, "agent");
  mkdirSync(inner, { recursive: true });
  t.teardown(() => {
    rmdirSync(inner);
    rmdirSync(outer);
  });
  const PRINT =
    `import { ProcManagementAccess } from "${resolve("dist/src/adapters/system/management-access.js")}";` +
    `const access = new ProcManagementAccess([], { monotonic: () => 0 });` +
    `console.log(JSON.stringify({ own: access.ownCgroup(), problem: access.problem() }));`;
  const node = ["--input-type=module", "-e", PRINT];
  const ENTER = `echo $$ > "$1/cgroup.procs" && shift && exec "$@"`;
  /** Runs a command in a cgroup of its own. */
  const run = (...command: readonly string[]): string =>
    spawnSync("sh", ["-c", ENTER, "sh", inner, ...command], { encoding: "utf8", timeout: HANG_MS }).stdout;
  const alone = ["unshare", "--cgroup"];
  const checkOf = (text: string): unknown => {
    const { checks }: { checks: readonly { name: string }[] } = JSON.parse(text);
    return checks.find(({ name }) => name === "cgroup namespace");
  };

  const own = `zt${process.pid}/agent`;
  t.same(JSON.parse(run(process.execPath, ...node)), { own, problem: null }, "in the machine's");
  t.match(JSON.parse(run(...alone, process.execPath, ...node)), { own: null, problem: /cgroup namespace of its own/ });
  const remount = `umount "$0" && mount -t cgroup2 none "$0" && exec "$@"`;
  t.same(
    JSON.parse(run(...alone, "--mount", "sh", "-c", remount, point, process.execPath, ...node)),
    { own: "", problem: null },
    "if the mount is of that namespace as well, all names are from its root",
  );
  t.match(checkOf(run("bin/ztap", "doctor", "--json")), { state: "ok" });
  t.match(checkOf(run(...alone, "bin/ztap", "doctor", "--json")), { state: "warning", fix: /--cgroupns=host/ });
});
