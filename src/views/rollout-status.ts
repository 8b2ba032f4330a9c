/** A rollout, as text or as a document; what operators did with it. */
import type { Promotion, Resumed } from "../operations/rollout/control.js";
import type { FleetDifference, RolloutNodeStatus, RolloutReport, RolloutStatus } from "../operations/rollout/status.js";
import type { NodeProgress } from "../plan/rollout/nodes.js";
import type { Rollout, RolloutState } from "../model/rollout.js";
import { describeFreeze } from "../plan/rollout/freeze.js";
import { resumedDocument, renderResumed } from "./source-control.js";
import type { Style } from "./style.js";
import { wrapWords } from "./wrap.js";

const BAR_WIDTH = 24;
/** How many nodes, or differences, the text has; the document has them all. */
const MOST_SHOWN = 20;

export function rolloutStatusDocument({ head, rollout }: RolloutStatus): object {
  if (rollout === null) return { formatVersion: 1, head, rollout: null };
  const { freeze, gates, ...report } = rollout;
  return {
    formatVersion: 1,
    head,
    rollout: {
      ...report,
      freeze: freeze === null ? null : { ...freeze.window, until: freeze.until },
      gates: gates.map(({ isExceeded: exceeded, isWaived: waived, ...gate }) => ({ ...gate, exceeded, waived })),
    },
  };
}

/** @param isTerminal whether to draw a bar */
export function renderRolloutStatus({ head, rollout }: RolloutStatus, style: Style): string {
  if (head === null) return "The store has no revision yet.";
  if (rollout === null) return `Revision ${head} went to all nodes at once: there is no rollout.`;
  const { nodes, message, freeze, waitsUntil, by, gates } = rollout;
  const lines = [
    style.line`Rollout   revision ${rollout.revision}, over revision ${rollout.base}`,
    style.line`          ${describeRevision(rollout)}`,
    style.line`State     ${paintState(rollout, style)}${by === null ? "" : `, by ${by}`}`,
    ...(message === null ? [] : wrapWords(style.line`          ${message}`, style.width, "          ")),
    ...(waitsUntil === null
      ? []
      : [
          style.line`          ${rollout.state === "shadow" ? "compares with live traffic" : "soaks"} until ${waitsUntil}`,
        ]),
    ...(freeze === null ? [] : [style.line`          ${style.warn(describeFreeze(freeze))}`]),
    style.line`Nodes     ${bar(nodes, style)}${nodes.enforced} of ${nodes.total} enforce it, ${nodes.released} have it released`,
    ...gates.map(
      (gate, index) =>
        style.line`${index === 0 ? "Gates" : "     "}     ${renderGate(gate, style)}${gate.reason === null ? "" : `: ${gate.reason}`}`,
    ),
    ...renderCompared(rollout, style),
  ];
  return [...lines, ...renderBehind(rollout, style)].join("\n");
}

function describeRevision({ commit, subject, author }: RolloutReport): string {
  return [commit?.slice(0, 12), subject === null ? author : `${author}: ${subject}`]
    .filter((part) => part !== undefined && part !== "")
    .join("  ");
}

function paintState({ state, wave, waves }: RolloutReport, style: Style): string {
  const paint: Readonly<Record<RolloutState, (text: string) => string>> = {
    shadow: style.warn,
    running: style.warn,
    paused: style.warn,
    failed: style.bad,
    aborted: style.bad,
    complete: style.good,
  };
  const where = state === "shadow" || wave === 0 ? `before wave 1 of ${waves}` : `wave ${wave} of ${waves}`;
  return style.line`${paint[state](state)}, ${where}`;
}

/** Only a terminal has a width. */
function bar({ enforced, released, total }: RolloutReport["nodes"], style: Style): string {
  if (!Number.isFinite(style.width) || total === 0) return "";
  const cells = (count: number): number => Math.floor((count / total) * BAR_WIDTH);
  const done = cells(enforced);
  const begun = Math.max(0, cells(released) - done);
  return style.line`[${style.good("#".repeat(done))}${style.warn("-".repeat(begun))}${" ".repeat(BAR_WIDTH - done - begun)}] `;
}

function renderGate(
  { gate, value, limit, isExceeded, isWaived }: RolloutReport["gates"][number],
  style: Style,
): string {
  const text = `${gate} ${value}, at most ${limit}${isWaived ? " (an operator went over it)" : ""}`;
  return isExceeded ? style.bad(text) : style.good(text);
}

function renderCompared({ compared, differences, state }: RolloutReport, style: Style): readonly string[] {
  const { nodes, missing, connections } = compared;
  if (nodes === 0 && (state !== "shadow" || missing.length === 0)) return [];
  const more = differences.length - MOST_SHOWN;
  return [
    style.line`Compared  ${connections} connections on ${nodes} ${nodes === 1 ? "node" : "nodes"}${missing.length === 0 ? "" : `, not yet on ${listSome(missing)}`}`,
    ...differences.slice(0, MOST_SHOWN).map((one) => style.line`          ${renderDifference(one, style)}`),
    ...(more > 0 ? [`          and ${more} more`] : []),
  ];
}

function renderDifference(difference: FleetDifference, style: Style): string {
  const { effect, direction, workloads, nodes, policy, file, line, count } = difference;
  const word = effect === "denied" ? style.bad("would deny") : style.warn("would allow");
  const rule = policy === null ? "" : `, ${policy}`;
  const where = file === null ? "" : ` (${file}:${line ?? 1})`;
  return style.line`${word} ${count} of ${direction} of ${listSome(workloads)} on ${listSome(nodes)}${rule}${where}`;
}

const WAITING: ReadonlySet<NodeProgress> = new Set(["waiting"]);

function renderBehind({ behind, state, base }: RolloutReport, style: Style): readonly string[] {
  const held = behind.filter(({ progress, message }) => !WAITING.has(progress) || message !== null);
  const byWave = new Map<string, string[]>();
  for (const { node, progress, wave } of behind) {
    if (progress !== "waiting") continue;
    const key = wave === null ? `at revision ${base}` : `wait for wave ${wave}`;
    byWave.set(key, [...(byWave.get(key) ?? []), node]);
  }
  const more = held.length - MOST_SHOWN;
  const lines = [
    ...held.slice(0, MOST_SHOWN).map((node) => style.line`  ${renderNode(node, style)}`),
    ...(more > 0 ? [`  and ${more} more`] : []),
    ...(state === "complete"
      ? []
      : [...byWave].map(([what, nodes]) => style.line`  ${nodes.length} ${what}: ${listSome(nodes)}`)),
  ];
  return lines.length === 0 ? [] : ["", ...lines];
}

function renderNode({ node, progress, message }: RolloutNodeStatus, style: Style): string {
  const paint = progress === "stalled" || progress === "reverted" || progress === "drifted" ? style.bad : style.warn;
  return style.line`${node}  ${paint(progress)}${message === null ? "" : `: ${message}`}`;
}

const NAMED = 5;

function listSome(names: readonly string[]): string {
  const rest = names.length - NAMED;
  return `${names.slice(0, NAMED).join(", ")}${rest > 0 ? ` and ${rest} more` : ""}`;
}

export function rolloutChangeDocument({ revision, base, state, wave, message, by }: Rollout): object {
  return { formatVersion: 1, rollout: { revision, base, state, wave: wave + 1, message, by } };
}

export function renderPaused({ revision }: Rollout, style: Style): string {
  return style.line`${style.good("Paused")}: the rollout of revision ${revision}. Nodes keep what they have until \`ztap rollout resume\`.`;
}

export function renderAborted({ revision, base }: Rollout, style: Style): string {
  return style.line`${style.good("Aborted")}: all nodes return to revision ${base}. Revision ${revision} stays head and does not come again; a newer commit begins anew.`;
}

export function promotedDocument({ rollout, over }: Promotion): object {
  return { ...rolloutChangeDocument(rollout), over };
}

export function renderPromoted({ rollout, over, isComplete }: Promotion, style: Style): string {
  const what = isComplete ? "every node has it" : `wave ${rollout.wave + 1} begins`;
  const lines = [style.line`${style.good("Promoted")}: revision ${rollout.revision}, ${what}.`];
  return [...lines, ...over.map((one) => style.line`${style.warn("This goes over")} ${one}.`)].join("\n");
}

export function resumedAllDocument({ suspension, rollout }: Resumed): object {
  const goesOn = rollout === null ? null : { revision: rollout.revision, state: rollout.state, wave: rollout.wave + 1 };
  return {
    ...resumedDocument(suspension),
    resumed: suspension !== null || rollout !== null,
    rollout: goesOn,
  };
}

export function renderResumedAll({ suspension, rollout, failed }: Resumed, style: Style): string {
  const goesOn =
    rollout === null
      ? []
      : [
          style.line`${style.good("Resumed")}: the rollout of revision ${rollout.revision} goes on${rollout.wave < 0 ? "" : ` in wave ${rollout.wave + 1}`}.`,
        ];
  const left =
    failed === null
      ? []
      : [
          style.line`The rollout of revision ${failed.revision} stays failed; \`ztap rollout resume --retry\` tries it again.`,
        ];
  const source = suspension === null && rollout !== null ? [] : [renderResumed(suspension, style)];
  return [...source, ...goesOn, ...left].join("\n");
}
