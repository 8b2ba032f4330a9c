/** Packets made by hand, for BPF_PROG_TEST_RUN: an Ethernet header, then IP as the arguments say. */
import { parsePrefix } from "../../src/adapters/ebpf/lower/prefix.js";

export interface PacketSpec {
  readonly from: string;
  readonly to: string;
  readonly protocol: number;
  readonly payload?: Buffer;
  /** IPv4: in units of 8 bytes. */
  readonly fragment?: number;
  /** IPv4: bytes of options, a multiple of 4. */
  readonly options?: number;
  /** IPv6: numbers of extension headers, in order, 8 bytes each. A fragment header (44) carries `fragment`. */
  readonly extensions?: readonly number[];
  /** IPv6: how many units of 8 bytes each extension header is longer; a fragment header never is. */
  readonly padding?: number;
  readonly hopLimit?: number;
}

export function packet(spec: PacketSpec): Buffer {
  const payload = spec.payload ?? Buffer.alloc(20);
  const ethernet = Buffer.alloc(14);
  const v6 = spec.from.includes(":");
  ethernet.writeUInt16BE(v6 ? 0x86dd : 0x0800, 12);
  return Buffer.concat([ethernet, v6 ? ipv6(spec, payload) : ipv4(spec, payload), payload]);
}

function ipv4(spec: PacketSpec, payload: Buffer): Buffer {
  const length = 20 + (spec.options ?? 0);
  const header = Buffer.alloc(length, 1);
  header.fill(0, 0, 20);
  header.writeUInt8(0x40 | (length / 4), 0);
  header.writeUInt16BE(length + payload.length, 2);
  header.writeUInt16BE(spec.fragment ?? 0, 6);
  header.writeUInt8(spec.hopLimit ?? 64, 8);
  header.writeUInt8(spec.protocol, 9);
  header.write(parsePrefix(spec.from).address.slice(0, 8), 12, "hex");
  header.write(parsePrefix(spec.to).address.slice(0, 8), 16, "hex");
  header.writeUInt16BE(checksum(header), 10);
  return header;
}

function ipv6(spec: PacketSpec, payload: Buffer): Buffer {
  const chain = spec.extensions ?? [];
  const extensions = chain.map((kind, at) => {
    const units = kind === 44 ? 0 : (spec.padding ?? 0);
    const header = Buffer.alloc(8 + units * 8);
    header.writeUInt8(units, 1);
    header.writeUInt8(chain[at + 1] ?? spec.protocol, 0);
    if (kind === 44) header.writeUInt16BE((spec.fragment ?? 0) << 3, 2);
    return header;
  });
  const header = Buffer.alloc(40);
  header.writeUInt8(0x60, 0);
  header.writeUInt16BE(payload.length + Buffer.concat(extensions).length, 4);
  header.writeUInt8(chain[0] ?? spec.protocol, 6);
  header.writeUInt8(spec.hopLimit ?? 64, 7);
  header.write(parsePrefix(spec.from).address, 8, "hex");
  header.write(parsePrefix(spec.to).address, 24, "hex");
  return Buffer.concat([header, ...extensions]);
}

const SYN = 0x02;

export function tcp(from: number, to: number, flags = SYN): Buffer {
  const header = Buffer.alloc(20);
  header.writeUInt16BE(from, 0);
  header.writeUInt16BE(to, 2);
  header.writeUInt8(0x50, 12);
  header.writeUInt8(flags, 13);
  return header;
}

/** Without a checksum, which over IPv4 says that there is none. */
export function udp(from: number, to: number, payload = 0): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt16BE(header.length + payload, 4);
  header.writeUInt16BE(from, 0);
  header.writeUInt16BE(to, 2);
  return header;
}

export function icmp(type: number, code = 0, identifier = 0): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt8(type, 0);
  header.writeUInt8(code, 1);
  header.writeUInt16BE(identifier, 4);
  return header;
}

/** An ICMP message with its checksum (RFC 1071). */
export function checked(message: Buffer): Buffer {
  const copy = Buffer.from(message);
  copy.writeUInt16BE(0, 2);
  copy.writeUInt16BE(checksum(copy), 2);
  return copy;
}

/** A UDP datagram, a TCP segment or an ICMPv6 message with its checksum, which covers the addresses. */
export function checkedBetween(from: string, to: string, protocol: 6 | 17 | 58, message: Buffer): Buffer {
  const copy = Buffer.from(message);
  const at = { 6: 16, 17: 6, 58: 2 }[protocol];
  const pseudo = Buffer.alloc(8);
  pseudo.writeUInt32BE(copy.length, 0);
  pseudo.writeUInt8(protocol, 7);
  const ends = [from, to].map((text) => {
    const { address } = parsePrefix(text);
    return Buffer.from(text.includes(":") ? address : address.slice(0, 8), "hex");
  });
  copy.writeUInt16BE(0, at);
  copy.writeUInt16BE(checksum(Buffer.concat([...ends, pseudo, copy])), at);
  return copy;
}

/** Of the Internet (RFC 1071). */
export function checksum(bytes: Buffer): number {
  const even = bytes.length % 2 === 0 ? bytes : Buffer.concat([bytes, Buffer.alloc(1)]);
  let sum = 0;
  for (let at = 0; at < even.length; at += 2) sum += even.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
