/** Objects as YAML for people. */
import { stringify } from "yaml";
import { printableLine } from "../model/printable.js";

/** Returns the lines. A text with line breaks is one quoted line, so that its lines cannot pass for fields. */
export function toYamlLines(value: object, { sorted = true } = {}): readonly string[] {
  const oneLine = { blockQuote: false, doubleQuotedMinMultiLineLength: Infinity, lineWidth: 0 } as const;
  const text = stringify(value, { sortMapEntries: sorted, ...oneLine });
  // YAML does not escape the controls of C1 and of the reading direction.
  return text.trimEnd().split("\n").map(printableLine);
}
