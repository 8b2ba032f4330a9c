/**
 * Turns checked documents into canonical objects: every default filled in, every list a list, set-like lists sorted and
 * without repetition. Equal meaning gives equal form; a canonical object is a valid document again and normalizes to
 * itself.
 *
 * The order of rules, peers and ports is kept, since authors expect it; it decides only which rule is named. An empty
 * list is left out if its absence means the same. `ingress` and `egress` are present exactly when the policy isolates
 * that direction: rules of a direction that it does not isolate mean nothing (Kubernetes API,
 * NetworkPolicySpec.policyTypes), and are dropped with a warning (lint.ts).
 */
import type {
  ClusterDocument,
  ConnectivityTestDocument,
  ExpectationDocument,
  KubernetesNetworkPolicyDocument,
  KubernetesPolicyPortDocument,
  LabelMap,
  LabelSelectorDocument,
  NamespaceDocument,
  NetworkSetDocument,
  NodeDocument,
  NodeGroupDocument,
  ProcessPatternDocument,
  SelectorRequirementDocument,
  WorkloadDocument,
  ZtapNetworkPolicyDocument,
  ZtapPeerDocument,
  ZtapPolicyPortDocument,
} from "../../model/generated.js";
import { canonicalJson } from "../../model/digest.js";
import type {
  Cluster,
  ClusterMetadata,
  ConnectivityTest,
  EgressRule,
  Expectation,
  IngressRule,
  Labels,
  LabelSelector,
  Namespace,
  NamespacedMetadata,
  NetworkPolicy,
  NetworkSet,
  Node,
  NodeGroup,
  Peer,
  PolicyPort,
  PolicyType,
  ProcessPattern,
  SelectorRequirement,
  Workload,
} from "../../model/objects.js";
import { normalizeRollout } from "./rollout.js";
import { checkAddress, checkAgentAddress, checkCidr, checkSetCidr, sortedUnique, subtractCidrs } from "./address.js";

export const DEFAULT_NAMESPACE = "default";

/** Written by `kubectl apply`: a copy of the document inside itself, not an annotation of an author. */
const LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration";

/** Every namespace has this label, with its name; policy/select.ts adds it. */
const IMPLIED_LABEL = "kubernetes.io/metadata.name";

export function normalizeNode(document: NodeDocument): Node {
  const { address, addresses, publicKey, enforcement } = document.spec ?? {};
  const agent = address === undefined ? undefined : checkAgentAddress(address);
  const host = agent?.ok === true && agent.value.ip !== undefined ? [agent.value.ip] : [];
  return {
    apiVersion: "ztap/v1",
    kind: "Node",
    metadata: clusterMetadata(document.metadata),
    spec: {
      ...(address === undefined ? {} : { address: agent?.ok === true ? agent.value.text : address }),
      addresses: addresses === undefined ? host : addressList(addresses),
      ...(publicKey === undefined ? {} : { publicKey }),
      // The default is left out, so that a Node with an explicit default has the same digest as one without.
      ...(enforcement === "pf" ? { enforcement: "pf" } : {}),
    },
  };
}

export function normalizeNodeGroup(document: NodeGroupDocument): NodeGroup {
  const { nodeNames, addressRanges = [] } = document.spec;
  return {
    apiVersion: "ztap/v1",
    kind: "NodeGroup",
    metadata: clusterMetadata(document.metadata),
    spec: { nodeNames: sortedUnique(nodeNames), addressRanges: sortedUnique(addressRanges.map(cidrText)) },
  };
}

export function normalizeNamespace(document: NamespaceDocument): Namespace {
  const { labels, ...metadata } = document.metadata;
  const declared = Object.entries(labels ?? {}).filter(([key]) => key !== IMPLIED_LABEL);
  return {
    apiVersion: "ztap/v1",
    kind: "Namespace",
    metadata: clusterMetadata({ ...metadata, labels: Object.fromEntries(declared) }),
    ...(document.spec?.mode === undefined ? {} : { spec: { mode: document.spec.mode } }),
  };
}

export function normalizeCluster(document: ClusterDocument): Cluster {
  return {
    apiVersion: "ztap/v1",
    kind: "Cluster",
    metadata: clusterMetadata(document.metadata),
    ...normalizeClusterSpec(document.spec ?? {}),
  };
}

/** Defaults are left out, and so is a spec of nothing else. */
function normalizeClusterSpec({
  mode,
  identity,
  newborn,
  rollout,
}: NonNullable<ClusterDocument["spec"]>): Pick<Cluster, "spec"> {
  const spec = {
    ...(mode === "audit" ? { mode } : {}),
    ...(identity === undefined || identity === "source" ? {} : { identity }),
    ...(newborn === "open" ? { newborn } : {}),
    ...normalizeRollout(rollout, selector),
  };
  return Object.keys(spec).length === 0 ? {} : { spec };
}

/**
 * Resolves a set: a revision holds the addresses themselves, however the author wrote them.
 * @param listed the CIDRs of its file
 */
export function normalizeNetworkSet({ metadata, spec }: NetworkSetDocument, listed: readonly string[]): NetworkSet {
  const { cidrs = [], except = [] } = spec;
  return {
    apiVersion: "ztap/v1",
    kind: "NetworkSet",
    metadata: clusterMetadata(metadata),
    spec: { cidrs: subtractCidrs([...cidrs.map(setCidrText), ...listed], except.map(setCidrText)) },
  };
}

export function normalizeConnectivityTest(document: ConnectivityTestDocument): ConnectivityTest {
  const expectations = (list: readonly ExpectationDocument[] | undefined): readonly Expectation[] =>
    (list ?? []).map(({ from, to, ports }) => ({ ...peers("from", from), ...peers("to", to), ...portList(ports) }));
  return {
    apiVersion: "ztap/v1",
    kind: "ConnectivityTest",
    metadata: namespacedMetadata(document.metadata),
    spec: { allow: expectations(document.spec.allow), deny: expectations(document.spec.deny) },
  };
}

export function normalizeWorkload(document: WorkloadDocument): Workload {
  const { node, nodeSelector, addresses, cgroup, process, user, tolerates = [], ports } = document.spec;
  return {
    apiVersion: "ztap/v1",
    kind: "Workload",
    metadata: namespacedMetadata(document.metadata),
    spec: {
      ...(node === undefined ? {} : { node }),
      ...(nodeSelector === undefined ? {} : { nodeSelector: selector(nodeSelector) }),
      addresses: addressList(addresses ?? []),
      ...(cgroup === undefined ? {} : { cgroup }),
      ...processPattern(process),
      ...(user === undefined ? {} : { user }),
      ...(tolerates.length === 0 ? {} : { tolerates: [...new Set(tolerates)].sort() }),
      ports: sortedBy(
        (ports ?? []).map(({ name, port, protocol }) => ({
          ...(name === undefined ? {} : { name }),
          port,
          protocol: protocol ?? "TCP",
        })),
      ),
    },
  };
}

function processPattern(document: ProcessPatternDocument | undefined): { readonly process?: ProcessPattern } {
  if (document === undefined) return {};
  const { systemdUnit, container, cgroup } = document;
  if (systemdUnit !== undefined) return { process: { systemdUnit } };
  if (cgroup !== undefined) return { process: { cgroup } };
  if (container === undefined) return { process: { host: true } };
  const { name, image, labels } = container;
  const sorted = Object.entries(labels ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  return {
    process: {
      container: {
        ...(name === undefined ? {} : { name }),
        ...(image === undefined ? {} : { image }),
        ...(sorted.length === 0 ? {} : { labels: Object.fromEntries(sorted) }),
      },
    },
  };
}

export function normalizeZtapNetworkPolicy(document: ZtapNetworkPolicyDocument): NetworkPolicy {
  const { spec } = document;
  // Without policyTypes a direction is isolated exactly when its key is present (design, section 3).
  const types: readonly PolicyType[] = [
    ...(spec.ingress === undefined ? [] : (["Ingress"] as const)),
    ...(spec.egress === undefined ? [] : (["Egress"] as const)),
  ];
  const declared = spec.policyTypes ?? types;
  return policy("ztap/v1", document, declared, policyMode(spec.mode, declared));
}

/** Drops the mode of a direction that the policy does not isolate, since it means nothing. */
function policyMode(
  mode: ZtapNetworkPolicyDocument["spec"]["mode"],
  isolated: readonly PolicyType[],
): Pick<NetworkPolicy["spec"], "mode"> {
  if (mode === undefined || typeof mode === "string") return mode === undefined ? {} : { mode };
  const ingress = isolated.includes("Ingress") ? mode.ingress : undefined;
  const egress = isolated.includes("Egress") ? mode.egress : undefined;
  const isOne = isolated.every((type) => (type === "Ingress" ? ingress : egress) === (ingress ?? egress));
  const one = ingress ?? egress;
  if (one === undefined) return {};
  if (isOne) return { mode: one };
  return { mode: { ...(ingress === undefined ? {} : { ingress }), ...(egress === undefined ? {} : { egress }) } };
}

export function normalizeKubernetesNetworkPolicy(document: KubernetesNetworkPolicyDocument): NetworkPolicy {
  const spec = document.spec ?? {};
  const declared = spec.policyTypes ?? [];
  // Kubernetes, SetDefaults_NetworkPolicy: an empty list is Ingress, and Egress if there are egress rules.
  const types: readonly PolicyType[] = (spec.egress ?? []).length === 0 ? ["Ingress"] : ["Ingress", "Egress"];
  return policy("networking.k8s.io/v1", document, declared.length === 0 ? types : declared, {});
}

/** Returns the directions that a document has rules for but does not isolate. */
export function ignoredDirections(
  document: ZtapNetworkPolicyDocument | KubernetesNetworkPolicyDocument,
  isolated: readonly PolicyType[],
): readonly ("ingress" | "egress")[] {
  const spec = document.spec ?? {};
  return [
    ...((spec.ingress ?? []).length > 0 && !isolated.includes("Ingress") ? (["ingress"] as const) : []),
    ...((spec.egress ?? []).length > 0 && !isolated.includes("Egress") ? (["egress"] as const) : []),
  ];
}

function policy(
  apiVersion: NetworkPolicy["apiVersion"],
  document: ZtapNetworkPolicyDocument | KubernetesNetworkPolicyDocument,
  declaredTypes: readonly PolicyType[],
  mode: Pick<NetworkPolicy["spec"], "mode">,
): NetworkPolicy {
  const spec: ZtapNetworkPolicyDocument["spec"] = document.spec ?? {};
  const policyTypes = (["Ingress", "Egress"] as const).filter((type) => declaredTypes.includes(type));
  return {
    apiVersion,
    kind: "NetworkPolicy",
    metadata: namespacedMetadata(document.metadata),
    spec: {
      podSelector: selector(spec.podSelector ?? {}),
      policyTypes,
      ...(policyTypes.includes("Ingress")
        ? {
            ingress: (spec.ingress ?? []).map(({ from, ports }): IngressRule => ({
              ...peers("from", from),
              ...portList(ports),
            })),
          }
        : {}),
      ...(policyTypes.includes("Egress")
        ? {
            egress: (spec.egress ?? []).map(({ to, ports }): EgressRule => ({
              ...peers("to", to),
              ...portList(ports),
            })),
          }
        : {}),
      ...mode,
    },
  };
}

function clusterMetadata(metadata: NodeDocument["metadata"] | ClusterDocument["metadata"]): ClusterMetadata {
  return {
    name: metadata.name,
    ...labelMap("labels", metadata.labels),
    ...labelMap("annotations", metadata.annotations),
  };
}

function namespacedMetadata(metadata: WorkloadDocument["metadata"]): NamespacedMetadata {
  return { ...clusterMetadata(metadata), namespace: metadata.namespace ?? DEFAULT_NAMESPACE };
}

function labelMap<K extends string>(key: K, labels: LabelMap | undefined): { readonly [P in K]?: Labels } {
  const entries = Object.entries(labels ?? {}).filter(([name]) => name !== LAST_APPLIED);
  if (entries.length === 0) return {};
  const result: { [P in K]?: Labels } = {};
  result[key] = Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
  return result;
}

function selector(document: LabelSelectorDocument): LabelSelector {
  const expressions = sortedBy((document.matchExpressions ?? []).map(requirement));
  return {
    ...labelMap("matchLabels", document.matchLabels),
    ...(expressions.length === 0 ? {} : { matchExpressions: expressions }),
  };
}

function requirement({ key, operator, values }: SelectorRequirementDocument): SelectorRequirement {
  return operator === "In" || operator === "NotIn"
    ? { key, operator, values: sortedUnique(values ?? []) }
    : { key, operator };
}

function peers<K extends "from" | "to">(
  key: K,
  documents: ZtapPeerDocument | readonly ZtapPeerDocument[] | undefined,
): { readonly [P in K]?: readonly Peer[] } {
  const list = documents === undefined ? [] : isList(documents) ? documents : [documents];
  if (list.length === 0) return {};
  const result: { [P in K]?: readonly Peer[] } = {};
  result[key] = list.map(peer);
  return result;
}

const isList = (documents: ZtapPeerDocument | readonly ZtapPeerDocument[]): documents is readonly ZtapPeerDocument[] =>
  Array.isArray(documents);

function peer(document: ZtapPeerDocument): Peer {
  const { podSelector, namespaceSelector, ipBlock, networkSet, networkSetSelector } = document;
  if (networkSet !== undefined) return { networkSet };
  if (networkSetSelector !== undefined) return { networkSetSelector: selector(networkSetSelector) };
  if (ipBlock !== undefined) {
    const except = sortedUnique((ipBlock.except ?? []).map(cidrText));
    return { ipBlock: { cidr: cidrText(ipBlock.cidr), ...(except.length === 0 ? {} : { except }) } };
  }
  return {
    ...(podSelector === undefined ? {} : { podSelector: selector(podSelector) }),
    ...(namespaceSelector === undefined ? {} : { namespaceSelector: selector(namespaceSelector) }),
  };
}

function portList(ports: readonly (ZtapPolicyPortDocument | KubernetesPolicyPortDocument)[] | undefined): {
  readonly ports?: readonly PolicyPort[];
} {
  return ports === undefined || ports.length === 0 ? {} : { ports: ports.map(policyPort) };
}

function policyPort(document: ZtapPolicyPortDocument): PolicyPort {
  const { protocol = "TCP", port, endPort, type, code } = document;
  if (protocol === "ICMP") {
    return { protocol, ...(type === undefined ? {} : { type }), ...(code === undefined ? {} : { code }) };
  }
  return {
    protocol,
    ...(port === undefined ? {} : { port }),
    // A range of one port is that port.
    ...(endPort === undefined || endPort === port ? {} : { endPort }),
  };
}

/** Texts that check.ts refuses stay as they are: their document never becomes an object. */
function addressList(texts: readonly string[]): readonly string[] {
  return sortedUnique(
    texts.map((text) => {
      const checked = checkAddress(text);
      return checked.ok ? checked.value : text;
    }),
  );
}

function cidrText(text: string): string {
  const checked = checkCidr(text);
  return checked.ok ? checked.value.text : text;
}

export function setCidrText(text: string): string {
  const checked = checkSetCidr(text);
  return checked.ok ? checked.value.text : text;
}

/** Sorts by canonical JSON and removes repetitions. */
function sortedBy<T>(values: readonly T[]): readonly T[] {
  if (values.length < 2) return values;
  const byText = new Map(values.map((value) => [canonicalJson(value), value]));
  return [...byText].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, value]) => value);
}
