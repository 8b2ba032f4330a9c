import t from "tap";
import type { Diagnostic } from "../../src/model/diagnostic.js";
import { readManifests } from "../../src/manifest/read.js";
import { InvalidInput } from "../../src/cli/exit.js";
import { renderDiagnostics, summarizeDiagnostics } from "../../src/views/diagnostics.js";
import { colourStyle, createMark } from "../../src/views/style.js";

const text = "apiVersion: ztap/v1\nkind: Node\nmetadata: {name: n}\nspec:\n  adress: a:1\n  address: a:1\n";
const { objects, diagnostics } = readManifests([{ path: "nodes/n.yaml", text, blobId: "n" }]);

t.test("position, message, the line with a caret, the expected value and the fix", async (t) => {
  t.equal(
    renderDiagnostics(diagnostics, { textOf: () => text }),
    `nodes/n.yaml:5:3 error ZT2003 adress is not a field of spec (spec.adress)
  5 |   adress: a:1
    |   ^
  wanted one of address, addresses, enforcement, publicKey
  fix    did you mean address?
`,
  );
  t.notMatch(renderDiagnostics(diagnostics), /\|/, "no source line without the text");
  t.equal(summarizeDiagnostics(diagnostics, objects), "invalid: no objects; 1 error");
  t.equal(renderDiagnostics([]), "");
});

t.test(
  "the caret stands below its character, in long lines and after tabs, and no file controls the terminal",
  async (t) => {
    const at = (line: string, column: number): readonly string[] => {
      const diagnostic: Diagnostic = {
        code: "ZT1001",
        severity: "error",
        file: "a",
        line: 1,
        column,
        path: "",
        message: "m",
      };
      return renderDiagnostics([diagnostic], { textOf: () => line })
        .split("\n")
        .slice(1, 3);
    };
    for (const [line, column] of [
      ["\t\tX", 3],
      [`${"-".repeat(500)}X${"-".repeat(500)}`, 501],
      ["X", 1],
    ] as const) {
      const [source = "", caret = ""] = at(line, column);
      t.equal(source[caret.indexOf("^")], "X", `${column}`);
      t.ok(source.length < 120);
    }
    t.notMatch(at("\u001b[2JX", 5).join(""), /\u001b/);
  },
);

t.test("colour only through the style", async (t) => {
  t.notMatch(renderDiagnostics(diagnostics), /\u001b/);
  const colours = colourStyle(createMark(() => 0.5));
  t.match(colours.finish(renderDiagnostics(diagnostics, { style: colours })), /\u001b\[31merror\u001b/);
});

t.test("the diagnostic that counts the rest is not counted itself", async (t) => {
  const texts = (fields: number): string =>
    `apiVersion: ztap/v1\nkind: Namespace\nmetadata: {name: a}\nspec:\n${Array.from({ length: fields }, (_, at) => `  f${at}: 1\n`).join("")}`;
  for (const [fields, counts] of [
    [1, "1 error"],
    [1_000, "1000 errors"],
    [1_001, "999 errors, and 2 more problems"],
  ] as const) {
    const { diagnostics } = readManifests([{ path: "a.yaml", text: texts(fields), blobId: "a" }]);
    t.equal(new InvalidInput(diagnostics).message, `${counts} in the source; nothing was changed`);
  }
});
