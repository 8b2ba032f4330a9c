/**
 * States: which connections pf still lets pass that the ruleset would not let begin. pf asks its rules for the first
 * packet of a connection alone, so a state lives on under rules that would refuse it. Pure.
 */
import { PROTOCOL_NUMBERS } from "../../../model/protocol.js";
import type { Direction, Ruleset } from "../../../model/ruleset.js";
import { AddressParser } from "../../../policy/address-space.js";
import { createEvaluator, type Evaluator } from "../../../policy/evaluate.js";
import type { PfState } from "./output.js";

const { TCP: tcp, UDP: udp, SCTP: sctp } = PROTOCOL_NUMBERS;
const PROTOCOLS: Readonly<Record<string, number>> = { tcp, udp, sctp, esp: 50, ah: 51, gre: 47, igmp: 2 };
/** No protocol of any rule. */
const NO_PROTOCOL = 255;

/** The requests that can make an ICMP state; it does not tell which of them did (RFC 792, 950, 4443, 4620). */
const REQUESTS = { 4: [8, 13, 15, 17], 6: [128, 139] } as const;

/** @param closed workloads that may do nothing, whatever the ruleset says of them */
export function findForbidden(
  ruleset: Ruleset,
  closed: ReadonlySet<string>,
  states: readonly PfState[],
): readonly PfState[] {
  const parser = new AddressParser();
  // pf may write an address in another form than Git.
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
 * Both ends have said goodbye, and pf only remembers it for a while. To end such a state would end all the others
 * between the two hosts, since `-k` knows no ports.
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

/** Source and destination as `pfctl -k` takes them: those of the packet that began. It can name no ports. */
export function killOf({ direction, origin, peer }: PfState): readonly [source: string, destination: string] {
  return direction === "out" ? [origin.address, peer.address] : [peer.address, origin.address];
}

export function describeState({ direction, protocol, local, peer }: PfState): string {
  const end = ({ address, port }: PfState["peer"]): string =>
    port === null ? address : address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
  return `${protocol} ${end(local)} ${direction === "out" ? "→" : "←"} ${end(peer)}`;
}
