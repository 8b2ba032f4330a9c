/** Rulesets written by hand, in the fewest words: what a test allows each workload to do. */
import type {
  CgroupPattern,
  Clause,
  IsolationMode,
  PortRange,
  Profile,
  Rule,
  Ruleset,
  Subject,
  SubjectDirection,
} from "../../src/model/ruleset.js";

export interface Allow {
  readonly peers: "any" | readonly string[];
  /** `tcp/80`, `udp/1000-2000`, `icmp/2048`, `tcp` for all ports; or any. */
  readonly ports: "any" | readonly string[];
  /** Denies in place of allowing; the first that matches decides. */
  readonly isDenied?: boolean;
}

export interface Isolation {
  readonly mode?: IsolationMode;
  readonly allow: readonly Allow[];
}

export interface WorkloadSpec {
  readonly cgroup: string | null;
  readonly isHost?: true;
  readonly addresses?: readonly string[];
  readonly ingress?: Isolation;
  readonly egress?: Isolation;
  /** What the destinations let in: what nothing here matches is not limited. */
  readonly identity?: readonly Allow[];
}

/** @param workloads by `namespace/name` */
export function rulesetOf(node: string, workloads: Readonly<Record<string, WorkloadSpec>>): Ruleset {
  const profiles: Profile[] = [];
  const subjects: Subject[] = [];
  for (const [workload, spec] of Object.entries(workloads).sort(([a], [b]) => (a < b ? -1 : 1))) {
    const direction = (name: "ingress" | "egress"): SubjectDirection => {
      const isolation = spec[name];
      if (isolation === undefined) return { mode: "open", profile: null, policies: [] };
      const profile = profileOf(workload, name, isolation.allow);
      profiles.push(profile);
      return { mode: isolation.mode ?? "enforce", profile: profile.key, policies: [workload] };
    };
    subjects.push({
      workload,
      cgroup: spec.cgroup,
      ...(spec.isHost === undefined ? {} : { isHost: spec.isHost }),
      addresses: spec.addresses ?? [],
      ingress: direction("ingress"),
      egress: direction("egress"),
      ...(spec.identity === undefined ? {} : { identity: `identity ${workload}` }),
    });
    if (spec.identity !== undefined) profiles.push(identityOf(workload, spec.identity));
  }
  profiles.sort((a, b) => (a.key < b.key ? -1 : 1));
  return { node, digest: JSON.stringify({ subjects, profiles }), subjects, profiles };
}

/**
 * Returns the ruleset with templates in place of the workloads that patterns find, and the templates of their instances.
 * @param patterns by workload
 */
export function withPatterns(
  ruleset: Ruleset,
  patterns: Readonly<Record<string, CgroupPattern>>,
  closesContainers = false,
): Ruleset {
  const templates = ruleset.subjects.flatMap((subject) => {
    const pattern = patterns[subject.workload];
    return pattern === undefined ? [] : [{ subject, pattern }];
  });
  const subjects = ruleset.subjects.filter(({ workload }) => patterns[workload] === undefined);
  const births = { templates, closesContainers };
  return { ...ruleset, subjects, births, digest: JSON.stringify([ruleset.digest, births]) };
}

function profileOf(workload: string, direction: "ingress" | "egress", allow: readonly Allow[]): Profile {
  const [namespace = "", name = ""] = workload.split("/");
  const rules: Rule[] = allow.map((_one, index) => ({
    key: `${workload}/${direction}/${index}`,
    policy: { namespace, name },
    direction,
    index,
  }));
  const clauses = allow.map((one, rule) => clauseOf(one, rule));
  return { key: `${direction} ${workload}`, direction, rules, clauses };
}

function clauseOf({ peers, ports, isDenied }: Allow, rule: number | null): Clause {
  const effect = isDenied === true ? { effect: "deny" as const } : {};
  return { rule, ...effect, peers, ports: ports === "any" ? "any" : ports.map(portRange) };
}

function identityOf(workload: string, list: readonly Allow[]): Profile {
  const clauses = list.map((one) => clauseOf(one, null));
  return { key: `identity ${workload}`, direction: "egress", rules: [], clauses };
}

const PROTOCOLS = { tcp: "TCP", udp: "UDP", sctp: "SCTP", icmp: "ICMP" } as const;

function portRange(text: string): PortRange {
  const [name = "", range = "0-65535"] = text.split("/");
  const [first = "0", last = first] = range.split("-");
  const protocol = Object.entries(PROTOCOLS).find(([key]) => key === name)?.[1];
  if (protocol === undefined) throw new TypeError(text);
  return { protocol, first: Number(first), last: Number(last) };
}
