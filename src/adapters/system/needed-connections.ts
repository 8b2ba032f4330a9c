/**
 * Needed connections: what this machine must reach, and be reached for, so that it can be managed: the agents' store and source, name
 * resolution, time, DHCP and SSH. What cannot be found out is returned as unknown, never left out. Reads configuration and leases
 * below a folder, so that tests can give their own.
 */
import { readdirSync, readFileSync } from "node:fs";
import { isIP } from "node:net";
import { join } from "node:path";
import { canonicalAddress } from "../../model/ip.js";
import { describeEndpoint } from "../../model/management-access.js";
import type { ControlEndpoint, ControlServer, NeededConnection } from "../../model/management-access.js";
import type { UdpSocket } from "./proc-net.js";

/** What is known of a machine. */
export interface MachineFacts {
  /** Where its files are: `/`. */
  readonly root: string;
  readonly endpoints: readonly ControlEndpoint[];
  /** The names of the programs of root and of system users that run. */
  readonly programs: ReadonlySet<string>;
  /** False if the search for these, or for sockets, had to end before it had read all. */
  readonly isComplete: boolean;
  /** Those with a local port below 1024. */
  readonly udp: readonly UdpSocket[];
  /** Ports where an SSH server listens, with the cgroups of the processes. */
  readonly ssh: readonly { readonly port: number; readonly cgroups: readonly string[] }[];
  readonly servers: readonly ControlServer[];
  /** Returns no address if the name is not resolved. */
  readonly resolve: (host: string) => Promise<readonly string[]>;
  readonly isOwn: (address: string) => boolean;
}

const DNS = 53;
const NTP = 123;
const DHCP = { client: 68, server: 67 } as const;
const DHCP6 = { client: 546, server: 547, servers: "ff02::1:2", linkLocal: "fe80::/10" } as const;

/** Finds all of them. */
export async function findNeeds(machine: MachineFacts): Promise<readonly NeededConnection[]> {
  const [control, time] = await Promise.all([findControl(machine), findTime(machine)]);
  return [
    ...control,
    ...findResolution(machine),
    ...time,
    ...findDhcp(machine),
    ...findSsh(machine),
    ...findUnread(machine),
  ];
}

function findUnread({ isComplete }: MachineFacts): readonly NeededConnection[] {
  const need = { purpose: "time", direction: "egress", protocol: "UDP", port: NTP, cgroups: [] } as const;
  return isComplete ? [] : [{ ...need, ...unknown("the search for the programs that run had to end") }];
}

type Peers = Pick<NeededConnection, "peers" | "reason">;

async function findControl({ endpoints, servers, resolve, isOwn }: MachineFacts): Promise<readonly NeededConnection[]> {
  const found = await Promise.all(
    endpoints.map(async (endpoint): Promise<readonly NeededConnection[]> => {
      const { role, host, port } = endpoint;
      const need = {
        purpose: describeEndpoint(endpoint),
        direction: "egress",
        protocol: "TCP",
        port,
        cgroups: null,
      } as const;
      const addresses = await resolve(host);
      if (addresses.length === 0)
        return [{ ...need, peers: "unknown", reason: `the name ${host} is not resolved now` }];
      const [own, others] = [addresses.filter(isOwn), addresses.filter((address) => !isOwn(address))];
      const servedBy = servers
        .filter((one) => one.role === role && one.port === port)
        .flatMap(({ cgroups }) => cgroups);
      return [
        ...(own.length === 0 ? [] : [{ ...need, peers: own, servedBy }]),
        ...(others.length === 0 ? [] : [{ ...need, peers: others }]),
      ];
    }),
  );
  return found.flat();
}

const RESOLV_CONF = "etc/resolv.conf";
/** Written by systemd-resolved: the servers behind its own address. */
const RESOLVED_CONF = "run/systemd/resolve/resolv.conf";
const RESOLVED_ADDRESSES: ReadonlySet<string> = new Set(["127.0.0.53", "127.0.0.54"]);

function findResolution({ root, isOwn }: MachineFacts): readonly NeededConnection[] {
  const need = (peers: Peers): NeededConnection => ({
    purpose: "name resolution",
    direction: "egress",
    protocol: "UDP",
    port: DNS,
    cgroups: [],
    ...peers,
  });
  const servers = nameservers(readFile(root, RESOLV_CONF));
  if (servers.length === 0) return [need(unknown(`/${RESOLV_CONF} names no server`))];
  const others = servers.filter((server) => !isOwn(server));
  const own = servers.filter(isOwn);
  if (own.length === 0) return [need({ peers: others })];
  const behind = own.every((server) => RESOLVED_ADDRESSES.has(server))
    ? nameservers(readFile(root, RESOLVED_CONF)).filter((server) => !isOwn(server))
    : [];
  return [
    ...(others.length === 0 ? [] : [need({ peers: others })]),
    behind.length === 0
      ? need(unknown(`the resolver of this machine at ${own.join(", ")} does not tell its servers`))
      : need({ peers: behind }),
  ];
}

function nameservers(text: string | null): readonly string[] {
  return wordsAfter(text, ["nameserver"]).flatMap(([address = ""]) => addressIn(address));
}

/** By the name of the program. */
const TIME_CLIENTS: Readonly<Record<string, (machine: MachineFacts) => readonly string[]>> = {
  chronyd: ({ root }) =>
    chronySources(root, [
      "etc/chrony/chrony.conf",
      "etc/chrony.conf",
      "etc/chrony/conf.d",
      "etc/chrony/sources.d",
      "run/chrony-dhcp",
    ]),
  "systemd-timesyncd": ({ root }) => [
    ...assigned(readFiles(root, ["etc/systemd/timesyncd.conf", "etc/systemd/timesyncd.conf.d"]), [
      "NTP",
      "FallbackNTP",
    ]),
    ...assigned(readFiles(root, [NETWORKD_LEASES]), ["NTP"]),
  ],
  ntpd: ({ root }) =>
    chronySources(root, ["etc/ntp.conf", "etc/ntpsec/ntp.conf", "etc/openntpd/ntpd.conf", "etc/ntpd.conf"]),
};

/** What may follow in the place of a name. */
const POOL = "pool ";

function chronySources(root: string, paths: readonly string[]): readonly string[] {
  return readFiles(root, paths).flatMap((text) => [
    ...wordsAfter(text, ["server", "peer"]).flatMap(([host]) => host ?? []),
    ...wordsAfter(text, ["pool", "servers"]).flatMap(([host]) => (host === undefined ? [] : `${POOL}${host}`)),
  ]);
}

async function findTime(machine: MachineFacts): Promise<readonly NeededConnection[]> {
  const found = Object.entries(TIME_CLIENTS)
    .filter(([program]) => machine.programs.has(program))
    .map(async ([program, read]): Promise<readonly NeededConnection[]> => {
      const need = (peers: Peers): NeededConnection => ({
        purpose: `time for ${program}`,
        direction: "egress",
        protocol: "UDP",
        port: NTP,
        cgroups: [],
        ...peers,
      });
      const sources = [...new Set(read(machine))];
      if (sources.length === 0) return [need(unknown("no file of its configuration names a server"))];
      const pools = sources.filter((source) => source.startsWith(POOL));
      const hosts = sources.filter((source) => !source.startsWith(POOL));
      const resolved = await Promise.all(hosts.map(async (host) => [host, await machine.resolve(host)] as const));
      const lost = resolved.filter(([, addresses]) => addresses.length === 0).map(([host]) => host);
      const addresses = resolved.flatMap(([, known]) => known).filter((address) => !machine.isOwn(address));
      return [
        ...(addresses.length === 0 ? [] : [need({ peers: addresses })]),
        ...pools.map((pool) => need(unknown(`${pool} has other addresses each time`))),
        ...lost.map((host) => need(unknown(`the name ${host} is not resolved now`))),
      ];
    });
  return (await Promise.all(found)).flat();
}

const NETWORKD_LEASES = "run/systemd/netif/leases";
const LEASES = ["var/lib/NetworkManager", "var/lib/dhcp", "var/lib/dhclient"];
/** Programs that get addresses by DHCP, of which not all have a socket all the time. */
const DHCP_CLIENTS = ["dhclient", "dhcpcd", "udhcpc"];

function findDhcp({ root, udp, programs }: MachineFacts): readonly NeededConnection[] {
  const needs: NeededConnection[] = [];
  const inUse = readFiles(root, [NETWORKD_LEASES]);
  const sockets = udp.filter(({ port }) => port === DHCP.client);
  if (inUse.length > 0 || sockets.length > 0 || DHCP_CLIENTS.some((program) => programs.has(program))) {
    const leases = readFiles(root, LEASES);
    const servers = new Set([
      ...assigned([...inUse, ...leases], ["SERVER_ADDRESS"]).flatMap(addressIn),
      ...leases.flatMap((text) =>
        [...text.matchAll(/dhcp-server-identifier (\S{1,64});/g)].flatMap(([, at = ""]) => addressIn(at)),
      ),
      ...sockets.flatMap(({ peer }) => (UNSPECIFIED.has(peer) ? [] : [peer])),
    ]);
    needs.push({
      purpose: "the renewal of this machine's address by DHCP",
      direction: "egress",
      protocol: "UDP",
      port: DHCP.server,
      cgroups: [],
      ...(servers.size === 0 ? unknown("no lease names the server") : { peers: [...servers] }),
    });
  }
  if (udp.some(({ port }) => port === DHCP6.client)) {
    const need = { purpose: "DHCPv6", protocol: "UDP", cgroups: [] } as const;
    needs.push({ ...need, direction: "egress", port: DHCP6.server, peers: [DHCP6.servers] });
    // The answer comes from another address than the one that was asked.
    needs.push({ ...need, direction: "ingress", port: DHCP6.client, peers: [DHCP6.linkLocal] });
  }
  return needs;
}

const UNSPECIFIED: ReadonlySet<string> = new Set(["0.0.0.0", "::"]);

function findSsh({ ssh }: MachineFacts): readonly NeededConnection[] {
  return ssh.map(({ port, cgroups }) => ({
    purpose: `new SSH sessions at port ${port}, from wherever it may be`,
    direction: "ingress",
    protocol: "TCP",
    port,
    peers: "some",
    cgroups,
  }));
}

function unknown(reason: string): Peers {
  return { peers: "unknown", reason };
}

/** Without the zone of a link-local address. */
function addressIn(text: string): readonly string[] {
  const [address = ""] = text.split("%");
  return isIP(address) === 0 ? [] : [canonicalAddress(address)];
}

/** Returns the words that follow one of the keywords, of each line that begins with it. */
function wordsAfter(text: string | null, keywords: readonly string[]): readonly (readonly string[])[] {
  return (text ?? "").split("\n").flatMap((line) => {
    const [keyword = "", ...words] = line.trim().split(/\s+/);
    return keywords.includes(keyword) ? [words] : [];
  });
}

/** Returns the words of `KEY=word word`, of each line that assigns one of the keys. */
function assigned(texts: readonly string[], keys: readonly string[]): readonly string[] {
  return texts.flatMap((text) =>
    text.split("\n").flatMap((line) => {
      const [key = "", value = ""] = line.split("=", 2);
      return keys.includes(key.trim()) ? value.split(/\s+/).filter((word) => word !== "") : [];
    }),
  );
}

function readFile(root: string, path: string): string | null {
  try {
    return readFileSync(join(root, path), "utf8");
  } catch {
    return null;
  }
}

/** Reads files, and those in folders; what cannot be read is left out, and so is not known. */
function readFiles(root: string, paths: readonly string[]): readonly string[] {
  return paths.flatMap((path) => {
    const text = readFile(root, path);
    if (text !== null) return [text];
    return namesIn(join(root, path)).flatMap((name) => readFile(root, join(path, name)) ?? []);
  });
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    return [];
  }
}
