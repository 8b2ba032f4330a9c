/**
 * The main job, for real: Git repository → plan → apply → agent → kernel. Everything that it makes
 * (a temporary folder, two network namespaces, three cgroups, pinned programs, processes) carries
 * its own process id in the name and is taken away at the end, also after Ctrl-C or a failure.
 */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, rmdirSync, writeFileSync } from "node:fs";
import { cp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CONTROL, PORT_KEY } from "../dist/src/adapters/ebpf/kernel/abi.generated.js";
import * as native from "../dist/src/adapters/ebpf/kernel/native.js";

const root = join(import.meta.dirname, "..");
const id = `ztap-demo-${process.pid}`;
const folder = mkdtempSync(join(tmpdir(), `${id}-`));
const repo = join(folder, "policies");
const pinRoot = `/sys/fs/bpf/${id}`;
const ztap = join(root, "bin/ztap");
const environment = {
  ...process.env,
  ZTAP_CONFIG: "/dev/null",
  ZTAP_STORE: `file:${join(folder, "store")}`,
  ZTAP_STATE_DIR: join(folder, "state"),
  ZTAP_PIN_ROOT: pinRoot,
  ZTAP_LISTEN: "off",
  ZTAP_CHECK_INTERVAL: "2s",
  ZTAP_SOURCE: repo,
  ZTAP_SOURCE_INTERVAL: "1s",
  NO_COLOR: "1",
};
const undo = [];
let step = 0;
let failures = 0;

const colour = process.stdout.isTTY && process.env.NO_COLOR === undefined;
const paint = (code, text) => (colour ? `\u001b[${code}m${text}\u001b[0m` : text);
const title = (text) => console.log(`\n${paint(1, `${(step += 1)}. ${text}`)}`);
const line = (text) => console.log(`   ${text}`);
const command = (text) => line(paint(2, `$ ${text}`));

function run(program, args, options = {}) {
  const result = spawnSync(program, args, { encoding: "utf8", env: environment, ...options });
  if (result.error) throw result.error;
  if (result.status !== 0 && options.allowFailure !== true) {
    throw new Error(`${program} ${args.join(" ")} ended with ${result.status}\n${result.stdout}${result.stderr}`);
  }
  return result;
}
const git = (...args) => run("git", ["-C", repo, "-c", "user.name=Demo", "-c", "user.email=demo@example.com", ...args]).stdout.trim();
const cli = (...args) => run(ztap, args).stdout;
const show = (name) => JSON.parse(cli("policy", "show", name, "--json"));

/** Waits for something that is on its way, and says what did not come. On a busy machine everything takes longer. */
async function until(what, ready, ms = 120_000) {
  for (const end = Date.now() + ms; Date.now() < end; ) {
    const value = await ready();
    if (value) return value;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`waited ${ms / 1000} s in vain: ${what}`);
}

async function prepareRepository() {
  title("A Git repository of policies, from examples/web-to-db");
  await cp(join(root, "examples/web-to-db"), repo, { recursive: true });
  for (const file of globSync(join(repo, "**/*.yaml"))) {
    writeFileSync(file, readFileSync(file, "utf8").replaceAll("ztap-demo/", `${id}/`));
  }
  git("init", "--quiet", "--initial-branch=main");
  git("add", ".");
  git("commit", "--quiet", "--message", "web may reach db on 5432");
  line(`${repo}  main at ${git("rev-parse", "--short=12", "HEAD")}`);
}

function planAndApply() {
  title("What would change, and committing it as revision 1");
  command("ztap plan");
  const plan = cli("plan", repo);
  for (const text of plan.split("\n").filter((text) => /^[+~-] |^Plan:/.test(text))) line(text);
  command("ztap apply --auto-approve");
  line(cli("apply", repo, "--auto-approve").trimEnd().split("\n").at(-1));
}

/** True where the machine can enforce; else says what `ztap doctor` says, and how to mend it. */
function canEnforce() {
  const { stdout } = run(ztap, ["doctor", "--json"], { allowFailure: true });
  const failed = JSON.parse(stdout).checks.filter(({ state }) => state === "failed");
  if (failed.length === 0) return true;
  title("Enforcement cannot be shown on this machine");
  for (const { name, detail, fix } of failed) {
    line(`${paint(31, name)}: ${detail}`);
    if (fix) line(`  → ${fix}`);
  }
  return false;
}

const cgroupRoot = () => /^\S+ \S+ \S+ \S+ (\S+) .* - cgroup2 /m.exec(readFileSync("/proc/self/mountinfo", "utf8"))[1];
const namespaceOf = { web: `${id}-a`, batch: `${id}-a`, db: `${id}-b` };
const DB = "10.77.0.129";
const ADDRESSES = [["10.77.0.1/24", "fd77::1/64"], [`${DB}/24`, "fd77::1:1/64"]];

/** Two hosts: network namespaces with a cable between them. Three workloads: cgroups. web and batch have the address of their host. */
function prepareHosts() {
  const ip = (...args) => run("ip", args);
  const [a, b] = [`${id}-a`, `${id}-b`];
  for (const name of [a, b]) {
    ip("netns", "add", name);
    undo.push(() => run("ip", ["netns", "del", name]));
    ip("-n", name, "link", "set", "lo", "up");
  }
  ip("link", "add", "eth0", "netns", a, "type", "veth", "peer", "name", "eth0", "netns", b);
  for (const [index, name] of [a, b].entries()) {
    for (const address of ADDRESSES[index]) ip("-n", name, "address", "add", address, "dev", "eth0", ...(address.includes(":") ? ["nodad"] : []));
    ip("-n", name, "link", "set", "eth0", "up");
  }
  const parent = join(cgroupRoot(), id);
  for (const path of [parent, ...Object.keys(namespaceOf).map((name) => join(parent, name))]) {
    mkdirSync(path);
    undo.push(() => rmdirSync(path));
  }
}

/** Starts a program in the namespace and cgroup of a workload: it joins both before it runs. */
function spawnIn(workload, script, args, stdio) {
  const procs = join(cgroupRoot(), id, workload, "cgroup.procs");
  // The cgroup first: `ip netns exec` mounts a /sys of its own, without the cgroups.
  const enter = ["-c", 'echo $$ > "$0" && exec "$@"', procs, "ip", "netns", "exec", namespaceOf[workload]];
  return spawn("sh", [...enter, process.execPath, "-e", script, ...args], { stdio });
}

function stopLater(child) {
  const ended = new Promise((resolve) => child.once("exit", resolve));
  undo.push(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGCONT");
    child.kill("SIGTERM");
    await ended;
  });
  return child;
}

const SERVER = `
  const servers = process.argv.slice(1).map((port) => require("net").createServer((socket) => socket.end("hello from db\\n")).listen(Number(port), "::"));
  Promise.all(servers.map((server) => new Promise((done) => server.once("listening", done)))).then(() => console.log("listening"));`;
const CLIENT = `
  const [host, port] = process.argv.slice(1);
  const started = performance.now();
  const tell = (text) => { console.log(text + " after " + Math.round(performance.now() - started) + " ms"); process.exit(); };
  const socket = require("net").connect({ host, port: Number(port) });
  socket.on("data", (data) => tell('connected, "' + String(data).trim() + '"'));
  socket.on("error", (error) => tell("refused, " + error.code));
  setTimeout(() => tell("no answer"), 30_000);`;

async function startServer() {
  const server = stopLater(spawnIn("db", SERVER, ["5432", "8080"], ["ignore", "pipe", "inherit"]));
  await new Promise((resolve, reject) => {
    server.stdout.once("data", resolve);
    server.once("exit", (code) => reject(new Error(`the server ended with ${code}`)));
  });
}

/** One real connection; what came of it is shown, and compared with what the policy says. */
async function probe(from, port, wanted) {
  const child = spawnIn(from, CLIENT, [DB, String(port)], ["ignore", "pipe", "inherit"]);
  let output = "";
  child.stdout.on("data", (chunk) => (output += chunk));
  await new Promise((resolve) => child.once("close", resolve));
  const isAsWanted = output.startsWith(wanted);
  if (!isAsWanted) failures += 1;
  const shown = `${from.padEnd(5)} → db:${port}  ${output.trim()}`;
  line(isAsWanted ? paint(wanted === "connected" ? 32 : 33, shown) : paint(31, `${shown}  (wanted: ${wanted})`));
}

function startAgent(node) {
  const log = join(folder, `agent-${node}.log`);
  // It reports the addresses of its host. Unlike `ip netns exec`, nsenter leaves /sys as it is.
  const host = `/run/netns/${id}-${node === "web-1" ? "a" : "b"}`;
  const args = [`--net=${host}`, ztap, "agent", "--node", node, "--address", "127.0.0.1:0"];
  const child = spawn("sh", ["-c", 'exec nsenter "$0" "$@" 2>"$LOG"', ...args], {
    env: { ...environment, LOG: log },
    stdio: ["ignore", "ignore", "inherit"],
  });
  return stopLater(child);
}

/** What `ztap workload list` says once every workload is found and enforced, and each node knows those of the other. */
function listFound() {
  const list = cli("workload", "list");
  const found = list.match(/^demo .* 1 +1 +\S+ m?s$/gm) ?? [];
  return found.length === 3 && show("demo/web-to-db").nodes.every(({ state }) => state === "InSync") ? list : null;
}

const inSync = (revision) => {
  const { nodes } = JSON.parse(cli("cluster", "status", "--json"));
  return nodes.length === 2 && nodes.every((node) => node.enforcedRevision === revision);
};

async function enforce() {
  title("Two agents enforce it with eBPF; real processes connect");
  prepareHosts();
  await startServer();
  line(paint(2, "before any agent runs:"));
  await probe("batch", 5432, "connected");
  command("ztap agent --node web-1 &   ztap agent --node db-1 &");
  const agents = ["web-1", "db-1"].map(startAgent);
  await until("both nodes enforce revision 1", () => inSync(1));
  command("ztap workload list");
  const list = await until("all are found", listFound);
  for (const text of list.trimEnd().split("\n")) line(text);
  await probe("web", 5432, "connected");
  await probe("web", 8080, "refused, EPERM");
  await probe("batch", 5432, "refused, EPERM");
  return agents;
}

async function push() {
  title("A commit changes the policy: 8080 in place of 5432");
  for (const file of globSync(join(repo, "policies/*.yaml"))) {
    writeFileSync(file, readFileSync(file, "utf8").replaceAll("port: 5432", "port: 8080"));
  }
  git("commit", "--quiet", "--all", "--message", "web reaches db on 8080");
  line(`main at ${git("rev-parse", "--short=12", "HEAD")}; the leader polls, commits and both agents enforce`);
  await until("both nodes enforce revision 2", () => inSync(2));
  await probe("web", 8080, "connected");
  await probe("web", 5432, "refused, EPERM");
}

/** What `ztap policy show` says of one policy, node by node. @returns whether anything drifts */
function showDrift(policy) {
  command(`ztap policy show ${policy}`);
  const report = show(policy);
  for (const { node, state, message, drift } of report.nodes) {
    line(`${node.padEnd(6)} ${state.padEnd(8)} ${state === "InSync" && message ? message : ""}`.trimEnd());
    for (const { kind, detail } of drift) line(`       ${kind}: ${detail}`);
  }
  return report.drift;
}

/** What somebody with root could do by accident or on purpose: past the agent, in the kernel. */
function damageNode(node, workload) {
  const { loadNative } = native;
  const addon = loadNative();
  // The tables of one version of their layout; there is no other here.
  const folder = globSync(join(pinRoot, node, "abi-*"))[0];
  const control = addon.openPin(join(folder, "maps/ztap_control"));
  const set = (addon.wordLoad(control, CONTROL.epoch) & 1n) === 1n ? "b" : "a";
  const ports = addon.openPin(join(folder, `maps/ztap_ports_${set}`));
  const { keys, count } = addon.mapRead(ports);
  const size = keys.length / count;
  const entries = Array.from({ length: count }, (_, index) => keys.subarray(index * size, (index + 1) * size));
  const isFor = (port) => (entry) => entry[PORT_KEY.bePort] * 256 + entry[PORT_KEY.bePort + 1] === port;
  addon.mapDelete(ports, entries.find(isFor(8080)));
  const link = addon.openPin(globSync(join(folder, "links", `*${workload}*`, "egress"))[0]);
  addon.linkDetach(link);
  for (const fd of [control, ports, link]) addon.closeFd(fd);
}

async function damage([agent]) {
  title("Enforcement is damaged behind the agent's back");
  line("the agent of web-1 is held (SIGSTOP) for a moment, so that it cannot heal before you see it;");
  line("the entry for port 8080 is deleted from its tables, and the egress program of batch is detached (its connect program still refuses)");
  agent.kill("SIGSTOP");
  damageNode("web-1", "batch");
  await probe("batch", 5432, "refused, EPERM");
  const seen = ["demo/web-to-db", "demo/default-deny"].map(showDrift);
  if (!seen.every(Boolean)) throw new Error("the drift was not seen");
  agent.kill("SIGCONT");
  await until("the agent heals", () => !show("demo/default-deny").drift);
  line("the agent goes on (SIGCONT), and heals:");
  showDrift("demo/default-deny");
  await probe("web", 8080, "connected");
  await probe("batch", 5432, "refused, EPERM");
}

async function stop(agents) {
  title("The agents stop; enforcement stays until it is taken away");
  for (const agent of agents) {
    const ended = new Promise((resolve) => agent.once("exit", (code, signal) => resolve(signal ?? code)));
    agent.kill("SIGTERM");
    const code = await ended;
    if (code !== 0) throw new Error(`an agent ended with ${code}`);
  }
  line("agents ended with 0");
  await probe("web", 8080, "connected");
  await probe("batch", 8080, "refused, EPERM");
  command("ztap enforcement remove");
  for (const text of cli("enforcement", "remove", "--auto-approve").trimEnd().split("\n")) line(text);
  await probe("batch", 8080, "connected");
}

/** Nothing that the demo made may be left. */
async function cleanUp() {
  for (const action of undo.reverse()) {
    try {
      await action();
    } catch (error) {
      failures += 1;
      line(paint(31, `not cleaned up: ${error.message}`));
    }
  }
  undo.length = 0;
  if (existsSync(pinRoot)) run(ztap, ["enforcement", "remove", "--auto-approve"], { allowFailure: true });
  rmSync(folder, { recursive: true, force: true });
}

let interrupted = false;
let cleaning;
const cleanUpOnce = () => (cleaning ??= cleanUp());
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  process.once(signal, async () => {
    interrupted = true;
    console.error(`\ninterrupted; cleaning up`);
    await cleanUpOnce();
    process.exit(130);
  });
}

try {
  await prepareRepository();
  planAndApply();
  if (canEnforce()) {
    const agents = await enforce();
    await push();
    await damage(agents);
    await stop(agents);
  } else {
    failures += 1;
  }
} catch (error) {
  // Ctrl-C also ends the command that runs, and this is told of that first.
  await new Promise((resolve) => setTimeout(resolve, 100));
  if (!interrupted) {
    failures += 1;
    console.error(paint(31, `\n${error.message}`));
    for (const log of globSync(join(folder, "agent-*.log"))) console.error(readFileSync(log, "utf8").split("\n").slice(-15).join("\n"));
  }
} finally {
  await cleanUpOnce();
}
if (!interrupted) {
  console.log(failures === 0 ? "\nEvery line above is what really happened. Nothing of it is left on this machine." : `\n${paint(31, "The demo did not come out as it should.")}`);
  process.exitCode = failures === 0 ? 0 : 1;
}
