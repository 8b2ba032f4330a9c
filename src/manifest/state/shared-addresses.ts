/**
 * Shared addresses: ingress rules that also let in workloads that they do not name, by an address that these share with a
 * named one, and whose own node does not refuse them. Pure.
 */
import type { NetworkPolicy, Workload } from "../../model/objects.js";
import { qualifiedName, type ObjectSet } from "../../model/state.js";
import { isSender } from "../../policy/compile/identity.js";
import { identityModeOf, modeOf } from "../../policy/compile/modes.js";
import { isSelectorPeer } from "../../policy/compile/select.js";
import type { WorkloadIndex } from "../../policy/compile/workload-index.js";
import { createMeaning } from "../../policy/meaning.js";
import { OwnerIndex } from "../../policy/owners.js";
import type { Problem } from "../problem.js";
import type { ObjectProblem } from "./object-problem.js";

/** Largest number of workloads that are named in a warning. */
const NAMED = 3;

interface Shared {
  readonly name: string;
  /** The workload that the rule names, and whose address it has. */
  readonly by: string;
}

export function lintSharedAddresses(objects: ObjectSet, index: WorkloadIndex): readonly ObjectProblem[] {
  const owners = new OwnerIndex(objects);
  const unasked = new Set(
    index.all.flatMap(({ name, workload }) =>
      owners.sharingWith(name).length > 0 && !isAsked(workload, objects) ? [name] : [],
    ),
  );
  if (unasked.size === 0) return [];
  const meaning = createMeaning(objects);
  return [...objects].flatMap(([key, { object }]): readonly ObjectProblem[] => {
    if (object.kind !== "NetworkPolicy" || modeOf(object, "ingress", objects) !== "enforce") return [];
    if (!object.spec.policyTypes.includes("Ingress") || !index.protectsAny(object)) return [];
    return (object.spec.ingress ?? []).flatMap(({ from = [] }, at): readonly ObjectProblem[] => {
      if (!from.some(isSelectorPeer)) return [];
      const rule = { key: "", policy: object.metadata, direction: "ingress" as const, index: at };
      const named = index.peersOf(from, object.metadata.namespace).map(({ name }) => name);
      const shared = new Map<string, Shared>();
      for (const by of named)
        for (const name of owners.sharingWith(by))
          if (unasked.has(name) && !meaning.means(rule, name)) shared.set(name, { name, by });
      const [first] = shared.values();
      return first === undefined ? [] : [{ key, problem: toProblem(object, at, [...shared.values()], first) }];
    });
  });
}

function isAsked(workload: Workload, objects: ObjectSet): boolean {
  return identityModeOf(objects) !== "address" && isSender(workload, objects);
}

function toProblem({ metadata }: NetworkPolicy, at: number, shared: readonly Shared[], first: Shared): Problem {
  const names = shared.slice(0, NAMED).map(({ name }) => name);
  const more = shared.length - names.length;
  const list = more === 0 ? names.join(", ") : `${names.join(", ")} and ${more} more`;
  return {
    code: "sharedAddress",
    path: ["spec", "ingress", at],
    message: `the rule also lets in ${list}, which ${qualifiedName(metadata)} does not name: ${first.name} has the address of ${first.by}`,
    wanted: "an address of its own, or a cgroup by which its node knows it",
    fix: "give each workload addresses of its own; or give them a node with a cgroup or process, and leave out Cluster's identity: address",
  };
}
