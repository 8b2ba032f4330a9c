/** Checks of the fields that say which processes, on which nodes, are a workload's. */
import { hasWildcard } from "../../inventory/glob.js";
import type { Path, Problem } from "../problem.js";
import { checkCgroup } from "./cgroup.js";

type Fields = Readonly<Record<string, unknown>>;

const isMapping = (value: unknown): value is Fields =>
  value !== null && typeof value === "object" && !Array.isArray(value);

/** Longest pattern of a container or of a unit. */
const PATTERN_LIMIT = 512;
const UNIT_TYPES = ["service", "scope", "slice"];

export function checkPlacement(spec: Fields): readonly Problem[] {
  const has = (field: string): boolean => spec[field] !== undefined;
  const isPlaced = has("node") || has("nodeSelector");
  return [
    ...exclusive(spec, ["node", "nodeSelector"], "the name of one node, or labels of nodes"),
    ...exclusive(spec, ["cgroup", "process"], "one cgroup, or a pattern of processes"),
    ...(has("process") && !isPlaced ? [needs("process", "node or nodeSelector", "the nodes that it runs on")] : []),
    ...(has("nodeSelector") && !has("process") && !has("cgroup")
      ? [needs("nodeSelector", "process or cgroup", "the processes that are found on these nodes")]
      : []),
    ...(has("process") && has("user")
      ? [needs("user", "a workload without process", "on pf nodes: pf knows the user alone")]
      : []),
    ...(isMapping(spec["process"]) ? checkProcess(spec["process"]) : []),
  ];
}

function exclusive(spec: Fields, [one, other]: readonly [string, string], wanted: string): readonly Problem[] {
  if (spec[one] === undefined || spec[other] === undefined) return [];
  return [
    {
      code: "exclusiveFields",
      path: ["spec", other],
      anchor: "key",
      message: `${other} stands beside ${one}, and only one of the two can say it`,
      wanted,
      fix: `remove ${one} or ${other}`,
    },
  ];
}

function needs(field: string, wanted: string, what: string): Problem {
  return {
    code: "missingField",
    path: ["spec", field],
    anchor: "key",
    message: `${field} needs ${wanted}: ${what}`,
    wanted,
    fix: `add ${wanted}, or remove ${field}`,
  };
}

const PROCESS_FIELDS = ["systemdUnit", "container", "cgroup", "host"];

function checkProcess(process: Fields): readonly Problem[] {
  const path: Path = ["spec", "process"];
  const given = PROCESS_FIELDS.filter((field) => process[field] !== undefined);
  if (given.length !== 1)
    return [
      {
        code: given.length === 0 ? "missingField" : "exclusiveFields",
        path: given[1] === undefined ? path : [...path, given[1]],
        anchor: "key",
        message:
          given.length === 0
            ? "process is empty, so that it would match nothing"
            : `process has ${given.join(" and ")}, and only one of them can say what the processes are`,
        wanted: `exactly one of ${PROCESS_FIELDS.join(", ")}`,
        fix: given.length === 0 ? "add systemdUnit, container, cgroup or host" : "make a workload of each",
      },
    ];
  const { systemdUnit, container, cgroup } = process;
  if (typeof systemdUnit === "string") return checkUnit(systemdUnit, [...path, "systemdUnit"]);
  if (typeof cgroup === "string") return listOf(checkCgroup(cgroup, [...path, "cgroup"], { isPattern: true }));
  return isMapping(container) ? checkContainer(container, [...path, "container"]) : [];
}

const listOf = (problem: Problem | undefined): readonly Problem[] => (problem === undefined ? [] : [problem]);

function checkUnit(unit: string, path: Path): readonly Problem[] {
  const wanted =
    "a name or a pattern that ends in .service, .scope or .slice, such as nginx.service or worker@*.service";
  const problem = (message: string, fix?: string): readonly Problem[] => [
    { code: "badPattern", path, message, found: JSON.stringify(unit), wanted, ...(fix === undefined ? {} : { fix }) },
  ];
  const [, name, type] = /^([^.]*(?:\.[^.]*)*)\.([a-z]+)$/.exec(unit) ?? [];
  if (name === undefined || type === undefined || !UNIT_TYPES.includes(type))
    return problem(
      `systemdUnit ${JSON.stringify(unit)} is not the name of a service, a scope or a slice`,
      /^[-\w.@:\\*?]+$/.test(unit) ? `write ${unit}.service` : undefined,
    );
  // systemd.unit(5): the characters that the name of a unit may have.
  if (!/^[-A-Za-z0-9:_.\\@*?]+$/.test(name) || unit.length > 255)
    return problem("systemdUnit has characters that no name of a unit has, or is longer than one can be");
  if (unit === "-.slice")
    return problem("systemdUnit -.slice is the cgroup root, which holds every process of the host");
  return [];
}

function checkContainer(container: Fields, path: Path): readonly Problem[] {
  const { name, image, labels } = container;
  if (name === undefined && image === undefined && (!isMapping(labels) || Object.keys(labels).length === 0))
    return [
      {
        code: "missingField",
        path,
        anchor: "key",
        message: "container is empty, so that it would match every container of the node",
        wanted: "at least one of name, image, labels",
        fix: 'add one; write name: "*" to match every container',
      },
    ];
  return [...checkText(name, [...path, "name"]), ...checkText(image, [...path, "image"])];
}

function checkText(text: unknown, path: Path): readonly Problem[] {
  if (typeof text !== "string" || (/^[\x21-\x7e]+$/.test(text) && text.length <= PATTERN_LIMIT)) return [];
  return [
    {
      code: "badPattern",
      path,
      message: `${JSON.stringify(text.slice(0, 80))} can match no name`,
      found: JSON.stringify(text.slice(0, 80)),
      wanted: `1 to ${PATTERN_LIMIT} ASCII characters without spaces`,
    },
  ];
}

/** Names of nodes are DNS labels; a pattern without a wildcard must be one. */
export function checkNodeNames(value: unknown): readonly Problem[] {
  const names: readonly unknown[] = Array.isArray(value) ? value : [];
  if (Array.isArray(value) && names.length === 0)
    return [
      {
        code: "missingField",
        path: ["spec", "nodeNames"],
        anchor: "key",
        message: "nodeNames is empty, so that the group has no node",
        wanted: "at least one name or pattern",
        fix: 'add one; write "*" for every node',
      },
    ];
  return names.flatMap((name, index): readonly Problem[] => {
    if (typeof name !== "string" || hasWildcard(name) || /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(name)) return [];
    return [
      {
        code: "badPattern",
        path: ["spec", "nodeNames", index],
        message: `${JSON.stringify(name.slice(0, 80))} can match no node`,
        found: JSON.stringify(name.slice(0, 80)),
        wanted: "the name of a node, or a pattern with * or ?",
      },
    ];
  });
}
