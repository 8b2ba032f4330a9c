/**
 * The protocol of the socket: a query from the reader, then messages from the agent, each one line of JSON; and a last
 * line after the complete answer. A dead agent sends no last line.
 */
import type {
  FlowEvent,
  FlowGap,
  FlowMessage,
  FlowPolicy,
  FlowQuery,
  FlowRefusal,
  FlowRule,
} from "../../model/flow.js";
import { SHADOW_VERDICTS } from "../../model/flow.js";
import { isSubjectName } from "../../model/endpoints.js";
import {
  isBoolean,
  isCount,
  isLabel,
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
} from "../../model/guards.js";

const isDirection = oneOf("ingress", "egress");
const isByte: Guard<number> = (value): value is number => isCount(value) && value <= 255;
const isVerdict = oneOf("allowed", "denied", "audited");

export const isQuery: Guard<FlowQuery> = shaped<FlowQuery>({
  follow: isBoolean,
  verdict: nullable(oneOf("allowed", "denied", "audited", ...SHADOW_VERDICTS)),
  workload: nullable(isText),
  direction: nullable(isDirection),
});

const placed = { policy: isQualifiedName, file: nullable(isText), line: nullable(isPositive) };

const isRule = shaped<FlowRule>({ ...placed, index: isCount, direction: isDirection });

const isEvent = shaped<FlowEvent>({
  kind: oneOf("verdict"),
  time: isTime,
  node: isLabel,
  workload: nullable(isSubjectName),
  direction: isDirection,
  verdict: isVerdict,
  hook: oneOf("packet", "call"),
  protocol: nullable(isToken),
  port: nullable(isPort),
  icmp: nullable(shaped<{ type: number; code: number }>({ type: isByte, code: isByte })),
  localPort: nullable(isPort),
  peer: shaped<FlowEvent["peer"]>({
    address: isToken,
    port: nullable(isPort),
    workloads: listOf(isSubjectName),
  }),
  rule: nullable(isRule),
  policies: listOf(shaped<FlowPolicy>(placed)),
  identity: optional(
    shaped<NonNullable<FlowEvent["identity"]>>({
      destinations: listOf(isSubjectName),
      sharing: listOf(isSubjectName),
    }),
  ),
  shadow: optional(
    shaped<NonNullable<FlowEvent["shadow"]>>({
      verdict: isVerdict,
      rule: nullable(isRule),
      policies: listOf(shaped<FlowPolicy>(placed)),
    }),
  ),
});

const isGap = shaped<FlowGap>({
  kind: oneOf("gap"),
  time: isTime,
  limited: isCount,
  lost: isCount,
  dropped: isCount,
});

export const isMessage: Guard<FlowMessage> = (value): value is FlowMessage => isEvent(value) || isGap(value);

export const isRefusal = shaped<FlowRefusal>({
  kind: oneOf("refusal"),
  node: isLabel,
  workload: isText,
  meant: nullable(isText),
});

export const LAST_LINE = JSON.stringify({ kind: "end" });

/** Returns null for an invalid line. */
export function parseLine<T>(line: string, guard: Guard<T>): T | null {
  try {
    const value: unknown = JSON.parse(line);
    return guard(value) ? value : null;
  } catch {
    return null;
  }
}
