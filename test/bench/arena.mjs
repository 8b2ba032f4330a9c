/**
 * Arena: network namespaces, cgroups and pins for a measurement, and their end: whatever was made is taken away, in
 * reverse, also where the benchmark fails or is interrupted.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { findCgroupRoot } from "../../dist/src/adapters/ebpf/kernel/paths.js";

const endings = [];

/** Has `act` done before this process ends. It must not wait for anything. @returns does it now */
export function atEnd(act) {
  endings.push(act);
  return () => {
    const at = endings.indexOf(act);
    if (at >= 0) endings.splice(at, 1);
    if (at >= 0) act();
  };
}

function endAll() {
  for (let act = endings.pop(); act !== undefined; act = endings.pop()) {
    try {
      act();
    } catch (error) {
      console.error(`Not taken away: ${error.message}`);
    }
  }
}

process.on("exit", endAll);
for (const [signal, code] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
])
  process.on(signal, () => process.exit(code));

export function run(program, args, options = {}) {
  const result = spawnSync(program, args, { encoding: "utf8", maxBuffer: 2 ** 28, ...options });
  if (result.error) throw result.error;
  if (result.status !== 0)
    throw new Error(`${program} ${args.join(" ")}: ${result.status}\n${result.stderr.slice(0, 2000)}`);
  return result.stdout;
}

/** Whether a tool is there; `probe` must succeed. */
export const has = (program, ...probe) => spawnSync(program, probe).status === 0;

/** @returns the path of a new cgroup below the root, with its end */
export function makeCgroup(path) {
  const root = findCgroupRoot();
  const parts = path.split("/");
  const ends = parts.flatMap((_part, depth) => {
    const folder = join(root, ...parts.slice(0, depth + 1));
    if (existsSync(folder)) return [];
    mkdirSync(folder);
    return [atEnd(() => rmdirSync(folder))];
  });
  return { folder: join(root, path), end: () => ends.reverse().forEach((end) => end()) };
}

export function makeNamespace(name) {
  run("ip", ["netns", "add", name]);
  const end = atEnd(() => run("ip", ["netns", "del", name]));
  run("ip", ["-n", name, "link", "set", "lo", "up"]);
  return { name, path: `/run/netns/${name}`, end };
}

/** Two network namespaces and a wire between them: the client's at 10.77.0.1, the server's at 10.77.0.2. */
export function makeWire(name) {
  const [client, server] = [makeNamespace(`${name}c`), makeNamespace(`${name}s`)];
  run("ip", ["-n", client.name, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", server.name]);
  for (const [at, { name: namespace }] of [client, server].entries()) {
    run("ip", ["-n", namespace, "address", "add", `10.77.0.${at + 1}/24`, "dev", "eth0"]);
    run("ip", ["-n", namespace, "link", "set", "eth0", "addrgenmode", "none", "up"]);
    // A short connection's port is not free again for a minute.
    run("ip", ["netns", "exec", namespace, "sysctl", "-qw", "net.ipv4.ip_local_port_range=1025 65535"]);
  }
  return { client, server, end: () => [client, server].forEach(({ end }) => end()) };
}

export const inNamespace = (namespace, program, args, options) =>
  run("ip", ["netns", "exec", namespace, program, ...args], options);
