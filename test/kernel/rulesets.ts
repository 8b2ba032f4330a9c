/** Rulesets written by hand, in the fewest words: what a test allows each workload to do. */
import type {
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
    });
  }
  profiles.sort((a, b) => (a.key < b.key ? -1 : 1));
  return { node, digest: JSON.stringify({ subjects, profiles }), subjects, profiles };
}

function profileOf(workload: string, direction: "ingress" | "egress", allow: readonly Allow[]): Profile {
  const [namespace = "", name = ""] = workload.split("/");
  const rules: Rule[] = allow.map((_one, index) => ({
    key: `${workload}/${direction}/${index}`,
    policy: { namespace, name },
    direction,
    index,
  }));
  const clauses: Clause[] = allow.map(({ peers, ports }, rule) => ({
    rule,
    peers,
    ports: ports === "any" ? "any" : ports.map(portRange),
  }));
  return { key: `${direction} ${workload}`, direction, rules, clauses };
}

const PROTOCOLS = { tcp: "TCP", udp: "UDP", sctp: "SCTP", icmp: "ICMP" } as const;

function portRange(text: string): PortRange {
  const [name = "", range = "0-65535"] = text.split("/");
  const [first = "0", last = first] = range.split("-");
  const protocol = Object.entries(PROTOCOLS).find(([key]) => key === name)?.[1];
  if (protocol === undefined) throw new TypeError(text);
  return { protocol, first: Number(first), last: Number(last) };
}
