/**
 * Capacity: refuses a state of which some node could not hold its part, before it is committed: its nodes
 * would otherwise keep the last good ruleset, and say Stalled one after the other.
 */
import type { Kind } from "../model/objects.js";
import type { Profile, Ruleset } from "../model/ruleset.js";
import { refKey, type ObjectSet } from "../model/state.js";
import { compile } from "../policy/compile.js";
import type { Capacity, TableSize } from "../ports/enforcer.js";
import type { Warning } from "./lint.js";

const TABLES = { addresses: "address", ports: "port" } as const;

export function checkCapacity(objects: ObjectSet, capacity: Capacity): readonly Warning[] {
  const ruleset = compile(objects, null);
  const profiles = new Map(ruleset.profiles.map((profile) => [profile.key, profile]));
  const sizes = new Map<string, TableSize>();
  const sizeOf = (profile: Profile): TableSize => {
    const size = sizes.get(profile.key) ?? capacity.profile(profile);
    sizes.set(profile.key, size);
    return size;
  };
  const overflows = new Map<string, Warning>();
  for (const [node, subjects] of byNode(objects, ruleset)) {
    const keys = new Set(subjects.flatMap(({ ingress, egress }) => [ingress.profile, egress.profile]));
    const used = [...keys].flatMap((key) => profiles.get(key ?? "") ?? []);
    for (const table of ["addresses", "ports"] as const) {
      const profile = used.toSorted((a, b) => sizeOf(b)[table] - sizeOf(a)[table])[0];
      const own = subjects.reduce((sum, subject) => sum + capacity.subject(subject)[table], 0);
      const total = used.reduce((sum, one) => sum + sizeOf(one)[table], own);
      if (profile === undefined || total <= capacity.limit[table]) continue;
      const overflow = blame(profile, node, table, capacity.limit[table]);
      // One policy may be too large for a hundred nodes; it is said once.
      if (!overflows.has(overflow.key)) overflows.set(overflow.key, overflow);
    }
  }
  return [...overflows.values()];
}

/** The workloads that some node enforces; one without a cgroup takes no room. */
function byNode(objects: ObjectSet, ruleset: Ruleset): ReadonlyMap<string, Ruleset["subjects"]> {
  const nodes = new Map<string, string>();
  for (const { object } of objects.values()) {
    if (object.kind !== "Workload" || object.spec.node === undefined) continue;
    nodes.set(`${object.metadata.namespace}/${object.metadata.name}`, object.spec.node);
  }
  const enforced = ruleset.subjects.filter(({ workload, cgroup }) => cgroup !== null && nodes.has(workload));
  return Map.groupBy(enforced, ({ workload }) => nodes.get(workload) ?? "");
}

/** The largest rule of the largest profile. */
function blame(profile: Profile, node: string, table: keyof TableSize, limit: number): Warning {
  const weights = profile.clauses.map(({ rule, peers, ports }) => ({
    rule,
    weight: (peers === "any" ? 1 : peers.length) * (ports === "any" ? 1 : ports.length),
  }));
  const heaviest = weights.reduce((a, b) => (b.weight > a.weight ? b : a), weights[0] ?? { rule: 0, weight: 0 });
  const { policy, direction, index } = profile.rules[heaviest.rule] ?? raise(profile);
  const kind: Kind = "NetworkPolicy";
  return {
    key: refKey({ kind, ...policy }),
    problem: {
      code: "tooLarge",
      path: ["spec", direction, index],
      message:
        `the policies for the workloads of node ${node} need more than the ${limit} ${TABLES[table]} entries that a node's kernel tables hold; ` +
        `this rule of policy ${policy.namespace}/${policy.name} takes the most`,
      wanted: `at most ${limit} ${TABLES[table]} entries on a node`,
      fix: "name ranges of ports and wider blocks in place of single ones, or spread the workloads over more nodes",
    },
  };
}

function raise(profile: Profile): never {
  throw new TypeError(`profile ${profile.key} takes room and has no rule`);
}
