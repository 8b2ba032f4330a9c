/**
 * The real thing: ztap on a Mac with its own pfctl and pf. Renders, has pfctl read what was rendered, loads it through an
 * agent, reads it back, and sends packets between aliases of the loopback device. `sudo node test/macos/real.mjs`.
 * What it changes (aliases, /etc/pf.conf, the anchor, pf's reference) it puts back, also when it fails.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

const ZTAP = join(import.meta.dirname, "../../bin/ztap");
const WEB = "10.77.1.1";
const DB = "10.77.1.2";
const OTHER = "10.77.1.3";
const WEB6 = "fd77:1::1";
const DB6 = "fd77:1::2";
/** What is dropped gives no answer: so long a silence is one. */
const SILENCE_MS = 3000;

if (process.platform !== "darwin" || process.geteuid() !== 0) {
  console.error("real.mjs: needs macOS and root; nothing was done");
  process.exit(1);
}

const folder = mkdtempSync(join(tmpdir(), "ztap-real-"));
const env = { ...process.env, ZTAP_STORE: `file:${join(folder, "store")}`, ZTAP_STATE_DIR: join(folder, "state") };
const state = join(folder, "policies.yaml");
const undo = [() => rmSync(folder, { recursive: true, force: true })];

function run(program, args, { code = 0, input } = {}) {
  const result = spawnSync(program, args, { env, input, encoding: "utf8" });
  const what = `${program} ${args.join(" ")}\n${result.stdout}${result.stderr}`;
  if (code !== null) assert.equal(result.status, code, what);
  return result;
}
const ztap = (...args) => run(ZTAP, args).stdout;
const json = (...args) => JSON.parse(ztap(...args, "--json"));
const pfctl = (...args) => run("/sbin/pfctl", args).stdout;
const step = (what) => console.log(`ok  ${what}`);

const workload = (name, addresses) => `---
apiVersion: ztap/v1
kind: Workload
metadata: { name: ${name}, labels: { app: ${name} } }
spec: { node: mac, addresses: [${addresses.map((address) => `"${address}"`).join(", ")}] }
`;
const policies = (port) => `apiVersion: ztap/v1
kind: Node
metadata: { name: mac }
spec: { address: "127.0.0.1:9470", enforcement: pf }
${workload("web", [WEB, WEB6])}${workload("db", [DB, DB6])}${workload("other", [OTHER])}---
apiVersion: ztap/v1
kind: NetworkPolicy
metadata: { name: web }
spec:
  podSelector: { matchLabels: { app: web } }
  ingress: []
  egress:
    - { to: { podSelector: { matchLabels: { app: db } } }, ports: [{ port: ${port}, endPort: ${port + 8} }] }
    - { to: { podSelector: { matchLabels: { app: db } } }, ports: [{ protocol: ICMP, type: 8 }, { protocol: ICMP, type: 128 }] }
---
apiVersion: ztap/v1
kind: NetworkPolicy
metadata: { name: db }
spec:
  podSelector: { matchLabels: { app: db } }
  ingress:
    - { from: { podSelector: { matchLabels: { app: web } } } }
`;

function listen(host, port) {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.on("error", () => undefined).pipe(socket));
    server.once("error", reject).listen(port, host, () => resolve(server));
    undo.push(() => server.close());
  });
}

/** An open connection, or null where there was no answer. */
function open(from, to, port) {
  return new Promise((resolve) => {
    const socket = connect({ host: to, port, localAddress: from });
    const timer = setTimeout(() => socket.destroy(), SILENCE_MS);
    undo.push(() => socket.destroy());
    socket.once("connect", () => (clearTimeout(timer), resolve(socket)));
    socket.on("error", () => undefined).once("close", () => (clearTimeout(timer), resolve(null)));
  });
}
async function allows(from, to, port, wanted) {
  const socket = await open(from, to, port);
  socket?.destroy();
  assert.equal(socket !== null, wanted, `${from} → ${to}:${port} should be ${wanted ? "allowed" : "denied"}`);
}

/** Whether what is written comes back. */
function echoes(socket) {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), SILENCE_MS);
    socket.once("data", () => (clearTimeout(timer), resolve(true)));
    socket.write("x");
  });
}

async function main() {
  for (const address of [WEB, DB, OTHER]) {
    run("/sbin/ifconfig", ["lo0", "alias", address, "255.255.255.255"]);
    undo.push(() => run("/sbin/ifconfig", ["lo0", "-alias", address], { code: null }));
  }
  for (const address of [WEB6, DB6]) {
    run("/sbin/ifconfig", ["lo0", "inet6", `${address}/128`, "alias"]);
    undo.push(() => run("/sbin/ifconfig", ["lo0", "inet6", address, "-alias"], { code: null }));
  }
  for (const [host, port] of [
    [DB, 5432],
    [DB, 5433],
    [DB, 5450],
    [WEB, 80],
    [DB6, 5432],
    [DB6, 5450],
  ])
    await listen(host, port);
  for (const to of [5432, 5450]) await allows(OTHER, DB, to, true);

  writeFileSync(state, policies(5432));
  const rendered = ztap("enforcement", "render", folder, "--node", "mac");
  const printed = run("/sbin/pfctl", ["-a", "ztap", "-o", "none", "-n", "-v", "-f", "-"], { input: rendered }).stdout;
  const rules = (text) => text.split("\n").filter((line) => /^\s*(pass|block)\b/.test(line));
  assert.equal(rules(printed).length, rules(rendered).length, `pfctl makes other rules of it:\n${printed}`);
  step(`pfctl reads the ${rules(rendered).length} rules that were rendered`);

  const conf = readFileSync("/etc/pf.conf", "utf8");
  undo.push(() => run(ZTAP, ["enforcement", "remove", "--auto-approve"], { code: null }));
  undo.push(() => run(ZTAP, ["enforcement", "setup", "--backend", "pf", "--undo", "--auto-approve"], { code: null }));
  ztap("enforcement", "setup", "--backend", "pf", "--auto-approve");
  assert.match(pfctl("-s", "rules"), /^anchor "ztap"/m);
  step("the anchor stands in the main ruleset");

  ztap("apply", folder, "--auto-approve");
  ztap("agent", "--once", "--node", "mac");
  const held = json("enforcement", "show").pf;
  assert.deepEqual([held.enabled, held.reference, held.linked, held.node], [true, true, true, "mac"]);
  assert.deepEqual(
    held.rules.map((rule) => rule.replace(/\s+/g, " ")),
    rules(printed).map((rule) => rule.trim().replace(/\s+/g, " ")),
    "what -n -v prints is what is read back",
  );
  run(ZTAP, ["policy", "show", "web", "--detailed-exitcode"]);
  step("loaded by an agent, and read back as what it is");

  await allows(WEB, DB, 5432, true);
  await allows(WEB, DB, 5433, true);
  await allows(WEB, DB, 5450, false);
  await allows(OTHER, DB, 5432, false);
  await allows(DB, WEB, 80, false);
  await allows(OTHER, WEB, 80, false);
  await allows(WEB, WEB, 80, true);
  await allows(WEB6, DB6, 5432, true);
  await allows(WEB6, DB6, 5450, false);
  run("/sbin/ping", ["-c", "1", "-t", "3", "-S", WEB, DB]);
  assert.notEqual(run("/sbin/ping", ["-c", "1", "-t", "3", "-S", OTHER, DB], { code: null }).status, 0);
  step("packets get what the policies say");

  const counted = json("enforcement", "show").pf.packets;
  assert.ok(
    counted.some(({ label, packets }) => label.startsWith("ztap:r:") && packets !== "0"),
    JSON.stringify(counted),
  );
  assert.ok(
    counted.some(({ label, packets }) => label.startsWith("ztap:d:") && packets !== "0"),
    JSON.stringify(counted),
  );
  step("packets are counted");

  pfctl("-a", "ztap", "-F", "rules");
  run(ZTAP, ["policy", "show", "web", "--detailed-exitcode"], { code: 3 });
  ztap("agent", "--once", "--node", "mac");
  run(ZTAP, ["policy", "show", "web", "--detailed-exitcode"]);
  await allows(OTHER, DB, 5432, false);
  step("rules that were flushed by hand are found and healed");

  const kept = await open(WEB, DB, 5433);
  assert.ok(kept !== null && (await echoes(kept)), "a connection that stays allowed");
  writeFileSync(state, policies(5433));
  ztap("apply", folder, "--auto-approve");
  ztap("agent", "--once", "--node", "mac");
  assert.equal(await echoes(kept), true, "what both rulesets allow goes on");
  writeFileSync(state, policies(6000));
  ztap("apply", folder, "--auto-approve");
  ztap("agent", "--once", "--node", "mac");
  assert.equal(await echoes(kept), false, "what the new ruleset denies is cut");
  step("tightening ends connections, and only those");

  ztap("enforcement", "remove", "--auto-approve");
  await allows(OTHER, DB, 5450, true);
  ztap("enforcement", "setup", "--backend", "pf", "--undo", "--auto-approve");
  assert.equal(readFileSync("/etc/pf.conf", "utf8"), conf);
  step("all of it can be taken away");
}

try {
  await main();
} catch (error) {
  console.error(error);
  process.exitCode = 1;
  for (const args of [
    ["-s", "info"],
    ["-s", "rules"],
    ["-a", "ztap", "-s", "rules"],
    ["-s", "states"],
    ["-s", "References"],
  ])
    console.error(`--- pfctl ${args.join(" ")}\n${run("/sbin/pfctl", args, { code: null }).stdout}`);
} finally {
  for (const one of undo.reverse()) one();
}
// Sockets to what is dropped would be waited for.
process.exit();
