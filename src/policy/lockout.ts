/**
 * Lock-out: finds out whether a ruleset would cut its machine's management access. Enforcement is on the workloads' own
 * cgroups, so that only a workload whose cgroup contains the agent or a session can cut it.
 *
 * The agent's own traffic must never belong to a workload, even if today's policies allow it: tomorrow's policy would
 * have to arrive through it. A session is in danger if the ruleset denies its first packet: its connection ends at the
 * next packet or, if it is older than the enforcement and looks like one that the workload initiated, it could not be
 * opened again. A server of the agents' store or source is cut off if some declared node cannot reach it from any
 * address: no repair could reach that node.
 */
import type { ControlServer, ManagementAccess, Session } from "../model/management-access.js";
import type { Ruleset, Subject } from "../model/ruleset.js";
import type { ObjectSet } from "../model/state.js";
import { createEvaluator, type Evaluator } from "./evaluate.js";

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

/** Returns one sentence for each management connection that would be cut; none if the ruleset is safe. */
export function findLockouts(
  ruleset: Ruleset,
  { agent, sessions, servers }: ManagementAccess,
  clients: readonly Client[],
): readonly string[] {
  const holding = ruleset.subjects.find(({ cgroup }) => agent !== null && holds(cgroup, agent));
  const own =
    holding === undefined
      ? []
      : [
          `workload ${holding.workload} has the cgroup ${holding.cgroup ?? ""}, in which the agent of node ${ruleset.node} itself runs (${agent ?? ""})`,
        ];
  // Preparing a ruleset costs as much as a first verdict, and most machines have no session to check.
  let evaluator: Evaluator | undefined;
  const deniedBy = ({ port, cgroups }: Session | ControlServer, peers: readonly string[]): Subject | undefined =>
    ruleset.subjects.find((subject) => {
      if (!cgroups.some((cgroup) => holds(subject.cgroup, cgroup))) return false;
      const evaluate = (evaluator ??= createEvaluator(ruleset));
      return peers.every((peer) => denies(evaluate, subject, peer, port));
    });
  const cut = sessions.flatMap((session) => {
    const denying = deniedBy(session, [session.peer]);
    return denying === undefined
      ? []
      : [`${tell(denying)} the SSH session from ${session.peer} to port ${session.port}`];
  });
  const cutOff = servers.flatMap((server) => {
    const found = clients.flatMap(({ node, addresses }) => {
      const denying = deniedBy(server, node === ruleset.node ? [...addresses, ...LOOPBACK] : addresses);
      return denying === undefined ? [] : [{ node, denying }];
    });
    const [first] = found;
    if (first === undefined) return [];
    const nodes = found.slice(0, SHOWN_NODES).map(({ node }) => node);
    const more = found.length > SHOWN_NODES ? `, … (${found.length} in all)` : "";
    return [
      `${tell(first.denying)} the agents of ${nodes.join(", ")}${more} their ${server.role}, which is served there on port ${server.port}`,
    ];
  });
  return [...own, ...new Set([...cut, ...cutOff])];
}

/** The warning about a search for sessions and servers that was cut short. */
export const INCOMPLETE_SEARCH =
  "the search for SSH sessions, and for a store or source that this machine serves, had to end before it had read all processes: those found until then are protected, others may be cut off";

const LOOPBACK = ["127.0.0.1", "::1"];
const SHOWN_NODES = 5;

function tell({ workload, cgroup, ingress }: Subject): string {
  return `workload ${workload} has the cgroup ${cgroup ?? ""}, and its ingress policies (${ingress.policies.join(", ")}) deny`;
}

/** Returns whether a cgroup is the other one, or contains it. */
export function holds(cgroup: string | null, inner: string): boolean {
  return cgroup !== null && (cgroup === "" || inner === cgroup || inner.startsWith(`${cgroup}/`));
}

function denies(evaluator: Evaluator, { workload }: Subject, peer: string, port: number): boolean {
  return evaluator({ workload, direction: "ingress", peer, protocol: TCP, port }).verdict === "Denied";
}
