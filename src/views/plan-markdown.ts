/**
 * A plan as a comment on a pull request: the summary first, then the connections that open, those that close, and
 * folded up the changes of each object. The first line is a marker, invisible when rendered, which identifies the
 * comment for later updates.
 */
import type { Diagnostic } from "../model/diagnostic.js";
import { qualifiedName } from "../model/state.js";
import type { ConnectivityDiff } from "../plan/connectivity/diff.js";
import type { ConnectionGroup } from "../plan/connectivity/groups.js";
import type { Change, Plan } from "../plan/plan.js";
import { changeLines, countConnections, describeBase, describeCauses, notComputed, SIGNS } from "./changes.js";
import type { PlannedInstances } from "../operations/workload/planned.js";
import { describePorts } from "./connectivity.js";
import { block, code, diffFence, fitSections, folded, html, type Section } from "./markdown.js";
import { describePlanned } from "./workloads.js";
import { titleOf } from "./reports/problem.js";

/** The longest comment on GitHub, in characters. GitLab allows a million. */
const LIMIT = 65_536;
const TOO_LONG = `**The plan is cut: a comment holds ${LIMIT.toLocaleString("en")} characters. \`ztap plan\` shows the rest.**`;

/** The number of connection lines that are not folded up. */
const SHOWN_GROUPS = 20;

export function renderPlanMarkdown(
  plan: Plan,
  connectivity: ConnectivityDiff,
  location: string,
  instances: readonly PlannedInstances[] = [],
): string {
  const sections = [
    block(...title(location), summarize(plan, connectivity), ""),
    ...(connectivity.unknown === null ? [] : [block(notComputed(code(connectivity.unknown)), "")]),
    ...unenforcedSections(connectivity.unenforced),
    ...connectionSections("Opens", "**", connectivity.groups.opened),
    ...connectionSections("Closes", "", connectivity.groups.closed),
    ...instanceSections(instances),
    ...(plan.changes.length === 0 ? [] : [block("#### Objects", "")]),
    ...plan.changes.map(changeSection),
  ];
  return fitSections(sections, LIMIT, TOO_LONG);
}

function instanceSections(instances: readonly PlannedInstances[]): readonly Section[] {
  if (instances.length === 0) return [];
  const lines = describePlanned(instances).map((line) => `- ${code(line)}`);
  return [{ open: ["#### Instances, as last reported", ""], lines, close: [""] }];
}

/** Returns the same comment without a plan, so that an outdated one does not stay. */
export function renderNoPlanMarkdown(
  location: string,
  { message, diagnostics }: { readonly message: string; readonly diagnostics: readonly Diagnostic[] },
): string {
  const errors = diagnostics.filter(({ severity }) => severity === "error");
  const sections = [
    block(...title(location), `**No plan was made**: ${code(message)}`, ""),
    { open: [], lines: errors.map(describeError), close: [""] },
  ];
  return fitSections(sections, LIMIT, TOO_LONG);
}

function title(location: string): readonly string[] {
  // In an HTML comment only its end is special; the marker holds no other characters than a path.
  const place = location.replace(/[^\w./:@-]/g, "_").replace(/-{2,}/g, "-");
  const of = location === "." ? "" : ` of ${code(location)}`;
  return [`<!-- ztap plan: ${place} -->`, `### ztap plan${of}`, ""];
}

function summarize(plan: Plan, { unknown, summary: { opened, closed } }: ConnectivityDiff): string {
  const { create, update, delete: deleted } = plan.summary;
  const { commit, dirty } = plan.source;
  const what =
    commit === null ? "" : ` of commit \`${commit.slice(0, 12)}\`${dirty ? " with changes that it does not hold" : ""}`;
  const against = `Plan${what} against ${describeBase(plan)}.`;
  if (plan.changes.length === 0) return `**No changes.** ${against}`;
  const connections =
    unknown !== null
      ? ""
      : opened + closed === 0
        ? "No connection opens or closes. "
        : `${plural(opened, "connection")} to open, ${closed} to close. `;
  return `**${connections}${plural(create, "object")} to create, ${update} to update, ${deleted} to delete.** ${against}`;
}

function plural(count: number, word: string): string {
  return `${count} ${word}${count === 1 ? "" : "s"}`;
}

function unenforcedSections(unenforced: readonly string[]): readonly Section[] {
  if (unenforced.length === 0) return [];
  const heading = "**No longer enforced**: if their processes still run, no policy restricts them from then on.";
  const lines = unenforced.map((name) => `- ${code(name)}`);
  const more = { open: [], lines: lines.slice(SHOWN_GROUPS), close: [] };
  return [
    { open: [heading, ""], lines: lines.slice(0, SHOWN_GROUPS), close: [""] },
    ...(more.lines.length === 0 ? [] : [folded(`and ${plural(more.lines.length, "workload")} more`, more)]),
  ];
}

/**
 * Returns the sections. Intended connections come first, and are never hidden behind those that only share an address.
 */
function connectionSections(heading: string, mark: "**" | "", groups: readonly ConnectionGroup[]): readonly Section[] {
  if (groups.length === 0) return [];
  const [meant, shared] = [false, true].map((is) => groups.filter(({ sharesAddress }) => sharesAddress === is));
  const lines = connectionLines(meant ?? [], mark);
  const rest = countConnections((meant ?? []).slice(SHOWN_GROUPS));
  const also = countConnections(shared ?? []);
  const more = { open: [], lines: lines.slice(SHOWN_GROUPS), close: [] };
  const byAddress = { open: [], lines: connectionLines(shared ?? [], mark), close: [] };
  return [
    { open: [`#### ${heading}`, ""], lines: lines.slice(0, SHOWN_GROUPS), close: [""] },
    ...(rest === 0 ? [] : [folded(`and ${plural(rest, "connection")} more`, more)]),
    ...(also === 0
      ? []
      : [
          folded(
            `and ${plural(also, "connection")} of workloads that no rule selects: they share an address with a selected one`,
            byAddress,
          ),
        ]),
  ];
}

function connectionLines(groups: readonly ConnectionGroup[], mark: "**" | ""): readonly string[] {
  return groups.map((group) => {
    const connection = code(`${group.fromText} → ${group.toText} ${describePorts(group)}`);
    const causes = describeCauses(group.causes);
    return `- ${mark}${connection}${mark}${causes === "" ? "" : ` by ${code(causes)}`}`;
  });
}

function changeSection(change: Change): Section {
  const { action, ref, position } = change;
  const where = position === null ? "" : ` <code>${html(`${position.file}:${position.line}`)}</code>`;
  const summary = `${SIGNS[action]} ${action} ${ref.kind} <code>${html(qualifiedName(ref))}</code>${where}`;
  return folded(summary, diffFence(changeLines(change)));
}

function describeError({ file, line, column, code: id, message, fix }: Diagnostic): string {
  const hint = fix === undefined ? "" : `; fix: ${code(fix)}`;
  return `- ${code(`${file}:${line}:${column}`)} ${titleOf(id)}: ${code(message)}${hint}`;
}
