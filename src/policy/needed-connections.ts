/**
 * Needed connections: those without which a machine cannot be managed, as name resolution and the way to the store. A policy on the host
 * itself must allow each of them. Pure.
 */
import { hostCidr } from "../model/ip.js";
import type { ManagementAccess, NeededConnection } from "../model/management-access.js";
import type { Clause, Ruleset, Subject, SubjectDirection } from "../model/ruleset.js";
import { AddressParser, AddressSet } from "./address-space.js";
import { mayDecide } from "./holds.js";

/** A workload that cuts a connection, and the sentence that says so. */
export interface Denial {
  readonly subject: Subject;
  readonly message: string;
  /** The policies that cut; none if its cgroup does, which is the agent's. */
  readonly policies: readonly string[];
}

/** What an unknown peer may be. */
const ANYWHERE = "0.0.0.0/0";

/** Returns whether a policy on the host decides; otherwise nothing that the machine needs can be cut. */
export function isolatesHost({ subjects }: Ruleset): boolean {
  return subjects.some(
    ({ isHost, ingress, egress }) => isHost === true && (ingress.mode !== "open" || egress.mode !== "open"),
  );
}

/** Returns a denial for each needed connection that policy on the host would cut. */
export function findDeniedNeeds(ruleset: Ruleset, { needs = [], agent }: ManagementAccess): readonly Denial[] {
  return ruleset.subjects
    .filter(({ isHost }) => isHost === true)
    .flatMap((subject) =>
      needs
        .filter((need) => mayDecide(ruleset, subject, need.cgroups ?? (agent === null ? [] : [agent])))
        .filter((need) => !isWithinHost(ruleset, subject, need))
        .flatMap((need) => denialOf(ruleset, subject, need)),
    );
}

/** The host may always talk to itself. */
function isWithinHost(ruleset: Ruleset, host: Subject, { servedBy }: NeededConnection): boolean {
  return servedBy !== undefined && servedBy.every((cgroup) => mayDecide(ruleset, host, [cgroup]));
}

function denialOf(ruleset: Ruleset, subject: Subject, need: NeededConnection): readonly Denial[] {
  const isolation = subject[need.direction];
  if (isolation.mode !== "enforce") return [];
  const denied = deniedPeers(ruleset, isolation, need);
  if (denied === null) return [];
  const what =
    need.reason === undefined ? need.purpose : `${need.purpose}, of which is not known to where, since ${need.reason}`;
  const message = `workload ${subject.workload} is the host, and its ${need.direction} policies (${isolation.policies.join(", ")}) deny ${what}; this opens it: ${ruleFor(need, denied)}`;
  return [{ subject, message, policies: isolation.policies }];
}

/** Returns the CIDRs that a rule would have to allow; null if nothing is denied. */
function deniedPeers(
  { profiles }: Ruleset,
  isolation: SubjectDirection,
  need: NeededConnection,
): readonly string[] | null {
  const profile = profiles.find(({ key }) => key === isolation.profile);
  const clauses = (profile?.clauses ?? []).filter((clause) => allowsPort(clause, need));
  if (need.peers === "some") return clauses.some(({ peers }) => peers.length > 0) ? null : [];
  const wanted = need.peers === "unknown" ? [ANYWHERE] : need.peers;
  const parser = new AddressParser();
  const sets = clauses.map(({ peers }) =>
    peers === "any" ? null : new AddressSet(peers.map((cidr) => parser.parse(cidr))),
  );
  const denied = wanted.filter((cidr) => !sets.some((set) => set === null || set.contains(parser.parse(cidr))));
  return denied.length === 0 ? null : denied;
}

function allowsPort({ ports }: Clause, { protocol, port }: NeededConnection): boolean {
  return (
    ports === "any" || ports.some((range) => range.protocol === protocol && range.first <= port && port <= range.last)
  );
}

/** Words a rule that would allow it, as it stands in a policy. */
function ruleFor({ direction, protocol, port }: NeededConnection, denied: readonly string[]): string {
  const peers = denied.map((cidr) => `{ ipBlock: { cidr: "${cidr.includes("/") ? cidr : hostCidr(cidr)}" } }`);
  const list = peers.length === 0 ? "" : `${direction === "ingress" ? "from" : "to"}: [${peers.join(", ")}], `;
  return `${direction}: [{ ${list}ports: [{ protocol: ${protocol}, port: ${port} }] }]`;
}
