/**
 * Records of the store: writes each as text, and turns text back into a typed value. Text from the store is not
 * trusted: a record without its shape, or a revision or an object with another digest, is a StoreError and never data.
 * Each field has a guard that says what it may hold. Texts for people are made harmless where they are written, and
 * again where they are shown (views/style.ts): what is between the two may come from anybody.
 */
import { digestOfText } from "../model/digest.js";
import { isNodeEndpoints, isSubjectName } from "../model/endpoints.js";
import { API_VERSIONS, KINDS, type ObjectPosition, type ZtapObject } from "../model/objects.js";
import { refKey, refOf, type Revision, type RevisionEntry, type SourceRef, type StateObject } from "../model/state.js";
import type { ControlServer } from "../model/management-access.js";
import type { Approval, Suspension } from "../model/source-control.js";
import type { ShadowDifference, ShadowReport } from "../model/shadow.js";
import type { DriftItem, Member, NodeStatus, SourceStatus, SubjectStatus, Unverified } from "../model/status.js";
import type { WithheldWorkload } from "../model/withholding.js";
import { MOST_SERVER_CGROUPS, MOST_SERVERS } from "../model/management-access.js";
import { recordLine } from "../model/printable.js";
import { StoreError, type DamagedRecord } from "../interfaces/store.js";
import {
  isBoolean,
  isCount,
  isAddress,
  isCommitId,
  isDigest,
  isInstant,
  isLabel,
  isObjectName,
  isPort,
  isPositive,
  isQualifiedName,
  isText,
  isTime,
  isToken,
  listOf,
  nullable,
  oneOf,
  optional,
  shaped,
  type Guard,
} from "../model/guards.js";
import { prefixes } from "./keys.js";
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
  /** Absent: a version wrote it that knows no endpoints. */
  readonly endpoints?: number;
}

const isLines = listOf(isPositive);
export const isPosition = shaped<ObjectPosition>({
  file: isText,
  line: isPositive,
  rules: optional(shaped<NonNullable<ObjectPosition["rules"]>>({ ingress: isLines, egress: isLines })),
});

const isEntry = shaped<RevisionEntry>({
  kind: oneOf(...KINDS),
  namespace: nullable(isLabel),
  name: isObjectName,
  digest: isDigest,
  version: optional(isCount),
  updatedAt: optional(isTime),
  sourceNode: optional(isLabel),
  position: optional(isPosition),
});

export const isSourceRef = shaped<SourceRef>({
  location: isText,
  commit: nullable(isCommitId),
  dirty: isBoolean,
  author: nullable(isText),
  subject: nullable(isText),
});

const isRevision = shaped<Revision>({
  number: isPositive,
  parent: nullable(isPositive),
  commitId: isToken,
  source: isSourceRef,
  time: isTime,
  node: isLabel,
  author: isText,
  reason: isText,
  restores: optional(isPositive),
  entries: listOf(isEntry),
});

const isDrift = shaped<DriftItem>({
  kind: oneOf("missing", "extra", "changed", "detached"),
  detail: isText,
  workload: optional(isSubjectName),
  policies: optional(listOf(isQualifiedName)),
});

const isSubjectStatus = shaped<SubjectStatus>({
  workload: isSubjectName,
  state: oneOf("Enforced", "Pending", "Stalled"),
  message: optional(isText),
  place: optional(isToken),
});

export const isWithheldWorkload = shaped<WithheldWorkload>({
  workload: isSubjectName,
  reason: isText,
  file: optional(isText),
  line: optional(isPositive),
  keeps: listOf(isSubjectName),
});

const isControlServer = shaped<ControlServer>({
  role: oneOf("store", "source"),
  port: isPort,
  cgroups: listOf(isText, MOST_SERVER_CGROUPS),
});

const isShadowDifference = shaped<ShadowDifference>({
  effect: oneOf("denied", "allowed"),
  direction: oneOf("ingress", "egress"),
  workload: isSubjectName,
  policy: nullable(isText),
  file: nullable(isText),
  line: nullable(isPositive),
  count: isCount,
});

const MOST_SHADOW_DIFFERENCES = 20;

const isShadowReport = shaped<ShadowReport>({
  revision: isPositive,
  commitId: isToken,
  since: isTime,
  judged: isCount,
  newDenials: isCount,
  newAllows: isCount,
  differences: listOf(isShadowDifference, MOST_SHADOW_DIFFERENCES),
});

const isMember = shaped<Member>({ id: isLabel, address: isAddress, joinedAt: isTime });

const isNodeStatus = shaped<NodeStatus>({
  node: isLabel,
  boot: optional(isToken),
  agentCgroup: optional(isText),
  servers: optional(listOf(isControlServer, MOST_SERVERS)),
  warnings: optional(listOf(isText)),
  backend: isToken,
  attemptedRevision: nullable(isPositive),
  enforcedRevision: nullable(isPositive),
  rulesetDigest: nullable(isDigest),
  state: oneOf("InSync", "Drifted", "Stalled"),
  message: nullable(isText),
  drift: listOf(isDrift),
  healed: isCount,
  subjects: listOf(isSubjectStatus),
  withheld: optional(
    shaped<NonNullable<NodeStatus["withheld"]>>({ revision: isPositive, workloads: listOf(isWithheldWorkload) }),
  ),
  shadow: optional(isShadowReport),
  observedAt: isTime,
});

export const isSourceStatus = shaped<SourceStatus>({
  location: isText,
  ref: nullable(isText),
  path: nullable(isText),
  observedCommit: nullable(isCommitId),
  acceptedCommit: nullable(isCommitId),
  acceptedRevision: optional(isPositive),
  state: oneOf("Synced", "OutOfSync", "Rejected", "Unreachable", "Held"),
  message: nullable(isText),
  diagnostics: listOf(
    shaped<SourceStatus["diagnostics"][number]>({
      code: isToken,
      file: isText,
      line: isPositive,
      column: isPositive,
      message: isText,
    }),
  ),
  unverified: optional(shaped<Unverified>({ commit: isCommitId, author: isText, problem: isText })),
  tooLarge: optional(isText),
  rewrittenFrom: optional(isCommitId),
  checkedAt: isTime,
  leader: isLabel,
});

export const isSuspension = shaped<Suspension>({
  by: isText,
  reason: isText,
  since: isTime,
  until: nullable(isTime),
});

export const isApproval = shaped<Approval>({ commit: isCommitId, by: isText, reason: isText, time: isTime });

export const isLiveRecord = shaped<LiveRecord>({
  id: isLabel,
  address: isAddress,
  holder: isToken,
  renewedAt: isInstant,
  ttlMs: isInstant,
});

export const isElectionRecord = shaped<ElectionRecord>({
  leader: nullable(isLabel),
  term: isCount,
  holder: isToken,
  renewedAt: isInstant,
  ttlMs: isInstant,
});

export const isSignalRecord = shaped<SignalRecord>({
  status: isCount,
  members: isCount,
  endpoints: optional(isCount),
});

const hasName = shaped<{ name: string; namespace: string | undefined }>({
  name: isObjectName,
  namespace: optional(isLabel),
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

/** One kind of record that a node writes about itself, under its own key. */
export interface OwnRecord<T> {
  readonly prefix: string;
  /** Its name, for people. */
  readonly what: string;
  /**
   * Reads the text under a key; null if it does not have its shape or names another node. One node's record must never
   * prevent reading the others'.
   */
  readonly read: (key: string, text: string) => T | null;
}

/** Largest size of a record that a node writes about itself. */
export const MAX_OWN_BYTES = 8 * 1024 * 1024;

export function ownRecord<T>(prefix: string, what: string, guard: Guard<T>, idOf: (record: T) => string): OwnRecord<T> {
  const read = (key: string, text: string): T | null => {
    const value = text.length > MAX_OWN_BYTES ? undefined : parse(text);
    return guard(value) && idOf(value) === key.slice(prefix.length) ? value : null;
  };
  return { prefix, what, read };
}

export const MEMBER = ownRecord(prefixes.members, "membership", isMember, ({ id }) => id);
export const STATUS = ownRecord(prefixes.status, "status", isNodeStatus, ({ node }) => node);
export const ENDPOINTS = ownRecord(prefixes.endpoints, "endpoints", isNodeEndpoints, ({ node }) => node);
export const LIVE = ownRecord(prefixes.live, "heartbeat", isLiveRecord, ({ id }) => id);

/** Describes a record that cannot be read. */
export function damagedRecord(
  { prefix, what }: Pick<OwnRecord<unknown>, "prefix" | "what">,
  key: string,
): DamagedRecord {
  const id = key.slice(prefix.length);
  return { key: recordLine(key), what, node: isLabel(id) ? id : null };
}

/** Returns a record with its texts for people as they are stored: bounded, and without line breaks and control characters. */
export function tidyStatus(status: NodeStatus): NodeStatus {
  const { withheld, shadow } = status;
  return {
    ...status,
    ...(shadow === undefined ? {} : { shadow: tidyShadow(shadow) }),
    ...(withheld === undefined ? {} : { withheld: { ...withheld, workloads: withheld.workloads.map(tidyWithheld) } }),
    message: status.message === null ? null : recordLine(status.message),
    ...(status.warnings === undefined ? {} : { warnings: status.warnings.map(recordLine) }),
    drift: status.drift.map((item) => ({ ...item, detail: recordLine(item.detail) })),
    subjects: status.subjects.map((subject) =>
      subject.message === undefined ? subject : { ...subject, message: recordLine(subject.message) },
    ),
  };
}

function tidyShadow({ differences, ...shadow }: ShadowReport): ShadowReport {
  const line = (text: string | null): string | null => (text === null ? null : recordLine(text));
  const tidy = ({ policy, file, ...one }: ShadowDifference): ShadowDifference => ({
    ...one,
    policy: line(policy),
    file: line(file),
  });
  return { ...shadow, differences: differences.slice(0, MOST_SHADOW_DIFFERENCES).map(tidy) };
}

function tidyWithheld(withheld: WithheldWorkload): WithheldWorkload {
  const { reason, file } = withheld;
  return { ...withheld, reason: recordLine(reason), ...(file === undefined ? {} : { file: recordLine(file) }) };
}

/** The same for the status of the source. */
export function tidySourceStatus(status: SourceStatus): SourceStatus {
  const { unverified, tooLarge, message, diagnostics } = status;
  return {
    ...status,
    message: message === null ? null : recordLine(message),
    ...(tooLarge === undefined ? {} : { tooLarge: recordLine(tooLarge) }),
    diagnostics: diagnostics.map((one) => ({ ...one, file: recordLine(one.file), message: recordLine(one.message) })),
    ...(unverified === undefined
      ? {}
      : {
          unverified: {
            ...unverified,
            author: recordLine(unverified.author),
            problem: recordLine(unverified.problem),
          },
        }),
  };
}

/** The same for a decision of an operator. */
export function tidyDecision<T extends { readonly by: string; readonly reason: string }>(decision: T): T {
  return { ...decision, by: recordLine(decision.by), reason: recordLine(decision.reason) };
}

export function encodeSuspension(suspension: Suspension): string {
  return JSON.stringify(tidyDecision(suspension));
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/**
 * Writes a revision below its own digest: nothing else would reveal damage to its manifest.
 * @throws StoreError `object-damaged` if a field is not what it may be: the store could never return it
 */
export function encodeRevision(revision: Revision): string {
  const { number, node } = revision;
  if (!isRevision(revision))
    throw new StoreError(
      "object-damaged",
      `revision ${number} has a field that no store can return, such as a node (${JSON.stringify(node.slice(0, 80))}) that is not a DNS label; nothing was committed`,
    );
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
