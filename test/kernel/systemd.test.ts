/**
 * A real systemd, as the first process of a guest (kernels.test.ts boots it): which units are found, how they are called, and that
 * every start of a unit is enforced from its first packet, with the real agent and without one.
 */
import { execFile, execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import t, { type Test } from "tap";
import { ContainerFinder } from "../../src/adapters/discovery/containers.js";
import { LinuxDiscovery } from "../../src/adapters/discovery/discovery.js";
import { loadNative } from "../../src/adapters/ebpf/kernel/native.js";
import { openMemoryStore } from "../../src/adapters/memory/store.js";
import { systemClock } from "../../src/adapters/system/clock.js";
import { openFolderWatch, type OpenFolderWatch } from "../../src/adapters/system/folder-watch.js";
import type { WantedProcesses } from "../../src/interfaces/discovery.js";
import { compile } from "../../src/policy/compile/compile.js";
import { runAgent } from "../../src/reconcile/agent.js";
import { NodeInventory } from "../../src/reconcile/node-inventory.js";
import { objectsOf } from "../builders/state.js";
import { agentDeps, agentOptions } from "../fakes/agent.js";
import { draft } from "../fakes/objects.js";
import { HANG_MS, waitUntil } from "../wait.js";
import { Sandbox, type Actor } from "./sandbox.js";

const UNITS = "/run/systemd/system";
const FOLDER = "/run/ztap-test";
/** nobody. Its manager runs like that of a user who has logged in. */
const USER = 65534;
const [OWN, PEER] = ["10.233.0.1", "10.233.0.2"];
/** Of systemd-escape: an instance name is text, in which `-` stands for `/`. */
const ESCAPED = "worker@a\\x2db-c.service";

const isGuest = process.env["ZTAP_EMULATED"] === "1" && readFileSync("/proc/1/comm", "utf8") === "systemd\n";

const run = promisify(execFile);
const systemctl = async (...args: readonly string[]): Promise<string> => (await run("systemctl", [...args])).stdout;
/** As the user, whose manager answers at a socket of its own. */
const asUser = (...command: readonly string[]): Promise<unknown> =>
  run("setpriv", [`--reuid=${USER}`, `--regid=${USER}`, "--clear-groups", ...command], {
    env: { ...process.env, XDG_RUNTIME_DIR: `/run/user/${USER}` },
  });

function writeUnit(name: string, service: string): void {
  writeFileSync(join(UNITS, name), `[Unit]\nStartLimitIntervalSec=0\n[Service]\nStandardOutput=null\n${service}\n`);
}

/** The units of the tests; nothing is started yet. */
async function writeUnits(start: string): Promise<void> {
  const waits = "ExecStart=/bin/sleep infinity";
  writeUnit("plain.service", waits);
  writeUnit("nested.service", `${waits}\nSlice=shop-front.slice`);
  // The kernel has files that begin so: systemd escapes the names of these cgroups.
  writeUnit("memory.service", waits);
  writeUnit("_under.service", waits);
  writeUnit("two-words@.service", waits);
  for (const name of ["worker@.service", "web.service"])
    writeUnit(name, `Type=oneshot\nRemainAfterExit=yes\nExecStart=/bin/bash ${start} %n`);
  const user = [
    "Type=notify\nExecStart=/lib/systemd/systemd --user\nUser=%i\nSlice=user-%i.slice\nDelegate=yes",
    `Environment=XDG_RUNTIME_DIR=/run/user/%i HOME=${FOLDER}\nRuntimeDirectory=user/%i\nRuntimeDirectoryMode=0700`,
  ];
  writeUnit("user@.service", user.join("\n"));
  await systemctl("daemon-reload");
}

/** The units that have a cgroup, by that cgroup, as systemd itself says. */
async function listUnits(root: string): Promise<Readonly<Record<string, string>>> {
  const blocks = (await systemctl("show", "*", "--property=Id,ControlGroup")).trim().split("\n\n");
  const found = blocks.flatMap((block): (readonly [string, string])[] => {
    const { Id = "", ControlGroup = "" } = Object.fromEntries(block.split("\n").map((line) => splitOnce(line)));
    const cgroup = ControlGroup.slice(1);
    return cgroup !== "" && existsSync(join(root, cgroup)) ? [[cgroup, Id]] : [];
  });
  return Object.fromEntries(found);
}

function splitOnce(line: string): readonly [string, string] {
  const at = line.indexOf("=");
  return [line.slice(0, at), line.slice(at + 1)];
}

async function testSystemd(t: Test): Promise<void> {
  const sandbox = new Sandbox(t);
  const root = sandbox.cgroupRoot;
  const native = loadNative();
  const openWatch: OpenFolderWatch = (notifier) => openFolderWatch(native, notifier);
  const openDiscovery = (): LinuxDiscovery =>
    new LinuxDiscovery({ cgroupRoot: root, containers: new ContainerFinder([], root), openWatch });
  // A watch does not keep the process alive; an agent has its timers.
  const alive = setInterval(() => undefined, 60_000);
  t.teardown(() => clearInterval(alive));

  mkdirSync(FOLDER);
  const peer = await joinPeer(sandbox);
  const [{ port }, { port: shut }, { id: forbidden, port: forbiddenUdp }] = [
    await peer.call("tcpListen", { host: PEER, port: 0 }),
    await peer.call("tcpListen", { host: PEER, port: 0 }),
    await peer.call("udpBind", { host: PEER, port: 0 }),
  ];
  // Forbidden packets come first. A forbidden connect ends at once where the unit has its own programs, and waits for an answer where
  // it is a newborn: what lives on keeps the cgroup, which systemd removes with the last process of the unit.
  const outcomes = join(FOLDER, "outcomes");
  writeFileSync(outcomes, "");
  const start = join(FOLDER, "start");
  writeFileSync(
    start,
    [
      "sleep infinity &",
      `for at in 1 2 3; do echo "$1" >/dev/udp/${PEER}/${forbiddenUdp}; done`,
      `(: >/dev/tcp/${PEER}/${shut}) &`,
      `exec 3<>/dev/tcp/${PEER}/${port} && echo "$1" >&3 && read -r answer <&3`,
      `echo "$1 \${answer:-none}" >>${outcomes}`,
      "",
    ].join("\n"),
  );
  await writeUnits(start);
  const arrived = async (): Promise<readonly string[]> => {
    const { received } = await peer.call("udpReceived", { id: forbidden });
    return Array.isArray(received) ? received.map(({ text }: { text: string }) => text.trim()) : [];
  };

  await t.test("what is found is what systemd says that it has, by the same names", async (t) => {
    const discovery = openDiscovery();
    const types = ["service", "scope", "slice"];
    const wanted = types.map((type): WantedProcesses => ({
      workload: `all/${type}`,
      pattern: { systemdUnit: `*.${type}` },
    }));
    const stop = new AbortController();
    const events = discovery.watch(stop.signal)[Symbol.asyncIterator]();
    const find = async (): Promise<Readonly<Record<string, string>>> => {
      const { instances, problems } = await discovery.discover(wanted);
      if (problems.length > 0) throw new Error(problems.join("; "));
      return Object.fromEntries(instances.map(({ cgroup, instance }) => [cgroup, instance]));
    };
    /** Looks once for each wake-up alone, of which there must be one. */
    const until = async (isIt: (found: Readonly<Record<string, string>>) => boolean): Promise<void> => {
      do await events.next();
      while (!isIt(await find()));
    };
    await until((found) => "init.scope" in found);

    const started = ["plain", "nested", "memory", "_under", "two-words@1"].map((name) => `${name}.service`);
    await systemctl("start", ...started);
    const scope = spawn("systemd-run", ["--scope", "--unit=batch-1.scope", "--slice=shop", "sleep", "infinity"]);
    t.teardown(() => scope.kill("SIGKILL"));
    await until((found) => [...started, "batch-1.scope"].every((name) => Object.values(found).includes(name)));
    const found = await find();
    t.match(found, {
      "system.slice/plain.service": "plain.service",
      "shop.slice/shop-front.slice/nested.service": "nested.service",
      "system.slice/_memory.service": "memory.service",
      "system.slice/__under.service": "_under.service",
      "system.slice/system-two\\x2dwords.slice/two-words@1.service": "two-words@1.service",
      "shop.slice/batch-1.scope": "batch-1.scope",
    });
    t.same(found, await listUnits(root));

    await systemctl("start", `user@${USER}.service`);
    await asUser("systemd-run", "--user", "--unit=plain.service", "--slice=system.slice", "sleep", "infinity");
    const below = `user.slice/user-${USER}.slice/user@${USER}.service`;
    t.ok(existsSync(join(root, below, "system.slice/plain.service")), "the user has a unit of that name and slice");
    await until((found) => below in found);
    t.same(await find(), await listUnits(root));
    const named = Object.entries(await find()).filter(([, name]) => name === "plain.service");
    t.same(named, [["system.slice/plain.service", "plain.service"]], "and it is not taken for the system's");

    const plain = join(root, "system.slice/plain.service");
    const before = statSync(plain).ino;
    await systemctl("restart", "plain.service");
    t.not(statSync(plain).ino, before, "another cgroup");
    await events.next();
    t.match(await find(), { "system.slice/plain.service": "plain.service" });
    await systemctl("stop", "plain.service", "nested.service");
    await until((found) => !Object.values(found).some((name) => ["plain.service", "nested.service"].includes(name)));
    t.same(await find(), await listUnits(root));
    stop.abort();
    await events.next();
  });

  await t.test("each start is enforced from the first packet, and reaches at its first try what it may", async (t) => {
    const node = sandbox.node("guest");
    const store = openMemoryStore(systemClock);
    const pattern = (name: string, unit: string): string =>
      `---\napiVersion: ztap/v1\nkind: Workload\nmetadata: { name: ${name}, labels: { app: ${name} } }\nspec: { node: ${node}, process: { systemdUnit: "${unit}" } }\n` +
      `---\napiVersion: ztap/v1\nkind: NetworkPolicy\nmetadata: { name: ${name} }\nspec:\n  podSelector: { matchLabels: { app: ${name} } }\n` +
      `  ingress: []\n  egress: [{ to: [{ ipBlock: { cidr: ${PEER}/32 } }], ports: [{ port: ${port} }] }]\n`;
    const state =
      `apiVersion: ztap/v1\nkind: NodeGroup\nmetadata: { name: all }\nspec: { nodeNames: ["*"], addressRanges: [10.233.0.0/24] }\n` +
      pattern("worker", "worker@*.service") +
      pattern("web", "web.service");
    const declared = objectsOf(state);
    const objects = [...declared.values()].map(({ object }) => object);
    await store.commit(draft(objects), { expectHead: null, fence: null });
    const startAgent = (): (() => Promise<void>) => {
      const stop = new AbortController();
      const deps = agentDeps(store, { enforcer: sandbox.enforcer(node), discovery: openDiscovery() });
      // What happens is seen by the watches, or not at all.
      const options = agentOptions({ node, checkInterval: "1h", heartbeatInterval: "1s", sessionTtl: "1h" });
      const running = runAgent(deps, options, stop.signal);
      const end = async (): Promise<void> => {
        stop.abort();
        await running;
      };
      t.teardown(end);
      return end;
    };
    const states = async (): Promise<Readonly<Record<string, string>>> => {
      const [status] = await store.listNodeStatus();
      return Object.fromEntries(status?.subjects.map(({ workload, state }) => [workload, state]) ?? []);
    };
    const reports = (wanted: Readonly<Record<string, string>>): Promise<unknown> =>
      waitUntil(states, {
        is: (found) => JSON.stringify(Object.entries(found).sort()) === JSON.stringify(Object.entries(wanted).sort()),
        what: `the report ${JSON.stringify(wanted)}`,
      });
    const units = ["worker@1.service", ESCAPED, "web.service"];
    const enforced = {
      [`default/web@${node}`]: "Enforced",
      [`default/worker@${node}/worker@1.service`]: "Enforced",
      [`default/worker@${node}/${ESCAPED}`]: "Enforced",
    };
    const pending = { [`default/web@${node}`]: "Pending", [`default/worker@${node}`]: "Pending" };
    /** Whether what the node reports is in force there. */
    const isCurrent = async (): Promise<boolean> => {
      const [status, endpoints] = [await store.listNodeStatus(), await store.listEndpoints()];
      const { objects } = new NodeInventory(declared, node).place(endpoints);
      return endpoints.length > 0 && status[0]?.rulesetDigest === compile(objects, node).digest;
    };
    let expected: readonly string[] = [];
    const restart = async (count: number, what: string): Promise<void> => {
      for (let at = 0; at < count; at += 1) await systemctl("restart", ...units);
      expected = [...expected, ...Array.from({ length: count }, () => units).flat()];
      const found = readFileSync(outcomes, "utf8").trim().split("\n").sort();
      t.same(found, expected.map((unit) => `${unit} ${unit}`).sort(), `${what}: each had its answer`);
      t.same(await arrived(), [], `${what}: nothing forbidden arrived`);
    };

    let stopAgent = startAgent();
    await reports(pending);
    await waitUntil(isCurrent, { what: "the addresses in the policy of what will be born" });
    await restart(10, "with an agent");
    await reports(enforced);
    await stopAgent();
    await restart(10, "without an agent");
    stopAgent = startAgent();
    await reports(enforced);

    // The control: the same script of the same name, and it is no unit of the system.
    const theirs = ["--user", "--unit=worker@1.service", "--slice=system-worker.slice", "/bin/bash", start, "theirs"];
    await asUser("systemd-run", ...theirs);
    await waitUntil(arrived, { is: (all) => all.length === 3, what: "what a user's unit of that name sends" });
    t.same(await arrived(), ["theirs", "theirs", "theirs"], "it is not touched");
    await reports(enforced);

    await systemctl("stop", ...units);
    await reports(pending);
    await stopAgent();
  });
}

/** A peer in a network namespace, joined to the guest's own, where services run. */
async function joinPeer(sandbox: Sandbox): Promise<Actor> {
  const [inside, outside] = sandbox.network([`${OWN}/24`], [`${PEER}/24`]);
  execFileSync("ip", ["-n", inside, "link", "set", "eth0", "netns", "1"]);
  execFileSync("ip", ["address", "add", `${OWN}/24`, "dev", "eth0"]);
  execFileSync("ip", ["link", "set", "eth0", "addrgenmode", "none", "up"]);
  return sandbox.actor({ namespace: outside });
}

if (!isGuest) t.plan(0, "SKIP runs in the guest with systemd alone, which kernel/kernels boots");
else await t.test("systemd", { timeout: HANG_MS }, testSystemd);
