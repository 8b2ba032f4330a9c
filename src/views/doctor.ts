/** The result of `ztap doctor`. */
import type { Check } from "../model/doctor.js";
import type { Style } from "./style.js";

export function doctorDocument(checks: readonly Check[]): object {
  return { formatVersion: 1, ok: checks.every(({ state }) => state !== "failed"), checks };
}

export function renderDoctor(checks: readonly Check[], style: Style): string {
  const marks = { ok: style.good("ok     "), warning: style.warn("warning"), failed: style.bad("failed ") };
  const width = Math.max(...checks.map(({ name }) => name.length));
  const lines = checks.flatMap(({ name, state, detail, fix }) => [
    style.line`${marks[state]}  ${name.padEnd(width)}  ${detail}`,
    ...(fix === null ? [] : [style.line`${" ".repeat(9)}${" ".repeat(width)}  ${style.bold("→")} ${fix}`]),
  ]);
  const failed = checks.filter(({ state }) => state === "failed").length;
  const verdict =
    failed === 0
      ? "This machine has everything that enforcement needs."
      : `${failed} of ${checks.length} checks failed.`;
  return [...lines, "", verdict].join("\n");
}
