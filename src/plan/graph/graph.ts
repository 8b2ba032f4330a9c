/**
 * The connections of a state as a graph that can be drawn: one state, or the difference of two. Workloads with the same
 * connections and the same labels are one node, so that a graph of a thousand workloads stays readable.
 *
 * The graph agrees with `ztap connectivity`: both are made from the same reach. External ends are address blocks: one
 * node for those that a workload may reach and one for those that may reach it, so that a drawing flows in one
 * direction.
 */
import type { ObjectSet } from "../../model/state.js";
import type { PortEntry, PortSetId } from "../../policy/reachability/port-sets.js";
import { PortSets } from "../../policy/reachability/port-sets.js";
import { compareExternal } from "./external.js";
import { SharedAddresses } from "../../policy/reachability/sharing.js";
import type { GraphSide, WorkloadGroup } from "./groups.js";
import { groupWorkloads, openSide } from "./groups.js";
import { GraphTooLarge, MAX_EDGES, MAX_NODES } from "./limits.js";
import { createSetNamer } from "../naming/network-sets.js";
import { createNamer } from "../naming/workloads.js";
import { describeBlocks } from "../naming/blocks.js";
import type { DiffStatus } from "./standing.js";

export interface GraphNode {
  /** Stable within one graph, and without any text of an author. */
  readonly id: string;
  readonly kind: "workloads" | "sources" | "targets";
  /** Of workloads; null for address blocks. */
  readonly namespace: string | null;
  /** Description in a few words. */
  readonly text: string;
  /** Workloads by name, or CIDRs; sorted. */
  readonly members: readonly string[];
  readonly standing: DiffStatus;
}

export interface GraphEdge {
  readonly from: string;
  readonly to: string;
  readonly entries: readonly PortEntry[];
  readonly standing: DiffStatus;
  /** Only if no rule means the connections: a workload has the address of one that a rule names. */
  readonly sharesAddress?: true;
}

export interface Graph {
  readonly nodes: readonly GraphNode[];
  readonly edges: readonly GraphEdge[];
  /** False if there was no earlier state: then everything is `kept`. */
  readonly compared: boolean;
}

export interface GraphOptions {
  /** The earlier state; null to draw one state. */
  readonly before: ObjectSet | null;
  /** Only the connections of this namespace's workloads. */
  readonly namespace?: string | undefined;
}

/**
 * Returns the graph.
 * @throws GraphTooLarge, and TooManyPortSets as `createReach` does
 */
export function drawGraph(after: ObjectSet, { before, namespace }: GraphOptions): Graph {
  const sets = new PortSets();
  const now = openSide(after, sets);
  const old = before === null ? now : openSide(before, sets);
  // Labels separate nodes as long as the graph stays readable; otherwise only different connections do.
  for (const byLabels of [true, false]) {
    const groups = groupWorkloads(old, now, byLabels);
    const graph = connect(groups, { old, now, sets, namespace });
    if (graph !== null) return { ...graph, compared: before !== null };
  }
  throw new GraphTooLarge();
}

interface Context {
  readonly old: GraphSide;
  readonly now: GraphSide;
  readonly sets: PortSets;
  readonly namespace: string | undefined;
}

/** @returns null if it is too large */
function connect(groups: readonly WorkloadGroup[], context: Context): Omit<Graph, "compared"> | null {
  const { namespace } = context;
  const isShown = (group: WorkloadGroup) => namespace === undefined || group.namespace === namespace;
  const shown = groups.filter(isShown);
  if (shown.length > MAX_NODES) return null;
  const drawing = new Drawing(context);
  for (const group of shown) drawing.node(group);
  for (const from of groups) {
    for (const to of groups) {
      if (!isShown(from) && !isShown(to)) continue;
      drawing.join(from, to);
      if (drawing.isTooLarge) return null;
    }
  }
  for (const group of shown) {
    for (const direction of ["ingress", "egress"] as const) drawing.joinOutside(group, direction);
    if (drawing.isTooLarge) return null;
  }
  return drawing.finish();
}

/** Workloads of one node are alike, except where labels do not separate nodes: so a few pairs are tried. */
const SAMPLED = 4;

function examplesOf(sources: readonly string[], targets: readonly string[]): readonly (readonly [string, string])[] {
  return sources
    .slice(0, SAMPLED)
    .flatMap((source) => targets.slice(0, SAMPLED).map((target) => [source, target] as const))
    .filter(([source, target]) => source !== target);
}

class Drawing {
  readonly #context: Context;
  readonly #nodes = new Map<string, Omit<GraphNode, "id">>();
  readonly #edges: GraphEdge[] = [];
  readonly #namers;
  readonly #setNamers;
  readonly #shared;

  constructor(context: Context) {
    this.#context = context;
    this.#setNamers = { old: createSetNamer(context.old.objects), now: createSetNamer(context.now.objects) };
    this.#namers = { old: createNamer(context.old.objects), now: createNamer(context.now.objects) };
    const sharedOf = ({ objects, reach }: GraphSide) => new SharedAddresses(objects, reach.ruleset, context.sets);
    this.#shared = { old: sharedOf(context.old), now: sharedOf(context.now) };
  }

  get isTooLarge(): boolean {
    return this.#nodes.size > MAX_NODES || this.#edges.length > MAX_EDGES;
  }

  node({ namespace, members, oldClass, nowClass }: WorkloadGroup): string {
    const standing: DiffStatus = nowClass < 0 ? "removed" : oldClass < 0 ? "added" : "kept";
    const text = (nowClass < 0 ? this.#namers.old : this.#namers.now)(members, namespace);
    const key = `w ${members.join()}`;
    this.#nodes.set(key, { kind: "workloads", namespace, text, members, standing });
    return key;
  }

  join(from: WorkloadGroup, to: WorkloadGroup): void {
    const { old, now, sets } = this.#context;
    // A workload has connections with itself if it has several instances.
    const isOne = from === to && from.members.length < 2;
    const between = ({ reach, between }: GraphSide, one: number, other: number): PortSetId =>
      isOne && reach.isSeveral[one] !== true ? sets.empty : between(one, other);
    const had = between(old, from.oldClass, to.oldClass);
    const has = between(now, from.nowClass, to.nowClass);
    const parts = [
      ["kept", sets.intersect(had, has)],
      ["added", sets.subtract(has, had)],
      ["removed", sets.subtract(had, has)],
    ] as const;
    for (const [standing, set] of parts) {
      if (set === sets.empty) continue;
      const shared = this.#shared[standing === "removed" ? "old" : "now"];
      const pairs = examplesOf(from.members, to.members);
      const isShared =
        pairs.length > 0 && pairs.every(([source, target]) => shared.find(source, target, set).length > 0);
      this.#edge(this.node(from), this.node(to), set, { standing, ...(isShared ? { sharesAddress: true } : {}) });
    }
  }

  joinOutside(group: WorkloadGroup, direction: "ingress" | "egress"): void {
    const own = this.node(group);
    for (const { standing, set, blocks } of compareExternal(group, direction, this.#context)) {
      const kind = direction === "egress" ? ("targets" as const) : ("sources" as const);
      const members = blocks.map(({ text }) => text);
      const key = `${kind} ${members.join()}`;
      const nameSet = standing === "removed" ? this.#setNamers.old : this.#setNamers.now;
      const text = this.#nodes.get(key)?.text ?? nameSet(members) ?? describeBlocks(blocks);
      this.#nodes.set(key, { kind, namespace: null, text, members, standing: "kept" });
      if (direction === "egress") this.#edge(own, key, set, { standing });
      else this.#edge(key, own, set, { standing });
    }
  }

  #edge(from: string, to: string, set: PortSetId, how: Pick<GraphEdge, "standing" | "sharesAddress">): void {
    this.#edges.push({ from, to, entries: this.#context.sets.entries(set), ...how });
  }

  /** Sorts and numbers nodes, so that equal states make equal drawings. */
  finish(): Omit<Graph, "compared"> {
    const order = ({ kind, namespace, members }: Omit<GraphNode, "id">) =>
      `${["workloads", "sources", "targets"].indexOf(kind)} ${namespace ?? ""} ${members[0] ?? ""} ${members.length}`;
    const sorted = [...this.#nodes].sort(([, a], [, b]) => (order(a) < order(b) ? -1 : 1));
    const ids = new Map(sorted.map(([key], index) => [key, `n${index}`]));
    const idOf = (key: string) => ids.get(key) ?? "";
    const edges = this.#edges.map((edge) => ({ ...edge, from: idOf(edge.from), to: idOf(edge.to) }));
    const nodes = sorted.map(([key, node]): GraphNode => {
      const id = idOf(key);
      const own = edges.filter(({ from, to }) => from === id || to === id);
      const [first] = own;
      const isAlike = node.kind !== "workloads" && own.every(({ standing }) => standing === first?.standing);
      return { id, ...node, standing: isAlike ? (first?.standing ?? "kept") : node.standing };
    });
    const place = new Map(nodes.map(({ id }, index) => [id, index]));
    const at = (id: string) => place.get(id) ?? 0;
    return { nodes, edges: edges.sort((a, b) => at(a.from) - at(b.from) || at(a.to) - at(b.to)) };
  }
}
