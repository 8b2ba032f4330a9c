/**
 * The record of a withholding, below its own digest: a part of it that was lost would open what is closed. Every field is
 * checked, as in the records of the store.
 */
import { isSubjectName } from "../model/endpoints.js";
import { digestOfText } from "../model/digest.js";
import { recordLine } from "../model/printable.js";
import { OVERRIDE_KINDS } from "../model/override.js";
import { TOLERATIONS } from "../model/objects.js";
import type { Clause, PortRange, Profile, Rule, Sender, Senders, Subject, SubjectDirection } from "../model/ruleset.js";
import type { Withholding } from "../model/withholding.js";
import { StoreError } from "../interfaces/store.js";
import {
  isCount,
  isLabel,
  isObjectName,
  isPort,
  isPositive,
  isQualifiedName,
  isString,
  isText,
  listOf,
  nullable,
  oneOf,
  optional,
  shaped,
  type Guard,
} from "../model/guards.js";
import { decode, isWithheldWorkload } from "./records.js";

const isDirection = oneOf("ingress", "egress");

const isRule = shaped<Rule>({
  key: isString,
  policy: shaped<Rule["policy"]>({ namespace: isLabel, name: isObjectName }),
  direction: isDirection,
  index: isCount,
  file: optional(isText),
  line: optional(isPositive),
});

const isProtocol = oneOf("TCP", "UDP", "SCTP", "ICMP");

function anyOr<T>(guard: Guard<T>): Guard<"any" | T> {
  return (value): value is "any" | T => value === "any" || guard(value);
}

const isSenders = shaped<Senders>({
  blocks: listOf(isString),
  workloads: listOf(shaped<Sender>({ workload: isQualifiedName, addresses: listOf(isString) })),
});

const isClause = shaped<Clause>({
  rule: nullable(isCount),
  effect: optional((value): value is "deny" => value === "deny"),
  unplaced: optional(listOf(isSubjectName)),
  peers: anyOr(listOf(isString)),
  ports: anyOr(listOf(shaped<PortRange>({ protocol: isProtocol, first: isPort, last: isPort }))),
  senders: optional(isSenders),
});

const isProfile = shaped<Profile>({
  key: isString,
  direction: isDirection,
  rules: listOf(isRule),
  clauses: listOf(isClause),
});

const isSubjectDirection = shaped<SubjectDirection>({
  mode: oneOf("open", "enforce", "audit"),
  profile: nullable(isString),
  policies: listOf(isQualifiedName),
});

const isSubject = shaped<Subject>({
  workload: isSubjectName,
  cgroup: nullable(isText),
  template: optional(isText),
  isHost: optional((value): value is true => value === true),
  addresses: listOf(isString),
  user: optional(isText),
  tolerates: optional(listOf(oneOf(...TOLERATIONS))),
  ingress: isSubjectDirection,
  egress: isSubjectDirection,
  identity: optional(isString),
  override: optional(shaped<NonNullable<Subject["override"]>>({ kind: oneOf(...OVERRIDE_KINDS), until: isPositive })),
});

const isWithholding = shaped<Withholding>({
  workloads: listOf(isWithheldWorkload),
  kept: shaped<Withholding["kept"]>({ subjects: listOf(isSubject), profiles: listOf(isProfile) }),
  remaining: listOf(isText),
  enforcedRevision: nullable(isPositive),
});

/** Bounds the texts that name policies: what is written must be readable. */
export function encodeWithholding(withholding: Withholding): string {
  const workloads = withholding.workloads.map((one) => ({ ...one, reason: recordLine(one.reason) }));
  const text = JSON.stringify({ ...withholding, workloads, remaining: withholding.remaining.map(recordLine) });
  return `${digestOfText(text)}\n${text}`;
}

/** @throws StoreError `store-damaged` */
export function decodeWithholding(record: string, key: string): Withholding {
  const text = record.slice(record.indexOf("\n") + 1);
  if (record !== `${digestOfText(text)}\n${text}`)
    throw new StoreError("store-damaged", `the withheld part of ${key} is damaged: its digest does not match`);
  return decode(text, isWithholding, key);
}
