/** The parts of a plan in words, for both its text and its markdown. */
import { diffLines } from "diff";
import type { ZtapObject } from "../model/objects.js";
import { toYamlLines } from "./yaml.js";
import type { Cause } from "../plan/connectivity/causes.js";
import type { ConnectionGroup } from "../plan/connectivity/groups.js";
import type { Change, Plan } from "../plan/plan.js";

export const SIGNS = { create: "+", update: "~", delete: "-" } as const;

/** Returns the name of the plan's base. */
export function describeBase({ base, against }: Plan): string {
  if (against !== null) return `commit ${against.commit?.slice(0, 12) ?? "none"}`;
  return base === null ? "an empty store" : `revision ${base}`;
}

export function notComputed(why: string): string {
  return `The connections that open and close were not computed: ${why}.`;
}

export function countConnections(groups: readonly ConnectionGroup[]): number {
  return groups.reduce((sum, { connections }) => sum + connections, 0);
}

/** The number of rules or workloads that a line names as causes. */
const SHOWN_CAUSES = 2;

export function describeCauses(causes: readonly Cause[]): string {
  const shown = causes.slice(0, SHOWN_CAUSES).map(({ kind, name, direction, index, file, line }) => {
    const what =
      kind === "Workload"
        ? `workload ${name}`
        : kind === "NetworkSet"
          ? `NetworkSet ${name}`
          : `${name} ${direction ?? ""}${index === undefined ? "" : `[${index}]`}`;
    return file === undefined ? what : `${what} (${file}:${line ?? 1})`;
  });
  return causes.length > SHOWN_CAUSES ? `${shown.join(", ")}, …` : shown.join(", ");
}

/** Returns the object's own lines with `+`, `-` or a space in front; of an update only those near a change. */
export function changeLines({ before, after }: Change): readonly string[] {
  if (before?.kind === "NetworkSet" || after?.kind === "NetworkSet") return setLines(before, after);
  return diffObjects(before, after);
}

/** The number of added and of removed CIDRs of a NetworkSet that are shown; the plan as a document has the sets. */
const SHOWN_CIDRS = 20;

/** A set may have a hundred thousand CIDRs, in canonical order: they are compared as a set, and the first are shown. */
function setLines(before: ZtapObject | null, after: ZtapObject | null): readonly string[] {
  const [had, has] = [cidrsOf(before), cidrsOf(after)];
  const [old, now] = [new Set(had), new Set(has)];
  const added = has.filter((cidr) => !old.has(cidr));
  const removed = had.filter((cidr) => !now.has(cidr));
  const labels = diffObjects(before, after);
  const first = (sign: "+" | "-", cidrs: readonly string[]): readonly string[] => {
    const rest = cidrs.length - SHOWN_CIDRS;
    const shown = cidrs.slice(0, SHOWN_CIDRS).map((cidr) => `${sign}   - ${cidr}`);
    return rest > 0 ? [...shown, `${sign}   … and ${rest} more CIDRs`] : shown;
  };
  return [...labels, "  cidrs:", ...first("+", added), ...first("-", removed)];
}

const cidrsOf = (object: ZtapObject | null): readonly string[] =>
  object?.kind === "NetworkSet" ? object.spec.cidrs : [];

/** Returns the lines of two objects with `+`, `-` or a space in front; of two, only those near a difference. */
export function diffObjects(before: ZtapObject | null, after: ZtapObject | null): readonly string[] {
  const parts = diffLines(toYaml(before), toYaml(after));
  const lines = parts.flatMap(({ value, added, removed }) =>
    value
      .split("\n")
      .slice(0, -1)
      .map((line) => `${added ? "+" : removed ? "-" : " "} ${line}`),
  );
  if (before === null || after === null) return lines;
  const isNear = lines.map((_, index) =>
    lines.slice(Math.max(0, index - 3), index + 4).some((line) => !line.startsWith(" ")),
  );
  return lines.flatMap((line, index) => (isNear[index] === true ? [line] : isNear[index - 1] === true ? ["  …"] : []));
}

function toYaml(object: ZtapObject | null): string {
  if (object === null) return "";
  const { labels } = object.metadata;
  // The addresses of a set stand apart; see setLines.
  const spec = "spec" in object && object.kind !== "NetworkSet" ? { spec: object.spec } : {};
  return toYamlLines({ ...(labels === undefined ? {} : { labels }), ...spec })
    .map((line) => `${line}\n`)
    .join("");
}
