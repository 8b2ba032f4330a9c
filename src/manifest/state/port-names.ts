/** Port names of rules that no workload declares: on ingress those of the policy's own workloads, on egress those of the peers. */
import type { NetworkPolicy, PolicyPort } from "../../model/objects.js";
import { suggest } from "../../model/suggest.js";
import type { SelectableWorkload } from "../../policy/compile/select.js";
import type { WorkloadIndex } from "../../policy/compile/workload-index.js";
import type { Path, Problem } from "../problem.js";

/** A rule without workloads has another warning. */
export function lintPortNames(policy: NetworkPolicy, index: WorkloadIndex): readonly Problem[] {
  const { ingress = [], egress = [] } = policy.spec;
  return [
    ...ingress.flatMap(({ ports }, rule) =>
      hasNames(ports)
        ? undeclared(ports, index.subjectsOf(policy), ["spec", "ingress", rule, "ports"], "that this policy selects")
        : [],
    ),
    ...egress.flatMap(({ to = [], ports }, rule) =>
      hasNames(ports)
        ? undeclared(
            ports,
            index.peersOf(to, policy.metadata.namespace),
            ["spec", "egress", rule, "ports"],
            "that this rule selects",
          )
        : [],
    ),
  ];
}

function hasNames(ports: readonly PolicyPort[] | undefined): ports is readonly PolicyPort[] {
  return ports?.some((port) => port.protocol !== "ICMP" && typeof port.port === "string") === true;
}

function undeclared(
  ports: readonly PolicyPort[],
  workloads: readonly SelectableWorkload[],
  path: Path,
  which: string,
): readonly Problem[] {
  if (workloads.length === 0) return [];
  const declared = workloads.flatMap(({ workload }) => workload.spec.ports);
  return ports.flatMap((each, at): readonly Problem[] => {
    if (each.protocol === "ICMP" || typeof each.port !== "string") return [];
    const { port: name, protocol } = each;
    const sameName = declared.filter((one) => one.name === name);
    if (sameName.some((one) => one.protocol === protocol)) return [];
    const names = declared.flatMap((one) => (one.name !== undefined && one.protocol === protocol ? [one.name] : []));
    const [other] = sameName;
    const meant = suggest(name, [...new Set(names)].sort());
    const fix =
      other !== undefined
        ? `write protocol: ${other.protocol}, for which it is declared`
        : meant !== undefined
          ? `did you mean ${meant}?`
          : `declare the port in spec.ports of the workload, or write its number`;
    return [
      {
        code: "undeclaredPortName",
        path: [...path, at, "port"],
        message: `port ${name} (${protocol}) is a name that no workload ${which} declares: it allows nothing`,
        found: name,
        wanted: "the name of a port in spec.ports of such a workload, or a number",
        fix,
      },
    ];
  });
}
