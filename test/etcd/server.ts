/**
 * Real etcd processes for tests: one member or several, on loopback and free ports, in a folder that
 * is gone afterwards. Members can be killed, frozen and started again.
 */
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));

/** Debian's, from the machine or as the set-up unpacked it. */
export function etcdBinary(name: "etcd" | "etcdctl"): string {
  const own = join(ROOT, ".etcd/usr/bin", name);
  return existsSync(own) ? own : name;
}

export interface EtcdMember {
  readonly name: string;
  /** `host:port` for clients. */
  readonly endpoint: string;
  kill(): Promise<void>;
  /** SIGSTOP: the process is there and answers nothing. */
  freeze(): void;
  thaw(): void;
  start(): Promise<void>;
}

export interface EtcdCluster {
  readonly members: readonly EtcdMember[];
  readonly endpoints: readonly string[];
  /** etcdctl against all members; throws with what it said where it fails. */
  ctl(...args: readonly string[]): string;
}

export interface EtcdFlags {
  readonly members?: number;
  readonly flags?: readonly string[];
  readonly ctlFlags?: readonly string[];
  readonly scheme?: "http" | "https";
}

export async function withEtcd(options: EtcdFlags, use: (etcd: EtcdCluster) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "ztap-etcd-"));
  const members: Process[] = [];
  try {
    const count = options.members ?? 1;
    const ports = await freePorts(2 * count);
    const scheme = options.scheme ?? "http";
    const names = Array.from({ length: count }, (_, index) => `m${index + 1}`);
    const peers = names.map((name, index) => `${name}=http://127.0.0.1:${ports[2 * index + 1]}`);
    for (const [index, name] of names.entries()) {
      members.push(
        new Process(
          name,
          `127.0.0.1:${ports[2 * index]}`,
          `127.0.0.1:${ports[2 * index + 1]}`,
          scheme,
          folder,
          peers,
          options,
        ),
      );
    }
    await Promise.all(members.map((member) => member.start()));
    const endpoints = members.map(({ endpoint }) => endpoint);
    await use({
      members,
      endpoints,
      ctl: (...args) => runCtl(endpoints, [...(options.ctlFlags ?? []), ...args], scheme),
    });
  } finally {
    await Promise.all(members.map((member) => member.kill()));
    await rm(folder, { recursive: true, force: true });
  }
}

export function runCtl(endpoints: readonly string[], args: readonly string[], scheme = "http"): string {
  const list = endpoints.map((endpoint) => `${scheme}://${endpoint}`).join(",");
  const { status, stdout, stderr, error } = spawnSync(etcdBinary("etcdctl"), [`--endpoints=${list}`, ...args], {
    encoding: "utf8",
    env: { ...process.env, ETCDCTL_API: "3" },
    timeout: 60_000,
  });
  if (status !== 0) throw new Error(`etcdctl ${args.join(" ")}: ${stderr}${error?.message ?? ""}`);
  return stdout;
}

class Process implements EtcdMember {
  #child: ChildProcess | null = null;

  constructor(
    readonly name: string,
    readonly endpoint: string,
    readonly peer: string,
    readonly scheme: string,
    readonly folder: string,
    readonly peers: readonly string[],
    readonly options: EtcdFlags,
  ) {}

  async start(): Promise<void> {
    const { name, endpoint, peer, scheme, folder, peers, options } = this;
    const args = [
      `--name=${name}`,
      `--data-dir=${join(folder, name)}`,
      `--listen-client-urls=${scheme}://${endpoint}`,
      `--advertise-client-urls=${scheme}://${endpoint}`,
      `--listen-peer-urls=http://${peer}`,
      `--initial-advertise-peer-urls=http://${peer}`,
      `--initial-cluster=${peers.join(",")}`,
      `--initial-cluster-token=${folder}`,
      "--logger=zap",
      "--log-level=info",
      ...(options.flags ?? []),
    ];
    const child = spawn(etcdBinary("etcd"), args, { stdio: ["ignore", "ignore", "pipe"] });
    this.#child = child;
    let log = "";
    await new Promise<void>((resolve, reject) => {
      child.once("error", reject);
      child.once("exit", (code) => reject(new Error(`etcd ended with ${code}: ${log.slice(-2000)}`)));
      child.stderr.on("data", (chunk: Buffer) => {
        if (log.length < 1_000_000) log += chunk.toString();
        // Said once the member has joined its cluster and serves clients.
        if (/serving client traffic|ready to serve client requests/.test(log)) resolve();
      });
    });
    child.stderr.removeAllListeners("data");
    child.stderr.resume();
  }

  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill("SIGCONT");
    child.kill("SIGKILL");
    await ended;
  }

  freeze(): void {
    this.#child?.kill("SIGSTOP");
  }

  thaw(): void {
    this.#child?.kill("SIGCONT");
  }
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
