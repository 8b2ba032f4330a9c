/**
 * The inventory as one node sees it: what all nodes report, resolved against a state, and what of it concerns this node.
 */
import type { WantedProcesses } from "../interfaces/discovery.js";
import type { NodeEndpoints } from "../model/endpoints.js";
import type { ObjectSet } from "../model/state.js";
import type { SubjectStatus } from "../model/status.js";
import { instanceName } from "../inventory/names.js";
import { placeInstances } from "../inventory/place.js";
import { describePattern } from "../inventory/process.js";
import { InstanceResolver, type Resolution } from "../inventory/resolve.js";
import { listConcerns } from "../policy/concerns.js";

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

export class NodeInventory {
  readonly #resolver: InstanceResolver;
  #latest: { readonly reports: readonly NodeEndpoints[]; readonly placed: PlacedState } | null = null;
  #concerns: { readonly os: string | null; readonly names: ReadonlySet<string> } | null = null;

  constructor(
    readonly objects: ObjectSet,
    private readonly node: string,
  ) {
    this.#resolver = new InstanceResolver(objects, node);
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
    const concerns = this.#concernsOf(os);
    const own = resolution.instances.filter(({ workload }) => concerns.has(workload));
    const { needsReports, objects: declared } = this;
    let objects: ObjectSet | null = needsReports ? null : declared;
    return {
      // Most reports concern other nodes, and are not compiled here.
      get objects() {
        return (objects ??= placeInstances(declared, resolution));
      },
      resolution,
      key: JSON.stringify(own.map(({ name, cgroup, addresses }) => [name, cgroup, addresses])),
      pending: this.#resolver.missingOn(this.node, resolution, os).map(({ workload, pattern }) => ({
        workload: instanceName(workload, this.node, ""),
        state: "Pending",
        message: `no ${describePattern(pattern)} was found on this node`,
      })),
      reports: reports.flatMap((report) => {
        const instances = report.instances.filter(({ workload }) => concerns.has(workload));
        return instances.length === 0 && report.node !== this.node ? [] : [{ ...report, instances }];
      }),
    };
  }

  #concernsOf(os: string | null): ReadonlySet<string> {
    if (!this.needsReports) return new Set();
    const known = this.#concerns;
    if (known !== null && known.os === os) return known.names;
    const names = listConcerns(this.objects, this.node, os);
    this.#concerns = { os, names };
    return names;
  }
}
