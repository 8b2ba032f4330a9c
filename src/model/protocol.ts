/** IP protocol numbers of the protocols that policies name (IANA). ICMPv6 has a number of its own and is ICMP to a policy. */
import type { PortRange } from "./ruleset.js";

export const PROTOCOL_NUMBERS = { ICMP: 1, TCP: 6, UDP: 17, ICMPv6: 58, SCTP: 132 } as const;

const NAMES: ReadonlyMap<number, PortRange["protocol"]> = new Map([
  [PROTOCOL_NUMBERS.ICMP, "ICMP"],
  [PROTOCOL_NUMBERS.ICMPv6, "ICMP"],
  [PROTOCOL_NUMBERS.TCP, "TCP"],
  [PROTOCOL_NUMBERS.UDP, "UDP"],
  [PROTOCOL_NUMBERS.SCTP, "SCTP"],
]);

/** The protocol that a policy names; undefined for a number that no policy can name. */
export function protocolName(number: number): PortRange["protocol"] | undefined {
  return NAMES.get(number);
}
