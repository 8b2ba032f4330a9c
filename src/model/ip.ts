/** IP addresses as text. Sets and ranges of them are policy/address-space.ts; their form in the kernel's maps is adapters/ebpf/lower/prefix.ts. */
import { isIP, isIPv4, SocketAddress } from "node:net";

/** The CIDR that holds this address alone. */
export function hostCidr(address: string): string {
  return `${address}/${isIPv4(address) ? 32 : 128}`;
}

/** Returns IPv6 in the text form of RFC 5952; IPv4, and text that is not an address, unchanged. */
export function canonicalAddress(text: string): string {
  return isIP(text) === 6 ? new SocketAddress({ address: text, family: "ipv6" }).address : text;
}

/** @param bytes 4 or 16, in network byte order */
export function addressFromBytes(bytes: Buffer): string {
  if (bytes.length === 4) return [...bytes].join(".");
  const groups = Array.from({ length: 8 }, (_unused, at) => bytes.readUInt16BE(at * 2).toString(16));
  return canonicalAddress(groups.join(":"));
}
