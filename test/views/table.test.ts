/** Tables fit every width: each row is one line, and names are what is cut last. */
import { stripVTControlCharacters } from "node:util";
import fc from "fast-check";
import t from "tap";
import type { FlowEvent } from "../../src/model/flow.js";
import { layOut, type Column } from "../../src/views/columns.js";
import { colourStyle, createMark, plainStyle } from "../../src/views/style.js";
import { renderFlow } from "../../src/views/flows.js";
import { renderTable } from "../../src/views/table.js";
import { padTo, shorten, widthOf, wrapWords } from "../../src/views/wrap.js";
import { volume } from "../volume.js";

const WIDTHS = [60, 80, 120, 200];
const NAME = "a-rather-long-name-of-a-policy-that-somebody-has-chosen-with-care";
const COLUMNS: readonly Column[] = [
  { title: "Name", isName: true },
  { title: "Version" },
  { title: "Last Updated" },
  { title: "State" },
  { title: "Reason" },
  { title: "Commit", wide: true },
];
const ROWS = [1, 2, 3].map((version) => [
  `shop/${NAME}-${version}`,
  String(version),
  "2026-11-28T17:38:35.032Z",
  "InSync",
  "an incident at night that took the whole team and half of the next morning to be understood".repeat(version),
  "3f786850e387",
]);

t.test("each row is one line of at most the width, and rows stay apart", async (t) => {
  for (const width of WIDTHS)
    for (const wide of [false, true]) {
      const [head = "", ...lines] = renderTable(COLUMNS, ROWS, { ...plainStyle, width }, { wide }).split("\n");
      for (const line of [head, ...lines]) t.ok(widthOf(line) <= width, `${width}: ${line}`);
      for (const version of [1, 2, 3]) {
        const line = lines[version - 1] ?? "";
        t.match(line, /^shop\/a-r/, `${width}: the name comes first`);
        t.match(
          line,
          new RegExp(`-${version} {2,}${version} `),
          `${width}: the end of the name is kept, which differs`,
        );
      }
    }
});

t.test("a text is cut before a name, and a column is left out before a name is hardly there", async (t) => {
  const at = (width: number) => renderTable(COLUMNS, ROWS, { ...plainStyle, width });
  t.match(at(200), new RegExp(`shop/${NAME}-1  1 .*…$`, "m"), "the reason is cut, and the name is whole");
  t.match(at(60), /^No room for .*Reason; a wider terminal/m, "what is left out is named");
  t.equal(at(Infinity).split("\n").length, 4);
  t.match(at(Infinity), ROWS[2]?.[4], "without a terminal nothing is cut");
  const bare = renderTable(COLUMNS, ROWS, plainStyle, { headers: false }).split("\n");
  t.match(bare[0], /^shop/, "no titles");
  t.equal(bare.length, 3);
});

t.test("colours end where they began, and characters of two columns are counted", async (t) => {
  const style = colourStyle(createMark(() => 0.3));
  const line = renderTable(["Aa", "Bb"], [[style.bad("x".repeat(50)), style.good("y".repeat(50))]], {
    ...style,
    width: 30,
  });
  const finished = style.finish(line);
  t.match(finished, /\u001b\[31mx+…\u001b\[39m {2}\u001b\[32my+…\u001b\[39m$/);
  t.ok(finished.split("\n").every((one) => stripVTControlCharacters(one).length <= 30));
  t.equal(widthOf("日本語"), 6);
  t.equal(shorten("日本語日本語", 7, "end"), "日本語…");
  t.equal(padTo("日本", 6), "日本  ");
  t.equal(shorten("abcdefghij", 7, "middle"), "abc…hij");
});

t.test("any table fits any width from 20 columns on", async (t) => {
  const text = fc.string({ unit: "grapheme", maxLength: 80 });
  const table = fc.integer({ min: 1, max: 9 }).chain((count) =>
    fc.record({
      columns: fc.array(
        fc.record({ title: fc.string({ minLength: 1, maxLength: 12, unit: "grapheme-ascii" }), isName: fc.boolean() }),
        { minLength: count, maxLength: count },
      ),
      rows: fc.array(fc.array(text, { minLength: count, maxLength: count }), { maxLength: 6 }),
      width: fc.integer({ min: 20, max: 220 }),
    }),
  );
  fc.assert(
    fc.property(table, ({ columns, rows, width }) => {
      const defined = columns.map(({ title, isName }): Column => (isName ? { title, isName } : { title }));
      const { widths, hidden } = layOut(defined, rows, width);
      const shown = widths.filter((one) => one > 0);
      // Names are never left out, so that very many of them have a column each.
      const least = columns.filter(({ isName }, index) => isName || index === 0).length * 3;
      if (least > width) return;
      t.ok(shown.reduce((sum, one) => sum + one + 2, -2) <= width, JSON.stringify({ columns, width, widths }));
      if (hidden.length > 0) return;
      const lines = renderTable(defined, rows, { ...plainStyle, width }).split("\n");
      t.equal(lines.length, rows.length + 1);
    }),
    { numRuns: volume(200, 5000) },
  );
});

t.test("a flow event has one line for its columns, or two", async (t) => {
  const event: FlowEvent = {
    kind: "verdict",
    time: "2026-11-28T17:38:35.032Z",
    node: "n1",
    workload: `shop/${NAME}`,
    direction: "egress",
    verdict: "denied",
    hook: "packet",
    protocol: "TCP",
    port: 5432,
    icmp: null,
    localPort: null,
    rule: null,
    peer: { address: "10.0.0.1", port: null, workloads: [`shop/${NAME}`, `data/${NAME}`] },
    policies: [{ policy: `shop/${NAME}`, file: `policies/shop/${NAME}.yaml`, line: 7 }],
  };
  for (const width of WIDTHS) {
    const lines = renderFlow(event, { ...plainStyle, width }).split("\n");
    for (const line of lines) t.ok(widthOf(line) <= width, `${width}: ${line}`);
    if (width === 200) t.equal(lines.length, 1);
  }
  t.match(renderFlow(event, plainStyle), `data/${NAME} (10.0.0.1)`, "without a terminal nothing is cut");
});

t.test("words are wrapped within the width", async (t) => {
  t.same(wrapWords("  one two three", 9, "    "), ["  one two", "    three"]);
});
