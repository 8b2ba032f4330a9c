/**
 * `npm run bench`: the figures of docs/benchmarks.md. Each measurement is interleaved with its peer
 * in the same run, and told as a ratio of medians with the spread (first to third quartile), since
 * machines differ and are noisy. `npm run bench -- NAME…` runs some of them.
 */
import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, rmdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import { compile } from "../../dist/src/policy/compile.js";
import { readManifests } from "../../dist/src/manifest/read.js";
import { EbpfEnforcer } from "../../dist/src/adapters/ebpf/enforcer.js";
import { removeEnforcement } from "../../dist/src/adapters/ebpf/remove.js";
import { measureFanOut } from "./fanout.mjs";
import { findCgroupRoot } from "../../dist/src/adapters/ebpf/paths.js";

const root = join(import.meta.dirname, "../..");
const ztap = join(root, "bin/ztap");
const folder = mkdtempSync(join(tmpdir(), "ztap-bench-"));
const quiet = { debug() {}, info() {}, warn() {}, error() {} };
const isRoot = process.geteuid() === 0;
const onlyNames = process.argv.slice(2);

const quantile = (values, q) =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * q))];
const spread = (values) =>
  `${quantile(values, 0.5).toFixed(1)} (${quantile(values, 0.25).toFixed(1)}–${quantile(values, 0.75).toFixed(1)})`;

async function timed(work) {
  const from = performance.now();
  await work();
  return performance.now() - from;
}

/** Runs subject and peer in turn; prints medians in ms with their spread, and the ratio of the medians. */
async function compare(name, rounds, subject, peerName, peer) {
  const own = [];
  const other = [];
  for (let round = 0; round < rounds; round += 1) {
    own.push(await timed(subject));
    if (peer) other.push(await timed(peer));
  }
  const ratio = peer ? (quantile(own, 0.5) / quantile(other, 0.5)).toFixed(2) : "—";
  console.log(`| ${name} | ${spread(own)} | ${peer ? `${peerName}: ${spread(other)}` : "—"} | ${ratio} |`);
}

function run(program, args, options = {}) {
  const result = spawnSync(program, args, { encoding: "utf8", maxBuffer: 2 ** 28, ...options });
  if (result.error) throw result.error;
  if (result.status !== 0)
    throw new Error(`${program} ${args.join(" ")}: ${result.status}\n${result.stderr.slice(0, 2000)}`);
  return result.stdout;
}

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

/** One workload with many rules, each another block and port. */
function rulesState(rules, port) {
  const blocks = Array.from(
    { length: rules },
    (_, index) => `
    - from: [{ ipBlock: { cidr: 10.${index >> 8}.${index & 255}.0/24 } }]
      ports: [{ protocol: TCP, port: ${port + (index % 100)} }]`,
  ).join("");
  const text = `apiVersion: ztap/v1
kind: Workload
metadata: { name: w }
spec: { node: bench, cgroup: ztap-bench-${process.pid}/w, addresses: [10.99.0.1] }
---
apiVersion: ztap/v1
kind: NetworkPolicy
metadata: { name: p }
spec:
  podSelector: {}
  ingress:${blocks}
`;
  return readManifests([{ path: "bench.yaml", text, blobId: `${rules}-${port}` }]).objects;
}

const nftRules = (rules, port) => `flush ruleset
table inet bench { set allowed { type ipv4_addr . inet_service; flags interval; elements = {
${Array.from({ length: rules }, (_, index) => `10.${index >> 8}.${index & 255}.0/24 . ${port + (index % 100)}`).join(",\n")} } }
  chain input { type filter hook input priority 0
    ip saddr . tcp dport @allowed accept
  }
}
`;

async function benchApply() {
  if (!isRoot) return skip("compile and apply", "it needs root");
  const cgroup = join(findCgroupRoot(), `ztap-bench-${process.pid}`);
  mkdirSync(join(cgroup, "w"), { recursive: true });
  const pinRoot = `/sys/fs/bpf/ztap-bench-${process.pid}`;
  const enforcer = new EbpfEnforcer({ node: "bench", pinRoot, logger: quiet });
  await enforcer.open();
  const namespace = `ztap-bench-${process.pid}`;
  const hasNft =
    spawnSync("nft", ["--version"]).status === 0 && spawnSync("ip", ["netns", "add", namespace]).status === 0;
  try {
    for (const rules of [100, 2500]) {
      const states = [rulesState(rules, 1000), rulesState(rules, 3000)];
      let turn = 0;
      const apply = async () => {
        const ruleset = compile(states[(turn += 1) % 2], "bench");
        await enforcer.apply(ruleset);
      };
      for (let warm = 0; warm < 4; warm += 1) await apply();
      const scripts = [1000, 3000].map((port, index) => {
        const file = join(folder, `nft-${index}`);
        writeFileSync(file, nftRules(rules, port));
        return file;
      });
      const peer = hasNft ? () => run("ip", ["netns", "exec", namespace, "nft", "-f", scripts[turn % 2]]) : undefined;
      await compare(
        `compile and apply ${rules.toLocaleString("en")} rules, all of them changed`,
        15,
        apply,
        "`nft -f`, set of the same",
        peer,
      );
    }
    if (!hasNft) skip("the peer nft", "nftables is not installed");
  } finally {
    await enforcer.close();
    removeEnforcement({ pinRoot });
    if (hasNft) run("ip", ["netns", "del", namespace]);
    rmdirSync(join(cgroup, "w"));
    rmdirSync(cgroup);
  }
}

/** Memory and processor time of an agent that has nothing to do, over a minute. */
async function benchIdle() {
  if (!isRoot) return skip("idle agent", "it needs root");
  const name = `ztap-bench-idle-${process.pid}`;
  const pinRoot = `/sys/fs/bpf/${name}`;
  const cgroup = join(findCgroupRoot(), name);
  mkdirSync(join(cgroup, "web"), { recursive: true });
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
  const agent = spawn(ztap, ["agent", "--node", "web-1", "--source", repo], { env, stdio: "ignore" });
  try {
    const status = () =>
      JSON.parse(run(ztap, ["cluster", "status", "--json"], { env })).nodes.find(({ id }) => id === "web-1");
    while (status()?.enforcedRevision !== 1) await new Promise((resolve) => setTimeout(resolve, 100));
    await new Promise((resolve) => setTimeout(resolve, 10_000));
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
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
    const cores = (milliseconds() - before) / 1000 / seconds;
    const [, kib] = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${agent.pid}/status`, "utf8"));
    console.log(`| idle agent, resident memory | ${(kib / 1024).toFixed(0)} MiB | — | — |`);
    console.log(`| idle agent, processor (with its git) | ${cores.toFixed(4)} cores | — | — |`);
  } finally {
    const ended = new Promise((resolve) => agent.once("exit", resolve));
    agent.kill("SIGTERM");
    await ended;
    run(ztap, ["enforcement", "remove", "--auto-approve"], { env });
    rmdirSync(join(cgroup, "web"));
    rmdirSync(cgroup);
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

function skip(name, reason) {
  console.log(`| ${name} | skipped: ${reason} | — | — |`);
}

const BENCHES = {
  start: benchStart,
  "plan-1000": () => benchPlan(1_000),
  "plan-10000": () => benchPlan(10_000),
  apply: benchApply,
  idle: benchIdle,
  fanout: benchFanOut,
};

try {
  console.log("| what | median ms (quartiles) | peer, same run | ratio |\n| --- | --- | --- | --- |");
  for (const [name, bench] of Object.entries(BENCHES)) {
    if (onlyNames.length === 0 || onlyNames.includes(name)) await bench();
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
