/** Reads the TCP and UDP sockets of this process's network namespace from /proc/net/tcp, tcp6, udp and udp6: see proc(5). */
import { closeSync, openSync, readSync } from "node:fs";
import { addressFromBytes } from "../../model/ip.js";
import { endianness } from "node:os";
import type { Search } from "./processes.js";

export interface TcpSocket {
  readonly state: "established" | "listen";
  /** The local address and port. */
  readonly address: string;
  readonly port: number;
  /** Address of the other end. Both are canonical text; IPv4 also if the socket is an IPv6 one. */
  readonly peer: string;
  /** The user who made it. */
  readonly user: number;
  readonly inode: string;
}

/** From include/net/tcp_states.h. */
const STATES: Readonly<Record<string, TcpSocket["state"]>> = { "01": "established", "0A": "listen" };

/** How many lines are read before the search is asked for time. */
const SLICE = 256;

/**
 * Reads the sockets that are connected or listen until the search's time is over: any user can have a million of them. Those
 * that listen come first. None if the kernel does not have the family.
 * @param isWanted chooses those that are returned
 */
export async function readTcp(
  table: "tcp" | "tcp6",
  search: Search,
  isWanted: (socket: TcpSocket) => boolean,
): Promise<readonly TcpSocket[]> {
  const found: TcpSocket[] = [];
  let count = 0;
  for (const line of linesOf(`/proc/net/${table}`)) {
    count += 1;
    if (count % SLICE === 0 && !(await search.goesOn())) break;
    found.push(...parseSocket(line).filter(isWanted));
  }
  return found;
}

/** A UDP socket. */
export interface UdpSocket {
  readonly port: number;
  /** Address of the other end if it is connected; else unspecified. */
  readonly peer: string;
}

/** Reads the UDP sockets until the search's time is over. */
export async function readUdp(
  table: "udp" | "udp6",
  search: Search,
  isWanted: (socket: UdpSocket) => boolean,
): Promise<readonly UdpSocket[]> {
  const found: UdpSocket[] = [];
  let count = 0;
  for (const line of linesOf(`/proc/net/${table}`)) {
    count += 1;
    if (count % SLICE === 0 && !(await search.goesOn())) break;
    const [, local = "", remote = ""] = line.trim().split(/\s+/);
    const [, port = ""] = local.split(":");
    const [peer = ""] = remote.split(":");
    if (!/^[0-9A-F]{4}$/.test(port)) continue;
    const socket = { port: Number.parseInt(port, 16), peer: addressOf(peer) };
    if (isWanted(socket)) found.push(socket);
  }
  return found;
}

/** Of a file that the kernel makes as it is read, page by page. */
const CHUNK_BYTES = 65_536;

function* linesOf(path: string): Generator<string, void> {
  const file = openOrNull(path);
  if (file === null) return;
  try {
    const buffer = Buffer.alloc(CHUNK_BYTES);
    let rest = "";
    for (let length = readSync(file, buffer); length > 0; length = readSync(file, buffer)) {
      const lines = (rest + buffer.toString("latin1", 0, length)).split("\n");
      rest = lines.pop() ?? "";
      yield* lines;
    }
  } finally {
    closeSync(file);
  }
}

function openOrNull(path: string): number | null {
  try {
    return openSync(path, "r");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return null;
    throw error;
  }
}

/**
 * Parses "  0: 0100007F:0016 0200007F:B6C1 01 …": number, local and remote address and port, state; the eighth word is
 * the user, the tenth the inode.
 */
export function parseSocket(line: string): readonly TcpSocket[] {
  const words = line.trim().split(/\s+/);
  const [, local = "", remote = "", code = ""] = words;
  const state = STATES[code];
  const [user, inode] = [words[7], words[9]];
  if (state === undefined || user === undefined || inode === undefined) return [];
  const [own = "", port = ""] = local.split(":");
  const [peer = ""] = remote.split(":");
  return [
    {
      state,
      address: addressOf(own),
      port: Number.parseInt(port, 16),
      peer: addressOf(peer),
      user: Number(user),
      inode,
    },
  ];
}

/** Returns an address: each four bytes are printed as one number in the machine's byte order. */
function addressOf(hex: string): string {
  const bytes = Buffer.from(hex, "hex");
  if (endianness() === "LE") bytes.swap32();
  const isMapped = bytes.length === 16 && bytes.subarray(0, 12).equals(MAPPED);
  return addressFromBytes(isMapped ? bytes.subarray(12) : bytes);
}

/** ::ffff:0:0/96, RFC 4291 section 2.5.5.2. */
const MAPPED = Buffer.from("00000000000000000000ffff", "hex");
