/**
 * Warnings: configuration that is legal and probably wrong. Pure over the objects of a state.
 *
 * A warning that is sometimes wrong teaches people to ignore all of them. So each states a fact of the whole state, and
 * is left out if objects that could change it may be missing because of errors.
 */
import type {
  ConnectivityTest,
  Kind,
  NetworkPolicy,
  NetworkSet,
  Peer,
  PolicyPort,
  Workload,
  ZtapObject,
} from "../../model/objects.js";
import { qualifiedName, type ObjectSet, type StateObject } from "../../model/state.js";
import { canonicalJson } from "../../model/digest.js";
import { HOSTNAME_LABEL, mayRunOn, NodeDescriptions, OS_LABEL } from "../../inventory/nodes.js";
import { isDiscovered } from "../../inventory/process.js";
import { NetworkSetIndex } from "../../policy/compile/network-sets.js";
import { isSelectorPeer } from "../../policy/compile/select.js";
import { WorkloadIndex } from "../../policy/compile/workload-index.js";
import type { Path, Problem } from "../problem.js";
import { lintHosts } from "./host-access.js";
import type { ObjectProblem } from "./object-problem.js";
import { listPeers } from "./peers.js";
import { lintPortNames } from "./port-names.js";
import { findShadows, type RuleShape } from "./shadowed-rules.js";
import { lintSharedAddresses } from "./shared-addresses.js";

export function lintObjects(objects: ObjectSet, unread: ReadonlySet<Kind | null>): readonly ObjectProblem[] {
  const may = (...kinds: readonly Kind[]): boolean => unread.has(null) || kinds.some((kind) => unread.has(kind));
  const index = new WorkloadIndex(objects);
  const nodes = may("Node", "NodeGroup") ? null : new NodeDescriptions(objects);
  const peers = new PeerCheck(index, nodes);
  const sets = new NetworkSetIndex(objects);
  const warnings: ObjectProblem[] = [];
  const declared = new Set(
    [...objects.values()].flatMap(({ object }) => (object.kind === "Namespace" ? [object.metadata.name] : [])),
  );
  const checkNamespaces = declared.size > 0 && !may("Namespace");
  const checkSelectors = !may("Workload", "Namespace");
  const withoutCgroups = new Set(
    [...objects.values()].flatMap(({ object }) =>
      object.kind === "Node" && object.spec.enforcement === "pf" ? [object.metadata.name] : [],
    ),
  );
  for (const [key, state] of objects) {
    const { object } = state;
    const found: Problem[] = [];
    if (object.kind === "Workload")
      found.push(...lintWorkload(object, may("Node") ? null : withoutCgroups), ...lintNodeSelector(object, nodes));
    if (object.kind === "NetworkPolicy")
      found.push(
        ...lintPolicy(object),
        ...(checkSelectors ? [...lintSelectors(object, index, peers), ...lintPortNames(object, index)] : []),
      );
    if (object.kind === "ConnectivityTest" && checkSelectors) found.push(...lintTest(object, index));
    if (object.kind === "NetworkSet") found.push(...lintSet(object));
    if (!may("NetworkSet")) found.push(...lintSetPeers(object, sets));
    if (checkNamespaces) found.push(...lintNamespace(state, declared));
    warnings.push(...found.map((problem) => ({ key, problem })));
  }
  if (!checkSelectors) return warnings;
  const shared = may("Node", "Cluster") ? [] : lintSharedAddresses(objects, index);
  const hosts = may("NetworkPolicy") ? [] : lintHosts(objects, index);
  return [...warnings, ...peers.withoutAddresses(), ...shared, ...hosts];
}

function lintNamespace({ ref }: StateObject, declared: ReadonlySet<string>): readonly Problem[] {
  if (ref.namespace === null || declared.has(ref.namespace)) return [];
  return [
    {
      code: "undeclaredNamespace",
      path: ["metadata", "namespace"],
      message: `namespace ${ref.namespace} is not declared, and other namespaces are`,
      found: ref.namespace,
      wanted: "a declared Namespace",
      fix: `declare Namespace ${ref.namespace}; without it, it has no labels but its name`,
    },
  ];
}

/**
 * Checks one workload.
 * @param withoutCgroups nodes that identify workloads by their addresses; null if some may be missing
 */
function lintWorkload({ spec }: Workload, withoutCgroups: ReadonlySet<string> | null): readonly Problem[] {
  if (spec.node === undefined && spec.nodeSelector === undefined && spec.addresses.length === 0) {
    return [
      {
        code: "unreachableWorkload",
        path: ["spec"],
        anchor: "key",
        message:
          "the workload has neither node nor addresses: nothing is enforced for it, and no rule that selects it matches a packet",
        wanted: "node and cgroup, or addresses",
        fix: "add addresses for an external peer, or node, cgroup and addresses",
      },
    ];
  }
  if (
    spec.node !== undefined &&
    spec.cgroup === undefined &&
    spec.process === undefined &&
    withoutCgroups?.has(spec.node) === false
  ) {
    return [
      {
        code: "workloadWithoutCgroup",
        path: ["spec", "node"],
        message: `the workload runs on node ${spec.node} and has no cgroup, by which eBPF identifies its processes`,
        wanted: "cgroup or process",
        fix: "add cgroup or process, or leave out node for an external peer",
      },
    ];
  }
  return [];
}

/**
 * A node that only groups describe may have the labels of several of them. So only a label that nothing gives to any node
 * proves that none can match.
 */
function lintNodeSelector({ spec }: Workload, nodes: NodeDescriptions | null): readonly Problem[] {
  const { nodeSelector } = spec;
  if (nodeSelector === undefined || nodes === null || nodes.isEmpty) return [];
  const given = new Set(
    [
      ...nodes.declared.map(({ labels }) => labels),
      ...nodes.groups.map(({ metadata }) => metadata.labels ?? {}),
    ].flatMap((labels) => Object.entries(labels).map(([key, value]) => `${key}=${value}`)),
  );
  const isOpen = (key: string): boolean => key === OS_LABEL || (key === HOSTNAME_LABEL && nodes.groups.length > 0);
  const wanted = [
    ...Object.entries(nodeSelector.matchLabels ?? {}).map(([key, value]) => ({ key, values: [value] })),
    ...(nodeSelector.matchExpressions ?? []).flatMap(({ key, operator, values = [] }) =>
      operator === "In" ? [{ key, values }] : [],
    ),
  ];
  const missing = wanted.find(({ key, values }) => !isOpen(key) && !values.some((one) => given.has(`${key}=${one}`)));
  const isRefused = nodes.groups.length === 0 && !nodes.declared.some((node) => mayRunOn({ spec }, node));
  if (missing === undefined && !isRefused) return [];
  return [
    {
      code: "selectsNoNode",
      path: ["spec", "nodeSelector"],
      anchor: "key",
      message:
        missing === undefined
          ? "nodeSelector matches no Node: nothing is enforced for the workload"
          : `nodeSelector matches no node, since no Node and no NodeGroup has the label ${missing.key}=${missing.values.join(" or ")}: nothing is enforced for the workload`,
      found: canonicalJson(nodeSelector),
      wanted: "labels that a Node or a NodeGroup has",
    },
  ];
}

function lintPolicy(policy: NetworkPolicy): readonly Problem[] {
  const { spec } = policy;
  if (spec.policyTypes.length === 0) {
    return [
      {
        code: "isolatesNothing",
        path: ["spec"],
        anchor: "key",
        message: "the policy isolates no direction, so that it neither allows nor denies anything",
        wanted: "ingress, egress or policyTypes",
        fix: "add ingress: [] to deny what comes in, egress: [] to deny what goes out, or rules",
      },
    ];
  }
  return [
    ...lintRules(
      "ingress",
      (spec.ingress ?? []).map(({ from, ports }) => ({ peers: from, ports })),
    ),
    ...lintRules(
      "egress",
      (spec.egress ?? []).map(({ to, ports }) => ({ peers: to, ports })),
    ),
    ...(spec.egress ?? []).flatMap(({ to = [], ports = [] }, rule) =>
      to.length > 0 && !to.some(isSelectorPeer) ? lintBlockPorts(ports, rule) : [],
    ),
  ];
}

/** On egress a port name is the peer's own, and only workloads have port names. */
function lintBlockPorts(ports: readonly PolicyPort[], rule: number): readonly Problem[] {
  return ports.flatMap((each, at): readonly Problem[] => {
    if (each.protocol === "ICMP" || typeof each.port !== "string") return [];
    return [
      {
        code: "portNameOfBlock",
        path: ["spec", "egress", rule, "ports", at, "port"],
        message: `port ${each.port} is a name, but all peers of this rule are address blocks or NetworkSets, which have no named ports: it allows nothing`,
        found: each.port,
        wanted: "a number",
        fix: "write the number of the port, or select workloads with a podSelector",
      },
    ];
  });
}

function lintRules(direction: "ingress" | "egress", rules: readonly RuleShape[]): readonly Problem[] {
  return findShadows(rules).map(({ rule, by }) => ({
    code: "shadowedRule",
    path: ["spec", direction, rule],
    message: `${direction}[${by}] of this policy allows everything that this rule allows`,
    fix: "remove this rule, or narrow the other one",
  }));
}

function lintSelectors(policy: NetworkPolicy, index: WorkloadIndex, peers: PeerCheck): readonly Problem[] {
  const { namespace } = policy.metadata;
  const found: Problem[] = [];
  if (!index.protectsAny(policy)) {
    found.push({
      code: "selectsNoWorkload",
      path: ["spec", "podSelector"],
      anchor: "key",
      message: `podSelector selects no workload of namespace ${namespace}`,
      found: canonicalJson(policy.spec.podSelector),
      wanted: "labels that a workload of the namespace has",
    });
  }
  for (const { peer, path } of listPeers(policy)) {
    if (isSelectorPeer(peer) && !peers.check(peer, namespace, policy)) found.push(noMatch(peer, namespace, path));
  }
  return found;
}

/** A peer that selects no workload expects nothing. */
function lintTest(test: ConnectivityTest, index: WorkloadIndex): readonly Problem[] {
  const { namespace } = test.metadata;
  return listPeers(test)
    .filter(({ peer }) => isSelectorPeer(peer) && index.peersOf([peer], namespace).length === 0)
    .map(({ peer, path }): Problem => noMatch(peer, namespace, path));
}

function lintSetPeers(object: ZtapObject, sets: NetworkSetIndex): readonly Problem[] {
  return listPeers(object).flatMap(({ peer, path }): readonly Problem[] => {
    if (isSelectorPeer(peer) || peer.ipBlock !== undefined || sets.setsOf(peer).length > 0) return [];
    return [
      {
        code: "peerMatchesNothing",
        path,
        message: `this peer matches no NetworkSet${sets.isEmpty ? ": none is declared" : ""}`,
        found: canonicalJson(peer),
        wanted: peer.networkSet === undefined ? "labels that some NetworkSet has" : "a declared NetworkSet",
      },
    ];
  });
}

function lintSet({ metadata, spec }: NetworkSet): readonly Problem[] {
  if (spec.cidrs.length > 0) return [];
  return [
    {
      code: "emptySet",
      path: ["spec"],
      anchor: "key",
      message: `NetworkSet ${metadata.name} has no addresses, so that a rule that names it allows nothing by it`,
      wanted: "at least one CIDR",
      fix: "add addresses, or remove the set and the peers that name it",
    },
  ];
}

function noMatch(peer: Peer, namespace: string, path: Path): Problem {
  return {
    code: "peerMatchesNothing",
    path,
    message: `this peer matches no workload${peer.namespaceSelector === undefined ? ` of namespace ${namespace}` : ""}`,
    found: canonicalJson(peer),
    wanted: "labels that some workload, or its namespace, has",
  };
}

/** Peers and their matches; each distinct peer is checked once. */
class PeerCheck {
  readonly #matched = new Map<string, boolean>();
  readonly #addressless = new Map<string, { readonly workload: Workload; readonly policy: NetworkPolicy }>();

  /** @param nodes null if some may be missing */
  constructor(
    readonly index: WorkloadIndex,
    readonly nodes: NodeDescriptions | null,
  ) {}

  /** Returns whether the peer matches any workload; collects matching workloads without addresses. */
  check(peer: Peer, namespace: string, policy: NetworkPolicy): boolean {
    const key = `${peer.namespaceSelector === undefined ? namespace : ""}\n${canonicalJson(peer)}`;
    const known = this.#matched.get(key);
    if (known !== undefined) return known;
    const workloads = this.index.peersOf([peer], namespace);
    const matched = workloads.length > 0;
    this.#matched.set(key, matched);
    for (const { workload } of workloads) {
      if (workload.spec.addresses.length > 0 || this.#isReported(workload)) continue;
      const name = `Workload/${workload.metadata.namespace}/${workload.metadata.name}`;
      if (!this.#addressless.has(name)) this.#addressless.set(name, { workload, policy });
    }
    return matched;
  }

  /** Returns whether a node may report addresses of the workload that count. */
  #isReported(workload: Workload): boolean {
    if (!isDiscovered(workload)) return false;
    if (this.nodes === null || this.nodes.groups.some(({ spec }) => spec.addressRanges.length > 0)) return true;
    return this.nodes.declared.some((node) => node.addressRanges.length > 0 && mayRunOn(workload, node));
  }

  withoutAddresses(): readonly ObjectProblem[] {
    return [...this.#addressless].map(([key, { workload, policy }]) => ({
      key,
      problem: {
        code: "peerWithoutAddress",
        path: ["spec"],
        anchor: "key",
        message: `the workload has no addresses${isDiscovered(workload) ? ", and what its nodes report does not count without addressRanges" : ""}, and policy ${qualifiedName(policy.metadata)} selects it as a peer: that rule will not match its packets`,
        wanted: "addresses",
        fix: isDiscovered(workload) ? "add addressRanges to a NodeGroup of its nodes" : "add its addresses",
      },
    }));
  }
}
