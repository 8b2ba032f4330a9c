/**
 * The settings as config.schema.json defines them → the modules of src/settings that are generated, and the rows of
 * docs/cli.md. Beside JSON Schema's own, the schema has these keywords, which editors ignore:
 *
 * - `x-env`      the variable, of every setting
 * - `x-flag`     the flag without its dashes; `x-value` names its value in help, `x-group` its group in help. A flag with
 *                choices and without `x-value` shows its choices, and oclif checks them
 * - `x-type`     the function of src/settings/types.ts that reads a string, or the JSON of a list; `text` without it
 * - `x-part`     the part of `Settings` that holds it, if that is not the mapping around it in the file
 * - `x-computed` true where src/settings/defaults.ts computes the default on each machine
 *
 * The description is also the help of the flag. It ends with "Default: …." where `default` cannot say it.
 */
import { readFileSync } from "node:fs";

export const EXTENSIONS = ["x-env", "x-flag", "x-value", "x-group", "x-type", "x-part", "x-computed"];

/** What a function of types.ts makes of the text. */
const TYPES = {
  text: "string",
  folder: "string",
  absolutePath: "string",
  nodeName: "string",
  hostAndPort: "string",
  commitId: "string",
  store: "StoreUrl",
  listenAddress: "HostAndPort | null",
  socketPath: "string | null",
  duration: "number",
  integer: "number",
  bool: "boolean",
  receivers: "readonly Receiver[]",
};

const DURATION = "#/$defs/Duration";

/** Every setting, in the order of the schema. */
export function readSettings() {
  const schema = JSON.parse(readFileSync(new URL("config.schema.json", import.meta.url), "utf8"));
  return settingsBelow(schema, []);
}

function settingsBelow({ properties }, path) {
  return Object.entries(properties).flatMap(([name, property]) =>
    property.properties === undefined ? [toSetting([...path, name], property)] : settingsBelow(property, [...path, name]),
  );
}

function toSetting(path, property) {
  const key = path.join(".");
  const [, help, inWords] = /^(.*?)(?:\. Default: (.*))?\.$/.exec(property.description);
  const hasDefault = property.default !== undefined;
  if (property["x-env"] === undefined) throw new Error(`${key} has no x-env`);
  if (hasDefault === (inWords !== undefined)) throw new Error(`${key} needs either default or "Default: …." in its description`);
  const type = typeOf(key, property);
  return {
    key,
    part: property["x-part"] === undefined ? path.slice(0, -1) : [property["x-part"]],
    field: `${path.at(-1)}${type === "duration" ? "Ms" : ""}`,
    type,
    choices: property.enum,
    minimum: property.minimum,
    maximum: property.maximum,
    variable: property["x-env"],
    flag: property["x-flag"],
    helpValue: property["x-value"],
    helpGroup: property["x-group"],
    default: hasDefault ? String(property.default) : undefined,
    defaultText: inWords ?? String(property.default),
    isOptional: !hasDefault && property["x-computed"] !== true,
    isComputed: property["x-computed"] === true,
    help,
  };
}

function typeOf(key, property) {
  const type =
    property.$ref === DURATION ? "duration" : property.enum ? "choice" : { integer: "integer", boolean: "bool", string: property["x-type"] ?? "text", array: property["x-type"] }[property.type];
  if (type === "choice" || TYPES[type] !== undefined) return type;
  throw new Error(`${key} has a type that schemas/settings.mjs does not know`);
}

const HEADER = "/** Generated from schemas/config.schema.json by schemas/generate.mjs; do not edit. ";

/** Literal data and nothing else, so that it costs no start-up time. */
export function tableModule(settings) {
  const rows = settings.map(({ key, part, field, isOptional, isComputed, ...definition }) => {
    const computed = isComputed ? { isComputed } : {};
    return `  ${JSON.stringify(key)}: ${JSON.stringify({ ...definition, ...computed })},`;
  });
  return [`${HEADER}What is known of each setting, by its key. */`, "export const SETTINGS = {", ...rows, "} as const;", "", "export type SettingKey = keyof typeof SETTINGS;", ""].join("\n");
}

/** The typed settings, and the function that makes them. */
export function settingsModule(settings) {
  const parts = [...new Set(settings.filter(({ part }) => part.length > 0).map(({ part }) => part.join(".")))];
  const imported = [...new Set(settings.map(({ type }) => type))].sort();
  return [
    `${HEADER}The settings by the parts that need them. */`,
    'import { SETTINGS } from "./table.generated.js";',
    'import type { Read } from "./read.js";',
    `import { ${imported.join(", ")}, type HostAndPort, type Receiver, type StoreUrl } from "./types.js";`,
    "",
    // A part within another stands before it.
    ...parts.toSorted((a, b) => b.split(".").length - a.split(".").length).flatMap((part) => [...interfaceOf(settings, part.split("."), parts), ""]),
    ...interfaceOf(settings, [], parts),
    "",
    "/** @throws OperationError `invalid-settings` */",
    "export function readSettings(read: Read): SettingValues {",
    `  return ${literalOf(settings, [], parts, "  ")};`,
    "}",
    "",
  ].join("\n");
}

const interfaceName = (part) => `${part.at(-1)?.replace(/^./, (first) => first.toUpperCase()) ?? ""}Settings`.replace(/^Settings$/, "SettingValues");

/** Parts directly below one. */
const partsBelow = (parts, part) =>
  parts.map((one) => one.split(".")).filter((one) => one.length === part.length + 1 && one.slice(0, -1).join(".") === part.join("."));

const fieldsOf = (settings, part) => settings.filter((setting) => setting.part.join(".") === part.join("."));

function interfaceOf(settings, part, parts) {
  const fields = fieldsOf(settings, part).flatMap(({ field, type, choices, isOptional, help, defaultText }) => {
    const typed = type === "choice" ? choices.map((choice) => JSON.stringify(choice)).join(" | ") : TYPES[type];
    return [`  /** ${help}. Default: ${defaultText}. */`, `  readonly ${field}: ${typed}${isOptional ? " | null" : ""};`];
  });
  const below = partsBelow(parts, part).map((one) => `  readonly ${one.at(-1)}: ${interfaceName(one)};`);
  return [`export interface ${interfaceName(part)} {`, ...fields, ...below, "}"];
}

function literalOf(settings, part, parts, indent) {
  const fields = fieldsOf(settings, part).map(({ key, field, type, isOptional }) => {
    const table = /^\w+$/.test(key) ? `SETTINGS.${key}` : `SETTINGS[${JSON.stringify(key)}]`;
    const parse = type === "choice" ? `choice(${table}.choices)` : type === "integer" ? `integer(${table})` : type;
    return `${indent}  ${field}: read${isOptional ? ".optional" : ""}(${JSON.stringify(key)}, ${parse}),`;
  });
  const below = partsBelow(parts, part).map((one) => `${indent}  ${one.at(-1)}: ${literalOf(settings, one, parts, `${indent}  `)},`);
  return ["{", ...fields, ...below, `${indent}}`].join("\n");
}
