/** The schema of the settings, from which everything about them is made. */
import { readFileSync } from "node:fs";
import { Ajv2020 } from "ajv/dist/2020.js";
import t from "tap";
import { definitionOf, SETTING_KEYS } from "../../src/settings/definitions.js";

// Tests run from dist/test/settings, and read the sources.
const text = readFileSync(new URL("../../../schemas/config.schema.json", import.meta.url), "utf8");
const schema = Object(JSON.parse(text));

t.test("the schema is a strict JSON Schema, with ztap's own keywords declared", async (t) => {
  const keywords = [...new Set(text.match(/(?<=")x-[a-z]+(?=":)/g))];
  t.ok(keywords.length > 3);
  const validate = new Ajv2020({ strict: true, strictTypes: false, keywords }).compile(schema);
  t.equal(validate({ node: "n1", source: { url: "x", interval: "5m" } }), true);
  t.equal(validate({ source: { url: "x", interval: "often" } }), false);
});

t.test("no two settings share a variable or a flag, and each variable is ztap's", async (t) => {
  const definitions = SETTING_KEYS.map(definitionOf);
  const flags = definitions.map(({ flag }) => flag).filter((flag) => flag !== undefined);
  for (const names of [flags, definitions.map(({ variable }) => variable)]) {
    t.ok(names.length > 10);
    t.equal(new Set(names).size, names.length);
  }
  t.same(
    definitions.filter(({ variable }) => !/^ZTAP(_[A-Z]+)+$/.test(variable)),
    [],
  );
});

t.test("each default is valid by the schema", async (t) => {
  const validate = new Ajv2020({ strict: false }).compile(schema);
  const document = {};
  for (const key of SETTING_KEYS) {
    const path = key.split(".");
    const name = path.pop() ?? "";
    const property = [...path, name].reduce((at, step) => at.properties[step], schema);
    if (property.default === undefined) continue;
    const parent = path.reduce<Record<string, unknown>>((at, step) => Object((at[step] ??= {})), document);
    parent[name] = property.default;
  }
  Object.assign(document, { source: { url: "x", ...Object(document).source } });
  t.equal(validate(document), true, JSON.stringify(validate.errors));
});
