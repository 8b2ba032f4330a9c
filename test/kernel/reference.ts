/**
 * Reference: what every packet of a sequence gets. `evaluate` judges the first packet of a
 * connection; this is the rest of the specification in docs/policies.md: answers, time-outs, errors
 * about conversations, what passes without a rule, and what is unknown. The programs are held to it.
 *
 * There are no sockets here, as in BPF_PROG_TEST_RUN: each TCP packet asks, as one of a raw socket
 * does. test/kernel/connections.test.ts shows what sockets add. Time is in ticks and given.
 */
import { ABI } from "../../src/adapters/ebpf/kernel/abi.generated.js";
import type { Direction, ConnectionQuery, Ruleset, Subject } from "../../src/model/ruleset.js";
import { parsePrefix } from "../../src/adapters/ebpf/lower/prefix.js";
import { createEvaluator, type Evaluator } from "../../src/policy/evaluate.js";
import { ICMP, ICMP6, readFrame, SCTP, TCP, type Transport, type Wire } from "./wire.js";

export interface Step {
  readonly workload: string;
  readonly direction: Direction;
  /** With its Ethernet header. */
  readonly frame: Buffer;
  readonly now: number;
}

export interface Decided {
  readonly verdict: "allowed" | "denied" | "audited";
  /** Key of the rule that allows, or denies, where one does; BY_IDENTITY where the destination does not let the sender in. */
  readonly rule: string | null;
}

/** One direction's part in a conversation: it asked, and was allowed to. */
interface Asked {
  readonly query: ConnectionQuery;
  readonly seen: number;
  readonly isAnswered: boolean;
}

export const BY_IDENTITY = "identity";
const DENIED: Decided = { verdict: "denied", rule: null };
const PASSES: Decided = { verdict: "allowed", rule: null };
/** No protocol of any rule. */
const NO_PROTOCOL = 255;
const OPPOSITE = { ingress: "egress", egress: "ingress" } as const;

export class Reference {
  #ruleset: Ruleset | null = null;
  #evaluate: Evaluator | null = null;
  /** Who pings itself with an identifier. */
  readonly #echoes = new Map<string, { readonly workload: string; readonly seen: number }>();
  /** By conversation and asking direction. */
  readonly #asked = new Map<string, Asked>();
  /** Whether the last packet began a connection or a flow, or would have: policy alone decided. */
  hasBegun = false;

  /** Another ruleset comes into force: conversations stay, and are decided by it. */
  load(ruleset: Ruleset): void {
    this.#ruleset = ruleset;
    this.#evaluate = createEvaluator(ruleset);
  }

  decide(step: Step): Decided {
    this.hasBegun = false;
    const seen = look(step);
    const { transport } = seen;
    const isFalse = step.direction === "egress" && !this.#isOwn(seen, step.workload);
    if (isFalse && this.#subject(step.workload)?.egress.mode !== "audit") return DENIED;
    if (isVital(transport)) return PASSES;
    const policy = this.begin(step);
    const role = roleOf(transport);
    this.hasBegun = transport.kind === "ports" && transport.isSyn;
    if (role === "single") return policy.verdict === "denied" ? (this.#related(seen, step) ?? policy) : policy;

    const answer = role === "asks" && isIcmp(transport) ? null : this.#answer(seen, step);
    const own = this.#asked.get(keyOf(seen, step.workload, step.direction));
    this.hasBegun = role !== "answers" && answer === null && !(own !== undefined && isAlive(own, step.now));
    if (policy.verdict === "allowed") {
      if (role !== "answers") this.#open(seen, step);
      return policy;
    }
    if (answer !== null) return answer;
    // A workload may ping itself. For other packets the programs ask who receives or who sent them; here is nobody.
    if (isIcmp(transport) && isItself(seen) && this.#isOwnEcho(seen, step, role)) return PASSES;
    if (policy.verdict === "audited" && role !== "answers") this.#open(seen, step);
    return policy;
  }

  /** What a packet would get that begins something, whatever went before. */
  begin(step: Step): Decided {
    const seen = look(step);
    const isFalse = step.direction === "egress" && !this.#isOwn(seen, step.workload);
    if (isFalse && this.#subject(step.workload)?.egress.mode !== "audit") return DENIED;
    // In audit mode no rule allows a false source.
    const asked = this.#ask(queryOf(seen, step, step.direction));
    return isFalse && asked.rule !== BY_IDENTITY ? { verdict: "audited", rule: null } : asked;
  }

  #subject(workload: string): Subject | undefined {
    return this.#ruleset?.subjects.find((one) => one.workload === workload);
  }

  /** A workload sends from its addresses; without any, from those that no workload declares. */
  #isOwn({ family, local, hasAddresses }: Seen, workload: string): boolean {
    if (!hasAddresses || isLocalhost(family, local)) return true;
    const holds = ({ addresses }: Subject): boolean => addresses.some((one) => isSameAddress(one, family, local));
    const subject = this.#subject(workload);
    if (subject !== undefined && holds(subject)) return true;
    if (this.#ruleset?.subjects.some(holds) === true) return false;
    return subject === undefined || subject.addresses.length === 0 || isNobody(family, local);
  }

  /** An identifier belongs to the workload that sent the last request with it, until it is idle. */
  #isOwnEcho({ family, local, remote, tag }: Seen, { workload, direction, now }: Step, role: string): boolean {
    const isSwapped = role === "answers" && direction === "egress";
    const key = [family, ...(isSwapped ? [remote, local] : [local, remote]), tag].join(" ");
    const held = this.#echoes.get(key);
    const isHeld = held !== undefined && now - held.seen <= ABI.FLOW_NEW_TICKS;
    if (role === "answers") return isHeld && held.workload === workload;
    if (direction === "ingress" || (isHeld && held.workload !== workload)) return false;
    this.#echoes.set(key, { workload, seen: now });
    return true;
  }

  /** What the packet that opened a conversation gets now. */
  #askAgain({ query }: Asked, seen: Seen): Decided {
    if (query.direction === "ingress" || this.#isOwn(seen, query.workload)) return this.#ask(query);
    return this.#subject(query.workload)?.egress.mode === "audit" ? { verdict: "audited", rule: null } : DENIED;
  }

  #ask(query: ConnectionQuery): Decided {
    if (this.#evaluate === null) throw new TypeError("no ruleset was loaded");
    const found = this.#evaluate(query);
    if (found.reason === "identity") return { verdict: "denied", rule: BY_IDENTITY };
    if (found.verdict === "Denied")
      return found.reason === "rule" ? { verdict: "denied", rule: found.rule.key } : DENIED;
    if (found.reason === "audit") return { verdict: "audited", rule: null };
    return { verdict: "allowed", rule: found.reason === "rule" ? found.rule.key : null };
  }

  /** What the other direction asked, if that is still remembered and still allowed: then this is the answer. */
  #answer(seen: Seen, { workload, direction, now }: Step): Decided | null {
    const key = keyOf(seen, workload, OPPOSITE[direction]);
    const asked = this.#asked.get(key);
    if (asked === undefined || !isAlive(asked, now)) return null;
    const verdict = this.#askAgain(asked, seen);
    if (verdict.verdict === "denied") return null;
    this.#asked.set(key, { ...asked, seen: now, isAnswered: true });
    return verdict;
  }

  #open(seen: Seen, step: Step): void {
    const key = keyOf(seen, step.workload, step.direction);
    const before = this.#asked.get(key);
    const isAnswered = before !== undefined && isAlive(before, step.now) && before.isAnswered;
    this.#asked.set(key, { query: queryOf(seen, step, step.direction), seen: step.now, isAnswered });
  }

  /** An error passes where it is about a packet of a conversation that is allowed; it keeps nothing alive. */
  #related({ transport, local, remote }: Seen, step: Step): Decided | null {
    if (transport.kind !== "icmp" || transport.quoted === null) return null;
    const quotedDirection = OPPOSITE[step.direction];
    const quoted = orient(transport.quoted, quotedDirection);
    // It must go to whom it is about: the quoted packet's sender.
    const isAddressed = step.direction === "ingress" ? quoted.local === local : quoted.remote === remote;
    const role = roleOf(quoted.transport);
    if (!isAddressed || role === "single") return null;
    const askers = isIcmp(quoted.transport)
      ? [role === "asks" ? quotedDirection : OPPOSITE[quotedDirection]]
      : (["egress", "ingress"] as const);
    for (const asker of askers) {
      const asked = this.#asked.get(keyOf(quoted, step.workload, asker));
      if (asked === undefined || !isAlive(asked, step.now)) continue;
      const verdict = this.#askAgain(asked, quoted);
      if (verdict.verdict !== "denied") return verdict;
    }
    return null;
  }
}

/** Whether a workload pings itself. */
export function isOwnPing(step: Step): boolean {
  const seen = look(step);
  return step.direction === "egress" && isIcmp(seen.transport) && isItself(seen);
}

/** A packet as its workload sees it. */
interface Seen {
  readonly family: 4 | 6;
  readonly local: string;
  readonly remote: string;
  /** False for a packet without a whole IP header. */
  readonly hasAddresses: boolean;
  /** What tells conversations between two addresses apart: local and remote port, or an echo's identifier. */
  readonly tag: string;
  readonly transport: Transport;
}

function look({ frame, direction }: Step): Seen {
  const wire = readFrame(frame);
  // Without a whole IP header nothing is known, the addresses included.
  if (wire === null)
    return {
      family: 4,
      local: "00000000",
      remote: "00000000",
      hasAddresses: false,
      tag: "",
      transport: { kind: "unknown" },
    };
  return orient(wire, direction);
}

function orient({ family, source, destination, transport }: Wire, direction: Direction): Seen {
  const isEgress = direction === "egress";
  const [local, remote] = isEgress ? [source, destination] : [destination, source];
  return { family, local, remote, hasAddresses: true, tag: tagOf(transport, isEgress), transport };
}

function tagOf(transport: Transport, isEgress: boolean): string {
  if (transport.kind === "icmp") return `${transport.identifier}`;
  if (transport.kind !== "ports") return "";
  const { source, destination } = transport;
  return isEgress ? `${source} ${destination}` : `${destination} ${source}`;
}

function queryOf({ family, remote, transport }: Seen, { workload }: Step, direction: Direction): ConnectionQuery {
  const query = { workload, direction, peer: addressText(family, remote) };
  switch (transport.kind) {
    case "unknown":
      return { ...query, protocol: NO_PROTOCOL, port: null };
    case "portless":
    case "other":
      return { ...query, protocol: transport.protocol, port: null };
    case "ports":
      return { ...query, protocol: transport.protocol, port: transport.destination };
    case "icmp":
      return { ...query, protocol: transport.protocol, port: (transport.type << 8) | transport.code };
  }
}

function addressText(family: 4 | 6, hex: string): string {
  return family === 4
    ? [...Buffer.from(hex, "hex")].join(".")
    : Array.from({ length: 8 }, (_unused, at) => Number.parseInt(hex.slice(at * 4, at * 4 + 4), 16).toString(16)).join(
        ":",
      );
}

function isIcmp(transport: Transport): boolean {
  return transport.kind === "icmp";
}

/** Neighbour discovery that no router can have forwarded, and multicast listener discovery (RFC 4861, 2710, 3810). */
function isVital(transport: Transport): boolean {
  if (transport.kind !== "icmp" || transport.protocol !== ICMP6) return false;
  const { type, code, hopLimit } = transport;
  if (type >= 133 && type <= 136) return code === 0 && hopLimit === 255;
  return [130, 131, 132, 143].includes(type) && hopLimit === 1;
}

/** What a packet can be in a conversation. `single`: decided by policy alone. `either`: it may ask or answer. */
function roleOf(transport: Transport): "single" | "asks" | "answers" | "either" {
  switch (transport.kind) {
    case "unknown":
    case "portless":
      return "single";
    case "other":
      return "either";
    case "ports":
      return transport.protocol === TCP ? "single" : "either";
    case "icmp": {
      const [request, reply] = transport.protocol === ICMP ? [8, 0] : [128, 129];
      if (transport.code !== 0) return "single";
      return transport.type === request ? "asks" : transport.type === reply ? "answers" : "single";
    }
  }
}

function isLocalhost(family: 4 | 6, hex: string): boolean {
  return family === 4 ? hex.startsWith("7f000001") : hex === "1".padStart(32, "0");
}

/** Unspecified, loopback, link-local, multicast and broadcast addresses. */
function isNobody(family: 4 | 6, hex: string): boolean {
  const bytes = Buffer.from(hex, "hex");
  const [first = 0, second = 0] = bytes;
  if (family === 4)
    return (
      /^0+$/.test(hex) || (first === 127 && hex !== "7fffffff") || (first === 169 && second === 254) || first >= 224
    );
  return /^0{31}[01]$/.test(hex) || (first === 0xfe && (second & 0xc0) === 0x80) || first === 0xff;
}

function isSameAddress(address: string, family: 4 | 6, hex: string): boolean {
  const prefix = parsePrefix(address);
  const digits = prefix.length / 4;
  return prefix.family === family && prefix.address.slice(0, digits) === hex.slice(0, digits);
}

function isItself({ family, local, remote }: Seen): boolean {
  // The last address of 127.0.0.0/8 is a broadcast.
  const isLoopback = family === 4 ? remote.startsWith("7f") && remote !== "7fffffff" : remote === "1".padStart(32, "0");
  return isLoopback || local === remote;
}

function keyOf({ family, local, remote, tag, transport }: Seen, workload: string, asker: Direction): string {
  const protocol = transport.kind === "unknown" ? NO_PROTOCOL : transport.protocol;
  return `${workload} ${asker} ${family} ${protocol} ${local} ${remote} ${tag}`;
}

/** Both ends are inclusive. */
function isAlive({ query, seen, isAnswered }: Asked, now: number): boolean {
  const answered = query.protocol === SCTP ? ABI.FLOW_SCTP_TICKS : ABI.FLOW_ANSWERED_TICKS;
  return now - seen <= (isAnswered ? answered : ABI.FLOW_NEW_TICKS);
}
