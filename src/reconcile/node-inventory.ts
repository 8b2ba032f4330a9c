/**
 * The inventory as one node sees it: what all nodes report, resolved against a state, and what of it concerns this node.
 */
import type { WantedProcesses } from "../interfaces/discovery.js";
import type { NodeEndpoints } from "../model/endpoints.js";
import type { Workload } from "../model/objects.js";
import { qualifiedName, type ObjectSet } from "../model/state.js";
import type { SubjectStatus } from "../model/status.js";
import { instanceName } from "../inventory/names.js";
import { placeInstances } from "../inventory/place.js";
import { describePattern } from "../inventory/process.js";
import { InstanceResolver, type Instance, type Resolution } from "../inventory/resolve.js";
import { listConcerns, type Concerns } from "../policy/concerns.js";

export interface PlacedState {
  /** The state with its instances in place of the patterns. */
  readonly objects: ObjectSet;
  readonly resolution: Resolution;
  /** Equal texts mean that the ruleset of this node is the same. */
  readonly key: string;
  /** Workloads that should run here, and were not found. */
  readonly pending: readonly SubjectStatus[];
  /** What concerns this node of what was reported. */
  readonly reports: readonly NodeEndpoints[];
}

const NO_CONCERNS: Concerns = { workloads: new Set(), destinations: new Set() };

export class NodeInventory {
  readonly #resolver: InstanceResolver;
  #latest: { readonly reports: readonly NodeEndpoints[]; readonly placed: PlacedState } | null = null;
  #concerns: {
    readonly os: string | null;
    readonly sharing: ReadonlySet<string>;
    readonly concerns: Concerns;
  } | null = null;
  readonly #declared: readonly Workload[];

  constructor(
    readonly objects: ObjectSet,
    private readonly node: string,
  ) {
    this.#resolver = new InstanceResolver(objects, node);
    this.#declared = [...objects.values()].flatMap(({ object }) => (object.kind === "Workload" ? [object] : []));
  }

  /** Whether reports can matter; without that need, nothing needs to be read. */
  get needsReports(): boolean {
    return this.#resolver.needsReports;
  }

  /** Returns what is to be found on this node; null while nothing needs reports. */
  wanted(os: string): readonly WantedProcesses[] | null {
    return this.needsReports ? this.#resolver.wantedOn(this.node, os) : null;
  }

  place(reports: readonly NodeEndpoints[]): PlacedState {
    const known = this.#latest;
    const isKnown = known?.reports.length === reports.length && reports.every((one, at) => one === known.reports[at]);
    if (known !== null && isKnown) return known.placed;
    const placed = this.#place(reports);
    this.#latest = { reports, placed };
    return placed;
  }

  #place(reports: readonly NodeEndpoints[]): PlacedState {
    const os = reports.find((one) => one.node === this.node)?.os ?? null;
    const resolution = this.#resolver.resolve(reports);
    const ownAddresses = this.#ownAddresses(resolution);
    const concerns = this.#concernsOf(os, this.#listSharing(resolution, ownAddresses));
    const asked = this.#askedAddresses(resolution, concerns);
    const isKnownAt = (address: string): boolean => asked.has(address) || ownAddresses.has(address);
    const own = resolution.instances.filter(
      ({ workload, addresses }) => concerns.workloads.has(workload) || addresses.some(isKnownAt),
    );
    const names = new Set(own.map(({ name }) => name));
    const { needsReports, objects: declared } = this;
    let objects: ObjectSet | null = needsReports ? null : declared;
    return {
      // Most reports concern other nodes, and are not compiled here.
      get objects() {
        return (objects ??= placeInstances(declared, resolution));
      },
      resolution,
      key: JSON.stringify(
        own.map((one) => [one.name, one.cgroup, one.addresses, this.#portsMatter(one, asked) ? one.ports : []]),
      ),
      pending: this.#resolver.missingOn(this.node, resolution, os).map(({ workload, pattern }) => ({
        workload: instanceName(workload, this.node, ""),
        state: "Pending",
        message: `no ${describePattern(pattern)} was found on this node`,
      })),
      reports: reports.flatMap((report) => {
        const instances = report.instances.filter(
          ({ workload, instance }) =>
            concerns.workloads.has(workload) || names.has(instanceName(workload, report.node, instance)),
        );
        // A start without the store needs the keys of all nodes.
        const isNeeded = instances.length > 0 || report.node === this.node || report.publicKey !== undefined;
        return isNeeded ? [{ ...report, instances }] : [];
      }),
    };
  }

  /** The addresses of this node's workloads. */
  #ownAddresses({ instances }: Resolution): ReadonlySet<string> {
    return new Set([
      ...instances.flatMap(({ node, addresses }) => (node === this.node ? addresses : [])),
      ...this.#declared.flatMap(({ spec }) => (spec.node === this.node ? spec.addresses : [])),
    ]);
  }

  /** The workloads elsewhere that have an address of one of this node's. */
  #listSharing({ instances }: Resolution, own: ReadonlySet<string>): ReadonlySet<string> {
    const shares = (node: string | undefined, addresses: readonly string[]): boolean =>
      node !== this.node && addresses.some((address) => own.has(address));
    return new Set([
      ...instances.flatMap(({ node, workload, addresses }) => (shares(node, addresses) ? [workload] : [])),
      ...this.#declared.flatMap(({ metadata, spec }) =>
        shares(spec.node, spec.addresses) ? [qualifiedName(metadata)] : [],
      ),
    ]);
  }

  /** The addresses of the workloads of which this node asks what they let in. */
  #askedAddresses({ instances }: Resolution, { destinations }: Concerns): ReadonlySet<string> {
    const declared = [...destinations].flatMap((name) => this.#workloadOf(name)?.spec.addresses ?? []);
    const found = instances.flatMap((one) => (destinations.has(one.workload) ? one.addresses : []));
    return new Set([...declared, ...found]);
  }

  /** Ports that Git declares hide those that an instance reports. */
  #portsMatter({ workload, addresses }: Instance, asked: ReadonlySet<string>): boolean {
    return addresses.some((address) => asked.has(address)) && this.#workloadOf(workload)?.spec.ports.length === 0;
  }

  #workloadOf(name: string): Workload | undefined {
    const object = this.objects.get(`Workload/${name}`)?.object;
    return object?.kind === "Workload" ? object : undefined;
  }

  #concernsOf(os: string | null, sharing: ReadonlySet<string>): Concerns {
    if (!this.needsReports) return NO_CONCERNS;
    const known = this.#concerns;
    const isSame = known?.sharing.size === sharing.size && [...sharing].every((one) => known.sharing.has(one));
    if (known !== null && known.os === os && isSame) return known.concerns;
    const concerns = listConcerns(this.objects, this.node, os, sharing);
    this.#concerns = { os, sharing, concerns };
    return concerns;
  }
}
