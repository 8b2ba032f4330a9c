/** What is left of a test that was killed is gone after the next run has begun, and what belongs to the living stays. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { BPFFS, findCgroupRoot } from "../src/adapters/ebpf/kernel/paths.js";
import { whyNot } from "./kernel/sandbox.js";
import { isOver, sweepDead } from "./sweep.js";

/** Makes what tests make, named after itself, starts a program in it, and waits. */
const MAKER = `
  id=zt$$ root=$1 pins=$2 tmp=$3
  ip netns add "\${id}n0a"
  long=$(printf %0200d 0)
  mkdir -p "$root/$id/web" "$pins/ztap-demo-$$/node/maps" "$tmp/ztap-cli-$$-AbCdEf"
  # Together longer than a system call takes.
  (cd "$root/$id" && perl -e 'for (1..25) { mkdir $ARGV[0] and chdir $ARGV[0] or die $! }' "$long")
  (echo 0 > "$root/$id/web/cgroup.procs" && exec sleep 1000) & in_cgroup=$!
  ip netns exec "\${id}n0a" sleep 1000 & in_namespace=$!
  ZTAP_NODE=$id-node sleep 1000 &
  echo "$in_cgroup $in_namespace $!"
  wait`;

interface Made {
  readonly child: ChildProcess;
  readonly paths: readonly string[];
  /** Ids of the programs that were started. */
  readonly pids: readonly string[];
}

async function make(cgroupRoot: string): Promise<Made> {
  const child = spawn("sh", ["-euc", MAKER, "sh", cgroupRoot, BPFFS, tmpdir()], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line]: unknown[] = await once(child.stdout, "data");
  const { pid = 0 } = child;
  const paths = [
    `/run/netns/zt${pid}n0a`,
    join(cgroupRoot, `zt${pid}`),
    join(BPFFS, `ztap-demo-${pid}`),
    join(tmpdir(), `ztap-cli-${pid}-AbCdEf`),
  ];
  return { child, paths, pids: String(line).trim().split(" ") };
}

async function kill({ child }: Made): Promise<void> {
  const exited = once(child, "exit");
  child.kill("SIGKILL");
  await exited;
}

/** What is there of the paths and the programs. */
function left({ paths, pids }: Made): readonly string[] {
  return [...paths.filter((path) => existsSync(path)), ...pids.filter((pid) => !isOver(pid))];
}

t.test("what was left of a killed test is removed", { skip: whyNot() ?? false }, async (t) => {
  const cgroupRoot = findCgroupRoot();
  const [dead, living] = [await make(cgroupRoot), await make(cgroupRoot)];
  const all = [...living.paths, ...living.pids];
  try {
    await kill(dead);
    t.same(left(dead), [...dead.paths, ...dead.pids], "a kill leaves all of it");
    t.ok((await sweepDead()).includes(`zt${dead.child.pid ?? 0}`));
    t.same(left(dead), []);
    t.same(left(living), all, "what belongs to the living stays");
  } finally {
    await kill(living);
    await sweepDead();
  }
  t.same(left(living), []);
});
