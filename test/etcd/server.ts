/**
 * Real etcd for tests: one member or several, on loopback and free ports, in a folder that is gone
 * afterwards.
 */
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
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

/** All held at once before any is given back, so that they differ. */
export async function freePorts(count: number): Promise<readonly number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  try {
    const ports: number[] = [];
    for (const server of servers) {
      server.listen(0, "127.0.0.1");
      await once(server, "listening");
      const address = server.address();
      if (address !== null && typeof address === "object") ports.push(address.port);
    }
    return ports;
  } finally {
    for (const server of servers) server.close();
  }
}
