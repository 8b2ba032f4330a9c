/**
 * Wire: what can be known of a packet from its bytes. Written from the RFCs (791, 792, 8200, 4443)
 * and from docs/policies.md, not from the programs that it is held against.
 *
 * Nothing is guessed: what is truncated, hidden behind too many headers or out of place is unknown.
 */

export type Transport =
  /** Neither protocol nor ports are known. */
  | { readonly kind: "unknown" }
  /** The protocol is known and has ports or a type, which are not there. */
  | { readonly kind: "portless"; readonly protocol: number }
  | {
      readonly kind: "ports";
      readonly protocol: number;
      readonly source: number;
      readonly destination: number;
      /** Of TCP: it begins a connection. */
      readonly isSyn: boolean;
    }
  | {
      readonly kind: "icmp";
      readonly protocol: number;
      readonly type: number;
      readonly code: number;
      readonly identifier: number;
      readonly hopLimit: number;
      /** What an error quotes; null for other messages. */
      readonly quoted: Wire | null;
    }
  /** A protocol of which no more is known than its number. */
  | { readonly kind: "other"; readonly protocol: number };

export interface Wire {
  readonly family: 4 | 6;
  /** Hexadecimal. */
  readonly source: string;
  readonly destination: string;
  readonly transport: Transport;
}

export const TCP = 6;
export const UDP = 17;
const UDP_LITE = 136;
export const SCTP = 132;
export const ICMP = 1;
export const ICMP6 = 58;
export const ETHERNET = 14;
/** Hop-by-hop options, routing, fragment, destination options. */
const EXTENSIONS: ReadonlySet<number> = new Set([0, 43, 44, 60]);
const FRAGMENT = 44;
const MAX_EXTENSIONS = 8;
const UNKNOWN: Transport = { kind: "unknown" };

/** A frame with its Ethernet header; null for what is not IP, or too short to have addresses. */
export function readFrame(frame: Buffer): Wire | null {
  const type = frame.readUInt16BE(12);
  if (type === 0x0800) return readIp(frame.subarray(ETHERNET), 4, false);
  return type === 0x86dd ? readIp(frame.subarray(ETHERNET), 6, false) : null;
}

function readIp(bytes: Buffer, family: 4 | 6, isQuoted: boolean): Wire | null {
  return family === 4 ? readIpv4(bytes, isQuoted) : readIpv6(bytes, isQuoted);
}

function readIpv4(bytes: Buffer, isQuoted: boolean): Wire | null {
  if (bytes.length < 20) return null;
  const address = (at: number): string => bytes.toString("hex", at, at + 4);
  const ends = { family: 4 as const, source: address(12), destination: address(16) };
  const headerWords = bytes.readUInt8(0) & 15;
  if (bytes.readUInt8(0) >> 4 !== 4 || headerWords < 5) return { ...ends, transport: UNKNOWN };
  const protocol = bytes.readUInt8(9);
  const isLaterFragment = (bytes.readUInt16BE(6) & 0x1fff) !== 0;
  const transport = isLaterFragment
    ? protocol === ICMP6
      ? UNKNOWN
      : { kind: "portless" as const, protocol }
    : readTransport(bytes.subarray(headerWords * 4), protocol, { family: 4, isQuoted, hopLimit: bytes.readUInt8(8) });
  return { ...ends, transport };
}

function readIpv6(bytes: Buffer, isQuoted: boolean): Wire | null {
  if (bytes.length < 40) return null;
  const address = (at: number): string => bytes.toString("hex", at, at + 16);
  const ends = { family: 6 as const, source: address(8), destination: address(24) };
  if (bytes.readUInt8(0) >> 4 !== 6) return { ...ends, transport: UNKNOWN };
  let next = bytes.readUInt8(6);
  let rest = bytes.subarray(40);
  for (let seen = 0; EXTENSIONS.has(next); seen++) {
    if (seen === MAX_EXTENSIONS || rest.length < 8) return { ...ends, transport: UNKNOWN };
    const isFragment = next === FRAGMENT;
    next = rest.readUInt8(0);
    if (isFragment && rest.readUInt16BE(2) >> 3 !== 0) {
      // What a later fragment says of the next header describes the first one, which may have begun with an extension.
      const isHidden = EXTENSIONS.has(next) || next === ICMP;
      return { ...ends, transport: isHidden ? UNKNOWN : { kind: "portless", protocol: next } };
    }
    rest = rest.subarray(isFragment ? 8 : (rest.readUInt8(1) + 1) * 8);
  }
  const transport = readTransport(rest, next, { family: 6, isQuoted, hopLimit: bytes.readUInt8(7) });
  return { ...ends, transport };
}

interface Around {
  readonly family: 4 | 6;
  readonly isQuoted: boolean;
  readonly hopLimit: number;
}

const portsOf = (bytes: Buffer) => ({ source: bytes.readUInt16BE(0), destination: bytes.readUInt16BE(2) });

/** SYN without ACK. */
const isSyn = (bytes: Buffer): boolean => (bytes.readUInt8(13) & 0x12) === 0x02;

function readTransport(bytes: Buffer, protocol: number, around: Around): Transport {
  switch (protocol) {
    case TCP:
      // Flags are needed of a packet; of a quoted one there are often no more than eight bytes.
      if (bytes.length < (around.isQuoted ? 4 : 14)) return { kind: "portless", protocol };
      return { ...portsOf(bytes), kind: "ports", protocol, isSyn: !around.isQuoted && isSyn(bytes) };
    case UDP:
    case UDP_LITE:
    case SCTP:
      if (bytes.length < 4) return { kind: "portless", protocol };
      return { ...portsOf(bytes), kind: "ports", protocol, isSyn: false };
    case ICMP:
    case ICMP6:
      if ((protocol === ICMP6) !== (around.family === 6)) return UNKNOWN;
      return readIcmp(bytes, protocol, around);
    default:
      return { kind: "other", protocol };
  }
}

const HEADER = 8;
/** Destination unreachable, source quench, time exceeded, parameter problem; and the same of ICMPv6 with packet too big. */
const ERRORS: Readonly<Record<4 | 6, ReadonlySet<number>>> = { 4: new Set([3, 4, 11, 12]), 6: new Set([1, 2, 3, 4]) };

function readIcmp(bytes: Buffer, protocol: number, { family, isQuoted, hopLimit }: Around): Transport {
  if (bytes.length < HEADER) return { kind: "portless", protocol };
  const type = bytes.readUInt8(0);
  return {
    kind: "icmp",
    protocol,
    type,
    code: bytes.readUInt8(1),
    identifier: bytes.readUInt16BE(4),
    hopLimit,
    // An error about an error does not exist (RFC 1122, 4443).
    quoted: ERRORS[family].has(type) && !isQuoted ? readIp(bytes.subarray(HEADER), family, true) : null,
  };
}
