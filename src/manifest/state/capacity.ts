/**
 * Capacity: refuses a state before it is committed if some node could not hold its part, or its backend could not
 * express it. Otherwise the nodes would keep the last good ruleset, or close workloads, and report Stalled one after
 * the other.
 */
import { mayRunOn, NodeDescriptions } from "../../inventory/nodes.js";
import { canonicalJson } from "../../model/digest.js";
import type { Kind, Workload } from "../../model/objects.js";
import type { CgroupPattern, Profile, Ruleset } from "../../model/ruleset.js";
import { birthPattern, isDiscovered, patternOf as patternOfWorkload } from "../../inventory/process.js";
import { isBornOpen } from "../../inventory/resolve.js";
import { qualifiedName, refKey, type ObjectSet } from "../../model/state.js";
import { compile } from "../../policy/compile/compile.js";
import type { Capacity, Refusal, TableSize } from "../../interfaces/enforcer.js";
import type { ObjectProblem } from "./object-problem.js";

/** Capacities by the backend of a Node. */
export type Capacities = Readonly<Record<"ebpf" | "pf", Capacity>>;

export function checkCapacity(objects: ObjectSet, capacities: Capacities): readonly ObjectProblem[] {
  const ruleset = compile(objects, null);
  const profiles = new Map(ruleset.profiles.map((profile) => [profile.key, profile]));
  const sizes = new Map<string, TableSize>();
  const found = new Map<string, ObjectProblem>();
  // One policy may be too large for a hundred nodes; it is reported once.
  const add = (key: string, warning: ObjectProblem): void => {
    if (!found.has(key)) found.set(key, warning);
  };
  const patternOf = birthPatterns(objects);
  for (const { node, backend, subjects } of byNode(objects, ruleset)) {
    const capacity = capacities[backend];
    const profilesOf = (members: Ruleset["subjects"]): readonly Profile[] => {
      const keys = new Set(members.flatMap(({ ingress, egress }) => [ingress.profile, egress.profile]));
      return [...keys].flatMap((key) => profiles.get(key ?? "") ?? []);
    };
    const templates = subjects.flatMap((subject) => {
      const pattern = patternOf(subject.workload);
      return pattern === null ? [] : [{ subject, pattern }];
    });
    const births = { templates, closesContainers: false };
    const refusals = capacity.refuse({ node, digest: "", subjects, profiles: profilesOf(subjects), births });
    for (const refusal of refusals) {
      const warning = refuse(refusal, node);
      add(`${warning.key} ${warning.problem.path.join()}`, warning);
    }
    const held = subjects.filter((subject) => capacity.holds(subject));
    const sizeOf = (profile: Profile): TableSize => {
      const size = sizes.get(`${backend} ${profile.key}`) ?? capacity.profile(profile);
      sizes.set(`${backend} ${profile.key}`, size);
      return size;
    };
    const own = capacity.subjects(subjects);
    for (const warning of countEntries(capacity, own, profilesOf(held), sizeOf, node)) add(warning.key, warning);
  }
  return [...found.values()];
}

/** Returns a function to the pattern by which cgroups of a workload, `namespace/name`, are enforced from their birth. */
function birthPatterns(objects: ObjectSet): (workload: string) => CgroupPattern | null {
  const found = new Map<string, CgroupPattern>();
  if (isBornOpen(objects)) return () => null;
  for (const { object } of objects.values()) {
    const pattern = object.kind === "Workload" && isDiscovered(object) ? birthPattern(patternOfWorkload(object)) : null;
    if (object.kind === "Workload" && pattern !== null && !("container" in pattern))
      found.set(qualifiedName(object.metadata), pattern);
  }
  return (workload) => found.get(workload) ?? null;
}

function countEntries(
  capacity: Capacity,
  own: TableSize,
  used: readonly Profile[],
  sizeOf: (profile: Profile) => TableSize,
  node: string,
): readonly ObjectProblem[] {
  return (["addresses", "ports"] as const).flatMap((table) => {
    const profile = used.toSorted((a, b) => sizeOf(b)[table] - sizeOf(a)[table])[0];
    const total = used.reduce((sum, one) => sum + sizeOf(one)[table], own[table]);
    if (profile === undefined || total <= capacity.limit[table]) return [];
    return [blame(profile, node, capacity.words[table], capacity.limit[table])];
  });
}

interface NodeSubjects {
  readonly node: string;
  readonly backend: keyof Capacities;
  readonly subjects: Ruleset["subjects"];
}

/** An undeclared node uses eBPF. */
function byNode(objects: ObjectSet, ruleset: Ruleset): readonly NodeSubjects[] {
  const nodes = new Map<string, readonly string[]>();
  const placesOf = createPlaces(objects);
  const backends = new Map<string, keyof Capacities>();
  for (const { object } of objects.values()) {
    if (object.kind === "Node") backends.set(object.metadata.name, object.spec.enforcement ?? "ebpf");
    if (object.kind === "Workload") nodes.set(`${object.metadata.namespace}/${object.metadata.name}`, placesOf(object));
  }
  const placed = ruleset.subjects.flatMap((subject) =>
    (nodes.get(subject.workload) ?? []).map((node) => ({ node, subject })),
  );
  return [...Map.groupBy(placed, ({ node }) => node)].map(([node, all]) => ({
    node,
    backend: backends.get(node) ?? "ebpf",
    subjects: all.map(({ subject }) => subject),
  }));
}

/**
 * Returns a function to the nodes of a workload. Nodes that only a NodeGroup describes are known when they report: its
 * pattern stands for all of them.
 */
function createPlaces(objects: ObjectSet): (workload: Workload) => readonly string[] {
  const nodes = new NodeDescriptions(objects);
  const known = new Map<string, readonly string[]>();
  const select = (workload: Workload): readonly string[] => [
    ...nodes.declared.filter((node) => mayRunOn(workload, node)).map(({ name }) => name),
    ...nodes.groups
      .filter(({ metadata }) => mayRunOn(workload, { name: "", labels: metadata.labels ?? {} }))
      .map(({ spec }) => spec.nodeNames.join()),
  ];
  return (workload) => {
    const { node, nodeSelector } = workload.spec;
    if (nodeSelector === undefined) return node === undefined ? [] : [node];
    const key = canonicalJson(nodeSelector);
    const places = known.get(key) ?? select(workload);
    known.set(key, places);
    return places;
  };
}

/** Reports at the rule that needs it, or at the workload. */
function refuse({ workload, rule, message, fix }: Refusal, node: string): ObjectProblem {
  const [namespace = "", name = ""] = workload.split("/");
  const key =
    rule === undefined
      ? refKey({ kind: "Workload", namespace, name })
      : refKey({ kind: "NetworkPolicy", ...rule.policy });
  return {
    key,
    problem: {
      code: "cannotEnforce",
      path: rule === undefined ? ["spec"] : ["spec", rule.direction, rule.index],
      ...(rule === undefined ? { anchor: "key" as const } : {}),
      message: `workload ${workload} on node ${node}: ${message}`,
      fix,
    },
  };
}

/** Reports the largest rule of the largest profile. */
function blame(profile: Profile, node: string, words: string, limit: number): ObjectProblem {
  const weights = profile.clauses.map(({ rule, peers, ports }) => ({
    rule,
    weight: (peers === "any" ? 1 : peers.length) * (ports === "any" ? 1 : ports.length),
  }));
  const heaviest = weights.reduce((a, b) => (b.weight > a.weight ? b : a), weights[0] ?? { rule: 0, weight: 0 });
  const { policy, direction, index } = profile.rules[heaviest.rule ?? -1] ?? raise(profile);
  const kind: Kind = "NetworkPolicy";
  return {
    key: refKey({ kind, ...policy }),
    problem: {
      code: "tooLarge",
      path: ["spec", direction, index],
      message:
        `the policies for the workloads of node ${node} need more than the ${limit} ${words} that a node's kernel tables hold; ` +
        `this rule of policy ${policy.namespace}/${policy.name} takes the most`,
      wanted: `at most ${limit} ${words} on a node`,
      fix: "name ranges of ports and wider blocks in place of single ones, or spread the workloads over more nodes",
    },
  };
}

function raise(profile: Profile): never {
  throw new TypeError(`profile ${profile.key} takes room and has no rule`);
}
