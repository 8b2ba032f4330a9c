/**
 * Explains violated patterns: names, label keys and values, port names.
 *
 * The name of a pattern's definition in schemas/ (`DnsLabel`, `LabelKey`, …) identifies its rule; ajv gives it in the
 * error's schema path. Kubernetes' wording is that of k8s.io/apimachinery/pkg/util/validation.
 */
import type { CodeName } from "../codes.js";
import { fieldName, kubernetesRule, show, type Path, type Problem } from "../problem.js";
import type { SchemaError } from "./validators.js";

interface Rule {
  readonly code: CodeName;
  readonly wanted: string;
  /** Kubernetes' words, if the rule is Kubernetes' own. */
  readonly kubernetes?: string;
}

const PATTERNS: Readonly<Record<string, Rule>> = {
  DnsLabel: {
    code: "badName",
    wanted: "at most 63 lower-case letters, digits and '-', beginning and ending with a letter or digit",
    kubernetes:
      "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
  },
  BearerName: {
    code: "badName",
    wanted: "at most 63 lower-case letters, digits and '-', beginning and ending with a letter or digit",
  },
  StorePrefix: { code: "badName", wanted: "parts of letters, digits, '.', '_' and '-', with '/' between them" },
  NodeNamePattern: {
    code: "badPattern",
    wanted: "at most 63 lower-case letters, digits and '-', with '*' for any characters and '?' for one",
  },
  DnsSubdomain: {
    code: "badName",
    wanted:
      "at most 253 lower-case letters, digits, '-' and '.', each part beginning and ending with a letter or digit",
    kubernetes:
      "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
  },
  LabelKey: {
    code: "badLabelKey",
    wanted:
      "an optional DNS subdomain and '/', then at most 63 letters, digits, '-', '_' or '.', beginning and ending with a letter or digit",
    kubernetes:
      "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
  },
  LabelValue: {
    code: "badLabelValue",
    wanted: "nothing, or at most 63 letters, digits, '-', '_' or '.', beginning and ending with a letter or digit",
    kubernetes:
      "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
  },
  UserName: {
    code: "badUser",
    wanted: "at most 31 letters, digits, '_', '-' or '.', beginning with a letter or '_', and not `unknown`",
  },
  PublicKey: { code: "badPublicKey", wanted: "43 letters, digits, '-' and '_'" },
  Duration: { code: "wrongType", wanted: "a number with its unit, such as 500ms, 10s, 5m or 1h" },
  ConfirmTime: { code: "badRollout", wanted: "a time from 10 seconds to one hour, such as 90s or 2m" },
  RolloutTime: { code: "badRollout", wanted: "a number with its unit, such as 0s, 90s, 10m or 2h" },
  WaveMax: { code: "badRollout", wanted: "a number of nodes, or a percentage such as 10%" },
  WeekTime: { code: "badRollout", wanted: "a day and a time of 24 hours, such as Fri 16:00" },
  PortName: {
    code: "badPortName",
    wanted: "at most 15 lower-case letters, digits and single '-' between them, at least one letter",
    kubernetes:
      "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-), at least one letter, and no more than 15 characters",
  },
};

export function badPattern(path: Path, error: SchemaError): Problem {
  const definition = /\$defs\/(\w+)\/pattern$/.exec(error.schemaPath)?.[1] ?? "PortName";
  const rule = PATTERNS[definition];
  const text = String(error.propertyName ?? error.data);
  const ofKey = error.propertyName !== undefined;
  const kubernetes = rule?.kubernetes === undefined ? "" : ` ${kubernetesRule(rule.kubernetes)}`;
  return {
    code: rule?.code ?? "badLabelKey",
    path: ofKey ? [...path, text] : path,
    anchor: ofKey ? "key" : "value",
    message: `${ofKey ? "the key" : fieldName(path)} ${show(text)} is malformed${text.length > 63 ? `, ${text.length} characters long` : ""}${kubernetes}`,
    found: show(text),
    wanted: rule?.wanted ?? "an optional DNS subdomain and '/', then at most 63 letters, digits, '-', '_' or '.'",
    ...patternFix(definition, text),
  };
}

function patternFix(definition: string, text: string): { readonly fix?: string } {
  if (definition === "PortName" && /^\d+$/.test(text))
    return { fix: `write the port's number without quotes: ${text}` };
  if (definition !== "DnsLabel" && definition !== "DnsSubdomain") return {};
  const mended = text
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-|-$/g, "")
    .slice(0, 63)
    .replace(/-$/, "");
  return mended === "" ? {} : { fix: `write ${mended}` };
}
