/** `ztap workload list` and `show`: workloads as Git declares them, as nodes found them, and as they are enforced. */
import { describeConflict, NodeDescriptions, runsOn } from "../../inventory/nodes.js";
import { describePattern, isDiscovered, patternOf } from "../../inventory/process.js";
import { InstanceResolver, type Instance, type Refused, type Resolution } from "../../inventory/resolve.js";
import { listSharedAddresses, type SharedAddress } from "../../inventory/shared-addresses.js";
import { workloadOf, type NodeEndpoints } from "../../model/endpoints.js";
import type { Labels, LabelSelector, Workload, WorkloadPort } from "../../model/objects.js";
import { OperationError } from "../../model/operation-error.js";
import { qualifiedName, type CommittedState } from "../../model/state.js";
import type { NodeStatus, SubjectStatus } from "../../model/status.js";
import { suggest } from "../../model/suggest.js";
import type { Store } from "../../interfaces/store.js";
import type { Clock } from "../../interfaces/system.js";

export interface WorkloadListing {
  readonly namespace: string;
  readonly name: string;
  /** `external`: a peer that runs on no node. */
  readonly kind: "pattern" | "fixed" | "external";
  /** The processes, in words; null for an external peer. */
  readonly pattern: string | null;
  /** Nodes that it runs on, as far as they are known: declared, or heard of. Sorted. */
  readonly nodes: readonly string[];
  /** How many instances exist, as last reported. */
  readonly found: number;
  /** How many of them are enforced. */
  readonly enforced: number;
  /** When the report was made that is oldest among those of its nodes; null if none of them has reported. */
  readonly reportedAt: string | null;
  /** The age of that report in milliseconds. */
  readonly ageMs: number | null;
}

export interface WorkloadInstance {
  /** Its name as a subject. */
  readonly name: string;
  readonly node: string;
  readonly cgroup: string | null;
  readonly addresses: readonly string[];
  /** `Unknown`: its node has not reported on it. */
  readonly state: SubjectStatus["state"] | "Unknown";
  readonly message: string | null;
  readonly reportedAt: string | null;
  readonly ageMs: number | null;
}

/** Largest number of shared addresses that are listed. */
const MOST_SHARED = 100;

export interface WorkloadInventory {
  readonly revision: number | null;
  readonly workloads: readonly WorkloadListing[];
  /** What nodes report and does not count. */
  readonly refused: readonly Refused[];
  readonly refusedCount: number;
  /** Addresses that more than one node has; at most MOST_SHARED. */
  readonly sharedAddresses: readonly SharedAddress[];
  readonly sharedAddressCount: number;
}

export interface WorkloadReport extends WorkloadListing {
  readonly revision: number;
  readonly labels: Labels;
  readonly nodeSelector: LabelSelector | null;
  readonly ports: readonly WorkloadPort[];
  readonly file: string | null;
  readonly line: number | null;
  readonly instances: readonly WorkloadInstance[];
  /** What its nodes report of it, or of themselves, and does not count. */
  readonly refused: readonly Refused[];
}

export interface WorkloadDeps {
  readonly store: Store;
  readonly clock: Clock;
}

export async function listWorkloads(deps: WorkloadDeps): Promise<WorkloadInventory> {
  const view = await readView(deps);
  if (view === null)
    return {
      revision: null,
      workloads: [],
      ...{ refused: [], refusedCount: 0 },
      ...{ sharedAddresses: [], sharedAddressCount: 0 },
    };
  const { refused, refusedCount } = view.resolution;
  const shared = listSharedAddresses(view.state.objects, view.resolution);
  return {
    revision: view.state.revision.number,
    workloads: view.all.map((workload) => view.listing(workload)),
    ...{ refused, refusedCount },
    ...{ sharedAddresses: shared.slice(0, MOST_SHARED), sharedAddressCount: shared.length },
  };
}

/** @throws OperationError `not-found` */
export async function reportWorkload(deps: WorkloadDeps, text: string): Promise<WorkloadReport> {
  const view = await readView(deps);
  const wanted = text.includes("/") ? text : `default/${text}`;
  const names = view?.all.map(({ metadata }) => qualifiedName(metadata)) ?? [];
  const workload = view?.all.find(({ metadata }) => qualifiedName(metadata) === workloadOf(wanted));
  if (view === null || workload === undefined) {
    const meant = suggest(wanted, names);
    const hint = meant === undefined ? "`ztap workload list` shows those that are" : `did you mean ${meant}?`;
    throw new OperationError("not-found", `no workload ${wanted} in the store; ${hint}`);
  }
  const listing = view.listing(workload);
  const position = view.state.objects.get(`Workload/${qualifiedName(workload.metadata)}`)?.position;
  const name = qualifiedName(workload.metadata);
  return {
    ...listing,
    revision: view.state.revision.number,
    labels: workload.metadata.labels ?? {},
    nodeSelector: workload.spec.nodeSelector ?? null,
    ports: workload.spec.ports,
    file: position?.file ?? null,
    line: position?.line ?? null,
    instances: view.instancesOf(workload),
    refused: view.resolution.refused.filter(
      ({ node, what }) => listing.nodes.includes(node) || what.includes(` ${name}`),
    ),
  };
}

async function readView({ store, clock }: WorkloadDeps): Promise<WorkloadView | null> {
  const head = await store.readHead();
  if (head === null) return null;
  const [state, endpoints, statuses] = await Promise.all([
    store.readState(head),
    store.listEndpoints(),
    store.listNodeStatus(),
  ]);
  return new WorkloadView(state, endpoints, statuses, clock.now());
}

class WorkloadView {
  readonly all: readonly Workload[];
  readonly resolution: Resolution;
  readonly #nodes: NodeDescriptions;
  readonly #endpoints: ReadonlyMap<string, NodeEndpoints>;
  readonly #statuses: ReadonlyMap<string, NodeStatus>;
  readonly #instances: ReadonlyMap<string, readonly Instance[]>;
  readonly #known: readonly string[];

  constructor(
    readonly state: CommittedState,
    endpoints: readonly NodeEndpoints[],
    statuses: readonly NodeStatus[],
    private readonly now: number,
  ) {
    this.all = [...state.objects.values()].flatMap(({ object }) => (object.kind === "Workload" ? [object] : []));
    this.#nodes = new NodeDescriptions(state.objects);
    this.resolution = new InstanceResolver(state.objects, null).resolve(endpoints);
    this.#endpoints = new Map(endpoints.map((one) => [one.node, one]));
    this.#statuses = new Map(statuses.map((status) => [status.node, status]));
    this.#instances = new Map(Map.groupBy(this.resolution.instances, ({ workload }) => workload));
    const declared = this.#nodes.declared.map(({ name }) => name);
    this.#known = [...new Set([...declared, ...this.#endpoints.keys(), ...this.#statuses.keys()])].sort();
  }

  listing(workload: Workload): WorkloadListing {
    const { namespace, name } = workload.metadata;
    const nodes = this.#nodesOf(workload);
    const instances = this.instancesOf(workload);
    const pattern = patternOf(workload);
    const reports = nodes.flatMap((node) => this.#reportedAt(workload, node) ?? []).sort();
    const isExternal = workload.spec.node === undefined && workload.spec.nodeSelector === undefined;
    return {
      namespace,
      name,
      kind: isExternal ? "external" : isDiscovered(workload) ? "pattern" : "fixed",
      pattern: isExternal || pattern === null ? null : describePattern(pattern),
      nodes,
      found: instances.filter(({ state }) => state !== "Pending" && state !== "Unknown").length,
      enforced: instances.filter(({ state }) => state === "Enforced").length,
      reportedAt: reports[0] ?? null,
      ageMs: this.#age(reports[0] ?? null),
    };
  }

  /** The instances that are known, and one for each node on which none was found. */
  instancesOf(workload: Workload): readonly WorkloadInstance[] {
    const name = qualifiedName(workload.metadata);
    const { node, cgroup = null, addresses } = workload.spec;
    if (!isDiscovered(workload))
      return node === undefined ? [] : [this.#describe({ name, node, cgroup, addresses, at: null }, workload)];
    const found = this.#instances.get(name) ?? [];
    const missing = this.#nodesOf(workload).filter((one) => !found.some((instance) => instance.node === one));
    return [
      ...found.map((instance) => this.#describe(instance, workload)),
      ...missing.map((one) => this.#missing(name, one, workload)),
    ].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  #describe(
    { name, node, cgroup, addresses, at }: Pick<Instance, "name" | "node" | "cgroup" | "addresses" | "at">,
    workload: Workload,
  ): WorkloadInstance {
    const status = this.#statuses.get(node)?.subjects.find((subject) => subject.workload === name);
    const reportedAt = at ?? this.#reportedAt(workload, node);
    return {
      ...{ name, node, cgroup, addresses },
      state: status?.state ?? "Unknown",
      message: status?.message ?? (status === undefined ? "its node has not reported on it" : null),
      reportedAt,
      ageMs: this.#age(reportedAt),
    };
  }

  #missing(name: string, node: string, workload: Workload): WorkloadInstance {
    const [conflict] = this.#nodes.match(node)?.conflicts ?? [];
    const reportedAt = this.#reportedAt(workload, node);
    const hasReported = this.#endpoints.has(node);
    return {
      ...{ name: `${name}@${node}`, node, cgroup: null, addresses: [] },
      state: hasReported ? "Pending" : "Unknown",
      message:
        conflict !== undefined
          ? `the node is refused: ${describeConflict(conflict)}`
          : hasReported
            ? "nothing that matches was found on the node"
            : "the node has not reported what it found",
      reportedAt,
      ageMs: this.#age(reportedAt),
    };
  }

  #nodesOf(workload: Workload): readonly string[] {
    const { node } = workload.spec;
    if (node !== undefined) return [node];
    return this.#known.filter((name) => {
      const described = this.#nodes.match(name);
      return described !== undefined && runsOn(workload, described, this.#endpoints.get(name)?.os ?? null);
    });
  }

  #reportedAt(workload: Workload, node: string): string | null {
    const found = isDiscovered(workload) ? this.#endpoints.get(node)?.at : undefined;
    return found ?? this.#statuses.get(node)?.observedAt ?? null;
  }

  #age(at: string | null): number | null {
    return at === null ? null : Math.max(0, this.now - Date.parse(at));
  }
}
