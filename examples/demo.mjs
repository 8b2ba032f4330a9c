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

const root = join(import.meta.dirname, "..");
const id = `ztap-demo-${process.pid}`;
const folder = mkdtempSync(join(tmpdir(), `${id}-`));
const repo = join(folder, "policies");
const pinRoot = `/sys/fs/bpf/${id}`;
const ztap = join(root, "bin/ztap");
const environment = {
  ...process.env,
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

/** Waits for something that is on its way, and says what did not come. */
async function until(what, ready, ms = 20_000) {
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
const addressOf = { web: "10.77.0.1", batch: "10.77.0.3", db: "10.77.0.2" };

/** Two hosts: network namespaces with a cable between them. Three workloads: cgroups. */
function prepareHosts() {
  const ip = (...args) => run("ip", args);
  const [a, b] = [`${id}-a`, `${id}-b`];
  for (const name of [a, b]) {
    ip("netns", "add", name);
    undo.push(() => run("ip", ["netns", "del", name]));
    ip("-n", name, "link", "set", "lo", "up");
  }
  ip("link", "add", "eth0", "netns", a, "type", "veth", "peer", "name", "eth0", "netns", b);
  for (const [name, addresses] of [[a, ["10.77.0.1/24", "10.77.0.3/24", "fd77::1/64", "fd77::3/64"]], [b, ["10.77.0.2/24", "fd77::2/64"]]]) {
    for (const address of addresses) ip("-n", name, "address", "add", address, "dev", "eth0", ...(address.includes(":") ? ["nodad"] : []));
    ip("-n", name, "link", "set", "eth0", "up");
  }
  const parent = join(cgroupRoot(), id);
  for (const path of [parent, ...Object.keys(addressOf).map((name) => join(parent, name))]) {
    mkdirSync(path);
    undo.push(() => rmdirSync(path));
  }
}

/** Starts a program in the namespace and cgroup of a workload: it joins both before it runs. */
function spawnIn(workload, script, args, stdio) {
  const procs = join(cgroupRoot(), id, workload, "cgroup.procs");
  const enter = ["netns", "exec", namespaceOf[workload], "sh", "-c", 'echo $$ > "$0" && exec "$@"', procs];
  return spawn("ip", [...enter, process.execPath, "-e", script, ...args], { stdio });
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
  const [from, host, port] = process.argv.slice(1);
  const started = performance.now();
  const tell = (text) => { console.log(text + " after " + Math.round(performance.now() - started) + " ms"); process.exit(); };
  const socket = require("net").connect({ host, port: Number(port), localAddress: from });
  socket.on("data", (data) => tell('connected, "' + String(data).trim() + '"'));
  socket.on("error", (error) => tell("refused, " + error.code));
  setTimeout(() => tell("no answer"), 1500);`;

async function startServer() {
  const server = stopLater(spawnIn("db", SERVER, ["5432", "8080"], ["ignore", "pipe", "inherit"]));
  await new Promise((resolve, reject) => {
    server.stdout.once("data", resolve);
    server.once("exit", (code) => reject(new Error(`the server ended with ${code}`)));
  });
}

/** One real connection; what came of it is shown, and compared with what the policy says. */
async function probe(from, port, wanted) {
  const child = spawnIn(from, CLIENT, [addressOf[from], addressOf.db, String(port)], ["ignore", "pipe", "inherit"]);
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
  const child = spawn("sh", ["-c", 'exec "$0" "$@" 2>"$LOG"', ztap, "agent", "--node", node, "--address", "127.0.0.1:0"], {
    env: { ...environment, LOG: log },
    stdio: ["ignore", "ignore", "inherit"],
  });
  return stopLater(child);
}

const inSync = (revision) => {
  const { nodes } = JSON.parse(cli("cluster", "status", "--json"));
  return nodes.length === 2 && nodes.every((node) => node.enforcedRevision === revision);
};

async function enforce() {
  title("Two agents enforce it with eBPF; real processes connect");
  prepareHosts();
  await startServer();
  for (const [from, port] of [["web", 5432], ["web", 8080], ["batch", 5432]]) void [from, port];
  line(paint(2, "before any agent runs:"));
  await probe("batch", 5432, "connected");
  command("ztap agent --node web-1 &   ztap agent --node db-1 &");
  const agents = ["web-1", "db-1"].map(startAgent);
  await until("both nodes enforce revision 1", () => inSync(1));
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

function showDrift() {
  const report = show("demo/web-to-db");
  for (const { node, state, message, drift } of report.nodes) {
    line(`${node.padEnd(6)} ${state.padEnd(8)} ${state === "InSync" && message ? message : ""}`.trimEnd());
    for (const { kind, detail } of drift) line(`       ${kind}: ${detail}`);
  }
  return report;
}

async function damage([agent]) {
  title("Enforcement is damaged behind the agent's back");
  line("the agent of web-1 is held (SIGSTOP), so that the damage can be seen before it is healed");
  agent.kill("SIGSTOP");
  const { damageEnforcement } = await import("../dist/examples-support.js").catch(() => ({}));
  void damageEnforcement;
  const removed = damageNode("web-1");
  for (const text of removed) line(text);
  command("ztap policy show demo/web-to-db");
  if (!showDrift().drift) failures += 1;
  agent.kill("SIGCONT");
  await until("the agent heals", () => !show("demo/web-to-db").drift);
  line("the agent goes on, and heals it:");
  command("ztap policy show demo/web-to-db");
  showDrift();
  await probe("web", 8080, "connected");
  await probe("web", 5432, "refused, EPERM");
}
