/**
 * Names for flow events: the workloads of an address, the position of a policy, the policies that isolate a workload.
 * Pure.
 */
import type { FlowPolicy } from "../model/flow.js";
import type { Direction, Ruleset } from "../model/ruleset.js";
import { OwnerIndex, type Destination } from "./owners.js";
import { qualifiedName, type ObjectSet } from "../model/state.js";

export interface FlowNames {
  /** The node's own workloads, `namespace/name`, whose flows are reported; null while no state is known. */
  readonly workloads: readonly string[] | null;
  /** Returns the workloads that declare an address, `namespace/name`, sorted. */
  workloadsAt(address: string): readonly string[];
  /** Returns the workloads that have a destination; see `OwnerIndex`. */
  ownersOf(destination: Destination): readonly string[];
  /** Returns the other workloads that have an address of this one. */
  sharingWith(workload: string): readonly string[];
  /** Returns the policies that isolate a workload. */
  policiesOf(workload: string, direction: Direction): readonly FlowPolicy[];
}

export const NO_NAMES: FlowNames = {
  workloads: null,
  workloadsAt: () => [],
  ownersOf: () => [],
  sharingWith: () => [],
  policiesOf: () => [],
};

/** Returns the names of one state, for any ruleset in force; holds no reference to its objects. */
export function nameFlows(objects: ObjectSet): (ruleset: Ruleset) => FlowNames {
  const owners = new OwnerIndex(objects);
  const policies = new Map<string, FlowPolicy>();
  for (const { object, position } of objects.values()) {
    if (object.kind === "NetworkPolicy") {
      const policy = qualifiedName(object.metadata);
      policies.set(policy, { policy, file: position?.file ?? null, line: position?.line ?? null });
    }
  }
  return (ruleset) => {
    const all = [...(ruleset.births?.templates ?? []).map(({ subject }) => subject), ...ruleset.subjects];
    const subjects = new Map(all.map((subject) => [subject.workload, subject]));
    return {
      workloads: [...subjects.keys()],
      workloadsAt: (address) => owners.at(address),
      ownersOf: (destination) => owners.of(destination),
      sharingWith: (workload) => owners.sharingWith(workload),
      policiesOf: (workload, direction) =>
        (subjects.get(workload)?.[direction].policies ?? []).map(
          (policy) => policies.get(policy) ?? { policy, file: null, line: null },
        ),
    };
  };
}
