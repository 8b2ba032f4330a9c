/**
 * Addresses and prefixes in the format of the tables: 16 bytes in hexadecimal, IPv4 in the first four.
 *
 * Takes canonical text, which the manifest stage has checked; any other text is a bug of the caller.
 */
import { isIPv4, isIPv6 } from "node:net";

export interface Prefix {
  readonly family: 4 | 6;
  /** 32 hexadecimal digits. */
  readonly address: string;
  readonly length: number;
}

const HEX = Array.from({ length: 256 }, (_unused, byte) => byte.toString(16).padStart(2, "0"));
const IPV4_REST = "0".repeat(24);

export function hexByte(byte: number): string {
  return HEX[byte & 255] ?? "00";
}

/**
 * Parses an address or a CIDR.
 * @throws TypeError
 */
export function parsePrefix(text: string): Prefix {
  const slash = text.indexOf("/");
  const address = slash < 0 ? text : text.slice(0, slash);
  if (isIPv4(address))
    return {
      family: 4,
      address: hexOfIpv4(address) + IPV4_REST,
      length: slash < 0 ? 32 : Number(text.slice(slash + 1)),
    };
  if (isIPv6(address))
    return { family: 6, address: hexOfIpv6(address), length: slash < 0 ? 128 : Number(text.slice(slash + 1)) };
  throw new TypeError(`not an address: ${text}`);
}

function hexOfIpv4(text: string): string {
  let hex = "";
  for (const part of text.split(".")) hex += hexByte(Number(part));
  return hex;
}

function hexOfIpv6(text: string): string {
  const dotted = text.lastIndexOf(".");
  if (dotted >= 0) {
    const colon = text.lastIndexOf(":");
    const hex = hexOfIpv4(text.slice(colon + 1));
    return hexOfIpv6(`${text.slice(0, colon + 1)}${hex.slice(0, 4)}:${hex.slice(4)}`);
  }
  const [head = "", tail] = text.split("::");
  const left = head === "" ? [] : head.split(":");
  const right = tail === undefined || tail === "" ? [] : tail.split(":");
  const groups = [...left, ...Array<string>(8 - left.length - right.length).fill("0"), ...right];
  return groups.map((group) => group.padStart(4, "0")).join("");
}

/** Returns text for people; IPv6 is shortened only by leading zeros. */
export function formatPrefix(prefix: Prefix): string {
  if (prefix.family === 4) {
    const bytes = [0, 2, 4, 6].map((at) => Number.parseInt(prefix.address.slice(at, at + 2), 16));
    return `${bytes.join(".")}/${prefix.length}`;
  }
  const groups = Array.from({ length: 8 }, (_unused, at) =>
    Number.parseInt(prefix.address.slice(at * 4, at * 4 + 4), 16).toString(16),
  );
  return `${groups.join(":")}/${prefix.length}`;
}

/** Returns whether `inner` is inside `outer`; both must be of one family. */
export function contains(outer: Prefix, inner: Prefix): boolean {
  if (outer.family !== inner.family || outer.length > inner.length) return false;
  const digits = outer.length >> 2;
  if (!inner.address.startsWith(outer.address.slice(0, digits))) return false;
  const rest = outer.length & 3;
  if (rest === 0) return true;
  const mask = (0xf << (4 - rest)) & 0xf;
  return (
    (Number.parseInt(outer.address.charAt(digits), 16) & mask) ===
    (Number.parseInt(inner.address.charAt(digits), 16) & mask)
  );
}
