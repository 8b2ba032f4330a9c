/**
 * Records of the store: writes each as text, and turns text back into a typed value. Text from the store is not
 * trusted: a record without its shape, or a revision or an object with another digest, is a StoreError and never data.
 */
import { digestOfText } from "../model/digest.js";
import { API_VERSIONS, KINDS, type ObjectPosition, type ZtapObject } from "../model/objects.js";
import { refKey, refOf, type Revision, type RevisionEntry, type SourceRef, type StateObject } from "../model/state.js";
import type { ControlServer } from "../model/management-access.js";
import type { Approval, Suspension } from "../model/source-control.js";
import type { DriftItem, Member, NodeStatus, SourceStatus, SubjectStatus, Unverified } from "../model/status.js";
import { StoreError } from "../interfaces/store.js";
import {
  isBoolean,
  isCount,
  isNumber,
  isString,
  listOf,
  nullable,
  oneOf,
  optional,
  shaped,
  type Guard,
} from "../model/guards.js";
import type { Lease } from "./lease.js";

/** A node's heartbeat. */
export interface LiveRecord extends Lease {
  readonly id: string;
  readonly address: string;
}

/** Leadership. `leader` is null after a resignation; `term` never falls. */
export interface ElectionRecord extends Lease {
  readonly leader: string | null;
  readonly term: number;
}

/** Counters that rise with each change of their kind, so that a watcher sees which records changed. */
export interface SignalRecord {
  readonly status: number;
  readonly members: number;
}

const isPosition = shaped<ObjectPosition>({
  file: isString,
  line: isNumber,
  rules: optional(
    shaped<{ ingress: readonly number[]; egress: readonly number[] }>({
      ingress: listOf(isNumber),
      egress: listOf(isNumber),
    }),
  ),
});

const isEntry = shaped<RevisionEntry>({
  kind: oneOf(...KINDS),
  namespace: nullable(isString),
  name: isString,
  digest: isString,
  version: optional(isCount),
  updatedAt: optional(isString),
  sourceNode: optional(isString),
  position: optional(isPosition),
});

const isSourceRef = shaped<SourceRef>({
  location: isString,
  commit: nullable(isString),
  dirty: isBoolean,
  author: nullable(isString),
  subject: nullable(isString),
});

const isRevision = shaped<Revision>({
  number: isCount,
  parent: nullable(isCount),
  commitId: isString,
  source: isSourceRef,
  time: isString,
  node: isString,
  author: isString,
  reason: isString,
  entries: listOf(isEntry),
});

const isDrift = shaped<DriftItem>({
  kind: oneOf("missing", "extra", "changed", "detached"),
  detail: isString,
  workload: optional(isString),
  policies: optional(listOf(isString)),
});

const isSubjectStatus = shaped<SubjectStatus>({
  workload: isString,
  state: oneOf("Enforced", "Pending", "Stalled"),
  message: optional(isString),
  place: optional(isString),
});

const isControlServer = shaped<ControlServer>({
  role: oneOf("store", "source"),
  port: isCount,
  cgroups: listOf(isString),
});

export const isMember = shaped<Member>({ id: isString, address: isString, joinedAt: isString });

export const isNodeStatus = shaped<NodeStatus>({
  node: isString,
  boot: optional(isString),
  agentCgroup: optional(isString),
  servers: optional(listOf(isControlServer)),
  backend: isString,
  attemptedRevision: nullable(isCount),
  enforcedRevision: nullable(isCount),
  rulesetDigest: nullable(isString),
  state: oneOf("InSync", "Drifted", "Stalled"),
  message: nullable(isString),
  drift: listOf(isDrift),
  healed: isCount,
  subjects: listOf(isSubjectStatus),
  withheld: optional(listOf(isString)),
  observedAt: isString,
});

export const isSourceStatus = shaped<SourceStatus>({
  location: isString,
  ref: nullable(isString),
  path: nullable(isString),
  observedCommit: nullable(isString),
  acceptedCommit: nullable(isString),
  acceptedRevision: optional(isCount),
  state: oneOf("Synced", "OutOfSync", "Rejected", "Unreachable", "Held"),
  message: nullable(isString),
  diagnostics: listOf(
    shaped<SourceStatus["diagnostics"][number]>({
      code: isString,
      file: isString,
      line: isNumber,
      column: isNumber,
      message: isString,
    }),
  ),
  unverified: optional(shaped<Unverified>({ commit: isString, author: isString, problem: isString })),
  rewrittenFrom: optional(isString),
  checkedAt: isString,
  leader: isString,
});

/** Requires a time that can be parsed: any other text would never come due. */
const isTime: Guard<string> = (value): value is string => isString(value) && !Number.isNaN(Date.parse(value));

export const isSuspension = shaped<Suspension>({
  by: isString,
  reason: isString,
  since: isTime,
  until: nullable(isTime),
});

export const isApproval = shaped<Approval>({ commit: isString, by: isString, reason: isString, time: isTime });

export const isLiveRecord = shaped<LiveRecord>({
  id: isString,
  address: isString,
  holder: isString,
  renewedAt: isNumber,
  ttlMs: isNumber,
});

export const isElectionRecord = shaped<ElectionRecord>({
  leader: nullable(isString),
  term: isCount,
  holder: isString,
  renewedAt: isNumber,
  ttlMs: isNumber,
});

export const isSignalRecord = shaped<SignalRecord>({ status: isCount, members: isCount });

const hasName = shaped<{ name: string; namespace: string | undefined }>({
  name: isString,
  namespace: optional(isString),
});
const hasIdentity = shaped<{ apiVersion: string; kind: string; metadata: object }>({
  apiVersion: oneOf(...API_VERSIONS),
  kind: oneOf(...KINDS),
  metadata: hasName,
});

/**
 * Checks the identity of a canonical object. The schema checked the rest of its shape before the commit, and its digest
 * proves that the text is still the same.
 */
const isZtapObject: Guard<ZtapObject> = (value): value is ZtapObject => hasIdentity(value);

/**
 * Reads a record.
 * @throws StoreError `store-damaged` if the text is not JSON of that shape
 */
export function decode<T>(text: string, guard: Guard<T>, key: string): T {
  const value = parse(text);
  if (!guard(value))
    throw new StoreError(
      "store-damaged",
      `the store's record ${key} does not have its shape; restore the store from a backup`,
    );
  return value;
}

/**
 * Reads a record that a node wrote about itself, under its own key; null if it does not have its shape or names another
 * node. One node's record must never prevent reading the others'.
 */
export function decodeOwn<T>(text: string, guard: Guard<T>, id: string, idOf: (record: T) => string): T | null {
  const value = parse(text);
  return guard(value) && idOf(value) === id ? value : null;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Writes a revision below its own digest: nothing else would reveal damage to its manifest. */
export function encodeRevision(revision: Revision): string {
  const text = JSON.stringify(revision);
  return `${digestOfText(text)}\n${text}`;
}

/**
 * Reads a revision.
 * @throws StoreError `store-damaged`
 */
export function decodeRevision(record: string, key: string): Revision {
  const text = record.slice(record.indexOf("\n") + 1);
  if (record !== `${digestOfText(text)}\n${text}`) {
    throw new StoreError(
      "store-damaged",
      `the store's record ${key} is damaged: its digest does not match; restore the store from a backup`,
    );
  }
  return decode(text, isRevision, key);
}

/**
 * Reads an object.
 * @throws StoreError `object-missing`, `object-damaged`
 */
export function decodeObject(text: string | undefined, entry: RevisionEntry): StateObject {
  const name = refKey(entry);
  if (text === undefined)
    throw new StoreError(
      "object-missing",
      `${name} (object ${entry.digest}) is not in the store; apply the policy again, or restore the store from a backup`,
    );
  const value = digestOfText(text) === entry.digest ? parse(text) : undefined;
  if (!isZtapObject(value) || refKey(refOf(value)) !== name) {
    throw new StoreError(
      "object-damaged",
      `${name} (object ${entry.digest}) is damaged in the store: its digest does not match; apply the policy again, or restore the store from a backup`,
    );
  }
  const ref = { kind: entry.kind, namespace: entry.namespace, name: entry.name };
  return entry.position === undefined
    ? { ref, digest: entry.digest, object: value }
    : { ref, digest: entry.digest, object: value, position: entry.position };
}
