/**
 * The objects of a desired state, in canonical form.
 *
 * An author (see `schemas/`) may use short forms and leave out defaults. The manifest stage turns that into the types
 * below: every default filled in, every list a list. A canonical object is itself a valid document of its kind. Equal
 * meaning gives equal canonical form, so that the digest of an object changes exactly when its meaning can.
 */

import type { RolloutPlan } from "./rollout.js";

export const KINDS = [
  "Cluster",
  "Namespace",
  "Node",
  "NodeGroup",
  "Workload",
  "NetworkPolicy",
  "NetworkSet",
  "ConnectivityTest",
] as const;
export type Kind = (typeof KINDS)[number];

export const API_VERSIONS = ["ztap/v1", "networking.k8s.io/v1"] as const;
export type ApiVersion = (typeof API_VERSIONS)[number];

export type Labels = Readonly<Record<string, string>>;

/**
 * Identifies an object. `namespace` is null for the cluster-scoped kinds Cluster, Node, NodeGroup, Namespace and NetworkSet.
 */
export interface ObjectRef {
  readonly kind: Kind;
  readonly namespace: string | null;
  readonly name: string;
}

export interface ClusterMetadata {
  readonly name: string;
  readonly labels?: Labels;
  readonly annotations?: Labels;
}

export interface NamespacedMetadata extends ClusterMetadata {
  readonly namespace: string;
}

/** A cluster member: a host with an agent. */
export interface Node {
  readonly apiVersion: "ztap/v1";
  readonly kind: "Node";
  readonly metadata: ClusterMetadata;
  readonly spec: {
    /** host:port of the node's agent; absent: what the agent reports. */
    readonly address?: string;
    /**
     * The node's IP addresses, canonical text; the host of `address` if it is an IP address and the author gave none.
     * Empty: what the agent reports, within the address ranges of the node's groups.
     */
    readonly addresses: readonly string[];
    /** X25519, base64url; only if Git pins it. */
    readonly publicKey?: string;
    /** The backend; only if it is not eBPF. */
    readonly enforcement?: "pf";
  };
}

/** Describes the nodes whose names match: their labels, and the addresses that they may report. */
export interface NodeGroup {
  readonly apiVersion: "ztap/v1";
  readonly kind: "NodeGroup";
  readonly metadata: ClusterMetadata;
  readonly spec: {
    /** Patterns, sorted. */
    readonly nodeNames: readonly string[];
    /** CIDRs, canonical text, sorted. Empty: nothing that these nodes report as an address counts. */
    readonly addressRanges: readonly string[];
  };
}

/** `kubernetes.io/metadata.name` is implied and is not among the labels here; see `namespaceLabels`. */
export interface Namespace {
  readonly apiVersion: "ztap/v1";
  readonly kind: "Namespace";
  readonly metadata: ClusterMetadata;
  /** Only if it sets a mode for policies that have none. */
  readonly spec?: { readonly mode: PolicyMode };
}

export type PortProtocol = "TCP" | "UDP" | "SCTP";
export type Protocol = PortProtocol | "ICMP";

export interface WorkloadPort {
  readonly name?: string;
  readonly port: number;
  readonly protocol: PortProtocol;
}

/** Ways past its policy that an isolated workload may have. */
export const TOLERATIONS = ["DelegatedCgroup", "InheritedSockets"] as const;

export type Toleration = (typeof TOLERATIONS)[number];

/** At least one of the three; all that are present must match. */
export interface ContainerPattern {
  readonly name?: string;
  readonly image?: string;
  readonly labels?: Readonly<Record<string, string>>;
}

/**
 * The processes of a workload, as they are found on its nodes. Texts are patterns: `*` and `?` match any characters but
 * a slash.
 */
export type ProcessPattern =
  | { readonly systemdUnit: string }
  | { readonly container: ContainerPattern }
  | { readonly cgroup: string }
  | { readonly host: true };

/**
 * A labelled group of processes on one node or several or, without a node, an external peer. With `nodeSelector` or
 * `process` its instances are found on the nodes; otherwise it is one instance that is known from Git alone.
 */
export interface Workload {
  readonly apiVersion: "ztap/v1";
  readonly kind: "Workload";
  readonly metadata: NamespacedMetadata;
  readonly spec: {
    readonly node?: string;
    /** In place of `node`. */
    readonly nodeSelector?: LabelSelector;
    /**
     * IPv4 and IPv6 addresses, canonical text, sorted. Empty, with `nodeSelector` or `process`: what its nodes report.
     */
    readonly addresses: readonly string[];
    /** Path below the cgroup v2 root, without a leading or trailing slash. */
    readonly cgroup?: string;
    /** In place of `cgroup`. */
    readonly process?: ProcessPattern;
    /** A user of the node: only the processes of this user are the workload; on pf nodes. */
    readonly user?: string;
    /** Sorted. */
    readonly tolerates?: readonly Toleration[];
    readonly ports: readonly WorkloadPort[];
    /** The ports that an instance reports; only in a placed state, and only if `ports` is empty. */
    readonly listening?: readonly WorkloadPort[];
    /**
     * Only in a state with instances in place of patterns: what a cgroup that matches `process` gets when it is born. It is
     * nobody's peer.
     */
    readonly isTemplate?: true;
  };
}

export type SelectorOperator = "In" | "NotIn" | "Exists" | "DoesNotExist";

export interface SelectorRequirement {
  readonly key: string;
  readonly operator: SelectorOperator;
  readonly values?: readonly string[];
}

/** Kubernetes' LabelSelector: everything in it must hold; the empty selector matches everything. */
export interface LabelSelector {
  readonly matchLabels?: Labels;
  readonly matchExpressions?: readonly SelectorRequirement[];
}

export interface IPBlock {
  readonly cidr: string;
  readonly except?: readonly string[];
}

/** Selectors (one or both), or an ipBlock, or NetworkSets by name or by labels. */
export interface Peer {
  readonly podSelector?: LabelSelector;
  readonly namespaceSelector?: LabelSelector;
  readonly ipBlock?: IPBlock;
  readonly networkSet?: string;
  readonly networkSetSelector?: LabelSelector;
}

export type PolicyPort =
  | { readonly protocol: PortProtocol; readonly port?: number | string; readonly endPort?: number }
  /** ICMP of both families; `type` and `code` are the numbers of the packet's own family. */
  | { readonly protocol: "ICMP"; readonly type?: number; readonly code?: number };

/** `peers` absent or empty: every peer. `ports` absent or empty: every protocol and port. */
export interface IngressRule {
  readonly from?: readonly Peer[];
  readonly ports?: readonly PolicyPort[];
}

export interface EgressRule {
  readonly to?: readonly Peer[];
  readonly ports?: readonly PolicyPort[];
}

export type PolicyType = "Ingress" | "Egress";
export type PolicyMode = "enforce" | "audit";

/** Modes of isolated directions; an absent direction has the mode of its namespace. */
export interface DirectionModes {
  readonly ingress?: PolicyMode;
  readonly egress?: PolicyMode;
}

export interface NetworkPolicy {
  readonly apiVersion: ApiVersion;
  readonly kind: "NetworkPolicy";
  readonly metadata: NamespacedMetadata;
  readonly spec: {
    readonly podSelector: LabelSelector;
    /** Always filled in: the directions that this policy isolates, Ingress before Egress. */
    readonly policyTypes: readonly PolicyType[];
    readonly ingress?: readonly IngressRule[];
    readonly egress?: readonly EgressRule[];
    /**
     * Only in `ztap/v1`, and only if the author set it: a single word if all isolated directions have the same mode.
     */
    readonly mode?: PolicyMode | DirectionModes;
  };
}

/** All connections from any of `from` to any of `to`; an absent list means every workload and every other address. */
export interface Expectation {
  readonly from?: readonly Peer[];
  readonly to?: readonly Peer[];
  /** Absent: every protocol and port. */
  readonly ports?: readonly PolicyPort[];
}

/**
 * Connections that must be allowed and connections that must never be, whatever the policies say. A test is only
 * checked, never enforced.
 */
export interface ConnectivityTest {
  readonly apiVersion: "ztap/v1";
  readonly kind: "ConnectivityTest";
  readonly metadata: NamespacedMetadata;
  readonly spec: { readonly allow: readonly Expectation[]; readonly deny: readonly Expectation[] };
}

/**
 * How the sender of a connection is known. `address`: by its address. `source`: its own node also asks the policies of the
 * destination. `syn`: the same, and the first packet proves who sent it.
 */
export type IdentityMode = "source" | "address" | "syn";

/** Settings of the whole state; there is at most one. */
export interface Cluster {
  readonly apiVersion: "ztap/v1";
  readonly kind: "Cluster";
  readonly metadata: ClusterMetadata;
  readonly spec?: {
    /** Only if policies without a mode, in namespaces without a mode, are not enforced. */
    readonly mode?: "audit";
    /** How a sender is known; only if it is not `source`. */
    readonly identity?: Exclude<IdentityMode, "source">;
    /** Only if newborn cgroups that patterns match are not closed. */
    readonly newborn?: "open";
    readonly rollout?: {
      /** Time in which a node has to confirm a new revision: a number, and `s`. */
      readonly confirm?: string;
    } & Partial<RolloutPlan>;
  };
}

/** A named set of addresses. */
export interface NetworkSet {
  readonly apiVersion: "ztap/v1";
  readonly kind: "NetworkSet";
  readonly metadata: ClusterMetadata;
  readonly spec: {
    /** The addresses as the fewest CIDRs, without what the author excepts: disjoint, IPv4 first, ascending. */
    readonly cidrs: readonly string[];
  };
}

export type ZtapObject =
  Cluster | Namespace | Node | NodeGroup | Workload | NetworkPolicy | NetworkSet | ConnectivityTest;

/** The place of an object or a rule in the source. Lines and columns count from 1. */
export interface Position {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** The lines where an object and, for a policy, each of its rules begin. */
export interface ObjectPosition {
  readonly file: string;
  readonly line: number;
  readonly rules?: { readonly ingress: readonly number[]; readonly egress: readonly number[] };
}
