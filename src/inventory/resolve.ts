/**
 * Instances: the workloads of a state as they stand on its nodes, from what the nodes report. A report counts for its own
 * node alone, and only as far as Git allows: everything else is refused, with the reason, and changes nothing for others.
 */
import type { ListeningPort, NodeEndpoints, ReportedInstance } from "../model/endpoints.js";
import type { WantedProcesses } from "../interfaces/discovery.js";
import type { ProcessPattern, Workload } from "../model/objects.js";
import { qualifiedName, type ObjectSet } from "../model/state.js";
import { hasSynIdentity } from "../policy/compile/modes.js";
import { instanceName, templateName } from "./names.js";
import { describeConflict, NodeDescriptions, runsOn, type DescribedNode } from "./nodes.js";
import { birthPattern, expectedCgroup, isDiscovered, patternOf, refuseClaim } from "./process.js";
import { AddressCheck } from "./reported-addresses.js";

export interface Instance {
  /** `namespace/workload@node` or `namespace/workload@node/instance`. */
  readonly name: string;
  /** `namespace/name`. */
  readonly workload: string;
  readonly node: string;
  /** See ReportedInstance. */
  readonly instance: string;
  /** Path below the cgroup v2 root; null for the host. */
  readonly cgroup: string | null;
  readonly addresses: readonly string[];
  readonly ports: readonly ListeningPort[];
  /** When its node reported it; null: it follows from Git alone, and may not exist yet. */
  readonly at: string | null;
}

/** What the instances of a workload get on the node that resolves, when they are born. */
export interface WorkloadTemplate extends Pick<Instance, "name" | "workload" | "node" | "addresses"> {
  readonly pattern: Exclude<ProcessPattern, { host: true }>;
}

/** A part of a report that does not count. */
export interface Refused {
  readonly node: string;
  /** What was reported: an address, or an instance. */
  readonly what: string;
  readonly why: string;
}

/** A described node with its own addresses, declared or reported. */
export interface ResolvedNode {
  readonly name: string;
  readonly addresses: readonly string[];
  /** When it reported; null if it did not. */
  readonly at: string | null;
  /** As it reported it; null if it has none. */
  readonly publicKey: string | null;
}

export interface Resolution {
  /** Sorted by name. Workloads that are known from Git alone are not among them. */
  readonly instances: readonly Instance[];
  /** In the order of the nodes; at most some of each node. */
  readonly refused: readonly Refused[];
  /** How many parts of reports do not count, listed or not. */
  readonly refusedCount: number;
  readonly nodes: readonly ResolvedNode[];
  /** Of the node that resolves; sorted by name. */
  readonly templates: readonly WorkloadTemplate[];
}

/** Largest number of addresses that count of one node: they take room in the tables of others. */
const MOST_ADDRESSES = 8192;

/** Largest number of refusals that are listed for a node; the last one counts the others. */
const MOST_REFUSED = 100;

/** One node's part of a resolution. It depends on nothing that another node reports. */
interface NodePart {
  readonly instances: readonly Instance[];
  readonly refused: readonly Refused[];
  readonly refusedCount: number;
  readonly node: ResolvedNode | null;
}

interface Found {
  readonly workload: Workload;
  readonly name: string;
}

/** Resolves reports against one state; a report that did not change is checked once. */
export class InstanceResolver {
  readonly #nodes: NodeDescriptions;
  readonly #addresses: AddressCheck;
  readonly #all: ReadonlyMap<string, Workload>;
  readonly #discovered: readonly Found[];
  /** Nodes report their public keys. */
  readonly #hasIdentity: boolean;
  readonly #parts = new WeakMap<NodeEndpoints, NodePart>();
  readonly #unreported = new Map<string, NodePart>();
  readonly #isBornOpen: boolean;

  /** @param self the node that resolves: it knows its own addresses, whatever others believe of it; null for none */
  constructor(
    objects: ObjectSet,
    private readonly self: string | null,
  ) {
    const workloads = [...objects.values()].flatMap(({ object }) => (object.kind === "Workload" ? [object] : []));
    this.#isBornOpen = isBornOpen(objects);
    this.#nodes = new NodeDescriptions(objects);
    this.#addresses = new AddressCheck(objects);
    this.#hasIdentity = hasSynIdentity(objects);
    this.#all = new Map(workloads.map((workload) => [qualifiedName(workload.metadata), workload]));
    this.#discovered = [...this.#all]
      .filter(([, workload]) => isDiscovered(workload))
      .map(([name, workload]) => ({ name, workload }));
  }

  /** Whether anything that nodes report can matter to this state. */
  get needsReports(): boolean {
    return this.#discovered.length > 0 || this.#nodes.groups.length > 0 || this.#hasIdentity;
  }

  /** Returns the workloads that are to be found on a node. */
  wantedOn(name: string, os: string | null): readonly WantedProcesses[] {
    const node = this.#nodes.match(name);
    if (node === undefined || node.conflicts.length > 0) return [];
    return this.#discovered.flatMap(({ name: workload, workload: object }) => {
      const pattern = patternOf(object);
      if (pattern === null || !runsOn(object, node, os)) return [];
      return [{ workload, pattern, ...(object.spec.ports.length === 0 ? { needsPorts: true as const } : {}) }];
    });
  }

  /** Returns those of them that have no instance there. */
  missingOn(name: string, { instances }: Pick<Resolution, "instances">, os: string | null): readonly WantedProcesses[] {
    const found = new Set(instances.flatMap((one) => (one.node === name ? [one.workload] : [])));
    return this.wantedOn(name, os).filter(({ workload }) => !found.has(workload));
  }

  /** Returns a node as it is described; undefined if nothing describes it. */
  describe(node: string): DescribedNode | undefined {
    return this.#nodes.match(node);
  }

  resolve(endpoints: readonly NodeEndpoints[]): Resolution {
    const reports = new Map(endpoints.map((one) => [one.node, one]));
    const silent = [...this.#nodes.declared.map(({ name }) => name), ...(this.self === null ? [] : [this.self])];
    const names = [...new Set([...reports.keys(), ...silent])].sort();
    const parts = names.map((name) => {
      const report = reports.get(name);
      return report === undefined ? this.#silentPart(name) : this.#reportedPart(report);
    });
    return {
      instances: parts.flatMap(({ instances }) => instances).sort((a, b) => (a.name < b.name ? -1 : 1)),
      refused: parts.flatMap(({ refused }) => refused),
      refusedCount: parts.reduce((sum, { refusedCount }) => sum + refusedCount, 0),
      nodes: parts.flatMap(({ node }) => node ?? []),
      templates: this.#templates(reports, parts),
    };
  }

  /** Only Linux has cgroups. */
  #templates(reports: ReadonlyMap<string, NodeEndpoints>, parts: readonly NodePart[]): readonly WorkloadTemplate[] {
    const self = parts.find(({ node }) => node?.name === this.self)?.node;
    if (self === undefined || self === null || this.#isBornOpen) return [];
    const { name: node, addresses } = self;
    const os = reports.get(node)?.os ?? "linux";
    if (os !== "linux") return [];
    return this.wantedOn(node, os)
      .flatMap(({ workload, pattern: all }) => {
        const pattern = birthPattern(all);
        const declared = this.#all.get(workload)?.spec.addresses ?? [];
        const own = declared.length > 0 ? declared : addresses;
        return pattern === null
          ? []
          : [{ name: templateName(workload, node), workload, node, addresses: own, pattern }];
      })
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  #reportedPart(report: NodeEndpoints): NodePart {
    const part = this.#parts.get(report) ?? this.#resolveNode(report.node, report);
    this.#parts.set(report, part);
    return part;
  }

  #silentPart(name: string): NodePart {
    const part = this.#unreported.get(name) ?? this.#resolveNode(name, null);
    this.#unreported.set(name, part);
    return part;
  }

  #resolveNode(name: string, report: NodeEndpoints | null): NodePart {
    const node = this.#nodes.match(name);
    const refuse = (why: string): NodePart => ({
      instances: [],
      refused: report === null ? [] : [{ node: name, what: "all that it reports", why }],
      refusedCount: report === null ? 0 : 1,
      node: null,
    });
    if (node === undefined) return refuse("no Node and no NodeGroup describes it");
    const [conflict] = node.conflicts;
    if (conflict !== undefined) return refuse(describeConflict(conflict));
    return new NodeResolution(node, report, {
      all: this.#all,
      discovered: this.#discovered,
      addresses: this.#addresses,
      isSelf: name === this.self,
    }).part();
  }
}

interface Context {
  readonly all: ReadonlyMap<string, Workload>;
  readonly discovered: readonly Found[];
  readonly addresses: AddressCheck;
  readonly isSelf: boolean;
}

class NodeResolution {
  readonly #refused: Refused[] = [];
  readonly #own: readonly string[];
  /** How many addresses of the report were checked. */
  #checked = 0;

  constructor(
    private readonly node: DescribedNode,
    private readonly report: NodeEndpoints | null,
    private readonly context: Context,
  ) {
    this.#own = node.addresses.length > 0 ? node.addresses : this.#check(report?.addresses ?? [], "address");
  }

  part(): NodePart {
    const { name } = this.node;
    const found = [...this.#reported(), ...this.#expected()];
    const instances = this.#withoutOverlaps(this.#withoutTwins(found));
    const refused =
      this.#refused.length <= MOST_REFUSED
        ? this.#refused
        : [
            ...this.#refused.slice(0, MOST_REFUSED - 1),
            { node: name, what: `${this.#refused.length - MOST_REFUSED + 1} more`, why: "they are not listed" },
          ];
    return {
      instances,
      refused,
      refusedCount: this.#refused.length,
      node: {
        name,
        addresses: this.#own,
        at: this.report?.at ?? null,
        publicKey: this.report?.publicKey ?? null,
      },
    };
  }

  #refuse(what: string, why: string): void {
    this.#refused.push({ node: this.node.name, what, why });
  }

  #check(reported: readonly string[], what: string): readonly string[] {
    this.#checked += reported.length;
    if (this.#checked > MOST_ADDRESSES) {
      this.#refuse(`${what}es`, `the node reports more than ${MOST_ADDRESSES} addresses`);
      return [];
    }
    const { addresses, refused, outside } = this.context.addresses.check(reported, this.node);
    for (const { address, why } of refused) this.#refuse(`${what} ${address}`, why);
    // A node is not wrong about what its own processes may send from.
    return this.context.isSelf && what === "address" ? [...addresses, ...outside].sort() : addresses;
  }

  /** The instances that the node claims, as far as Git lets it. */
  #reported(): readonly Instance[] {
    return (this.report?.instances ?? []).flatMap((claim) => {
      const workload = this.context.all.get(claim.workload);
      const why = this.#refuseClaim(workload, claim);
      if (why === null && workload !== undefined)
        return [this.#instance(claim.workload, workload, claim, this.report?.at ?? null)];
      this.#refuse(`instance ${claim.workload}${claim.instance === "" ? "" : `/${claim.instance}`}`, why ?? "");
      return [];
    });
  }

  #refuseClaim(workload: Workload | undefined, claim: ReportedInstance): string | null {
    if (workload === undefined) return "there is no such workload";
    const pattern = patternOf(workload);
    if (!isDiscovered(workload) || pattern === null) return "Git alone says where this workload is";
    if (!runsOn(workload, this.node, this.report?.os ?? null)) return "this workload does not run on this node";
    if (claim.cgroup !== "" && claim.cgroup.split("/").some((part) => ["", ".", ".."].includes(part)))
      return "its cgroup is no path below the cgroup root";
    return refuseClaim(pattern, claim);
  }

  /** The instances whose cgroup Git alone tells: they are enforced from their first packet. */
  #expected(): readonly Instance[] {
    return this.context.discovered.flatMap(({ name, workload }) => {
      const cgroup = expectedCgroup(patternOf(workload));
      if (cgroup === null || !runsOn(workload, this.node, this.report?.os ?? null)) return [];
      return [this.#instance(name, workload, { instance: "", cgroup, addresses: [], ports: [] }, null)];
    });
  }

  #instance(
    name: string,
    { spec }: Workload,
    { instance, cgroup, addresses, ports }: Omit<ReportedInstance, "workload">,
    at: string | null,
  ): Instance {
    const full = instanceName(name, this.node.name, instance);
    const own = addresses.length === 0 ? this.#own : this.#check(addresses, `${full}: address`);
    return {
      name: full,
      workload: name,
      node: this.node.name,
      instance,
      cgroup: spec.process !== undefined && "host" in spec.process ? null : cgroup,
      addresses: spec.addresses.length > 0 ? spec.addresses : own,
      ports,
      at,
    };
  }

  /** What is reported comes before what is expected; of two equal claims the first one counts. */
  #withoutTwins(found: readonly Instance[]): readonly Instance[] {
    const byName = new Map<string, Instance>();
    for (const one of found) {
      if (!byName.has(one.name)) byName.set(one.name, one);
      else if (one.at !== null) this.#refuse(`instance ${one.name}`, "it is reported twice");
    }
    return [...byName.values()];
  }

  /**
   * One process must not be in two workloads of a node. Workloads that Git alone places come first, then those in the order
   * of their names.
   */
  #withoutOverlaps(instances: readonly Instance[]): readonly Instance[] {
    const taken = new Map<string, string>();
    for (const [name, { spec }] of this.context.all)
      if (spec.node === this.node.name && spec.process === undefined && spec.cgroup !== undefined)
        taken.set(spec.cgroup, name);
    const above = (cgroup: string): string | undefined => {
      const parts = cgroup.split("/");
      return parts.map((_, index) => parts.slice(0, index + 1).join("/")).find((path) => taken.has(path));
    };
    const byDepth = instances.toSorted((a, b) => depth(a) - depth(b) || (a.name < b.name ? -1 : 1));
    const below = new Set<string>();
    for (const path of taken.keys()) for (const outer of pathsAbove(path)) below.add(outer);
    return byDepth.filter(({ name, cgroup, at }) => {
      if (cgroup === null) return true;
      const outer = above(cgroup);
      const isAround = below.has(cgroup);
      if (outer === undefined && !isAround) {
        taken.set(cgroup, name);
        return true;
      }
      if (at !== null || outer === cgroup || isAround)
        this.#refuse(
          `instance ${name}`,
          outer === undefined
            ? `its cgroup ${cgroup} contains that of another workload`
            : `its cgroup ${cgroup} ${outer === cgroup ? "is also that of" : "lies inside that of"} ${taken.get(outer) ?? ""}`,
        );
      return false;
    });
  }
}

/** Returns whether newborn cgroups that patterns match are not closed. */
export function isBornOpen(objects: ObjectSet): boolean {
  return [...objects.values()].some(({ object }) => object.kind === "Cluster" && object.spec?.newborn === "open");
}

const depth = ({ cgroup }: Instance): number => cgroup?.split("/").length ?? 0;

function pathsAbove(path: string): readonly string[] {
  const parts = path.split("/");
  return parts.slice(1).map((_, index) => parts.slice(0, index + 1).join("/"));
}

/** Resolves the reports of all nodes once. */
export function resolveInstances(
  objects: ObjectSet,
  endpoints: readonly NodeEndpoints[],
  self: string | null = null,
): Resolution {
  return new InstanceResolver(objects, self).resolve(endpoints);
}
