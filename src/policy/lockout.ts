/**
 * Lock-out: finds out whether a ruleset would cut its machine's management access. Enforcement is on the workloads' own
 * cgroups, so that only a workload whose cgroup contains the agent or a session can cut it, or the host, which is the rest.
 *
 * The agent's own traffic must never belong to a workload, even if today's policies allow it: tomorrow's policy would
 * have to arrive through it. That it belongs to the host cannot be helped: there every connection that the machine needs must be allowed. A session is in danger if the ruleset denies its first packet: its connection ends at the
 * next packet or, if it is older than the enforcement and looks like one that the workload initiated, it could not be
 * opened again. A server of the agents' store or source is cut off if some declared node cannot reach it from any
 * address: no repair could reach that node.
 */
import type { ControlServer, ManagementAccess, Session } from "../model/management-access.js";
import type { Ruleset, Subject } from "../model/ruleset.js";
import type { ObjectSet } from "../model/state.js";
import { createEvaluator, type Evaluator } from "./evaluate.js";
import { findDeniedNeeds, type Denial } from "./needed-connections.js";
import { holds, mayDecide } from "./holds.js";

const TCP = 6;

/** A declared node, as other machines see its agent. */
export interface Client {
  readonly node: string;
  readonly addresses: readonly string[];
}

export function clientsOf(objects: ObjectSet): readonly Client[] {
  return [...objects.values()].flatMap(({ object }) =>
    object.kind === "Node" && object.spec.addresses.length > 0
      ? [{ node: object.metadata.name, addresses: object.spec.addresses }]
      : [],
  );
}

/**
 * A management connection that a ruleset would cut: the workloads that do, in nested cgroups more than one. Those that do
 * so alone come first.
 */
export type Lockout = readonly [Denial, ...Denial[]];

/** Returns every management connection that would be cut; none if the ruleset is safe. */
export function findLockouts(
  ruleset: Ruleset,
  access: ManagementAccess,
  clients: readonly Client[],
): readonly Lockout[] {
  const { agent, sessions, servers } = access;
  const holding = agent === null ? [] : ruleset.subjects.filter(({ cgroup }) => holds(cgroup, agent));
  const own = holding.map((subject) => ({
    subject,
    message: `workload ${subject.workload} has the cgroup ${subject.cgroup ?? ""}, in which the agent of node ${ruleset.node} itself runs (${agent ?? ""})`,
    policies: [],
  }));
  // Preparing a ruleset costs as much as a first verdict, and most machines have no session to check.
  let evaluator: Evaluator | undefined;
  /** Returns the subjects that together deny every one of the peers; empty if a peer can connect. */
  const deniedBy = ({ port, cgroups }: Session | ControlServer, peers: readonly string[]): readonly Subject[] => {
    const denying = ruleset.subjects
      .filter((subject) => mayDecide(ruleset, subject, cgroups))
      .map((subject) => {
        const evaluate = (evaluator ??= createEvaluator(ruleset));
        return { subject, denied: peers.filter((peer) => denies(evaluate, subject, peer, port)) };
      })
      .filter(({ denied }) => denied.length > 0)
      .sort((a, b) => b.denied.length - a.denied.length);
    const denied = new Set(denying.flatMap((one) => one.denied));
    return peers.every((peer) => denied.has(peer)) ? denying.map(({ subject }) => subject) : [];
  };
  const cut = sessions.map((session) => {
    const connection = `the SSH session from ${session.peer} to port ${session.port}`;
    return deniedBy(session, [session.peer]).map((subject) => deny(subject, connection));
  });
  const cutOff = servers.map((server) => {
    const found = clients.flatMap(({ node, addresses }) => {
      const denying = deniedBy(server, node === ruleset.node ? [...addresses, ...LOOPBACK] : addresses);
      return denying.length === 0 ? [] : [{ node, denying }];
    });
    const nodes = found.slice(0, SHOWN_NODES).map(({ node }) => node);
    const more = found.length > SHOWN_NODES ? `, … (${found.length} in all)` : "";
    const connection = `the agents of ${nodes.join(", ")}${more} their ${server.role}, which is served there on port ${server.port}`;
    return (found[0]?.denying ?? []).map((subject) => deny(subject, connection));
  });
  const found = new Map<string, Lockout>();
  const needed = findDeniedNeeds(ruleset, access);
  for (const lockout of [...own.map((denial) => [denial]), ...cut, ...cutOff, ...needed.map((denial) => [denial])])
    if (isLockout(lockout)) found.set(lockout.map(({ message }) => message).join(), lockout);
  return [...found.values()];
}

function isLockout(denials: readonly Denial[]): denials is Lockout {
  return denials[0] !== undefined;
}

/**
 * Returns a sentence for each session whose address its workload may not use: the workload declares others, or none and
 * another workload of the node declares this one (ADR 12). No policy decides that, so that nothing is won by withholding
 * the workload.
 */
export function findForeignAddresses({ subjects }: Ruleset, { sessions }: ManagementAccess): readonly string[] {
  const found = sessions.flatMap(({ peer, address, port, cgroups }) => {
    if (address === undefined || LOOPBACK.includes(address)) return [];
    return subjects
      .filter(({ cgroup, egress }) => egress.mode !== "audit" && cgroups.some((inner) => holds(cgroup, inner)))
      .filter((subject) => !maySendFrom(subject, address, subjects))
      .map(({ workload }) => {
        const other = subjects.find(({ addresses }) => addresses.includes(address))?.workload;
        const why = other === undefined ? "it declares others" : `workload ${other} declares it`;
        return `workload ${workload} may not use the address ${address} of the SSH session from ${peer} to port ${port}, since ${why}`;
      });
  });
  return [...new Set(found)];
}

/** As is_own_address() of native/bpf/policy.h: a workload also owns the addresses of those in its cgroup. */
function maySendFrom({ cgroup }: Subject, address: string, all: readonly Subject[]): boolean {
  const own = all.filter((other) => other.cgroup !== null && holds(cgroup, other.cgroup));
  if (own.some(({ addresses }) => addresses.includes(address))) return true;
  if (all.some(({ addresses }) => addresses.includes(address))) return false;
  return own.some(({ addresses }) => addresses.length === 0) || LINK_LOCAL.test(address);
}

const LINK_LOCAL = /^(169\.254\.|fe[89ab]|127\.)/;

/** Returns a sentence for each reason why the ruleset would lock out; none if it is safe. */
export function listLockouts(
  ruleset: Ruleset,
  access: ManagementAccess,
  clients: readonly Client[],
): readonly string[] {
  const cut = findLockouts(ruleset, access, clients).map(([{ message }]) => message);
  return [...cut, ...findForeignAddresses(ruleset, access)];
}

/** The warning about a search for sessions and servers that was cut short. */
export const INCOMPLETE_SEARCH =
  "the search for SSH sessions, and for a store or source that this machine serves, had to end before it had read all processes and sockets: those found until then are protected, others may be cut off";

const LOOPBACK = ["127.0.0.1", "::1"];
const SHOWN_NODES = 5;

function deny(subject: Subject, connection: string): Denial {
  const { workload, cgroup, ingress, isHost } = subject;
  const what = isHost === true ? "is the host" : `has the cgroup ${cgroup ?? ""}`;
  const message = `workload ${workload} ${what}, and its ingress policies (${ingress.policies.join(", ")}) deny ${connection}`;
  return { subject, message, policies: ingress.policies };
}

function denies(evaluator: Evaluator, { workload }: Subject, peer: string, port: number): boolean {
  return evaluator({ workload, direction: "ingress", peer, protocol: TCP, port }).verdict === "Denied";
}
