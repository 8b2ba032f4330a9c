/**
 * Model: what pf does with a packet, as pf.conf(5) tells it. A packet of a state passes before any rule; of the rules
 * the last that matches decides, or the first that is `quick`; a rule that passes and keeps state makes one for both
 * ways of the connection; where no rule matches the packet passes. It knows the rules alone that it is given: those of
 * one anchor, in a main ruleset that holds nothing else.
 */
import { AddressParser, AddressSet, type Interval } from "../../src/policy/address-space.js";
import { parseAnchor, type Host, type PfRule } from "./grammar.js";

export interface Packet {
  readonly direction: "in" | "out";
  readonly iface: string;
  readonly from: string;
  readonly to: string;
  /** IP protocol number. */
  readonly protocol: number;
  /** Of TCP and UDP; null where the packet, a later fragment, has none. */
  readonly sourcePort: number | null;
  /** `type << 8 | code` of ICMP. */
  readonly port: number | null;
  /** TCP: whether it opens a connection. */
  readonly opens: boolean;
  /** Whose socket sends it, or listens for it. */
  readonly user: string | null;
}

export interface PfVerdict {
  readonly passes: boolean;
  /** Of the rule that decided, or that made the state; null where none matched. */
  readonly label: string | null;
  readonly byState: boolean;
}

interface Compiled {
  readonly rule: PfRule;
  readonly from: AddressSet | null;
  readonly to: AddressSet | null;
}

interface State {
  readonly label: string;
  /** Of the packet that made it. */
  readonly from: string;
  readonly to: string;
}

const parser = new AddressParser();

export class PfModel {
  #rules: readonly Compiled[] = [];
  readonly #states = new Map<string, State>();

  constructor(text: string) {
    this.load(text);
  }

  /** States outlive the rules that made them. */
  load(text: string): void {
    const { tables, rules } = parseAnchor(text);
    const sets = new Map<string, AddressSet>();
    const setOf = ({ kind, text: name }: Host): AddressSet | null => {
      if (kind === "any") return null;
      const known = sets.get(`${kind}${name}`);
      if (known !== undefined) return known;
      const cidrs = kind === "table" ? (tables.get(name) ?? []) : [name];
      const set = new AddressSet(cidrs.map((cidr) => parser.parse(cidr)));
      sets.set(`${kind}${name}`, set);
      return set;
    };
    this.#rules = rules.map((rule) => ({ rule, from: setOf(rule.from), to: setOf(rule.to) }));
  }

  decide(packet: Packet): PfVerdict {
    // Whatever the rules say (pf_test: PFRES_INVPORT).
    if (hasPorts(packet) && (packet.sourcePort === 0 || packet.port === 0))
      return { passes: false, label: null, byState: false };
    const state = this.#states.get(keyOf(packet));
    if (state !== undefined && packet.port !== null) return { passes: true, label: state.label, byState: true };
    const found = this.#match(packet);
    if (found === null) return { passes: true, label: null, byState: false };
    if (found.action === "pass" && found.state && packet.port !== null && !isIcmpError(packet))
      this.#remember(packet, found.label);
    return { passes: found.action === "pass", label: found.label, byState: false };
  }

  /** `pfctl -k from -k to` */
  kill(from: string, to: string): void {
    for (const [key, state] of this.#states) if (state.from === from && state.to === to) this.#states.delete(key);
  }

  /** `pfctl -F states` */
  forget(): void {
    this.#states.clear();
  }

  #match(packet: Packet): PfRule | null {
    const from = parser.parse(packet.from);
    const to = parser.parse(packet.to);
    let last: PfRule | null = null;
    for (const compiled of this.#rules) {
      if (!matches(compiled, packet, from, to)) continue;
      last = compiled.rule;
      if (last.quick) break;
    }
    return last;
  }

  /** The packet's own way, and that of its answers. */
  #remember(packet: Packet, label: string): void {
    const { direction, from, to, sourcePort, port } = packet;
    const state = { label, from, to };
    this.#states.set(keyOf(packet), state);
    const ports = hasPorts(packet) ? { sourcePort: port, port: sourcePort } : {};
    this.#states.set(keyOf({ ...packet, direction: OPPOSITE[direction], from: to, to: from, ...ports }), state);
  }
}

const OPPOSITE = { in: "out", out: "in" } as const;

const hasPorts = ({ protocol }: Packet): boolean => protocol === 6 || protocol === 17;

function keyOf(packet: Packet): string {
  const { direction, protocol, from, to, sourcePort, port } = packet;
  return `${direction} ${protocol} ${from}>${to} ${hasPorts(packet) ? `${sourcePort ?? ""} ${port ?? ""}` : ""}`;
}

function isIcmpError({ protocol, port }: Packet): boolean {
  const type = (port ?? 0) >> 8;
  if (protocol === 1) return [3, 4, 5, 11, 12].includes(type);
  return protocol === 58 && type < 128;
}

function matches({ rule, from, to }: Compiled, packet: Packet, source: Interval, destination: Interval): boolean {
  if (rule.direction !== packet.direction) return false;
  if (rule.iface !== null && rule.iface !== packet.iface) return false;
  if (rule.family !== null && rule.family !== source.family) return false;
  if (rule.protocol !== null && rule.protocol !== packet.protocol) return false;
  if (from !== null && !from.has(source)) return false;
  if (to !== null && !to.has(destination)) return false;
  // A later fragment matches no rule that asks for what it does not have; nor one with flags, where it is of TCP.
  // Its socket is not looked for.
  if (packet.port === null)
    return rule.port === null && rule.icmpType === null && !(packet.protocol === 6 && rule.opening);
  if (rule.port !== null && (packet.port < rule.port[0] || packet.port > rule.port[1])) return false;
  if (rule.icmpType !== null && packet.port >> 8 !== rule.icmpType) return false;
  if (rule.icmpCode !== null && (packet.port & 255) !== rule.icmpCode) return false;
  if (rule.opening && packet.protocol === 6 && !packet.opens) return false;
  return rule.user === null || rule.user === packet.user;
}
