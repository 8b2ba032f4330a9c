/**
 * Host access: warns where policies isolate a host and allow nothing that every machine needs, as far as the state shows it. Its agent
 * withholds them (docs/adr/0020-host-workload.md).
 */
import type { NetworkPolicy, PolicyPort } from "../../model/objects.js";
import type { Direction } from "../../model/ruleset.js";
import type { ObjectSet } from "../../model/state.js";
import { modeOf } from "../../policy/compile/modes.js";
import type { WorkloadIndex } from "../../policy/compile/workload-index.js";
import type { ObjectProblem } from "./object-problem.js";

interface Access {
  readonly direction: Direction;
  readonly protocol: "TCP" | "UDP";
  readonly port: number;
  readonly purpose: string;
}

const NEEDED: readonly Access[] = [
  { direction: "egress", protocol: "UDP", port: 53, purpose: "name resolution" },
  { direction: "ingress", protocol: "TCP", port: 22, purpose: "SSH, where a server listens there" },
];

export function lintHosts(objects: ObjectSet, index: WorkloadIndex): readonly ObjectProblem[] {
  const selecting = new Map<string, NetworkPolicy[]>();
  for (const { object } of objects.values()) {
    if (object.kind !== "NetworkPolicy") continue;
    for (const { name, workload } of index.subjectsOf(object))
      if (workload.spec.process !== undefined && "host" in workload.spec.process)
        selecting.set(name, [...(selecting.get(name) ?? []), object]);
  }
  return [...objects].flatMap(([key, { object }]) => {
    if (object.kind !== "Workload") return [];
    const policies = selecting.get(`${object.metadata.namespace}/${object.metadata.name}`) ?? [];
    return NEEDED.filter((access) => isShut(policies, access, objects)).map((access) => ({
      key,
      problem: {
        code: "hostWithoutAccess",
        path: ["spec", "process", "host"],
        message: `policies isolate the ${access.direction} of the host, and no rule of theirs allows ${access.purpose} (${access.protocol} port ${access.port}): its agent withholds such a policy`,
        wanted: `a rule for ${access.protocol} port ${access.port}`,
        fix: `allow it: ${access.direction}: [{ ports: [{ protocol: ${access.protocol}, port: ${access.port} }] }], with the peers that may`,
      },
    }));
  });
}

function isShut(policies: readonly NetworkPolicy[], access: Access, objects: ObjectSet): boolean {
  const type = access.direction === "ingress" ? "Ingress" : "Egress";
  const isolating = policies.filter(
    (policy) => policy.spec.policyTypes.includes(type) && modeOf(policy, access.direction, objects) === "enforce",
  );
  const rules = isolating.flatMap(({ spec }) => [
    ...((access.direction === "ingress" ? spec.ingress : spec.egress) ?? []),
  ]);
  return (
    isolating.length > 0 &&
    !rules.some(({ ports }) => (ports ?? []).length === 0 || ports?.some((one) => mayBe(one, access)))
  );
}

/** A port with a name may be any. */
function mayBe(one: PolicyPort, { protocol, port }: Access): boolean {
  if (!("port" in one) || one.port === undefined) return one.protocol === protocol;
  if (one.protocol !== protocol) return false;
  return typeof one.port === "string" || (one.port <= port && port <= (one.endPort ?? one.port));
}
