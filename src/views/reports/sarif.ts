/**
 * `ztap validate --format sarif`: diagnostics as a SARIF 2.1.0 log (OASIS) for code scanning. The codes are its rules,
 * with their text from docs/diagnostics.md.
 */
import { CODES } from "../../manifest/codes.js";
import { HELP } from "../../manifest/help.generated.js";
import type { Diagnostic } from "../../model/diagnostic.js";
import { describeProblem, STDIN } from "./problem.js";

/**
 * Returns the log.
 * @param version of ztap
 */
export function toSarif(diagnostics: readonly Diagnostic[], version: string) {
  const rules = Object.entries(CODES).map(([name, { code, severity, title }]) => ({
    id: code,
    name,
    shortDescription: { text: title },
    ...helpOf(code),
    defaultConfiguration: { level: severity },
  }));
  const indexOf = new Map(rules.map(({ id }, index) => [id, index]));
  return {
    $schema: "https://json.schemastore.org/sarif-2.1.0.json",
    version: "2.1.0" as const,
    runs: [
      {
        tool: { driver: { name: "ztap", semanticVersion: version, rules } },
        columnKind: "utf16CodeUnits" as const,
        results: diagnostics.map((diagnostic) => toResult(diagnostic, indexOf.get(diagnostic.code))),
      },
    ],
  };
}

function helpOf(code: string) {
  const help = HELP[code];
  if (help === undefined) return {};
  const text = `Example: ${plain(help.example)}\nFix: ${plain(help.fix)}`;
  return { help: { text, markdown: `**Example**: ${help.example}\n\n**Fix**: ${help.fix}` } };
}

/** Returns the page's text without the backticks of its code spans. */
function plain(markdown: string): string {
  return markdown.replaceAll("`", "");
}

function toResult(diagnostic: Diagnostic, ruleIndex: number | undefined) {
  const { code, severity, file, line, column, path } = diagnostic;
  return {
    ruleId: code,
    ...(ruleIndex === undefined ? {} : { ruleIndex }),
    level: severity,
    message: { text: literal(describeProblem(diagnostic)) },
    locations: [
      {
        physicalLocation: {
          artifactLocation: file === STDIN ? { description: { text: "standard input" } } : artifactAt(file),
          region: { startLine: line, startColumn: column },
        },
        ...(path === "" ? {} : { logicalLocations: [{ fullyQualifiedName: path }] }),
      },
    ],
  };
}

/**
 * RFC 3986, 4.2: a colon in the first segment would make it a scheme; it is encoded with all other reserved characters.
 */
function artifactAt(file: string) {
  const uri = file.toWellFormed().split("/").map(encodeURIComponent).join("/");
  return { uri, uriBaseId: "%SRCROOT%" };
}

/** SARIF 2.1.0, 3.11.5 and 3.11.6: `{0}` would be replaced, and `[text](target)` become a link. */
function literal(text: string): string {
  const unlinked = text.includes("](") ? text.replace(/[\\[\]]/g, "\\$&") : text;
  return unlinked.replace(/\{(\d+)\}/g, "{{$1}}");
}
