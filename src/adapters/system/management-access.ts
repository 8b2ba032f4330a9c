/**
 * Management access from proc(5): this process's cgroup; the TCP connections to SSH's port or to a port of sshd, with
 * the cgroups of the processes that hold them or listen for them; and the processes of this machine that serve the
 * agents' store and source.
 */
import { lookup } from "node:dns/promises";
import { opendirSync, readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { isIP } from "node:net";
import { canonicalAddress } from "../../model/ip.js";
import { setImmediate as turn, setTimeout as pause } from "node:timers/promises";
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
    const turns = new Turns();
    const served = new Set<string>();
    for (const pid of await sshServers(turns)) for await (const inode of socketsOf(pid, turns)) served.add(inode);
    const ports = new Set(sockets.filter(({ inode, state }) => state === "listen" && served.has(inode)).map(portOf));
    const established = sockets.filter(
      ({ state, port }) => state === "established" && (port === SSH_PORT || ports.has(port)),
    );
    if (established.length === 0) return [];
    const sessionPorts = new Set(established.map(portOf));
    const concerned = sockets.filter(({ state, port }) => state === "listen" && sessionPorts.has(port));
    const owners = await ownersOf(new Set([...established, ...concerned].map(({ inode }) => inode)));
    return established.flatMap(({ peer, port, inode }) => {
      if (![...(owners.get(inode) ?? [])].some(hasLoggedIn)) return [];
      const inodes = [inode, ...concerned.filter((one) => one.port === port).map((one) => one.inode)];
      return [{ peer, port, cgroups: cgroupsOf(inodes, owners) }];
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
    const owners = await ownersOf(new Set(found.flatMap(({ inodes }) => inodes)));
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

function cgroupsOf(inodes: readonly string[], owners: Owners): readonly string[] {
  const processes = new Set(inodes.flatMap((inode) => [...(owners.get(inode) ?? [])]));
  return [...new Set([...processes].flatMap((pid) => cgroupOf(pid) ?? []))].sort();
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

/** Any user can open files and start processes: looking through them must not block the event loop. */
const TURN_MS = 5;

class Turns {
  #until = performance.now() + TURN_MS;

  /** Lets the event loop turn if this has taken a while. */
  async pause(): Promise<void> {
    if (performance.now() < this.#until) return;
    await turn();
    this.#until = performance.now() + TURN_MS;
  }
}

function processes(): readonly string[] {
  return readdirSync("/proc").filter((name) => /^\d+$/.test(name));
}

/**
 * Returns root's SSH servers, by the program that they run: any user can name a process sshd, and could so keep policy
 * off the machine.
 */
async function sshServers(turns: Turns): Promise<readonly string[]> {
  const found: string[] = [];
  for (const pid of processes()) {
    await turns.pause();
    if (orGone(() => statSync(`/proc/${pid}`).uid) === 0 && SSH_SERVERS.has(programOf(pid))) found.push(pid);
  }
  return found;
}

/** Yields the inodes of a process's open sockets; none if it has ended, or is another user's. */
async function* socketsOf(pid: string, turns: Turns): AsyncGenerator<string> {
  const folder = `/proc/${pid}/fd`;
  const open = orGone(() => opendirSync(folder));
  if (open === undefined) return;
  try {
    for (let entry = orGone(() => open.readSync()); entry; entry = orGone(() => open.readSync())) {
      await turns.pause();
      const { name } = entry;
      const target = orGone(() => readlinkSync(`${folder}/${name}`)) ?? "";
      const inode = /^socket:\[(\d+)\]$/.exec(target)?.[1];
      if (inode !== undefined) yield inode;
    }
  } finally {
    open.closeSync();
  }
}

/** The processes that hold each socket, by its inode. */
type Owners = ReadonlyMap<string, ReadonlySet<string>>;

async function ownersOf(inodes: ReadonlySet<string>): Promise<Owners> {
  const found = new Map<string, Set<string>>();
  if (inodes.size === 0) return found;
  const turns = new Turns();
  for (const pid of processes()) {
    await turns.pause();
    for await (const inode of socketsOf(pid, turns)) {
      if (inodes.has(inode)) found.set(inode, (found.get(inode) ?? new Set()).add(pid));
    }
  }
  return found;
}

/** OpenSSH names its process "sshd: root@pts/0" after the login, and "sshd: [accepted]" or "sshd: root [priv]" before it. */
const LOGGED_IN = /^sshd(-session)?: [^[\]]+$/;

/**
 * Returns whether a process serves an SSH session that somebody has logged in to: a connection alone, which anybody who
 * reaches the port can make, must not keep policy off the machine. Other servers than OpenSSH start a process for the
 * session.
 */
function hasLoggedIn(pid: string): boolean {
  if (!SSH_SERVERS.has(programOf(pid))) return false;
  const title = (orGone(() => readFileSync(`/proc/${pid}/cmdline`, "utf8")) ?? "").replace(/\0[^]*/, "").trimEnd();
  if (title.startsWith("sshd")) return LOGGED_IN.test(title);
  return (orGone(() => readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8")) ?? "") !== "";
}

/** Reads the line of cgroup v2 in proc(5) cgroup: "0::/system.slice/ssh.service". */
function cgroupOf(pid: string): string | null {
  const text = orGone(() => readFileSync(`/proc/${pid}/cgroup`, "utf8")) ?? "";
  const path = /^0::\/(.*)$/m.exec(text)?.[1];
  // The process still has the name of a cgroup that was removed under it.
  return path === undefined ? null : path.replace(/ \(deleted\)$/, "");
}

/**
 * Returns the result of reading a process; undefined if it has just ended or cannot be read. Whatever a process does, such
 * as opening a file with a path longer than PATH_MAX, must not hide the others.
 */
function orGone<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof Error && "code" in error) return undefined;
    throw error;
  }
}

/** Returns the name of a process's program, also of one that was replaced on disk since; empty if it is not known. */
function programOf(pid: string): string {
  return basename((orGone(() => readlinkSync(`/proc/${pid}/exe`)) ?? "").replace(/ \(deleted\)$/, ""));
}
