/** Output: parses the output of macOS' pfctl. Pure. */
import { ANCHOR } from "../render/names.js";

/** `-s info` */
export function isEnabled(text: string): boolean {
  return /^Status: Enabled\b/m.test(text);
}

/** `-s rules`, or the output of `-n -v -f`: returns the rules alone, without the tables and numbers around them. */
export function readRules(text: string): readonly string[] {
  return text
    .split("\n")
    .map((line) => line.trim().replace(/\s+/g, " "))
    .filter((line) => /^(pass|block|anchor|scrub|match|antispoof)\b/.test(line));
}

/** Returns the position of ztap's anchor in the main ruleset, as `-s rules` prints it. */
export function findAnchor(main: readonly string[]): number {
  return main.findIndex((line) => new RegExp(`^anchor "${ANCHOR}"( |$)`).test(line));
}

/** `-s Tables` */
export function readTableNames(text: string): readonly string[] {
  return text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => /^[A-Za-z0-9_.-]+$/.test(line));
}

/** `-t NAME -T show`: an address has no prefix length. */
export function readTable(text: string): readonly string[] {
  return text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "")
    .map((line) => (line.includes("/") ? line : `${line}/${line.includes(":") ? 128 : 32}`));
}

/** `-s labels`: label, evaluations, packets, bytes and more. Returns packets by label, summed over its rules. */
export function readLabels(text: string): ReadonlyMap<string, bigint> {
  const packets = new Map<string, bigint>();
  for (const line of text.split("\n")) {
    const [, label, count] = /^\s*(ztap:\S+)\s+\d+\s+(\d+)(?:\s|$)/.exec(line) ?? [];
    if (label !== undefined && count !== undefined) packets.set(label, (packets.get(label) ?? 0n) + BigInt(count));
  }
  return packets;
}

/** Returns the token from the output of `-E`, on either stream. */
export function readToken(text: string): string | null {
  return /^[ \t]*Token[ \t]*:[ \t]*(\d+)[ \t]*$/m.exec(text)?.[1] ?? null;
}

/** Returns whether `-s References` contains the token. */
export function holdsToken(text: string, token: string): boolean {
  return text.split(/\s+/).includes(token);
}

/** A connection that pf lets pass without evaluating its rules. */
export interface PfState {
  readonly direction: "in" | "out";
  /** As pfctl prints it: tcp, udp, icmp, ipv6-icmp, a number. */
  readonly protocol: string;
  /** The machine's end as the rules see it, and as `-k` knows it; they differ if an address is translated. */
  readonly local: StateEnd;
  readonly origin: StateEnd;
  readonly peer: StateEnd;
  /** State of TCP at both ends, `ESTABLISHED:ESTABLISHED`; another text, or none, for other protocols. */
  readonly phase: string;
}

export interface StateEnd {
  readonly address: string;
  readonly port: number | null;
}

/**
 * `-s states`: `ALL tcp 10.0.0.1:80 <- 192.0.2.7:50000  ESTABLISHED:ESTABLISHED`, the machine's own end first; three
 * ends if one is translated. Other lines are left out; `unread` are states that could not be parsed.
 */
export function readStates(text: string): { readonly states: readonly PfState[]; readonly unread: readonly string[] } {
  const states: PfState[] = [];
  const unread: string[] = [];
  for (const line of text.split("\n")) {
    if (!/(->|<-)/.test(line) || /^\s/.test(line)) continue;
    const state = readState(line);
    if (state === null) unread.push(line);
    else states.push(state);
  }
  return { states, unread };
}

function readState(line: string): PfState | null {
  const [, protocol, rest = ""] = /^\S+ (\S+) (.*)$/.exec(line) ?? [];
  const isOut = rest.includes("->");
  const ends = rest.split(isOut ? "->" : "<-").map((part) => readEnd(part.trim().split(/\s+/)[0] ?? ""));
  const [origin, ...others] = ends;
  const peer = others.at(-1);
  const phase = /\s(\S+)$/.exec(line.trimEnd())?.[1] ?? "";
  const local = isOut ? ends.at(-2) : origin;
  if (protocol === undefined || !origin || !peer || !local || ends.includes(null)) return null;
  return { direction: isOut ? "out" : "in", protocol, local, origin, peer, phase };
}

function readEnd(text: string): StateEnd | null {
  const [, six, sixPort] = /^(?=[0-9a-f.]*:)([0-9a-f:.]+)(?:%[A-Za-z0-9]+)?(?:\[(\d+)\])?$/i.exec(text) ?? [];
  const [, four, fourPort] = /^(\d+\.\d+\.\d+\.\d+)(?::(\d+))?$/.exec(text) ?? [];
  const address = four ?? six;
  const port = fourPort ?? sixPort;
  return address === undefined ? null : { address, port: port === undefined ? null : Number(port) };
}
