/**
 * The ports that instances listen on, where Git does not declare them: of all sockets of a network namespace those that belong
 * to the instance's cgroup or to one below it. A port of a loopback address counts for nobody else.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { MOST_PORTS, type ListeningPort, type ReportedInstance } from "../../model/endpoints.js";

/** The part of the native addon that looks. */
export interface SocketFunctions {
  listening(
    namespace: string,
  ): Promise<readonly { readonly protocol: number; readonly port: number; readonly cgroup: bigint }[] | null>;
  cgroupById(root: string, id: bigint): string | null;
}

export interface PortsFound {
  readonly instances: readonly ReportedInstance[];
  readonly problems: readonly string[];
}

const PROTOCOLS: ReadonlyMap<number, ListeningPort["protocol"]> = new Map([
  [6, "TCP"],
  [17, "UDP"],
  [132, "SCTP"],
]);
const OWN_NAMESPACE = "/proc/self/ns/net";
/** Cgroups of one container that are looked through for a process. */
const MOST_CGROUPS = 64;

export class ListeningPorts {
  /** What each instance was last found to listen on, by workload and cgroup. */
  #latest: ReadonlyMap<string, readonly ListeningPort[]> = new Map();

  constructor(
    private readonly native: SocketFunctions,
    private readonly cgroupRoot: string,
  ) {}

  /** Returns the instances, those for which `needsPorts` is true with the ports that they listen on. */
  async find(
    instances: readonly ReportedInstance[],
    needsPorts: (instance: ReportedInstance) => boolean,
  ): Promise<PortsFound> {
    const wanted = new Set(instances.filter((one) => one.cgroup !== "" && needsPorts(one)));
    if (wanted.size === 0) return { instances, problems: [] };
    const problems: string[] = [];
    const owners = new Map([...wanted].map((one) => [one.cgroup, one]));
    const found = new Map<ReportedInstance, Map<string, ListeningPort>>();
    const unread = new Set<ReportedInstance>();
    for (const [namespace, here] of Map.groupBy(wanted, (one) => this.#namespaceOf(one))) {
      if (namespace === null) continue;
      try {
        await this.#look(namespace, owners, found);
      } catch (error) {
        for (const one of here) unread.add(one);
        problems.push(`who listens cannot be found: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
    const portsOf = (one: ReportedInstance): readonly ListeningPort[] =>
      unread.has(one) ? (this.#latest.get(keyOf(one)) ?? []) : sorted(found.get(one));
    const known = new Map([...wanted].map((one) => [one, portsOf(one)]));
    this.#latest = new Map([...known].map(([one, ports]) => [keyOf(one), ports]));
    return {
      instances: instances.map((one) => ({ ...one, ports: known.get(one) ?? one.ports })),
      problems: [...new Set(problems)],
    };
  }

  async #look(
    namespace: string,
    owners: ReadonlyMap<string, ReportedInstance>,
    found: Map<ReportedInstance, Map<string, ListeningPort>>,
  ): Promise<void> {
    const isEphemeral = ephemeralPorts(namespace);
    const paths = new Map<bigint, string | null>();
    for (const { protocol: number, port, cgroup } of (await this.native.listening(namespace)) ?? []) {
      const protocol = PROTOCOLS.get(number);
      // A client of UDP is bound like a server.
      if (protocol === undefined || (protocol === "UDP" && isEphemeral(port))) continue;
      if (!paths.has(cgroup)) paths.set(cgroup, this.native.cgroupById(this.cgroupRoot, cgroup));
      const path = paths.get(cgroup) ?? null;
      const owner = path === null ? null : ownerOf(relative(this.cgroupRoot, path), owners);
      if (owner === null) continue;
      const ports = found.get(owner) ?? new Map<string, ListeningPort>();
      found.set(owner, ports);
      ports.set(`${protocol} ${port}`, { protocol, port });
    }
  }

  /** Returns the network namespace of an instance; null if none of its processes can be found. */
  #namespaceOf({ cgroup, addresses }: ReportedInstance): string | null {
    if (addresses.length === 0) return OWN_NAMESPACE;
    const process = findProcess(join(this.cgroupRoot, cgroup));
    return process === null ? null : `/proc/${process}/ns/net`;
  }
}

const keyOf = ({ workload, cgroup }: ReportedInstance): string => `${workload} ${cgroup}`;

/** Returns the instance whose cgroup it is, or contains it. @param path below the cgroup root */
function ownerOf(path: string, owners: ReadonlyMap<string, ReportedInstance>): ReportedInstance | null {
  for (let at = path; at !== ""; at = at.slice(0, Math.max(0, at.lastIndexOf("/")))) {
    const owner = owners.get(at);
    if (owner !== undefined) return owner;
  }
  return null;
}

/** Too many ports are as good as none known: then all of them count as the workload's. */
function sorted(ports: ReadonlyMap<string, ListeningPort> | undefined): readonly ListeningPort[] {
  const all = [...(ports?.values() ?? [])];
  if (all.length > MOST_PORTS) return [];
  return all.sort((a, b) => a.port - b.port || (a.protocol < b.protocol ? -1 : 1));
}

/** Returns a process of a cgroup, or of one below it. */
function findProcess(folder: string): string | null {
  const folders = [folder];
  for (let at = 0; at < folders.length && at < MOST_CGROUPS; at++) {
    const path = folders[at] ?? folder;
    try {
      const [first = ""] = readFileSync(join(path, "cgroup.procs"), "utf8").split("\n", 1);
      // 0: a process of another PID namespace.
      if (first !== "" && first !== "0") return first;
      for (const entry of readdirSync(path, { withFileTypes: true }))
        if (entry.isDirectory()) folders.push(join(path, entry.name));
    } catch {
      // The cgroup is gone, or has threads of its own (EOPNOTSUPP).
    }
  }
  return null;
}

/** Returns whether the kernel gives such a port to sockets that ask for none. */
function ephemeralPorts(namespace: string): (port: number) => boolean {
  const process = /^\/proc\/([^/]+)\//.exec(namespace)?.[1] ?? "self";
  try {
    const text = readFileSync(`/proc/${process}/root/proc/sys/net/ipv4/ip_local_port_range`, "utf8");
    const [first = 32_768, last = 60_999] = text.trim().split(/\s+/).map(Number);
    return (port) => port >= first && port <= last;
  } catch {
    return (port) => port >= 32_768;
  }
}
