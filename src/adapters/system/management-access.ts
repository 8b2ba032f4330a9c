/**
 * Management access from proc(5): this process's cgroup; the TCP connections to SSH's port or to a port of sshd, with
 * the cgroups of the processes that hold them or listen for them; and the processes of this machine that serve the
 * agents' store and source.
 */
import { lookup } from "node:dns/promises";
import { readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { isIP } from "node:net";
import { canonicalAddress } from "../../model/ip.js";
import { setTimeout as pause } from "node:timers/promises";
import { networkInterfaces } from "node:os";
import { basename } from "node:path";
import type { ControlEndpoint, ControlServer, Session } from "../../model/management-access.js";
import type { ManagementAccessReader } from "../../interfaces/management-access.js";
import { readTcp, type TcpSocket } from "./proc-net.js";

/** If systemd listens for sshd, only the port identifies it. */
const SSH_PORT = 22;
const SSH_SERVERS: ReadonlySet<string> = new Set(["sshd", "sshd-session", "dropbear"]);

export class ProcManagementAccess implements ManagementAccessReader {
  constructor(private readonly endpoints: readonly ControlEndpoint[]) {}

  ownCgroup(): string | null {
    return cgroupOf("self");
  }

  async sessions(): Promise<readonly Session[]> {
    const sockets = readSockets();
    const servers = sshServers();
    const served = new Set(servers.flatMap((pid) => [...socketsOf(pid)]));
    const ports = new Set(sockets.filter(({ inode, state }) => state === "listen" && served.has(inode)).map(portOf));
    const established = sockets.filter(
      ({ state, port }) => state === "established" && (port === SSH_PORT || ports.has(port)),
    );
    if (established.length === 0) return [];
    const sessionPorts = new Set(established.map(portOf));
    const concerned = sockets.filter(({ state, port }) => state === "listen" && sessionPorts.has(port));
    const owners = cgroupsBySocket(new Set([...established, ...concerned].map(({ inode }) => inode)));
    return established.map(({ peer, port, inode }) => {
      const inodes = [inode, ...concerned.filter((one) => one.port === port).map((one) => one.inode)];
      return { peer, port, cgroups: cgroupsOf(inodes, owners) };
    });
  }

  async servers(): Promise<readonly ControlServer[]> {
    const resolved = await Promise.all(
      this.endpoints.map(async (endpoint) => ({ ...endpoint, addresses: await addressesOf(endpoint.host) })),
    );
    const own = ownAddresses();
    const here = resolved.filter(({ addresses }) => addresses.some((address) => own.has(address)));
    if (here.length === 0) return [];
    const listening = readSockets().filter(({ state }) => state === "listen");
    const found = here.map(({ role, port, addresses }) => {
      const answers = ({ address }: TcpSocket) => ANY.has(address) || addresses.includes(address);
      return { role, port, inodes: listening.filter((one) => one.port === port && answers(one)).map(inodeOf) };
    });
    const owners = cgroupsBySocket(new Set(found.flatMap(({ inodes }) => inodes)));
    return found.flatMap(({ role, port, inodes }) => {
      const cgroups = cgroupsOf(inodes, owners);
      return cgroups.length === 0 ? [] : [{ role, port, cgroups }];
    });
  }
}

const ANY: ReadonlySet<string> = new Set(["0.0.0.0", "::"]);

function readSockets(): readonly TcpSocket[] {
  return [...readTcp("tcp"), ...readTcp("tcp6")];
}

function inodeOf({ inode }: TcpSocket): string {
  return inode;
}

function cgroupsOf(inodes: readonly string[], owners: ReadonlyMap<string, ReadonlySet<string>>): readonly string[] {
  return [...new Set(inodes.flatMap((inode) => [...(owners.get(inode) ?? [])]))].sort();
}

/** Enforcement does not wait longer for an unresponsive resolver. */
const LOOKUP_MS = 2_000;

/** Returns no address if the name is not resolved in time: then nothing reaches it by that name now. */
async function addressesOf(host: string): Promise<readonly string[]> {
  if (isIP(host) !== 0) return [canonicalAddress(host)];
  const silence = new AbortController();
  const found = await Promise.race([
    lookup(host, { all: true }).catch(() => []),
    pause(LOOKUP_MS, [], { signal: silence.signal, ref: false }).catch(() => []),
  ]);
  silence.abort();
  return found.map(({ address }) => canonicalAddress(address));
}

function ownAddresses(): ReadonlySet<string> {
  return new Set(
    Object.values(networkInterfaces()).flatMap((list) => (list ?? []).map(({ address }) => canonicalAddress(address))),
  );
}

function portOf({ port }: TcpSocket): number {
  return port;
}

function processes(): readonly string[] {
  return readdirSync("/proc").filter((name) => /^\d+$/.test(name));
}

/**
 * Returns root's SSH servers, by the program that they run: any user can name a process sshd, and could so keep policy
 * off the machine.
 */
function sshServers(): readonly string[] {
  return processes().filter(
    (pid) =>
      orGone(() => statSync(`/proc/${pid}`).uid) === 0 &&
      SSH_SERVERS.has(basename(orGone(() => readlinkSync(`/proc/${pid}/exe`)) ?? "")),
  );
}

/** Returns the inodes of a process's open sockets; none if it has ended, or is another user's. */
function socketsOf(pid: string): readonly string[] {
  const folder = `/proc/${pid}/fd`;
  return (orGone(() => readdirSync(folder)) ?? []).flatMap((fd) => {
    const target = orGone(() => readlinkSync(`${folder}/${fd}`)) ?? "";
    return /^socket:\[(\d+)\]$/.exec(target)?.[1] ?? [];
  });
}

function cgroupsBySocket(inodes: ReadonlySet<string>): ReadonlyMap<string, ReadonlySet<string>> {
  const found = new Map<string, Set<string>>();
  if (inodes.size === 0) return found;
  for (const pid of processes()) {
    const held = socketsOf(pid).filter((inode) => inodes.has(inode));
    const cgroup = held.length === 0 ? null : cgroupOf(pid);
    if (cgroup === null) continue;
    for (const inode of held) found.set(inode, (found.get(inode) ?? new Set()).add(cgroup));
  }
  return found;
}

/** Reads the line of cgroup v2 in proc(5) cgroup: "0::/system.slice/ssh.service". */
function cgroupOf(pid: string): string | null {
  const text = orGone(() => readFileSync(`/proc/${pid}/cgroup`, "utf8")) ?? "";
  const path = /^0::\/(.*)$/m.exec(text)?.[1];
  // The process still has the name of a cgroup that was removed under it.
  return path === undefined ? null : path.replace(/ \(deleted\)$/, "");
}

/** Returns the result of reading a process; undefined if it has just ended, or may not be read. */
function orGone<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === "ENOENT" || code === "ESRCH" || code === "EACCES" || code === "EPERM") return undefined;
    throw error;
  }
}
