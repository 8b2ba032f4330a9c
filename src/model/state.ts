/**
 * Desired state (all objects at one commit) and revision (a committed desired state, numbered).
 */
import type { Kind, ObjectPosition, ObjectRef, ZtapObject } from "./objects.js";

/** One object with its identity, its digest and, if it came from a file, its position. */
export interface StateObject {
  readonly ref: ObjectRef;
  /** SHA-256 of the canonical JSON text, hexadecimal; see `digestOf`. */
  readonly digest: string;
  readonly object: ZtapObject;
  readonly position?: ObjectPosition;
}

/** All objects of one state, by `refKey`, in the order of the keys. */
export type ObjectSet = ReadonlyMap<string, StateObject>;

/** The place that a desired state was read from. */
export interface SourceRef {
  /** Repository or folder as the user named it, without credentials; null for objects from elsewhere. */
  readonly location: string;
  /** Full commit id; null if the folder is no Git work tree. */
  readonly commit: string | null;
  /** True if the work tree has changes that are not in the commit. */
  readonly dirty: boolean;
  readonly author: string | null;
  /** First line of the commit's message. */
  readonly subject: string | null;
}

export interface DesiredState {
  readonly source: SourceRef;
  readonly objects: ObjectSet;
}

/** One line of a revision's manifest. `version` counts the distinct contents of a policy and never restarts. */
export interface RevisionEntry {
  readonly kind: Kind;
  readonly namespace: string | null;
  readonly name: string;
  readonly digest: string;
  /** Policies only. */
  readonly version?: number;
  /** Policies only: when and by which node this version was committed. */
  readonly updatedAt?: string;
  readonly sourceNode?: string;
  readonly position?: ObjectPosition;
}

export interface Revision {
  readonly number: number;
  /** The revision that was head when this one was committed; null for the first. */
  readonly parent: number | null;
  /** Unique for each attempt to commit, so that a lost answer can be distinguished from a lost race. */
  readonly commitId: string;
  readonly source: SourceRef;
  /** RFC 3339, UTC. */
  readonly time: string;
  /** Node or host that made the commit. */
  readonly node: string;
  /** The author of the commit, or the operator. */
  readonly author: string;
  /** `source`, `apply`, `rollback`, … followed by the operator's reason. */
  readonly reason: string;
  /** Number of the earlier revision whose whole state this one restores; absent for all others. */
  readonly restores?: number;
  readonly entries: readonly RevisionEntry[];
}

/** A revision with its objects, digests checked. */
export interface CommittedState {
  readonly revision: Revision;
  readonly objects: ObjectSet;
}

const CLUSTER_SCOPED: ReadonlySet<Kind> = new Set<Kind>(["Cluster", "Node", "NodeGroup", "Namespace", "NetworkSet"]);

export function isClusterScoped(kind: Kind): boolean {
  return CLUSTER_SCOPED.has(kind);
}

export function refOf(object: ZtapObject): ObjectRef {
  const namespace = "namespace" in object.metadata ? object.metadata.namespace : null;
  return { kind: object.kind, namespace, name: object.metadata.name };
}

/**
 * Returns `Kind/namespace/name`, with an empty middle for cluster-scoped kinds. Sorts by kind, then namespace, then
 * name.
 */
export function refKey(ref: ObjectRef): string {
  return `${ref.kind}/${ref.namespace ?? ""}/${ref.name}`;
}

/** Returns `namespace/name`, the form of workloads and policies in every output. */
export function qualifiedName(ref: { readonly namespace: string | null; readonly name: string }): string {
  return ref.namespace === null ? ref.name : `${ref.namespace}/${ref.name}`;
}
