/**
 * Compares objects with each other: problems that a single document cannot show. Returns the accepted objects, and the
 * problems of the others.
 */
import { describeConflict, NodeDescriptions, runsOn } from "../../inventory/nodes.js";
import { expectedCgroup, patternOf } from "../../inventory/process.js";
import type { Kind, Node, Workload } from "../../model/objects.js";
import { qualifiedName } from "../../model/state.js";
import { synIdentityOf } from "../../model/syn-identity.js";
import { hasSynIdentity } from "../../policy/compile/modes.js";
import type { FileObject, PlacedProblem } from "../document/file.js";
import type { Path, Problem } from "../problem.js";
import { listPeers } from "./peers.js";
import { suggest } from "../../model/suggest.js";

export interface Comparison {
  readonly accepted: ReadonlyMap<string, FileObject>;
  readonly problems: readonly PlacedProblem[];
}

/**
 * Compares all objects. `unread`: kinds of which objects may be missing because of errors; their absence is not
 * reported.
 */
export function compareObjects(all: readonly FileObject[], unread: ReadonlySet<Kind | null>): Comparison {
  const { unique, problems: duplicates } = findDuplicates(all);
  const problems = [
    ...duplicates,
    ...(unread.has("Node") || unread.has("NodeGroup") || unread.has(null)
      ? []
      : [...findUndeclaredNodes(unique), ...findLabelConflicts(unique)]),
    ...(unread.has("NetworkSet") || unread.has(null) ? [] : findUndeclaredSets(unique)),
    ...findCgroupConflicts(unique),
    ...findNodeAddressConflicts(unique),
    ...findIdentityConflicts(unique),
  ];
  const refused = new Set(problems.map(({ at }) => at));
  const accepted = new Map(unique.filter((object) => !refused.has(object)).map((object) => [object.key, object]));
  return { accepted, problems };
}

function findDuplicates(all: readonly FileObject[]): {
  readonly unique: readonly FileObject[];
  readonly problems: readonly PlacedProblem[];
} {
  const first = new Map<string, FileObject>();
  const problems: PlacedProblem[] = [];
  for (const at of all) {
    const before = first.get(at.key);
    if (before === undefined) first.set(at.key, at);
    else {
      const { ref } = at.state;
      problems.push({
        at,
        problem: {
          code: "duplicateObject",
          path: ["metadata", "name"],
          message: `${ref.kind} ${qualifiedName(ref)} is declared already at ${where(before)}`,
          found: qualifiedName(ref),
          wanted: "each object once",
          fix: "remove one of the two, or give it another name",
        },
      });
    }
  }
  return { unique: [...first.values()], problems };
}

const where = ({ state: { position } }: FileObject): string =>
  position === undefined ? "another place" : `${position.file}:${position.line}`;

interface Of<T> {
  readonly at: FileObject;
  readonly object: T;
}

const nodesOf = (all: readonly FileObject[]): readonly Of<Node>[] =>
  all.flatMap((at) => (at.state.object.kind === "Node" ? [{ at, object: at.state.object }] : []));

const workloadsOf = (all: readonly FileObject[]): readonly Of<Workload>[] =>
  all.flatMap((at) => (at.state.object.kind === "Workload" ? [{ at, object: at.state.object }] : []));

function placed(at: FileObject, path: Path, rest: Omit<Problem, "path">): PlacedProblem {
  return { at, problem: { path, ...rest } };
}

const SUGGESTED_NODES = 20;
const COMPARED_NAMES = 5_000;

const describeNodes = (all: readonly FileObject[]): NodeDescriptions =>
  new NodeDescriptions(new Map(all.map(({ key, state }) => [key, state])));

/**
 * Only if the state describes any node: a state without Nodes and NodeGroups belongs to one machine, whose node needs no
 * declaration.
 */
function findUndeclaredNodes(all: readonly FileObject[]): readonly PlacedProblem[] {
  const descriptions = describeNodes(all);
  if (descriptions.isEmpty) return [];
  const names = new Set(nodesOf(all).map(({ object }) => object.metadata.name));
  // Each suggestion compares with every declared name: beyond a few, the names were not mistyped one by one.
  const suggestions = new Map<string, string | undefined>();
  const meantBy = (node: string): string | undefined => {
    if (!suggestions.has(node) && suggestions.size < SUGGESTED_NODES)
      suggestions.set(node, suggest(node, [...names].slice(0, COMPARED_NAMES)));
    return suggestions.get(node);
  };
  return workloadsOf(all).flatMap(({ at, object }) => {
    const { node } = object.spec;
    if (node === undefined || descriptions.match(node) !== undefined) return [];
    const meant = meantBy(node);
    return [
      placed(at, ["spec", "node"], {
        code: "undeclaredNode",
        message: `node ${node} is not declared`,
        found: node,
        wanted: "the name of a Node of this state, or one that a NodeGroup matches",
        fix:
          meant === undefined
            ? `declare Node ${node}, or leave out node for an external peer`
            : `did you mean ${meant}?`,
      }),
    ];
  });
}

/** A node that only a NodeGroup describes is known when its agent runs; it is refused then. */
function findLabelConflicts(all: readonly FileObject[]): readonly PlacedProblem[] {
  const descriptions = describeNodes(all);
  return nodesOf(all).flatMap(({ at, object }) =>
    (descriptions.match(object.metadata.name)?.conflicts ?? []).slice(0, 1).map((conflict) =>
      placed(at, ["metadata"], {
        code: "labelConflict",
        anchor: "key",
        message: `node ${object.metadata.name}: ${describeConflict(conflict)}`,
        found: conflict.claims.map(({ value }) => value).join(", "),
        wanted: "one value for each label of a node",
        fix: "remove one of the two, or make the patterns of the groups narrower",
      }),
    ),
  );
}

/** The identity in a SYN is a hash of the workload's name. Without `identity: syn` it does not matter. */
function findIdentityConflicts(all: readonly FileObject[]): readonly PlacedProblem[] {
  if (!hasSynIdentity(new Map(all.map(({ key, state }) => [key, state])))) return [];
  const first = new Map<number, string>();
  return workloadsOf(all).flatMap(({ at, object }) => {
    const name = qualifiedName(object.metadata);
    const identity = synIdentityOf(name);
    const before = first.get(identity);
    if (before === undefined) first.set(identity, name);
    if (before === undefined) return [];
    return [
      placed(at, ["metadata", "name"], {
        code: "identityConflict",
        message: `${name} has the same identity in its SYNs as ${before}`,
        found: name,
        wanted: "names whose hashes differ",
        fix: "give one of the two another name",
      }),
    ];
  });
}

/**
 * A mistyped name would close what it is meant to open. Only if the state declares any NetworkSet: one policy in a file of
 * its own, as for `policy sync`, has none beside it. Without any, lint.ts warns.
 */
function findUndeclaredSets(all: readonly FileObject[]): readonly PlacedProblem[] {
  const names = new Set(
    all.flatMap(({ state: { object } }) => (object.kind === "NetworkSet" ? [object.metadata.name] : [])),
  );
  if (names.size === 0) return [];
  return all.flatMap((at) =>
    listPeers(at.state.object).flatMap(({ peer: { networkSet }, path }) => {
      if (networkSet === undefined || names.has(networkSet)) return [];
      const meant = suggest(networkSet, [...names].slice(0, COMPARED_NAMES));
      return [
        placed(at, [...path, "networkSet"], {
          code: "undeclaredSet",
          message: `NetworkSet ${networkSet} is not declared`,
          found: networkSet,
          wanted: "the name of a NetworkSet of this state",
          fix: meant === undefined ? `declare NetworkSet ${networkSet}` : `did you mean ${meant}?`,
        }),
      ];
    }),
  );
}

/**
 * One process must not be in two workloads of a node. Sorted by path with a trailing slash, the cgroups inside another
 * one follow it directly, so that a comparison with the cgroups still open is enough.
 */
function findCgroupConflicts(all: readonly FileObject[]): readonly PlacedProblem[] {
  const fixed = workloadsOf(all).flatMap(({ at, object }) => {
    const path = expectedCgroup(patternOf(object));
    return path === null ? [] : [{ at, object, name: qualifiedName(at.state.ref), path: `${path}/` }];
  });
  const byNode = Map.groupBy(
    fixed.filter(({ object }) => object.spec.node !== undefined),
    ({ object }) => object.spec.node ?? "",
  );
  const places = [...byNode.values()];
  const selecting = fixed.filter(({ object }) => object.spec.nodeSelector !== undefined);
  const descriptions = selecting.length === 0 ? null : describeNodes(all);
  for (const node of descriptions?.declared ?? []) {
    const here = selecting.filter(({ object }) => runsOn(object, node, null));
    if (here.length > 0) places.push([...(byNode.get(node.name) ?? []), ...here]);
  }
  const reported = new Set<FileObject>();
  return places.flatMap((workloads) => {
    const sorted = workloads.toSorted((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0));
    const open: (typeof sorted)[number][] = [];
    return sorted.flatMap((workload) => {
      while (open.length > 0 && !workload.path.startsWith(open.at(-1)?.path ?? "")) open.pop();
      const outer = open.at(-1);
      open.push(workload);
      if (outer === undefined || reported.has(workload.at)) return [];
      reported.add(workload.at);
      const same = outer.path === workload.path;
      return [
        placed(workload.at, workload.object.spec.cgroup === undefined ? ["spec", "process"] : ["spec", "cgroup"], {
          code: "cgroupConflict",
          message: `cgroup ${workload.path.slice(0, -1)} ${same ? "is also that" : `lies inside ${outer.path.slice(0, -1)}`} of workload ${outer.name} at ${where(outer.at)}`,
          found: workload.path.slice(0, -1),
          wanted: "a cgroup of its own, neither inside nor around another workload's on the same node",
        }),
      ];
    });
  });
}

function findNodeAddressConflicts(all: readonly FileObject[]): readonly PlacedProblem[] {
  const first = new Map<string, FileObject>();
  return nodesOf(all).flatMap(({ at, object }) =>
    object.spec.addresses.flatMap((address) => {
      const before = first.get(address);
      if (before === undefined) {
        first.set(address, at);
        return [];
      }
      return [
        placed(at, ["spec", "address"], {
          code: "nodeAddressConflict",
          message: `address ${address} is also that of node ${before.state.ref.name} at ${where(before)}`,
          found: address,
          wanted: "addresses that no other node has",
        }),
      ];
    }),
  );
}
