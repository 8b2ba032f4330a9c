/** Proposes the Node and the Workloads of a machine from what runs on it, as YAML for a person to review. Pure. */
import { stringify } from "yaml";
import { systemUnitOf } from "../../inventory/process.js";
import type { ListeningPort, ReportedInstance } from "../../model/endpoints.js";
import type { ProcessPattern } from "../../model/objects.js";
import { isLabel } from "../../model/guards.js";
import { OperationError } from "../../model/operation-error.js";
import { printableLine } from "../../model/printable.js";
import type { FoundProcesses } from "../../interfaces/discovery.js";

/** What is looked for: every service, and every container. */
export const EVERYTHING = [
  { workload: "found/units", pattern: { systemdUnit: "*.service" }, needsPorts: true },
  { workload: "found/containers", pattern: { container: { name: "*" } }, needsPorts: true },
] as const;

/** Without these a machine is not managed any more: who isolates them has thought about it. */
const MANAGEMENT = new Set("ssh sshd ztap dbus user getty etcd docker containerd podman crio".split(" "));
const MANAGEMENT_FAMILIES = ["ztap-", "systemd-", "dbus-"];
/** What units and containers are called, as far as a pattern can name them. */
const NAMEABLE = /^[A-Za-z0-9:_.@\\-]+$/;
/** Clients bind ports of this range for a while; who serves UDP there on purpose adds the port. */
const EPHEMERAL = { first: 32_768, last: 60_999 };

interface Proposed {
  readonly name: string;
  readonly process: ProcessPattern;
  readonly ports: readonly ListeningPort[];
}

export interface Proposal {
  readonly text: string;
  readonly workloads: readonly string[];
  /** What could not be read. */
  readonly problems: readonly string[];
  /** Why no workload is proposed; null if one is. */
  readonly note: string | null;
}

export function proposeWorkloads(found: FoundProcesses, node: string, namespace: string): Proposal {
  const containers = found.instances.filter(({ workload }) => workload === "found/containers");
  const units = found.instances.filter(
    ({ workload, cgroup }) =>
      workload === "found/units" && !containers.some((one) => `${one.cgroup}/`.startsWith(`${cgroup}/`)),
  );
  const nameOf = ({ workload, cgroup, instance }: ReportedInstance): string =>
    (workload === "found/units" ? systemUnitOf(cgroup) : null) ?? instance;
  const all = [...units, ...containers].map(nameOf);
  const nameless = all.filter((name) => !NAMEABLE.test(name));
  const managed = units.map(nameOf).filter(isManagement);
  const ordinary = units.filter((one) => !isManagement(nameOf(one)) && NAMEABLE.test(nameOf(one)));
  const groups = Map.groupBy(ordinary, (one) => patternOf(nameOf(one)));
  const fromUnits = [...groups].map(([unit, all]) => ({
    name: unit.replace(/(@\*)?\.service$/, ""),
    process: { systemdUnit: unit },
    ports: servedPorts(all),
  }));
  const listening = fromUnits.filter(({ ports }) => ports.length > 0);
  const silent = fromUnits.filter(({ ports }) => ports.length === 0).map(({ process }) => process.systemdUnit);
  const fromContainers = containers
    .filter((one) => NAMEABLE.test(one.instance))
    .map((one) => ({
      name: one.instance,
      process: { container: { name: one.instance } },
      ports: servedPorts([one]),
    }));
  const proposed = withNames([...listening, ...fromContainers]);
  const documents = [
    document({
      apiVersion: "ztap/v1",
      kind: "Node",
      metadata: { name: node },
      spec: { addresses: [...found.addresses] },
    }),
    ...(namespace === "default"
      ? []
      : [document({ apiVersion: "ztap/v1", kind: "Namespace", metadata: { name: namespace } })]),
    ...proposed.map((one) => workloadText(one, node, namespace)),
  ];
  const text = heading(node, { managed, silent, nameless, problems: found.problems }) + documents.join("---\n");
  return {
    text,
    workloads: proposed.map(({ name }) => `${namespace}/${name}`),
    problems: found.problems,
    note: proposed.length > 0 ? null : describeNothing(found),
  };
}

/** @throws OperationError `usage` for a name that the repository does not accept */
export function checkNamespace(namespace: string): void {
  if (isLabel(namespace)) return;
  throw new OperationError(
    "usage",
    `--namespace: found ${JSON.stringify(namespace)}, wanted the name of a namespace: at most 63 of a-z, 0-9 and -, as in shop-2`,
  );
}

function describeNothing({ instances, problems }: FoundProcesses): string {
  const seen =
    instances.length === 0
      ? "neither a service nor a container was found here"
      : "none of the services found here listens on a port for others, and there is no container";
  const unread = problems.length === 0 ? "" : `; not all could be read: ${problems.join("; ")}`;
  return `no workload is proposed, only the Node: ${seen}${unread}`;
}

function isManagement(unit: string): boolean {
  const [name = ""] = unit.replace(/\.service$/, "").split("@");
  return MANAGEMENT.has(name) || MANAGEMENT_FAMILIES.some((family) => name.startsWith(family));
}

/** The instances of a template are one workload. */
function patternOf(unit: string): string {
  const at = unit.indexOf("@");
  return at === -1 ? unit : `${unit.slice(0, at)}@*.service`;
}

function servedPorts(instances: readonly ReportedInstance[]): readonly ListeningPort[] {
  const isEphemeral = ({ protocol, port }: ListeningPort): boolean =>
    protocol === "UDP" && port >= EPHEMERAL.first && port <= EPHEMERAL.last;
  const all = instances.flatMap(({ ports }) => ports.filter((port) => !isEphemeral(port)));
  const unique = new Map(all.map((one) => [`${one.protocol}/${one.port}`, one]));
  return [...unique.values()].sort((a, b) => a.port - b.port || (a.protocol < b.protocol ? -1 : 1));
}

/** Names that the repository accepts, each once; in their order. */
function withNames(all: readonly Proposed[]): readonly Proposed[] {
  const taken = new Set<string>();
  const inOrder = [...all].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  return inOrder.map((one) => {
    const plain = one.name
      .toLowerCase()
      .replace(/[^a-z0-9]+/g, "-")
      .slice(0, 58)
      .replace(/^-|-$/g, "");
    const base = plain === "" ? "workload" : plain;
    let name = base;
    for (let count = 2; taken.has(name); count += 1) name = `${base}-${count}`;
    taken.add(name);
    return { ...one, name };
  });
}

function workloadText({ name, process, ports }: Proposed, node: string, namespace: string): string {
  const place = namespace === "default" ? {} : { namespace };
  return document({
    apiVersion: "ztap/v1",
    kind: "Workload",
    metadata: { name, ...place, labels: { app: name } },
    spec: {
      node,
      process,
      ...(ports.length === 0
        ? {}
        : { ports: ports.map(({ protocol, port }) => (protocol === "TCP" ? { port } : { port, protocol })) }),
    },
  });
}

function document(value: object): string {
  return stringify(value, { lineWidth: 0 });
}

/** Comments of the first document: one line each, for any names. */
function heading(
  node: string,
  rest: {
    readonly managed: readonly string[];
    readonly silent: readonly string[];
    readonly nameless: readonly string[];
    readonly problems: readonly string[];
  },
): string {
  const list = (names: readonly string[]): string => [...new Set(names)].sort().join(", ");
  const lines = [
    `Proposed by \`ztap setup --discover\` on ${node}: what runs there and listens, and its containers.`,
    "Review it before you commit it: names and labels are what policies will select.",
    ...(rest.silent.length === 0
      ? []
      : [`Not proposed, since they listen on no port for others: ${list(rest.silent)}`]),
    ...(rest.managed.length === 0
      ? []
      : [`Not proposed, since the machine is managed with them: ${list(rest.managed)}`]),
    ...(rest.nameless.length === 0 ? [] : [`Not proposed, since no pattern can name them: ${list(rest.nameless)}`]),
    ...rest.problems.map((problem) => `Not read: ${problem}`),
  ];
  return lines.map((line) => `# ${printableLine(line)}\n`).join("");
}
