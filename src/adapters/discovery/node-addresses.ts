/** The machine's own addresses. */
import { BlockList, isIP } from "node:net";
import { networkInterfaces } from "node:os";
import { canonicalAddress } from "../../model/ip.js";

/** Loopback, link-local, multicast, unspecified, reserved and mapped addresses: none of them identifies a host. */
const NOBODYS = new BlockList();
for (const [address, bits] of [
  ["0.0.0.0", 8],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["224.0.0.0", 3],
] as const)
  NOBODYS.addSubnet(address, bits, "ipv4");
for (const [address, bits] of [
  ["::", 127],
  ["fe80::", 10],
  ["ff00::", 8],
] as const)
  NOBODYS.addSubnet(address, bits, "ipv6");

/**
 * Returns the unicast addresses of the interfaces that are up in this network namespace, canonical and sorted. What counts
 * is the address, not the interface: routers announce addresses of `lo`, too.
 */
export function nodeAddresses(): readonly string[] {
  return hostAddresses(Object.values(networkInterfaces()).flatMap((all = []) => all.map(({ address }) => address)));
}

/** Returns those texts that are addresses of a host, canonical and sorted, each one once. */
export function hostAddresses(texts: readonly string[]): readonly string[] {
  return [...new Set(texts.filter(isHostAddress).map(canonicalAddress))].sort();
}

function isHostAddress(text: string): boolean {
  const family = isIP(text);
  if (family === 0 || text.includes("%")) return false;
  if (family === 4) return !NOBODYS.check(text, "ipv4");
  return !NOBODYS.check(text, "ipv6") && !canonicalAddress(text).startsWith("::ffff:");
}

/** Stands for no address: see ProcessDiscovery. */
export const NO_HOST_ADDRESS = "127.0.0.1";
