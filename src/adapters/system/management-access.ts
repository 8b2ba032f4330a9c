/**
 * Management access from proc(5): this process's cgroup; the TCP connections of SSH sessions, with the cgroups of the
 * processes that hold them or listen for them; and the processes of this machine that serve the agents' store and
 * source.
 */
import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { canonicalAddress } from "../../model/ip.js";
import { setTimeout as pause } from "node:timers/promises";
import { networkInterfaces } from "node:os";
import type {
  ControlEndpoint,
  ControlServer,
  NeededConnection,
  SearchResult,
  Session,
} from "../../model/management-access.js";
import type { ManagementAccessReader } from "../../interfaces/management-access.js";
import type { Clock } from "../../interfaces/system.js";
import { belowMount, cgroupNamespaceProblem, findCgroupMount } from "./cgroup-mount.js";
import { findNeeds, type MachineFacts } from "./needed-connections.js";
import {
  cgroupPathOf,
  identify,
  listProcesses,
  programName,
  readOpenSockets,
  Search,
  type OpenSockets,
} from "./processes.js";
import { readTcp, readUdp, type TcpSocket } from "./proc-net.js";
import { findSshProcesses, type SessionProcess } from "./ssh-processes.js";

/**
 * The time of each part of a search, five seconds together: none can take that of another, whatever a user has open. The
 * tables of sockets, and the processes.
 */
const TABLES_MS = 1_500;
const SERVERS_MS = 3_500;
const SSH_MS = 2_500;
const LISTENERS_MS = 1_000;

/** For what policy on the host must allow. */
const NEEDS_MS = 2_500;

const SSH_PORT = 22;
/** Ports below are the system's. */
const FIRST_FREE_PORT = 1024;
/** Users below are the system's. */
const FIRST_USER = 1000;
const ROOT = 0;

export class ProcManagementAccess implements ManagementAccessReader {
  readonly #mount = findCgroupMount();
  /** The sessions of the last search, by the inode of their connection. */
  #known: ReadonlyMap<string, Session> = new Map();

  constructor(
    private readonly endpoints: readonly ControlEndpoint[],
    private readonly clock: Clock,
  ) {}

  ownCgroup(): string | null {
    return this.#cgroupOf("self");
  }

  problem(): string | null {
    const problem = this.#mount === null ? null : cgroupNamespaceProblem(this.#mount);
    return problem === null ? null : `${problem.detail}; ${problem.fix}`;
  }

  /**
   * A search that was cut short adds to the sessions of the one before: a session that was found stays protected as long
   * as its connection exists.
   */
  async sessions(): Promise<SearchResult<Session>> {
    const ssh = new Search(this.clock, SSH_MS);
    const processes = await findSshProcesses(ssh);
    const owners = ownersIn(processes.sockets);
    const tables = new Search(this.clock, TABLES_MS);
    const sockets = await readSockets(tables, ({ state, user, inode }) =>
      state === "listen" ? user === ROOT : owners.has(inode) || this.#known.has(inode),
    );
    const established = new Map(
      sockets.filter(({ state }) => state === "established").map((socket) => [socket.inode, socket]),
    );
    const listening = sockets.filter(({ state }) => state === "listen");
    const connections = processes.sessions.flatMap((process) =>
      connectionsOf(process, processes.sockets, established, listening),
    );
    const search = new Search(this.clock, LISTENERS_MS);
    const listeners = await this.#listenersFor(connections, listening, search);
    const found = new Map(
      connections.map((socket) => {
        const { peer, address, port, inode } = socket;
        const pids = [...(owners.get(inode) ?? []), ...listeners(socket)];
        return [inode, { peer, address, port, cgroups: this.#cgroupsOf(pids) }];
      }),
    );
    const isComplete = [ssh, tables, search].every((part) => part.isComplete);
    // A connection that was not read still exists where a process holds it.
    const mayExist = (inode: string): boolean =>
      established.has(inode) || (!tables.isComplete && (owners.has(inode) || !ssh.isComplete));
    const kept = isComplete ? [] : [...this.#known].filter(([inode]) => mayExist(inode));
    this.#known = new Map([...kept, ...found]);
    return { items: [...this.#known.values()], isComplete };
  }

  async servers(): Promise<SearchResult<ControlServer>> {
    const resolved = await Promise.all(
      this.endpoints.map(async (endpoint) => ({ ...endpoint, addresses: await addressesOf(endpoint.host) })),
    );
    const own = ownAddresses();
    const here = resolved.filter(({ addresses }) => addresses.some((address) => own.has(address)));
    if (here.length === 0) return { items: [], isComplete: true };
    const ports = new Set(here.map(({ port }) => port));
    const tables = new Search(this.clock, TABLES_MS);
    const listening = await readSockets(tables, ({ state, port }) => state === "listen" && ports.has(port));
    const found = here.map(({ role, port, addresses }) => ({
      role,
      port,
      sockets: listening.filter((one) => one.port === port && answersFor(one, addresses)),
    }));
    const search = new Search(this.clock, SERVERS_MS);
    const owners = await findOwners(
      found.flatMap(({ sockets }) => sockets),
      search,
    );
    const items = found.flatMap(({ role, port, sockets }) => {
      const cgroups = this.#cgroupsOf(sockets.flatMap(({ inode }) => [...(owners.get(inode) ?? [])]));
      return cgroups.length === 0 ? [] : [{ role, port, cgroups }];
    });
    return { items, isComplete: tables.isComplete && search.isComplete };
  }

  async needs(): Promise<readonly NeededConnection[]> {
    const own = ownAddresses();
    const search = new Search(this.clock, NEEDS_MS);
    const [programs, udp, ssh, servers] = [
      await findSystemPrograms(search),
      [
        ...(await readUdp("udp", search, ({ port }) => port < FIRST_FREE_PORT)),
        ...(await readUdp("udp6", search, ({ port }) => port < FIRST_FREE_PORT)),
      ],
      await this.#sshPorts(search),
      await this.servers(),
    ];
    return await findNeeds({
      root: "/",
      endpoints: this.endpoints,
      programs,
      isComplete: search.isComplete && servers.isComplete,
      udp,
      ssh,
      servers: servers.items,
      resolve: addressesOf,
      isOwn: (address) => own.has(address) || address.startsWith("127.") || address === "::1",
    });
  }

  /** Returns the ports where root's SSH servers listen, or, for one that starts with the first connection, its port. */
  async #sshPorts(search: Search): Promise<MachineFacts["ssh"]> {
    const processes = await findSshProcesses(search);
    const held = ownersIn(processes.sockets);
    const listening = await readSockets(
      search,
      ({ state, user, port, inode }) => state === "listen" && user === ROOT && (held.has(inode) || port === SSH_PORT),
    );
    const owners = await findOwners(listening, search);
    const byPort = Map.groupBy(listening, ({ port }) => port);
    return [...byPort].map(([port, sockets]) => ({
      port,
      cgroups: this.#cgroupsOf(sockets.flatMap(({ inode }) => [...(owners.get(inode) ?? [])])),
    }));
  }

  /** Returns the processes that listen for a connection. */
  async #listenersFor(
    connections: readonly TcpSocket[],
    listening: readonly TcpSocket[],
    search: Search,
  ): Promise<(connection: TcpSocket) => readonly string[]> {
    const listenersOf = ({ port, address }: TcpSocket): readonly TcpSocket[] =>
      listening.filter((one) => one.port === port && answersFor(one, [address]));
    const owners = await findOwners(connections.flatMap(listenersOf), search);
    return (connection) => listenersOf(connection).flatMap(({ inode }) => [...(owners.get(inode) ?? [])]);
  }

  #cgroupsOf(pids: readonly string[]): readonly string[] {
    return [...new Set([...new Set(pids)].flatMap((pid) => this.#cgroupOf(pid) ?? []))].sort();
  }

  #cgroupOf(pid: string): string | null {
    const path = cgroupPathOf(pid);
    return path === null || this.#mount === null ? null : belowMount(this.#mount, path);
  }
}

/** Returns the names of the programs that run for root, or a user that belongs to the system: what others start proves nothing. */
async function findSystemPrograms(search: Search): Promise<ReadonlySet<string>> {
  const found = new Set<string>();
  for (const pid of listProcesses()) {
    if (!(await search.goesOn())) break;
    const users = identify(pid)?.users;
    if (users?.every((user) => user < FIRST_USER) === true) found.add(programName(pid));
  }
  return found;
}

/**
 * Returns the connections of a session: those that the process that watches over it holds as well, and not those that
 * the session forwards. Root's sessions have no such process: there, the port decides.
 */
function connectionsOf(
  { pid, monitor }: SessionProcess,
  sockets: OpenSockets,
  established: ReadonlyMap<string, TcpSocket>,
  listening: readonly TcpSocket[],
): readonly TcpSocket[] {
  const held = [...(sockets.get(pid) ?? [])].flatMap((inode) => established.get(inode) ?? []);
  const shared = monitor === null ? undefined : sockets.get(monitor);
  const watched = held.filter(({ inode }) => shared?.has(inode) === true);
  if (watched.length > 0) return watched;
  const toServer = held.filter(({ port }) => port === SSH_PORT || listening.some((one) => one.port === port));
  // If nothing listens any more, every connection may be the session's.
  return toServer.length > 0 ? toServer : held;
}

const ANY: ReadonlySet<string> = new Set(["0.0.0.0", "::"]);

function answersFor({ address }: TcpSocket, addresses: readonly string[]): boolean {
  return ANY.has(address) || addresses.includes(address);
}

async function readSockets(search: Search, isWanted: (socket: TcpSocket) => boolean): Promise<readonly TcpSocket[]> {
  return [...(await readTcp("tcp", search, isWanted)), ...(await readTcp("tcp6", search, isWanted))];
}

/** The processes that hold each socket, by its inode. */
type Owners = ReadonlyMap<string, ReadonlySet<string>>;

/**
 * Finds the processes that hold sockets. Those of the user who made them, and of root, come first: the kernel decides by
 * the cgroup in which a socket was made. Others are read if this leaves a socket without a process.
 */
async function findOwners(sockets: readonly TcpSocket[], search: Search): Promise<Owners> {
  if (sockets.length === 0) return new Map();
  const makers = new Set([ROOT, ...sockets.map(({ user }) => user)]);
  const likely = new Map<number, string[]>();
  const others = new Map<number, string[]>();
  for (const pid of listProcesses()) {
    if (!(await search.goesOn())) break;
    const users = identify(pid)?.users ?? [];
    const [user] = users;
    if (user === undefined) continue;
    const groups = users.some((one) => makers.has(one)) ? likely : others;
    const group = groups.get(user);
    if (group === undefined) groups.set(user, [pid]);
    else group.push(pid);
  }
  const inodes = new Set(sockets.map(({ inode }) => inode));
  const found = ownersIn(await readOpenSockets([...likely.values()], search));
  if ([...inodes].every((inode) => found.has(inode))) return found;
  const further = ownersIn(await readOpenSockets([...others.values()], search));
  return new Map([...inodes].map((inode) => [inode, found.get(inode) ?? further.get(inode) ?? new Set()]));
}

function ownersIn(open: OpenSockets): Owners {
  const found = new Map<string, Set<string>>();
  for (const [pid, inodes] of open)
    for (const inode of inodes) found.set(inode, (found.get(inode) ?? new Set()).add(pid));
  return found;
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
