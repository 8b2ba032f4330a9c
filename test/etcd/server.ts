/**
 * Real etcd for tests: one member or several, on loopback and free ports, in a folder that is gone
 * afterwards.
 */
import { spawnSync } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EtcdProcess, etcdProgram } from "../../examples/cluster/etcd.js";
import { HANG_MS } from "../wait.js";

/** Why the cluster tests cannot run here, or null. */
export function whyNoEtcd(): string | null {
  const missing = (["etcd", "etcdctl"] as const).find(
    (name) => spawnSync(etcdProgram(name), ["--help"], { stdio: "ignore" }).error !== undefined,
  );
  return missing === undefined ? null : `needs ${missing}: on Debian \`npm run setup\` brings it`;
}

export interface EtcdCluster {
  readonly members: readonly EtcdProcess[];
  /** `host:port` for clients. */
  readonly endpoints: readonly string[];
  /** etcdctl against all members. @throws with what it said where it fails */
  ctl(...args: readonly string[]): string;
}

export interface EtcdSetup {
  /** Default: one. */
  readonly members?: number;
  readonly flags?: readonly string[];
  readonly ctlFlags?: readonly string[];
  readonly scheme?: "http" | "https";
}

export async function withEtcd(setup: EtcdSetup, use: (etcd: EtcdCluster) => Promise<void>): Promise<void> {
  const { members: count = 1, flags = [], ctlFlags = [], scheme = "http" } = setup;
  const folder = await mkdtemp(join(tmpdir(), `ztap-etcd-${process.pid}-`));
  const members: EtcdProcess[] = [];
  try {
    const ports = await freePorts(2 * count);
    const places = Array.from({ length: count }, (_, index) => ({
      name: `m${index + 1}`,
      client: `127.0.0.1:${ports[2 * index]}`,
      peer: `127.0.0.1:${ports[2 * index + 1]}`,
    }));
    const peers = places.map(({ name, peer }) => `${name}=http://${peer}`);
    for (const place of places)
      members.push(new EtcdProcess({ ...place, dataDir: join(folder, place.name), scheme, peers, flags, wrapper: [] }));
    await Promise.all(members.map((member) => member.start()));
    const endpoints = places.map(({ client }) => client);
    const urls = endpoints.map((endpoint) => `${scheme}://${endpoint}`).join(",");
    await use({ members, endpoints, ctl: (...args) => runCtl([`--endpoints=${urls}`, ...ctlFlags, ...args]) });
  } finally {
    await Promise.all(members.map((member) => member.kill()));
    await rm(folder, { recursive: true, force: true });
  }
}

function runCtl(args: readonly string[]): string {
  const environment = { ...process.env, ETCDCTL_API: "3" };
  const { status, stdout, stderr, error } = spawnSync(etcdProgram("etcdctl"), args, {
    encoding: "utf8",
    env: environment,
    timeout: HANG_MS,
  });
  if (status !== 0) throw new Error(`etcdctl ${args.join(" ")}: ${stderr}${error?.message ?? ""}`);
  return stdout;
}

/** Below the ports that Linux gives to outgoing connections: one of these could take a port before the server does. */
const PORTS = { first: 15_000, last: 32_000 };

/** All held at once before any is given back, so that they differ. */
export async function freePorts(count: number): Promise<readonly number[]> {
  const held: Server[] = [];
  try {
    const ports: number[] = [];
    while (ports.length < count) {
      const port = randomInt(PORTS.first, PORTS.last);
      const server = createServer();
      if (!(await listens(server, port))) continue;
      held.push(server);
      ports.push(port);
    }
    return ports;
  } finally {
    for (const server of held) server.close();
  }
}

/** Returns false if another one has the port. */
async function listens(server: Server, port: number): Promise<boolean> {
  try {
    server.listen(port, "127.0.0.1");
    await once(server, "listening");
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EADDRINUSE") return false;
    throw error;
  }
}
