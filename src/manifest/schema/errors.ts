/**
 * Turns ajv's errors into problems that a person understands: one for each mistake, with the value found, the value
 * expected and a fix. Takes the errors of one document, which ajv reports with `verbose`.
 */
import { findWrongIndentation, isEcho, type UnknownField } from "./indentation.js";
import { badPattern } from "./patterns.js";
import { fieldName, kubernetesRule, show, type Path, type Problem } from "../problem.js";
import { suggest } from "../../model/suggest.js";
import type { SchemaError } from "./validators.js";

/** Fields that only ztap/v1 has; a Kubernetes policy that contains one gets a message that says so. */
const ZTAP_ONLY_FIELDS: Readonly<Record<string, (parent: Path) => boolean>> = {
  mode: (parent) => parent.length === 1,
  type: (parent) => parent.at(-2) === "ports",
  code: (parent) => parent.at(-2) === "ports",
  networkSet: isPeer,
  networkSetSelector: isPeer,
};

function isPeer(path: Path): boolean {
  return path.at(-2) === "from" || path.at(-2) === "to";
}

/** Largest number of errors that are explained; more are not reported for a file anyway. */
const EXPLAINED = 1_200;

/** The kind of document: an object of one of the two APIs, or a file of its own. */
type Family = "ztap" | "kubernetes" | FileFamily;
export type FileFamily = "config" | "bootstrap";

/** What messages call the top level. */
const ROOTS: Readonly<Record<Family, string>> = {
  ztap: "this kind",
  kubernetes: "this kind",
  config: "the configuration file",
  bootstrap: "cluster.yaml",
};

export interface ExplainedErrors {
  readonly problems: readonly Problem[];
  /** The number of further errors. */
  readonly omitted: number;
}

/**
 * Explains the errors.
 * @param document as it was written, with its nulls
 */
export function explainErrors(errors: readonly SchemaError[], family: Family, document: unknown): ExplainedErrors {
  const wrongIndentation = findWrongIndentation(
    errors
      .filter(({ keyword }) => keyword === "additionalProperties")
      .slice(0, LOOKED_AT)
      .map(toUnknownField),
    document,
  );
  const fields = new Set(
    wrongIndentation.flatMap(({ unknown }) => unknown.map(({ parent, field }) => keyOf([...parent, field]))),
  );
  const problems = new Map<string, Problem>();
  let at = 0;
  for (; at < errors.length && problems.size < EXPLAINED; at += 1) {
    const error = errors[at];
    const problem = error && explain(error, family);
    if (problem === undefined || fields.has(keyOf(problem.path))) continue;
    if (problem.code !== "unknownField" && wrongIndentation.some((one) => isEcho(one, problem.path))) continue;
    // Several rules may fail for one value (a pattern and a length): the first one is enough.
    if (!problems.has(keyOf(problem.path))) problems.set(keyOf(problem.path), problem);
  }
  const omitted = errors.slice(at).filter(({ keyword }) => keyword !== "if" && keyword !== "propertyNames").length;
  return { problems: [...wrongIndentation.map(({ problem }) => problem), ...problems.values()], omitted };
}

const keyOf = (path: Path): string => JSON.stringify(path);

/**
 * Largest number of unknown fields that are checked for wrong indentation. A document with more has another problem.
 */
const LOOKED_AT = 100;

function toUnknownField(error: SchemaError): UnknownField {
  const field = String(error.params["additionalProperty"]);
  return { parent: pointerPath(error.instancePath), field, known: Object.keys(propertiesOf(error)) };
}

function explain(error: SchemaError, family: Family): Problem | undefined {
  const path = pointerPath(error.instancePath);
  switch (error.keyword) {
    case "additionalProperties":
      return unknownOf(path, String(error.params["additionalProperty"]), error, family);
    case "required":
      return missingField(path, String(error.params["missingProperty"]), error);
    case "type":
      return wrongType(path, error, family);
    case "enum":
      return notOneOf(path, error, family);
    case "pattern":
      return badPattern(path, error);
    case "minimum":
    case "maximum":
      return outOfRange(path, error);
    case "minItems":
      return needsValues(path);
    case "maxItems":
      return tooManyItems(path, error);
    case "minProperties":
      if (isProcess(path)) return undefined;
      return path.at(-1) === "verify" ? missingField(path, "sshSigners", error) : emptyPeer(path, family);
    case "maxProperties":
      if (isProcess(path)) return undefined;
      return besideOther(path, error);
    case "dependentRequired":
      return String(error.params["property"]) === "code" ? codeAlone(path) : endPortAlone(path);
    case "false schema":
      return forbiddenHere(path, error);
    case "if":
    case "propertyNames":
      // The nested error has the details.
      return undefined;
    default:
      return {
        code: "notOneOf",
        path,
        message: `${fieldName(path)} ${error.message ?? "is not understood"}`,
        found: show(error.data),
      };
  }
}

/** document/process.ts explains these. */
const isProcess = (path: Path): boolean => path[0] === "spec" && path[1] === "process";

/** Turns a JSON pointer into a path. A step of digits is an index, since only label maps have such keys. */
function pointerPath(pointer: string): Path {
  return pointer
    .split("/")
    .slice(1)
    .map((step) => step.replaceAll("~1", "/").replaceAll("~0", "~"))
    .map((step, index, steps) => (/^\d+$/.test(step) && !isLabelMap(steps[index - 1]) ? Number(step) : step));
}

const isLabelMap = (field: string | undefined): boolean =>
  ["labels", "annotations", "matchLabels"].includes(field ?? "");

function unknownOf(parent: Path, field: string, error: SchemaError, family: Family): Problem {
  const path = [...parent, field];
  const isOfZtap = Object.hasOwn(ZTAP_ONLY_FIELDS, field) ? ZTAP_ONLY_FIELDS[field] : undefined;
  if (family === "kubernetes" && isOfZtap?.(parent) === true) {
    return ztapOnly(path, "key", `${field} is a field of ztap/v1, and this is a networking.k8s.io/v1 policy`);
  }
  return unknownField(parent, field, Object.keys(propertiesOf(error)).sort(), ROOTS[family]);
}

/**
 * Returns the problem of an unknown field.
 * @param known the fields that exist there, in the order of the message
 * @param root a name for the top level of the document
 */
export function unknownField(parent: Path, field: string, known: readonly string[], root = "this kind"): Problem {
  const meant = suggest(field, known);
  return {
    code: "unknownField",
    path: [...parent, field],
    anchor: "key",
    message: `${field} is not a field of ${parent.length > 0 ? fieldName(parent) : root}`,
    found: field,
    wanted: `one of ${known.join(", ")}`,
    ...(field === "<<"
      ? { fix: "merge keys belong to YAML 1.1 and are not supported: write out the fields" }
      : meant === undefined
        ? { fix: "remove it" }
        : { fix: `did you mean ${meant}?` }),
  };
}

function ztapOnly(path: Path, anchor: "key" | "value", message: string, fix?: string): Problem {
  return {
    code: "ztapOnly",
    path,
    anchor,
    message,
    found: String(path.at(-1)),
    wanted: "only fields and values of Kubernetes' NetworkPolicy",
    fix: fix ?? "write apiVersion: ztap/v1, and list under policyTypes what this policy isolates",
  };
}

function missingField(parent: Path, field: string, error: SchemaError): Problem {
  if (error.schemaPath.includes("/allOf/")) return needsValues([...parent, field]);
  const where = parent.length === 0 ? "the document" : fieldName(parent);
  return {
    code: "missingField",
    path: [...parent, field],
    anchor: "key",
    message: `${where} has no ${field}`,
    wanted: field,
    fix: `add ${field}`,
  };
}

function wrongType(path: Path, error: SchemaError, family: Family): Problem {
  const types = [error.params["type"]].flat().map(String);
  const { data } = error;
  if (family === "kubernetes" && ["from", "to"].includes(String(path.at(-1))) && isObject(data)) {
    return ztapOnly(
      path,
      "key",
      `${fieldName(path)} is one peer, which ztap/v1 allows; in networking.k8s.io/v1 it is a list`,
      `put "- " before the peer's first field`,
    );
  }
  const wanted = types.map((type) => TYPE_NAMES[type] ?? type).join(" or ");
  return {
    code: "wrongType",
    path,
    ...(data === null ? { anchor: "key" } : {}),
    message: `${fieldName(path)} is ${typeName(data)}, but must be ${wanted}`,
    found: show(data),
    wanted,
    ...(isUnitless(error)
      ? { fix: `write it with its unit, such as ${show(data)}s` }
      : typeFix(data, types, typeof path.at(-1) === "number")),
  };
}

const TYPE_NAMES: Readonly<Record<string, string>> = {
  object: "a mapping",
  array: "a list",
  string: "text",
  integer: "a whole number",
  boolean: "true or false",
};

function typeName(value: unknown): string {
  if (value === null) return "empty (null)";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "a mapping";
  if (typeof value === "string") return "text";
  return typeof value === "number" ? "a number" : "true or false";
}

function isUnitless({ schemaPath, data }: SchemaError): boolean {
  return typeof data === "number" && /\$defs\/Duration\//.test(schemaPath);
}

function typeFix(data: unknown, types: readonly string[], inList: boolean): { readonly fix?: string } {
  if (data === null) {
    if (inList) return { fix: "give the item a value, or remove it" };
    const empty = types.includes("array")
      ? "write [] for an empty list, or "
      : types.includes("object")
        ? "write {} for an empty mapping, or "
        : "give it a value, or ";
    return { fix: `${empty}remove the key` };
  }
  if (types.includes("string") && (typeof data === "number" || typeof data === "boolean"))
    return { fix: `put it in quotes: "${data}"` };
  if (types.includes("integer") && typeof data === "string" && /^\d+$/.test(data))
    return { fix: `write it without quotes: ${data}` };
  if (types.includes("array") && !isObject(data)) return { fix: `write a list: [${show(data)}]` };
  return {};
}

function propertiesOf({ parentSchema }: SchemaError): object {
  const properties: unknown = parentSchema?.["properties"];
  return typeof properties === "object" && properties !== null ? properties : {};
}

const isObject = (value: unknown): boolean => value !== null && typeof value === "object" && !Array.isArray(value);

function notOneOf(path: Path, error: SchemaError, family: Family): Problem {
  const allowed = [error.params["allowedValues"]].flat().map(String);
  if (family === "kubernetes" && error.data === "ICMP" && path.at(-1) === "protocol") {
    return ztapOnly(
      path,
      "value",
      'protocol ICMP is of ztap/v1 (Kubernetes: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP")',
    );
  }
  const rule =
    path.at(-1) === "operator"
      ? kubernetesRule("not a valid selector operator")
      : path.at(-1) === "mode"
        ? ""
        : kubernetesRule(
            `Unsupported value: ${show(error.data)}: supported values: ${allowed
              .filter((value) => value !== "ICMP")
              .sort()
              .map((value) => `"${value}"`)
              .join(", ")}`,
          );
  const meant = typeof error.data === "string" ? suggest(error.data, allowed) : undefined;
  return {
    code: "notOneOf",
    path,
    message: `${fieldName(path)} is ${show(error.data)} ${rule}`.trimEnd(),
    found: show(error.data),
    wanted: `one of ${allowed.join(", ")}`,
    ...(meant === undefined ? {} : { fix: `did you mean ${meant}?` }),
  };
}

function outOfRange(path: Path, error: SchemaError): Problem {
  const port = path.at(-1) === "port" || path.at(-1) === "endPort";
  const bound = (name: "minimum" | "maximum"): string => String(error.parentSchema?.[name]);
  return {
    code: "outOfRange",
    path,
    message: `${fieldName(path)} is ${show(error.data)}${port ? ` ${kubernetesRule("must be between 1 and 65535, inclusive")}` : ""}`,
    found: show(error.data),
    wanted: `${bound("minimum")} to ${bound("maximum")}`,
    ...(error.data === 0 && path.at(-1) === "port" ? { fix: "leave port out to match every port" } : {}),
  };
}

function needsValues(path: Path): Problem {
  return {
    code: "operatorNeedsValues",
    path,
    anchor: "key",
    message: `In and NotIn need values, and there are none ${kubernetesRule("Required value: must be specified when `operator` is 'In' or 'NotIn'")}`,
    wanted: "at least one value",
    fix: "list values, or use Exists or DoesNotExist",
  };
}

function tooManyItems(path: Path, error: SchemaError): Problem {
  if (path.at(-1) === "policyTypes") {
    return {
      code: "tooMany",
      path,
      message: `policyTypes has too many entries ${kubernetesRule("may not specify more than two policyTypes")}`,
      found: show(error.data),
      wanted: "Ingress, Egress or both, each once",
    };
  }
  return {
    code: "operatorTakesNoValues",
    path,
    anchor: "key",
    message: `Exists and DoesNotExist take no values ${kubernetesRule("Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'")}`,
    found: show(error.data),
    wanted: "no values",
    fix: "remove values, or use In or NotIn",
  };
}

function emptyPeer(path: Path, family: Family): Problem {
  return {
    code: "emptyPeer",
    path,
    message: `this peer is empty ${kubernetesRule("Required value: must specify a peer")}`,
    found: "{}",
    wanted: `podSelector, namespaceSelector${family === "kubernetes" ? " or ipBlock" : ", ipBlock, networkSet or networkSetSelector"}`,
    fix: "leave out the list to match every peer; write podSelector: {} to match all workloads of the namespace",
  };
}

/** Each of these stands alone in its peer; of two of them, the later one is reported. */
const STAND_ALONE = ["ipBlock", "networkSet", "networkSetSelector"];

/** Returns undefined if the other field of the peer is unknown or reports it itself. */
function besideOther(path: Path, { data, schemaPath }: SchemaError): Problem | undefined {
  const fields = data !== null && typeof data === "object" ? Object.keys(data) : [];
  const own = STAND_ALONE.findIndex((field) => schemaPath.includes(`/dependentSchemas/${field}/`));
  const others = ["podSelector", "namespaceSelector", ...STAND_ALONE.slice(0, Math.max(0, own))];
  const [other] = others.filter((field) => fields.includes(field));
  if (other === undefined) return undefined;
  if (own > 0) return setBeside(path, STAND_ALONE[own] ?? "", other);
  return {
    code: "ipBlockBesideSelector",
    path: [...path, "ipBlock"],
    anchor: "key",
    message: `ipBlock stands beside a selector ${kubernetesRule("Forbidden: may not specify both ipBlock and another peer")}`,
    wanted: "ipBlock alone, or selectors",
    fix: 'make two peers of it, each with its own "- "',
  };
}

function setBeside(path: Path, field: string, other: string): Problem {
  return {
    code: "networkSetBesideOther",
    path: [...path, field],
    anchor: "key",
    message: `${field} stands beside ${other} in one peer`,
    wanted: `${field} alone`,
    fix: 'make two peers of it, each with its own "- "',
  };
}

function endPortAlone(path: Path): Problem {
  return {
    code: "endPortAlone",
    path: [...path, "endPort"],
    anchor: "key",
    message: `endPort stands without port ${kubernetesRule("may not be specified when `port` is not specified")}`,
    wanted: "port, the first of the range",
    fix: "add port, or remove endPort",
  };
}

function codeAlone(path: Path): Problem {
  return {
    code: "codeWithoutType",
    path: [...path, "code"],
    anchor: "key",
    message: "code has no effect without type",
    wanted: "type",
    fix: "add type, or remove code",
  };
}

/**
 * Explains a field that its neighbours forbid: `port` and `endPort` with ICMP, `type` and `code` without it, `endPort`
 * with a named port.
 */
function forbiddenHere(path: Path, error: SchemaError): Problem {
  const field = fieldName(path);
  if (error.schemaPath.includes("/then/properties/endPort") && !error.schemaPath.includes("ZtapPort/allOf/0/")) {
    return {
      code: "endPortNamed",
      path,
      anchor: "key",
      message: `endPort stands with a named port ${kubernetesRule("may not be specified when `port` is non-numeric")}`,
      found: show(error.data),
      wanted: "a number as port",
      fix: "write the number of the port, or remove endPort",
    };
  }
  const icmp = field === "port" || field === "endPort";
  return {
    code: "portFieldMismatch",
    path,
    anchor: "key",
    message: icmp
      ? `${field} stands with protocol ICMP, which has no ports`
      : `${field} stands with a protocol that is not ICMP`,
    found: show(error.data),
    wanted: icmp ? "type and code, or neither" : "port and endPort, or protocol: ICMP",
    fix: icmp ? `remove ${field}` : `write protocol: ICMP, or remove ${field}`,
  };
}
