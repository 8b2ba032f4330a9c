/**
 * `npm run bench`: the figures of docs/benchmarks.md. Each measurement is interleaved with its peer
 * in the same run, and told as a ratio of medians with the spread (first to third quartile), since
 * machines differ and are noisy. `npm run bench -- NAME…` runs some of them.
 */
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import { pause, waitUntil } from "../../dist/test/wait.js";
import { atEnd, makeCgroup, run } from "./arena.mjs";
import { benchApply, benchChange } from "./change.mjs";
import { benchConnections } from "./connections.mjs";
import { measureEndpoints } from "./endpoints.mjs";
import { measureFanOut } from "./fanout.mjs";
import { benchNetworkSet } from "./network-set.mjs";
import { benchPrograms } from "./programs.mjs";
import { compare, head, quantile, row, skip, spread } from "./report.mjs";
import { benchIdentity } from "./identity.mjs";
import { benchShadow } from "./shadow.mjs";
import { benchTraffic } from "./traffic.mjs";
import { measureUndo } from "./undo.mjs";

const root = join(import.meta.dirname, "../..");
const ztap = join(root, "bin/ztap");
const folder = mkdtempSync(join(tmpdir(), `ztap-bench-${process.pid}-`));
atEnd(() => rmSync(folder, { recursive: true, force: true }));
const isRoot = process.geteuid() === 0;
const onlyNames = process.argv.slice(2);

/** A policy repository of `count` objects: nine workloads to one policy, a hundred objects to a file. */
function makeRepository(count) {
  const dir = join(folder, `repo-${count}`);
  mkdirSync(dir);
  for (let file = 0; file * 100 < count; file += 1) {
    const documents = Array.from({ length: 100 }, (_, index) => documentOf(file * 100 + index));
    writeFileSync(join(dir, `objects-${String(file).padStart(4, "0")}.yaml`), documents.join("---\n"));
  }
  const git = (...args) =>
    run("git", ["-C", dir, "-c", "user.name=Bench", "-c", "user.email=bench@example.com", ...args]);
  git("init", "--quiet", "--initial-branch=main");
  git("add", ".");
  git("commit", "--quiet", "--message", "bench");
  return dir;
}

function documentOf(index) {
  if (index % 10 !== 0) {
    return `apiVersion: ztap/v1
kind: Workload
metadata:
  name: w${index}
  labels: { app: a${index % 500}, tier: t${index % 7} }
spec:
  node: n${index % 100}
  cgroup: bench/w${index}
  addresses: [10.${(index >> 16) & 255}.${(index >> 8) & 255}.${index & 255}]
  ports: [{ name: http, port: 8080 }]
`;
  }
  return `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: p${index}
spec:
  podSelector: { matchLabels: { app: a${(index + 1) % 500} } }
  policyTypes: [Ingress]
  ingress:
    - from:
        - podSelector: { matchLabels: { app: a${(index + 2) % 500} } }
        - ipBlock: { cidr: 192.168.${index & 255}.0/24 }
      ports: [{ protocol: TCP, port: http }, { protocol: TCP, port: 9090 }]
`;
}

async function benchStart() {
  await compare(
    "`ztap version`",
    31,
    () => run(ztap, ["version"]),
    "`node -e 0`",
    () => run(process.execPath, ["-e", "0"]),
  );
  await compare(
    "`ztap --help`",
    31,
    () => run(ztap, ["--help"]),
    "`node -e 0`",
    () => run(process.execPath, ["-e", "0"]),
  );
}

async function benchPlan(count) {
  const dir = makeRepository(count);
  const env = {
    ...process.env,
    ZTAP_STORE: `file:${join(folder, `store-${count}`)}`,
    ZTAP_STATE_DIR: join(folder, "state"),
  };
  const text = readdirSync(dir)
    .filter((name) => name.endsWith(".yaml"))
    .map((name) => readFileSync(join(dir, name), "utf8"));
  const rounds = count > 5000 ? 7 : 15;
  const parse = () => text.forEach((part) => parseAllDocuments(part).forEach((document) => document.toJS()));
  const label = count.toLocaleString("en");
  await compare(
    `\`ztap validate\`, ${label} objects`,
    rounds,
    () => run(ztap, ["validate", dir], { env }),
    "yaml alone, in process",
    parse,
  );
  await compare(
    `\`ztap plan\`, ${label} objects, empty store`,
    rounds,
    () => run(ztap, ["plan", dir, "--json"], { env }),
    "yaml alone, in process",
    parse,
  );
  run(ztap, ["apply", dir, "--auto-approve", "--json"], { env });
  await compare(
    `\`ztap plan\`, ${label} objects, no change`,
    rounds,
    () => run(ztap, ["plan", dir], { env }),
    "yaml alone, in process",
    parse,
  );
}

/** Memory and processor time of an agent that has nothing to do, over a minute. */
async function benchIdle() {
  if (!isRoot) return skip("idle agent", "it needs root");
  const name = `ztap-bench-idle-${process.pid}`;
  const pinRoot = `/sys/fs/bpf/${name}`;
  const cgroup = makeCgroup(`${name}/web`);
  const repo = join(folder, "idle");
  run("cp", ["-r", join(root, "examples/web-to-db"), repo]);
  run("sh", [
    "-c",
    `sed -i "s#ztap-demo/#${name}/#" ${repo}/workloads/*.yaml && cd ${repo} && git init -q -b main && git add . && git -c user.name=B -c user.email=b@example.com commit -qm x`,
  ]);
  const env = {
    ...process.env,
    ZTAP_STORE: `file:${join(folder, "idle-store")}`,
    ZTAP_STATE_DIR: join(folder, "state"),
    ZTAP_PIN_ROOT: pinRoot,
    ZTAP_LISTEN: "off",
  };
  run(ztap, ["apply", repo, "--auto-approve"], { env });
  const unpin = atEnd(() => run(ztap, ["enforcement", "remove", "--auto-approve"], { env }));
  const agent = spawn(ztap, ["agent", "--node", "web-1", "--source", repo], { env, stdio: "ignore" });
  const kill = atEnd(() => agent.kill("SIGKILL"));
  try {
    const status = () =>
      JSON.parse(run(ztap, ["cluster", "status", "--json"], { env })).nodes.find(({ id }) => id === "web-1");
    await waitUntil(status, { is: (node) => node?.enforcedRevision === 1, what: "the first revision" });
    // What its start costs is over by then.
    await pause(10_000);
    // Nanoseconds on a CPU of each of its threads (Documentation/scheduler/sched-stats), and ticks of the git that it ran.
    const milliseconds = () => {
      const threads = readdirSync(`/proc/${agent.pid}/task`).map((id) =>
        Number(readFileSync(`/proc/${agent.pid}/task/${id}/schedstat`, "utf8").split(" ")[0]),
      );
      const children = readFileSync(`/proc/${agent.pid}/stat`, "utf8").split(") ")[1].split(" ").slice(13, 15);
      const sum = (numbers) => numbers.reduce((total, one) => total + Number(one), 0);
      return sum(threads) / 1e6 + sum(children) * 10;
    };
    const before = milliseconds();
    const seconds = 60;
    await pause(seconds * 1000);
    const cores = (milliseconds() - before) / 1000 / seconds;
    const [, kib] = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${agent.pid}/status`, "utf8"));
    row("idle agent, resident memory", `${(kib / 1024).toFixed(0)} MiB`, "—", "—");
    row("idle agent, processor (with its git)", `${cores.toFixed(4)} cores`, "—", "—");
  } finally {
    const ended = new Promise((resolve) => agent.once("exit", resolve));
    agent.kill("SIGTERM");
    await ended;
    kill();
    unpin();
    cgroup.end();
  }
}

/** From a commit to the last of a hundred followers' answer. */
async function benchFanOut() {
  await measureFanOut(200, (own, plain) => {
    const p99 = (values) => quantile(values, 0.99).toFixed(1);
    const ratio = (q) => (quantile(own, q) / quantile(plain, q)).toFixed(2);
    console.log(
      `| commit to the last of 100 followers, etcd | ${spread(own)} | plain etcd3 watch: ${spread(plain)} | ${ratio(0.5)} |`,
    );
    console.log(`| the same, 99th percentile | ${p99(own)} | ${p99(plain)} | ${ratio(0.99)} |`);
  });
}

/** From the start of the command to the answer of each of a hundred nodes. */
async function benchUndo() {
  await measureUndo(30, (own, plain) => {
    const p99 = (values) => quantile(values, 0.99).toFixed(1);
    const ratio = (q) => (quantile(own, q) / quantile(plain, q)).toFixed(2);
    console.log(
      `| \`ztap rollout undo\` to each of 100 nodes, etcd | ${spread(own)} | plain etcd3 put and watch: ${spread(plain)} | ${ratio(0.5)} |`,
    );
    console.log(`| the same, 99th percentile | ${p99(own)} | ${p99(plain)} | ${ratio(0.99)} |`);
  });
}

/** From a container's start on one node to its address on another one, and a thousand of them within a minute. */
async function benchEndpoints() {
  await measureEndpoints(200, ({ own, plain, seconds, lost, left, woken }) => {
    const p99 = (values) => quantile(values, 0.99).toFixed(1);
    const ratio = (q) => (quantile(own, q) / quantile(plain, q)).toFixed(2);
    const peer = `plain etcd3 put and watch: ${spread(plain)}`;
    console.log(
      `| container start to rule on another node, 100 nodes, etcd | ${spread(own)} | ${peer} | ${ratio(0.5)} |`,
    );
    console.log(`| the same, 99th percentile | ${p99(own)} | ${p99(plain)} | ${ratio(0.99)} |`);
    const minute = `1,000 containers in ${seconds.toFixed(0)} s: never in force there, left over, runs of the 98 other nodes`;
    console.log(`| ${minute} | ${lost}, ${left}, ${woken} | — | — |`);
  });
}

/** In this order; those that print a table of their own come last. */
const BENCHES = {
  start: benchStart,
  "plan-1000": () => benchPlan(1_000),
  "plan-10000": () => benchPlan(10_000),
  connections: () => benchConnections(ztap, folder),
  apply: () => asRoot("compile and apply", benchApply),
  change: () => asRoot("one-rule change", benchChange),
  sets: () => benchNetworkSet(ztap, folder, isRoot),
  restart: tellRestart,
  idle: benchIdle,
  fanout: benchFanOut,
  undo: benchUndo,
  endpoints: benchEndpoints,
  programs: () => asRoot("cost of the programs", benchPrograms),
  traffic: () => asRoot("added to traffic", benchTraffic),
  identity: () => asRoot("the identity in a SYN", benchIdentity),
  shadow: () => asRoot("the shadow of a coming ruleset", benchShadow),
};

/** The ancestor of ztap published 421 ms to 2 s of open doors at a restart. */
function tellRestart() {
  row("restart: forbidden packets let through", "0", "counted in each `npm test` by `test/kernel/gap.test.ts`", "—");
}

async function asRoot(name, bench) {
  if (isRoot) await bench();
  else skip(name, "it needs root");
}

const unknown = onlyNames.filter((name) => !(name in BENCHES));
if (unknown.length > 0) {
  console.error(`There is no ${unknown.join(", ")}; there are ${Object.keys(BENCHES).join(", ")}.`);
  process.exit(64);
}
head("what", "median ms (quartiles)", "peer, same run", "ratio");
for (const [name, bench] of Object.entries(BENCHES)) {
  if (onlyNames.length === 0 || onlyNames.includes(name)) await bench();
}
