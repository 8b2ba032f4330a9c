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
import {
  isBoolean,
  isCount,
  isNumber,
  isString,
  listOf,
  nullable,
  oneOf,
  shaped,
  type Guard,
} from "../../model/guards.js";

const isDirection = oneOf("ingress", "egress");
const isVerdict = oneOf("allowed", "denied", "audited");

export const isQuery: Guard<FlowQuery> = shaped<FlowQuery>({
  follow: isBoolean,
  verdict: nullable(isVerdict),
  workload: nullable(isString),
  direction: nullable(isDirection),
});

const placed = { policy: isString, file: nullable(isString), line: nullable(isNumber) };

const isEvent = shaped<FlowEvent>({
  kind: oneOf("verdict"),
  time: isString,
  node: isString,
  workload: nullable(isString),
  direction: isDirection,
  verdict: isVerdict,
  hook: oneOf("packet", "call"),
  protocol: nullable(isString),
  port: nullable(isNumber),
  icmp: nullable(shaped<{ type: number; code: number }>({ type: isNumber, code: isNumber })),
  localPort: nullable(isNumber),
  peer: shaped<FlowEvent["peer"]>({ address: isString, port: nullable(isNumber), workloads: listOf(isString) }),
  rule: nullable(shaped<FlowRule>({ ...placed, index: isCount, direction: isDirection })),
  policies: listOf(shaped<FlowPolicy>(placed)),
});

const isGap = shaped<FlowGap>({
  kind: oneOf("gap"),
  time: isString,
  limited: isCount,
  lost: isCount,
  dropped: isCount,
});

export const isMessage: Guard<FlowMessage> = (value): value is FlowMessage => isEvent(value) || isGap(value);

export const isRefusal = shaped<FlowRefusal>({
  kind: oneOf("refusal"),
  node: isString,
  workload: isString,
  meant: nullable(isString),
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
