/**
 * Flow events as lines for people. They arrive one by one, so that the columns have fixed widths; on a terminal that is
 * too narrow for them, each event has two lines, the second for its reason.
 */
import { shadowVerdictOf, type FlowEvent, type FlowGap, type FlowMessage, type FlowQuery } from "../model/flow.js";
import type { Style } from "./style.js";
import { shorten, wrapWords } from "./wrap.js";

const WIDTHS = { time: 24, verdict: 7, direction: 7, workload: 24, peer: 40, port: 10 } as const;

/** The width of all columns and a short reason. */
const FULL_WIDTH = Object.values(WIDTHS).reduce((sum, width) => sum + width + 2, 0) + 30;

/** Returns the head; null if there is no room for columns. */
export function renderFlowHead(style: Style): string | null {
  if (style.width < FULL_WIDTH) return null;
  const titles = ["Time", "Verdict", "", "Workload", "Peer", "Port", "Policy"];
  const widths = [...Object.values(WIDTHS), 0];
  return style.bold(
    titles
      .map((title, at) => title.padEnd(widths[at] ?? 0))
      .join("  ")
      .trimEnd(),
  );
}

export function renderFlow(message: FlowMessage, style: Style): string {
  return message.kind === "gap" ? style.dim(describeGap(message)) : renderEvent(message, style);
}

function renderEvent(event: FlowEvent, style: Style): string {
  const paint = { allowed: style.good, denied: style.bad, audited: style.warn }[event.verdict];
  const { address, workloads } = event.peer;
  if (style.width < FULL_WIDTH) return renderNarrow(event, paint, style);
  // Without a terminal nothing is cut.
  const cut = (text: string, width: number) => (style.width === Infinity ? text : shorten(text, width, "middle"));
  const cell = (text: string, width: number) => cut(style.clean(text), width).padEnd(width);
  const cells = [
    event.time.padEnd(WIDTHS.time),
    paint(event.verdict.padEnd(WIDTHS.verdict)),
    event.direction.padEnd(WIDTHS.direction),
    cell(event.workload ?? "?", WIDTHS.workload),
    cell(workloads.length === 0 ? address : `${workloads.join(",")} (${address})`, WIDTHS.peer),
    portText(event).padEnd(WIDTHS.port),
    describeReason(event),
  ];
  return shorten(style.clean(cells.join("  ")), style.width, "end");
}

/** Renders the time without its date, and arrows in place of columns. */
function renderNarrow(event: FlowEvent, paint: (text: string) => string, style: Style): string {
  const { address, workloads } = event.peer;
  const peer = workloads.length === 0 ? address : `${workloads.join(",")} (${address})`;
  const arrow = event.direction === "egress" ? "→" : "←";
  const what = style.line`${event.workload ?? "?"} ${arrow} ${peer} ${portText(event)}`;
  const head = style.line`${event.time.slice(11, 19)} ${paint(event.verdict.padEnd(WIDTHS.verdict))}`;
  const indent = " ".repeat(17);
  return [
    ...wrapWords(`${head} ${what}`, style.width, indent),
    ...wrapWords(style.line`${indent}${describeReason(event)}`, style.width, indent),
  ]
    .map((line) => shorten(line, style.width, "end"))
    .join("\n");
}

export function describeNoFlows({ workload, verdict, direction }: FlowQuery, style: Style): string {
  const some = [verdict, direction].filter((word) => word !== null).join(" ");
  const of = workload === null ? "" : ` of ${workload}`;
  return style.line`No ${some === "" ? "" : `${some} `}flow${of} is stored; \`--follow\` waits for new ones.`;
}

/** Returns the port as in `ztap explain --to`. */
function portText({ protocol, port, icmp }: FlowEvent): string {
  if (protocol === null) return "?";
  if (icmp !== null) return `${icmp.type}.${icmp.code}/${protocol}`;
  return port === null ? protocol : `${port}/${protocol}`;
}

function describeReason(event: FlowEvent): string {
  const { shadow } = event;
  const would = shadowVerdictOf(event);
  const reason = describeDecision(event);
  if (shadow === undefined || would === null) return reason;
  // What is new of it comes first: the line may be cut.
  return `${would}: ${describeDecision({ ...shadow, hook: "packet", workload: event.workload })}; now: ${reason}`;
}

function describeDecision({
  verdict,
  rule,
  policies,
  hook,
  identity,
  workload,
}: Pick<FlowEvent, "verdict" | "rule" | "policies" | "hook" | "identity" | "workload">): string {
  if (identity !== undefined) {
    const { destinations, sharing } = identity;
    const whom = destinations.length === 0 ? "the destination" : destinations.join(", ");
    const others = sharing.length === 0 ? "" : ` (it would by the address that it shares with ${sharing.join(", ")})`;
    return `refused at the source: ${whom} does not let in ${workload ?? "the sender"}${others}`;
  }
  if (rule !== null) return `${rule.policy} ${rule.direction}[${rule.index}]${where(rule)}`;
  if (verdict === "allowed") return policies.length === 0 ? "not isolated" : "no rule needed";
  const names = policies.map((policy) => `${policy.policy}${where(policy)}`).join(", ");
  const call = hook === "call" ? " (connect refused)" : "";
  return `no rule of ${names === "" ? "an earlier policy" : names}${call}`;
}

function where({ file, line }: { readonly file: string | null; readonly line: number | null }): string {
  return file === null ? "" : ` (${file}:${line ?? "?"})`;
}

function describeGap({ limited, lost, dropped }: FlowGap): string {
  const parts = [
    ...(limited > 0 ? [`${limited} over the rate of their workload`] : []),
    ...(lost > 0 ? [`${lost} that the agent was too slow for`] : []),
    ...(dropped > 0 ? [`${dropped} that this reader was too slow for`] : []),
  ];
  return `... not shown: ${parts.join(", ")}`;
}
