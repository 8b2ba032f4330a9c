/** Clauses: renders the clauses of a profile as rules of pf. */
import { hostCidr } from "../../../model/ip.js";
import type { Clause, Direction, PortRange, Profile, Subject } from "../../../model/ruleset.js";
import { labelOf } from "./names.js";
import { icmpMatches, portText } from "./port-ranges.js";
import { ANYONE, type Hosts, type RenderedRule, type Text } from "./text.js";

/** Subjects with the same rules. */
export interface Group {
  readonly profile: Profile;
  readonly direction: Direction;
  /** True if enforced; false if audited. */
  readonly isEnforced: boolean;
  /** The only user whose sockets may use the addresses for TCP and UDP; null: any user. */
  readonly user: string | null;
  readonly subjects: readonly Subject[];
}

/**
 * Returns the rules of the clauses, in their order; then the rules for all other packets. The first that matches must
 * decide.
 */
export function groupLines(text: Text, group: Group): readonly RenderedRule[] {
  const { profile, user, subjects } = group;
  const own = text.hosts(subjects.flatMap(({ addresses }) => addresses.map(hostCidr)));
  const allowed = profile.clauses.flatMap((clause) => {
    const peers = peersOf(text, clause);
    return clause.effect === "deny" && !group.isEnforced
      ? auditedLines(text, group, clause, peers)
      : clauseLines(group, clause, own, peers);
  });
  const rest = (protocol: string) => subjects.map((subject) => restLine(text, group, subject, protocol));
  if (user === null) return [...allowed, ...rest("")];
  // pf knows sockets only for TCP and UDP. Rules without a protocol follow after those for TCP and UDP, so that a rule
  // for every protocol does not let another user's connections pass.
  const isBound = ({ text: line }: RenderedRule): boolean => line.includes(" user ");
  const others = TRANSPORTS.flatMap((protocol) => rest(` proto ${protocol}`));
  return [...allowed.filter(isBound), ...others, ...allowed.filter((line) => !isBound(line)), ...rest("")];
}

const TRANSPORTS = ["tcp", "udp"] as const;

/**
 * Returns the rule for packets that no rule allows. The label also contains the user: another user's states must not
 * count as this one's.
 */
function restLine(text: Text, group: Group, { workload, addresses }: Subject, protocol: string): RenderedRule {
  const { direction, isEnforced, user } = group;
  const [way, fromTo] = path(direction, text.hosts(addresses.map(hostCidr)), ANYONE);
  const identity = `${direction}:${workload}${user === null ? "" : `:${user}`}`;
  const flags = protocol === " proto udp" ? "" : OPENING;
  return isEnforced
    ? {
        text: `block drop ${way} quick${protocol} ${fromTo}`,
        kind: "denied",
        label: labelOf("denied", identity),
        ...{ workload, direction },
      }
    : {
        text: `pass ${way}${protocol} ${fromTo}${flags} keep state`,
        kind: "audited",
        label: labelOf("audited", identity),
        ...{ workload, direction },
      };
}

function peersOf(text: Text, { peers }: Clause): Hosts {
  return peers === "any" ? ANYONE : text.hosts(peers);
}

function clauseLines(group: Group, clause: Clause, own: Hosts, peers: Hosts): readonly RenderedRule[] {
  const rule = group.profile.rules[clause.rule ?? -1];
  const families = own.families.filter((family) => peers.families.includes(family));
  if (rule === undefined || families.length === 0) return [];
  const bodies =
    clause.ports === "any" ? everything(group) : clause.ports.flatMap((range) => rangeBodies(group, range));
  const [way, fromTo] = path(group.direction, own, peers);
  const isDenied = clause.effect === "deny" && group.isEnforced;
  return bodies.flatMap(({ family, match, options }): readonly RenderedRule[] => {
    const only = family ?? (families.length === 1 ? families[0] : null) ?? null;
    if (only !== null && !families.includes(only)) return [];
    const af = only === null ? "" : only === 4 ? " inet" : " inet6";
    const middle = `${way}${quick(group)}${af}${match.protocol} ${fromTo}${match.port}${options}`;
    if (isDenied) return [{ text: `block drop ${middle}`, kind: "denied", label: labelOf("denied", rule.key), rule }];
    return [{ text: `pass ${middle} keep state`, kind: "rule", label: labelOf("rule", rule.key), rule }];
  });
}

/** What a clause denies in audit mode is counted for each workload, as what no clause matches. */
function auditedLines(text: Text, group: Group, clause: Clause, peers: Hosts): readonly RenderedRule[] {
  return group.subjects.flatMap((subject) => {
    const { workload, addresses } = subject;
    const { direction } = group;
    const { label } = restLine(text, group, subject, "");
    return clauseLines(group, clause, text.hosts(addresses.map(hostCidr)), peers).map((line) => ({
      text: line.text,
      kind: "audited" as const,
      label,
      workload,
      direction,
    }));
  });
}

function path(direction: Direction, own: Hosts, peers: Hosts): readonly [way: string, fromTo: string] {
  return direction === "ingress"
    ? ["in", `from ${peers.text} to ${own.text}`]
    : ["out", `from ${own.text} to ${peers.text}`];
}

const quick = ({ isEnforced }: Group): string => (isEnforced ? " quick" : "");

/** The text around the addresses. */
interface Body {
  readonly family: 4 | 6 | null;
  readonly match: { readonly protocol: string; readonly port: string };
  readonly options: string;
}

/**
 * Only a packet that opens a connection creates a state; without the flags, a reply of a connection that was cut would
 * create another.
 */
const OPENING = " flags S/SA";

function everything(group: Group): readonly Body[] {
  const any: Body = { family: null, match: { protocol: "", port: "" }, options: OPENING };
  if (group.user === null) return [any];
  return [...TRANSPORTS.map((protocol) => transport(group, protocol, "")), any];
}

function rangeBodies(group: Group, range: PortRange): readonly Body[] {
  switch (range.protocol) {
    case "TCP":
    case "UDP": {
      const port = portText(range);
      return port === null ? [] : [transport(group, range.protocol === "TCP" ? "tcp" : "udp", port)];
    }
    case "SCTP":
      return [{ family: null, match: { protocol: " proto 132", port: "" }, options: "" }];
    case "ICMP":
      return icmpMatches(range).matches.flatMap(({ type, code }): readonly Body[] =>
        ([4, 6] as const).map((family) => {
          const [protocol, key] = family === 4 ? ["icmp", "icmp-type"] : ["icmp6", "icmp6-type"];
          const options = type === null ? "" : ` ${key} ${type}${code === null ? "" : ` code ${code}`}`;
          return { family, match: { protocol: ` proto ${protocol}`, port: "" }, options };
        }),
      );
  }
}

/** In quotes a name is never a keyword. */
function transport({ user }: Group, protocol: "tcp" | "udp", port: string): Body {
  const owner = user === null ? "" : ` user "${user}"`;
  return {
    family: null,
    match: { protocol: ` proto ${protocol}`, port },
    options: `${owner}${protocol === "tcp" ? OPENING : ""}`,
  };
}
