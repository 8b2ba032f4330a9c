/**
 * Nodes as Git describes them: a Node of that name, with every NodeGroup whose patterns match it. Labels come from Git
 * alone, except for the name and, where Git does not say it, the operating system.
 */
import { hostCidr } from "../model/ip.js";
import type { Labels, LabelSelector, NodeGroup, Node, Workload } from "../model/objects.js";
import type { ObjectSet } from "../model/state.js";
import { matchesSelector } from "../policy/compile/select.js";
import { matchesGlob } from "./glob.js";

/** Labels that nodes have without being given them. */
export const HOSTNAME_LABEL = "kubernetes.io/hostname";
export const OS_LABEL = "kubernetes.io/os";

export interface DescribedNode {
  readonly name: string;
  /** Without `kubernetes.io/os` unless Git says it: only the node's agent knows it otherwise. */
  readonly labels: Labels;
  /** The addresses that Git declares for the node itself; empty: those that it reports. */
  readonly addresses: readonly string[];
  /** CIDRs that contain every address which the node may report; empty: none. */
  readonly addressRanges: readonly string[];
  /** Names of the groups that match, sorted. */
  readonly groups: readonly string[];
  /** Whether there is a Node of this name. */
  readonly isDeclared: boolean;
  /** Why the node is refused: labels with two values. Empty for a node that counts. */
  readonly conflicts: readonly LabelConflict[];
}

export interface LabelConflict {
  readonly key: string;
  /** The two objects that disagree, such as `NodeGroup web`, with their values. */
  readonly claims: readonly [LabelClaim, LabelClaim];
}

interface LabelClaim {
  readonly by: string;
  readonly value: string;
}

/** The Nodes and NodeGroups of a state. */
export class NodeDescriptions {
  readonly #nodes = new Map<string, Node>();
  readonly #groups: NodeGroup[] = [];
  readonly #known = new Map<string, DescribedNode | undefined>();

  constructor(objects: ObjectSet) {
    for (const { object } of objects.values()) {
      if (object.kind === "Node") this.#nodes.set(object.metadata.name, object);
      if (object.kind === "NodeGroup") this.#groups.push(object);
    }
    this.#groups.sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  }

  /** A state that describes no node belongs to one machine, whose node needs no description. */
  get isEmpty(): boolean {
    return this.#nodes.size === 0 && this.#groups.length === 0;
  }

  /** Nodes with an object of their own, sorted by name. */
  get declared(): readonly DescribedNode[] {
    return [...this.#nodes.keys()].sort().flatMap((name) => this.match(name) ?? []);
  }

  get groups(): readonly NodeGroup[] {
    return this.#groups;
  }

  /** Returns a node as it is described; undefined if nothing describes it. */
  match(name: string): DescribedNode | undefined {
    if (!this.#known.has(name)) this.#known.set(name, this.#describe(name));
    return this.#known.get(name);
  }

  #describe(name: string): DescribedNode | undefined {
    const node = this.#nodes.get(name);
    const groups = this.#groups.filter(({ spec }) => spec.nodeNames.some((pattern) => matchesGlob(pattern, name)));
    if (node === undefined && groups.length === 0 && !this.isEmpty) return undefined;
    const addresses = node?.spec.addresses ?? [];
    const sources = [
      { by: "the name of the node", labels: { [HOSTNAME_LABEL]: name } },
      ...(node === undefined ? [] : [{ by: `Node ${name}`, labels: node.metadata.labels ?? {} }]),
      ...groups.map(({ metadata }) => ({ by: `NodeGroup ${metadata.name}`, labels: metadata.labels ?? {} })),
    ];
    return {
      name,
      ...mergeLabels(sources),
      addresses,
      addressRanges: [...addresses.map(hostCidr), ...groups.flatMap(({ spec }) => spec.addressRanges)],
      groups: groups.map(({ metadata }) => metadata.name),
      isDeclared: node !== undefined,
    };
  }
}

function mergeLabels(
  sources: readonly { readonly by: string; readonly labels: Labels }[],
): Pick<DescribedNode, "labels" | "conflicts"> {
  const claims = new Map<string, LabelClaim>();
  const conflicts: LabelConflict[] = [];
  for (const { by, labels } of sources) {
    for (const [key, value] of Object.entries(labels)) {
      const before = claims.get(key);
      if (before === undefined) claims.set(key, { by, value });
      else if (before.value !== value) conflicts.push({ key, claims: [before, { by, value }] });
    }
  }
  return { labels: Object.fromEntries([...claims].map(([key, { value }]) => [key, value])), conflicts };
}

/** Describes a conflict: `label role is web by Node web-1 and db by NodeGroup db`. */
export function describeConflict({ key, claims: [one, other] }: LabelConflict): string {
  return `label ${key} is ${one.value} by ${one.by} and ${other.value} by ${other.by}`;
}

/** Returns a node as a state describes it; undefined if nothing describes it. For many nodes, use NodeDescriptions. */
export function matchNode(objects: ObjectSet, name: string): DescribedNode | undefined {
  return new NodeDescriptions(objects).match(name);
}

/**
 * Returns whether a workload runs on a node.
 * @param os what the node's agent reports; null if that is not known, so that only Git's own label counts
 */
export function runsOn({ spec }: Pick<Workload, "spec">, node: DescribedNode, os: string | null): boolean {
  if (spec.node !== undefined) return spec.node === node.name;
  return spec.nodeSelector !== undefined && matchesSelector(spec.nodeSelector, labelsWithOs(node.labels, os));
}

/**
 * Returns whether a workload may run on a node of which only the labels of Git are known: a condition on the operating
 * system counts as met, unless Git says it.
 */
export function mayRunOn(
  { spec }: Pick<Workload, "spec">,
  { name, labels }: Pick<DescribedNode, "name" | "labels">,
): boolean {
  if (spec.node !== undefined) return spec.node === name;
  if (spec.nodeSelector === undefined) return false;
  const selector = Object.hasOwn(labels, OS_LABEL) ? spec.nodeSelector : withoutKey(spec.nodeSelector, OS_LABEL);
  return matchesSelector(selector, labels);
}

function labelsWithOs(labels: Labels, os: string | null): Labels {
  return os === null || Object.hasOwn(labels, OS_LABEL) ? labels : { ...labels, [OS_LABEL]: os };
}

function withoutKey({ matchLabels, matchExpressions }: LabelSelector, key: string): LabelSelector {
  const labels = Object.entries(matchLabels ?? {}).filter(([name]) => name !== key);
  return {
    matchLabels: Object.fromEntries(labels),
    matchExpressions: (matchExpressions ?? []).filter((requirement) => requirement.key !== key),
  };
}
