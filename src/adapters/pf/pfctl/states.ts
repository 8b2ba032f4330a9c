/**
 * States: finds connections that pf still lets pass though the ruleset would not let them begin. pf evaluates its rules
 * only for the first packet of a connection, so that a state outlives rules that would deny it. Pure.
 */
import { PROTOCOL_NUMBERS } from "../../../model/protocol.js";
import type { Direction, Ruleset } from "../../../model/ruleset.js";
import { AddressParser } from "../../../policy/address-space.js";
import { createEvaluator, type Evaluator } from "../../../policy/evaluate.js";
import type { PfState } from "./output.js";

const { TCP: tcp, UDP: udp, SCTP: sctp } = PROTOCOL_NUMBERS;
const PROTOCOLS: Readonly<Record<string, number>> = { tcp, udp, sctp, esp: 50, ah: 51, gre: 47, igmp: 2 };
/** A protocol number of no rule. */
const NO_PROTOCOL = 255;

/** The requests that can create an ICMP state; the state does not show which of them did (RFC 792, 950, 4443, 4620). */
const REQUESTS = { 4: [8, 13, 15, 17], 6: [128, 139] } as const;

/**
 * Returns the forbidden states.
 * @param closed workloads that may not communicate, whatever the ruleset allows them
 */
export function findForbidden(
  ruleset: Ruleset,
  closed: ReadonlySet<string>,
  states: readonly PfState[],
): readonly PfState[] {
  const parser = new AddressParser();
  // pf may print an address in another form than the state has.
  const formOf = (address: string): string => `${parser.parse(address).family} ${parser.parse(address).start}`;
  const owners = new Map(
    ruleset.subjects.flatMap((subject) => subject.addresses.map((address) => [formOf(address), subject] as const)),
  );
  const evaluate = createEvaluator(ruleset);
  return states.filter((state) => {
    if (isOver(state)) return false;
    const subject = owners.get(formOf(state.local.address));
    if (subject === undefined) return false;
    if (closed.has(subject.workload)) return true;
    const direction = state.direction === "out" ? "egress" : "ingress";
    if (subject[direction].mode !== "enforce") return false;
    return (
      owners.get(formOf(state.peer.address)) !== subject && !mayBegin(evaluate, subject.workload, direction, state)
    );
  });
}

/**
 * Both ends have closed, and pf only keeps the state for a while. Ending such a state would end all others between the
 * two hosts, since `-k` knows no ports.
 */
function isOver({ protocol, phase }: PfState): boolean {
  return protocol === "tcp" && /^(FIN_WAIT_2|TIME_WAIT|CLOSED):(FIN_WAIT_2|TIME_WAIT|CLOSED)$/.test(phase);
}

function mayBegin(evaluate: Evaluator, workload: string, direction: Direction, state: PfState): boolean {
  const query = { workload, direction, peer: state.peer.address };
  const allows = (protocol: number, port: number | null): boolean =>
    evaluate({ ...query, protocol, port }).verdict === "Allowed";
  if (/icmp/.test(state.protocol)) {
    const [protocol, types] = state.peer.address.includes(":") ? [58, REQUESTS[6]] : [1, REQUESTS[4]];
    return types.some((type) => allows(protocol, type << 8));
  }
  const port = (direction === "egress" ? state.peer : state.local).port;
  return allows(PROTOCOLS[state.protocol] ?? NO_PROTOCOL, port);
}

/** Returns source and destination for `pfctl -k`: those of the first packet. It cannot name ports. */
export function killOf({ direction, origin, peer }: PfState): readonly [source: string, destination: string] {
  return direction === "out" ? [origin.address, peer.address] : [peer.address, origin.address];
}

export function describeState({ direction, protocol, local, peer }: PfState): string {
  const end = ({ address, port }: PfState["peer"]): string =>
    port === null ? address : address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
  return `${protocol} ${end(local)} ${direction === "out" ? "→" : "←"} ${end(peer)}`;
}
