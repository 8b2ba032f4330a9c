/**
 * Checks IP addresses and CIDRs strictly, and writes them canonically.
 *
 * IPv4 is four decimal numbers without leading zeros; IPv6 text becomes that of RFC 5952. Zones (`%eth0`) mean nothing
 * to other hosts and are refused. IPv4-mapped IPv6 (`::ffff:192.0.2.1`) is refused too: on the wire such a peer is an
 * IPv4 peer, and with two spellings of one address a rule could look effective and match nothing.
 */
import { isIP } from "node:net";
import { excludeCidr, mergeCidr, normalizeCidr, parseCidr } from "cidr-tools";

export type Checked<T> =
  | { readonly ok: true; readonly value: T }
  | {
      readonly ok: false;
      readonly reason: "malformed" | "mapped" | "hostBits";
      readonly message: string;
      readonly fix?: string;
    };

export interface Cidr {
  /** Canonical text, always with the prefix length. */
  readonly text: string;
  readonly version: 4 | 6;
  readonly prefix: number;
}

/** Returns the IPv4 address that an IPv6 address is a form of, with its last 32 bits as numbers or in hexadecimal. */
function mappedAddress(canonical: string): string | undefined {
  if (!canonical.startsWith("::ffff:")) return undefined;
  const { start } = parseCidr(canonical);
  if (start >> 32n !== 0xffffn) return undefined;
  return [24n, 16n, 8n, 0n].map((shift) => String((start >> shift) & 255n)).join(".");
}

export function checkAddress(text: string): Checked<string> {
  const version = text.includes("%") ? 0 : isIP(text);
  if (version === 4) return { ok: true, value: text };
  if (version === 6) {
    const canonical = normalizeCidr(text);
    const mapped = mappedAddress(canonical);
    if (mapped === undefined) return { ok: true, value: canonical };
    return { ok: false, reason: "mapped", message: `${text} is an IPv4 address in IPv6 form`, fix: `write ${mapped}` };
  }
  return malformedAddress(text);
}

function malformedAddress(text: string): Checked<string> {
  const malformed = { ok: false, reason: "malformed" } as const;
  const zone = text.indexOf("%");
  if (zone > 0 && isIP(text.slice(0, zone)) === 6) {
    const fix = `write ${text.slice(0, zone)}`;
    return { ...malformed, message: `${text} names a zone, which means nothing on other hosts`, fix };
  }
  const slash = text.indexOf("/");
  if (slash > 0 && isIP(text.slice(0, slash)) !== 0) {
    return {
      ...malformed,
      message: `${text} has a prefix length, but must be a single address`,
      fix: `write ${text.slice(0, slash)}`,
    };
  }
  const plain = withoutLeadingZeros(text);
  if (plain !== text && isIP(plain) === 4) {
    return {
      ...malformed,
      message: `${text} has numbers with leading zeros, which some programs read as octal`,
      fix: `write ${plain}`,
    };
  }
  return { ...malformed, message: `${JSON.stringify(text)} is not an IP address` };
}

const withoutLeadingZeros = (text: string): string => text.replace(/\b0+(?=\d)/g, "");

export function checkCidr(text: string): Checked<Cidr> {
  const slash = text.indexOf("/");
  if (slash === -1) {
    const address = checkAddress(text);
    if (!address.ok) return { ...address, ...asCidr(text, address.message) };
    const fix = `write ${address.value}/${address.value.includes(":") ? 128 : 32} for this one address`;
    return { ok: false, reason: "malformed", message: `${text} has no prefix length`, fix };
  }
  const prefixText = text.slice(slash + 1);
  const address = checkAddress(text.slice(0, slash));
  if (!address.ok && address.reason === "mapped") return mappedCidr(text, Number(prefixText));
  if (!address.ok) return { ...address, ...asCidr(text, address.message), ...withSuffix(address.fix, prefixText) };
  const version = address.value.includes(":") ? 6 : 4;
  const bits = version === 6 ? 128 : 32;
  const prefix = Number(prefixText);
  if (!/^(0|[1-9]\d{0,2})$/.test(prefixText) || prefix > bits) {
    return { ok: false, reason: "malformed", message: `${text} has no prefix length between 0 and ${bits}` };
  }
  const network = normalizeCidr(`${address.value}/${prefix}`);
  if (network !== `${address.value}/${prefix}`) {
    return {
      ok: false,
      reason: "hostBits",
      message: `${text} has bits set behind its prefix of ${prefix}`,
      fix: `write ${network}, or ${address.value}/${bits} for that one address`,
    };
  }
  return { ok: true, value: { text: network, version, prefix } };
}

/** Names the whole CIDR if its address part is malformed. */
function asCidr(text: string, message: string): { readonly message: string } {
  return { message: message.endsWith("is not an IP address") ? `${JSON.stringify(text)} is not a CIDR` : message };
}

function withSuffix(fix: string | undefined, prefixText: string): { readonly fix?: string } {
  return fix === undefined ? {} : { fix: `${fix}/${prefixText}` };
}

function mappedCidr(text: string, prefix: number): Checked<Cidr> {
  const mapped = { ok: false, reason: "mapped", message: `${text} is an IPv4 block in IPv6 form` } as const;
  if (!(prefix >= 96 && prefix <= 128)) return mapped;
  const address = mappedAddress(normalizeCidr(text.slice(0, text.indexOf("/")))) ?? "0.0.0.0";
  return { ...mapped, fix: `write ${normalizeCidr(`${address}/${prefix - 96}`)}` };
}

/** Largest number of CIDRs of one NetworkSet, as written and as they remain; a node's tables hold 32 such sets. */
export const SET_LIMIT = 131_072;

/**
 * Checks a CIDR of a NetworkSet. Sets often come from other programs, so that an IPv4 block in IPv6 form is read as the
 * IPv4 block that it is on the wire: the canonical form has one spelling only.
 */
export function checkSetCidr(text: string): Checked<Cidr> {
  const checked = checkCidr(text);
  if (checked.ok || checked.reason !== "mapped") return checked;
  const slash = text.indexOf("/");
  const prefix = Number(text.slice(slash + 1)) - 96;
  const address = slash < 0 ? undefined : mappedAddress(normalizeCidr(text.slice(0, slash)));
  return address === undefined || !(prefix >= 0 && prefix <= 32) ? checked : checkCidr(`${address}/${prefix}`);
}

/** Returns the addresses of blocks without other blocks as the fewest CIDRs; see NetworkSet. */
export function subtractCidrs(blocks: readonly string[], excepts: readonly string[]): readonly string[] {
  const all = mergeCidr([...blocks]);
  return excepts.length === 0 || all.length === 0 ? all : mergeCidr(excludeCidr(all, mergeCidr([...excepts])));
}

/** Returns how many CIDRs `subtractCidrs` returns, without listing them. */
export function countCidrs(blocks: readonly string[], excepts: readonly string[]): number {
  const taken = mergeCidr([...excepts]).map((text) => parseCidr(text));
  let [count, at] = [0, 0];
  for (const outer of mergeCidr([...blocks]).map((text) => parseCidr(text))) {
    const isBefore = (one: ParsedCidr | undefined): boolean =>
      one !== undefined && (one.version < outer.version || (one.version === outer.version && one.end < outer.start));
    while (isBefore(taken[at])) at += 1;
    let end = at;
    while (taken[end]?.version === outer.version && (taken[end]?.start ?? 0n) <= outer.end) end += 1;
    // One except may also lie in the next block.
    count += end === at ? 1 : countBetween(outer, taken.slice(at, end));
    at = Math.max(at, end - 1);
  }
  return count;
}

interface ParsedCidr {
  readonly version: number;
  readonly start: bigint;
  readonly end: bigint;
}

/**
 * Returns how many prefixes cover a block without other blocks, without listing them: an address of IPv6 that is taken
 * out of `::/0` alone leaves 128.
 */
export function countRemaining(outer: Cidr, excepts: readonly Cidr[]): number {
  const taken = excepts.map(({ text }) => parseCidr(text)).sort((a, b) => (a.start < b.start ? -1 : 1));
  return countBetween(parseCidr(outer.text), taken);
}

/** @param taken by their start */
function countBetween(
  { start, end }: Pick<ParsedCidr, "start" | "end">,
  taken: readonly Pick<ParsedCidr, "start" | "end">[],
): number {
  let count = 0;
  let from = start;
  for (const one of taken) {
    if (one.start > from) count += countPrefixes(from, one.start - 1n);
    if (one.end >= from) from = one.end + 1n;
  }
  return from > end ? count : count + countPrefixes(from, end);
}

/**
 * Returns how many prefixes make up an interval. Below the highest bit in which its two neighbours differ, each 0 of the
 * lower one and each 1 of the higher one is the border of a prefix.
 */
function countPrefixes(start: bigint, end: bigint): number {
  // With a bit above all addresses, 0 has a lower neighbour.
  const [below, above] = [start - 1n, end + 1n].map((address) => (address + (1n << 129n)).toString(2));
  let at = 0;
  while (below?.[at] === above?.[at]) at += 1;
  const count = (text: string | undefined, bit: string): number => (text ?? "").slice(at + 1).split(bit).length - 1;
  return count(below, "0") + count(above, "1");
}

/** Returns whether a block is inside another and smaller: Kubernetes' rule for `except`. */
export function isStrictSubset(inner: Cidr, outer: Cidr): boolean {
  if (inner.version !== outer.version || inner.prefix <= outer.prefix) return false;
  const inside = parseCidr(inner.text);
  const around = parseCidr(outer.text);
  return inside.start >= around.start && inside.end <= around.end;
}

/** Returns false for addresses that no workload or node can have, since they do not identify one host. */
export function isUnicast(address: string): boolean {
  if (address.includes(":")) return address !== "::" && !/^ff/.test(address);
  const first = Number(address.slice(0, address.indexOf(".")));
  return address !== "0.0.0.0" && first < 224;
}

/** Sorts addresses and CIDRs of canonical lists in plain text order, which is stable and needs no explanation. */
export function sortedUnique(texts: Iterable<string>): readonly string[] {
  return [...new Set(texts)].sort();
}

export interface AgentAddress {
  readonly host: string;
  readonly port: number;
  /** Canonical `host:port`. */
  readonly text: string;
  /** Canonical text of the host if it is an IP address. */
  readonly ip?: string;
}

const HOST_NAME =
  /^(?=.{1,253}$)[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?)*$/;

/** Checks `host:port` or `[IPv6]:port`. */
export function checkAgentAddress(text: string): Checked<AgentAddress> {
  const malformed = (message: string, fix?: string): Checked<AgentAddress> => ({
    ok: false,
    reason: "malformed",
    message,
    ...(fix === undefined ? {} : { fix }),
  });
  if (isIP(text) === 6)
    return malformed(`${text} is an IPv6 address without brackets and port`, `write [${text}]:PORT`);
  const parts = /^(?:\[([^\]]+)\]|([^:[\]]*)):(\d{1,5})$/.exec(text);
  const host = parts?.[1] ?? parts?.[2];
  if (parts === null || host === undefined || host === "") {
    return malformed(
      `${JSON.stringify(text)} is not host:port`,
      HOST_NAME.test(text) ? `write ${text}:PORT` : undefined,
    );
  }
  const port = Number(parts[3]);
  if (port < 1 || port > 65535 || parts[3]?.startsWith("0") === true)
    return malformed(`${text} has no port between 1 and 65535`);
  // A name whose last part is a number is a malformed IPv4 address and never a host name (RFC 3696, section 2).
  if (parts[1] !== undefined || /(^|\.)\d+$/.test(host)) {
    const address = checkAddress(host);
    if (!address.ok) return address;
    if ((parts[1] !== undefined) !== address.value.includes(":"))
      return malformed(`${text} has brackets around an IPv4 address`, `write ${address.value}:${port}`);
    const shown = address.value.includes(":") ? `[${address.value}]` : address.value;
    return { ok: true, value: { host, port, text: `${shown}:${port}`, ip: address.value } };
  }
  if (!HOST_NAME.test(host)) return malformed(`${JSON.stringify(host)} is not a host name`);
  return { ok: true, value: { host: host.toLowerCase(), port, text: `${host.toLowerCase()}:${port}` } };
}
