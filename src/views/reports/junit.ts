/**
 * `ztap validate --format junit`: XML that CI systems show as test results. Each file is a test case, and so is each
 * ConnectivityTest: one suite for valid manifests, and one for the expectations.
 */
import Builder from "fast-xml-builder";
import { CODES } from "../../manifest/codes.js";
import type { Diagnostic } from "../../model/diagnostic.js";
import { hasErrors } from "../../model/diagnostic.js";
import { printable, printableLine } from "../../model/printable.js";
import type { ObjectSet, StateObject } from "../../model/state.js";
import { qualifiedName } from "../../model/state.js";
import { describeProblem, titleOf } from "./problem.js";

interface Case {
  readonly name: string;
  readonly file: string;
  readonly line?: number;
  /** Errors make it fail; warnings are its output. */
  readonly diagnostics: readonly Diagnostic[];
  /** The reason why it was not checked. */
  readonly skipped?: string;
}

/** Attributes begin with `@`; see the options below. */
const builder = new Builder({
  ignoreAttributes: false,
  attributeNamePrefix: "@",
  format: true,
  suppressEmptyNode: true,
  suppressBooleanAttributes: false,
});

export function renderJunit(
  objects: ObjectSet,
  diagnostics: readonly Diagnostic[],
  files: readonly { readonly path: string }[],
): string {
  const suites = [
    toSuite("manifests", fileCases(diagnostics, files)),
    toSuite("ConnectivityTest", testCases(objects, diagnostics)),
  ].filter(({ testcase }) => testcase.length > 0);
  return builder
    .build({ "?xml": { "@version": "1.0", "@encoding": "UTF-8" }, testsuites: { "@name": "ztap", testsuite: suites } })
    .trimEnd();
}

/** Returns the cases of the files. Results of a ConnectivityTest belong to the test, not to its file. */
function fileCases(diagnostics: readonly Diagnostic[], files: readonly { readonly path: string }[]): readonly Case[] {
  const byFile = Map.groupBy(
    diagnostics.filter(({ code }) => code !== CODES.testFailed.code),
    ({ file }) => file,
  );
  return files.map(({ path }) => ({ name: path, file: path, diagnostics: byFile.get(path) ?? [] }));
}

function testCases(objects: ObjectSet, diagnostics: readonly Diagnostic[]): readonly Case[] {
  const tests = [...objects.values()].filter(({ ref }) => ref.kind === "ConnectivityTest");
  const results = diagnostics.filter(({ code }) => code === CODES.testFailed.code);
  const why = whyUntested(diagnostics, results);
  const byTest = Map.groupBy(results, (result) => ownerOf(result, tests));
  return tests.map((test) => ({
    name: qualifiedName(test.ref),
    file: test.position?.file ?? "",
    ...(test.position === undefined ? {} : { line: test.position.line }),
    diagnostics: byTest.get(test) ?? [],
    ...(why === null || byTest.has(test) ? {} : { skipped: why }),
  }));
}

/**
 * Returns the reason why tests did not run: a state with other errors is not tested, and one result may cover all
 * tests.
 */
function whyUntested(diagnostics: readonly Diagnostic[], results: readonly Diagnostic[]): string | null {
  const overall = results.find(({ path }) => path === "spec");
  if (overall !== undefined) return overall.message;
  const tested: readonly string[] = [CODES.testFailed.code, CODES.tooLarge.code];
  const isRefused = diagnostics.some(({ severity, code }) => severity === "error" && !tested.includes(code));
  return isRefused ? "not tested: the state has errors" : null;
}

/** Returns the last test that begins at or before the diagnostic. */
function ownerOf({ file, line }: Diagnostic, tests: readonly StateObject[]): StateObject | undefined {
  return tests
    .filter(({ position }) => position?.file === file && position.line <= line)
    .reduce<StateObject | undefined>(
      (last, test) => ((test.position?.line ?? 0) >= (last?.position?.line ?? 0) ? test : last),
      undefined,
    );
}

function toSuite(name: string, cases: readonly Case[]) {
  return {
    "@name": name,
    "@tests": cases.length,
    "@failures": cases.filter(({ diagnostics }) => hasErrors(diagnostics)).length,
    "@errors": 0,
    "@skipped": cases.filter(({ skipped }) => skipped !== undefined).length,
    testcase: cases.map((one) => toCase(name, one)),
  };
}

function toCase(suite: string, { name, file, line, diagnostics, skipped }: Case) {
  const errors = diagnostics.filter(({ severity }) => severity === "error");
  const warnings = diagnostics.filter(({ severity }) => severity === "warning");
  const [first, ...others] = errors;
  return {
    "@classname": suite,
    "@name": attribute(name),
    "@file": attribute(file),
    ...(line === undefined ? {} : { "@line": line }),
    ...(first === undefined
      ? {}
      : {
          failure: {
            "@type": first.code,
            "@message": attribute(`${first.message}${others.length === 0 ? "" : ` (and ${others.length} more)`}`),
            "#text": element(errors.map(inFull).join("\n")),
          },
        }),
    ...(skipped === undefined ? {} : { skipped: { "@message": attribute(skipped) } }),
    ...(warnings.length === 0 ? {} : { "system-out": element(warnings.map(inFull).join("\n")) }),
  };
}

function inFull(diagnostic: Diagnostic): string {
  const { file, line, column, severity, code } = diagnostic;
  return `${printableLine(file)}:${line}:${column} ${severity} ${titleOf(code)}: ${describeProblem(diagnostic)}`;
}

/**
 * XML 1.0, 2.2: besides the controls, U+FFFE, U+FFFF and unpaired surrogates are not allowed in a document, escaped or
 * not.
 */
function element(text: string): string {
  return printable(text)
    .toWellFormed()
    .replace(/[\ufffe\uffff]/g, "\ufffd");
}

/** XML 1.0, 3.3.3: a line break in an attribute is read as a space. */
function attribute(text: string): string {
  return printableLine(element(text));
}
