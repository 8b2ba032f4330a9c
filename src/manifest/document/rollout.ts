/** Rollouts in a Cluster: the checks that a schema cannot make, and the canonical form. */
import type { ClusterDocument, LabelSelectorDocument } from "../../model/generated.js";
import type { Cluster, LabelSelector } from "../../model/objects.js";
import { show, type Path, type Problem } from "../problem.js";
import { isMapping } from "./list-items.js";

const PATH: Path = ["spec", "rollout"];
/** They say how waves go, and nothing without waves. */
const OF_WAVES = ["shadow", "gates", "onFailure", "freeze"] as const;

/** Takes a value that may have failed the schema; values of the wrong type are skipped. */
export function checkRollout(rollout: unknown): readonly Problem[] {
  if (!isMapping(rollout)) return [];
  const { waves, freeze } = rollout;
  const isWithoutWaves = waves === undefined || (Array.isArray(waves) && waves.length === 0);
  const useless = isWithoutWaves ? OF_WAVES.filter((field) => rollout[field] !== undefined) : [];
  const windows: readonly unknown[] = Array.isArray(freeze) ? freeze : [];
  return [
    ...useless.map((field): Problem => ({
      code: "badRollout",
      path: [...PATH, field],
      anchor: "key",
      message: `${field} has no effect without waves`,
      wanted: "waves",
      fix: `add waves, such as [{ max: 10%, soak: 5m }], or remove ${field}`,
    })),
    ...windows.flatMap((window, index) => (isMapping(window) ? checkWindow(window, [...PATH, "freeze", index]) : [])),
  ];
}

function checkWindow({ from, to, timezone }: Readonly<Record<string, unknown>>, path: Path): readonly Problem[] {
  const problems: Problem[] = [];
  if (typeof timezone === "string" && !isTimezone(timezone))
    problems.push({
      code: "badTimezone",
      path: [...path, "timezone"],
      message: `there is no time zone ${show(timezone)}`,
      found: show(timezone),
      wanted: "a time zone of the IANA database, such as Europe/Berlin or UTC",
    });
  if (typeof from === "string" && from === to)
    problems.push({
      code: "badRollout",
      path: [...path, "to"],
      message: "the window ends when it begins",
      found: show(to),
      wanted: "another time than from",
    });
  return problems;
}

function isTimezone(name: string): boolean {
  try {
    new Intl.DateTimeFormat("en-US", { timeZone: name });
    return true;
  } catch {
    return false;
  }
}

type RolloutDocument = NonNullable<NonNullable<ClusterDocument["spec"]>["rollout"]>;
type CanonicalRollout = NonNullable<NonNullable<Cluster["spec"]>["rollout"]>;

/** Fills in every default, if there are waves. */
export function normalizeRollout(
  document: RolloutDocument | undefined,
  selector: (document: LabelSelectorDocument) => LabelSelector,
): { readonly rollout?: CanonicalRollout } {
  const { confirm, waves = [], gates = {}, onFailure = "revert", freeze = [], shadow } = document ?? {};
  const isShadowed = gates.newDenials !== undefined;
  const rollout: CanonicalRollout = {
    ...(confirm === undefined ? {} : { confirm: inSeconds(confirm) }),
    ...(waves.length === 0
      ? {}
      : {
          shadow: inSeconds(shadow ?? (isShadowed ? "1m" : "0s")),
          waves: waves.map(({ nodes, max = "100%", soak = "0s" }) => ({
            ...(nodes === undefined ? {} : { nodes: selector(nodes) }),
            max,
            soak: inSeconds(soak),
          })),
          gates: { stalled: 0, unconfirmed: 0, ...gates },
          onFailure,
          freeze: freeze.map(({ from, to, timezone }) => ({ from, to, timezone })),
        }),
  };
  return Object.keys(rollout).length === 0 ? {} : { rollout };
}

/** The schema has checked its form: `90s`, `2m`, `1h`. */
function inSeconds(duration: string): string {
  const factor = duration.endsWith("h") ? 3600 : duration.endsWith("m") ? 60 : 1;
  return `${Number.parseInt(duration, 10) * factor}s`;
}
