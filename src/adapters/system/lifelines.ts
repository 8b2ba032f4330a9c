/**
 * Lifelines from proc(5): this process's cgroup, and the TCP connections to SSH's port or to one where sshd
 * listens, with the cgroups of whoever holds them or listens for them.
 */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import type { Session } from "../../model/lifeline.js";
import type { LifelineReader } from "../../ports/lifelines.js";
import { readTcp, type TcpSocket } from "./tcp.js";

/** Where systemd listens for sshd, only the port tells. */
const SSH_PORT = 22;
const SSH_SERVERS: ReadonlySet<string> = new Set(["sshd", "sshd-session", "dropbear"]);

export class ProcLifelines implements LifelineReader {
  ownCgroup(): string | null {
    return cgroupOf("self");
  }

  async sessions(): Promise<readonly Session[]> {
    const sockets = [...readTcp("tcp"), ...readTcp("tcp6")];
    const servers = sshServers();
    const served = new Set(servers.flatMap((pid) => [...socketsOf(pid)]));
    const ports = new Set(sockets.filter(({ inode, state }) => state === "listen" && served.has(inode)).map(portOf));
    const established = sockets.filter(
      ({ state, inode, port }) =>
        state === "established" && (port === SSH_PORT || ports.has(port) || served.has(inode)),
    );
    if (established.length === 0) return [];
    const sessionPorts = new Set(established.map(portOf));
    const concerned = sockets.filter(({ state, port }) => state === "listen" && sessionPorts.has(port));
    const owners = cgroupsBySocket(new Set([...established, ...concerned].map(({ inode }) => inode)));
    return established.map(({ peer, port, inode }) => {
      const inodes = [inode, ...concerned.filter((one) => one.port === port).map((one) => one.inode)];
      return { peer, port, cgroups: [...new Set(inodes.flatMap((one) => [...(owners.get(one) ?? [])]))] };
    });
  }
}

function portOf({ port }: TcpSocket): number {
  return port;
}

function processes(): readonly string[] {
  return readdirSync("/proc").filter((name) => /^\d+$/.test(name));
}

function sshServers(): readonly string[] {
  return processes().filter((pid) =>
    SSH_SERVERS.has(orGone(() => readFileSync(`/proc/${pid}/comm`, "utf8"))?.trim() ?? ""),
  );
}

/** Inodes of the sockets that a process has open; none where it has ended, or is another user's. */
function socketsOf(pid: string): readonly string[] {
  const folder = `/proc/${pid}/fd`;
  return (orGone(() => readdirSync(folder)) ?? []).flatMap((fd) => {
    const target = orGone(() => readlinkSync(`${folder}/${fd}`)) ?? "";
    return /^socket:\[(\d+)\]$/.exec(target)?.[1] ?? [];
  });
}

function cgroupsBySocket(inodes: ReadonlySet<string>): ReadonlyMap<string, ReadonlySet<string>> {
  const found = new Map<string, Set<string>>();
  for (const pid of processes()) {
    const held = socketsOf(pid).filter((inode) => inodes.has(inode));
    const cgroup = held.length === 0 ? null : cgroupOf(pid);
    if (cgroup === null) continue;
    for (const inode of held) found.set(inode, (found.get(inode) ?? new Set()).add(cgroup));
  }
  return found;
}

/** The line of cgroup v2 in proc(5) cgroup: "0::/system.slice/ssh.service". */
function cgroupOf(pid: string): string | null {
  const text = orGone(() => readFileSync(`/proc/${pid}/cgroup`, "utf8")) ?? "";
  const path = /^0::\/(.*)$/m.exec(text)?.[1];
  // Still named after a cgroup that was removed under it.
  return path === undefined ? null : path.replace(/ \(deleted\)$/, "");
}

/** What can be read of a process; undefined where it has just ended, or is not ours to look at. */
function orGone<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === "ENOENT" || code === "ESRCH" || code === "EACCES" || code === "EPERM") return undefined;
    throw error;
  }
}
