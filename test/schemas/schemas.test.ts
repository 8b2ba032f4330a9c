/** The schemas: what is generated from them is committed, they describe themselves, and outputs keep to theirs. */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { Ajv2020 } from "ajv/dist/2020.js";
import t from "tap";
import { readManifests } from "../../src/manifest/read.js";
import { KINDS } from "../../src/model/objects.js";
import { CODES } from "../../src/manifest/codes.js";
import { toValidateOutput } from "../../src/views/diagnostics.js";

// Tests run from dist/test/schemas, and read the sources.
const root = new URL("../../../", import.meta.url);
const read = (path: string): string => readFileSync(new URL(path, root), "utf8");
const names = readdirSync(new URL("schemas/", root), { recursive: true, encoding: "utf8" }).filter((name) =>
  name.endsWith(".schema.json"),
);
const schemas = names.map((name): unknown => JSON.parse(read(`schemas/${name}`)));

t.test("the committed files equal the generated ones", async (t) => {
  t.equal(
    execFileSync(process.execPath, [new URL("schemas/generate.mjs", root).pathname, "--check"], { encoding: "utf8" }),
    "",
  );
});

t.test("every property and definition has a description", async (t) => {
  const missing: string[] = [];
  const walk = (value: unknown, path: string): void => {
    if (value === null || typeof value !== "object") return;
    for (const [key, member] of Object.entries(value)) {
      const inCondition = /\/(if|then|else)(\/|$)/.test(path);
      if ((key === "properties" || key === "$defs") && !inCondition) {
        for (const [name, property] of Object.entries(member as object)) {
          if (typeof property === "object" && !("description" in property)) missing.push(`${path}/${key}/${name}`);
        }
      }
      walk(member, `${path}/${key}`);
    }
  };
  schemas.forEach((schema, index) => walk(schema, names[index] ?? ""));
  t.same(missing, []);
});

t.test("object.schema.json, as an editor reads it, agrees with the reader on whole documents", async (t) => {
  const ajv = new Ajv2020({ strict: true, strictTypes: false, keywords: ["tsType"] });
  const local = schemas.filter((_, index) => !names[index]?.startsWith("output/"));
  for (const schema of local) ajv.addSchema(schema as object);
  const validate = ajv.getSchema("object.schema.json");
  for (const example of ["web-to-db", "starter", "macos"]) {
    const { objects } = readExample(example);
    t.ok(objects.size > 5);
    // Canonical objects are valid documents again.
    for (const { object } of objects.values()) t.equal(validate?.(object), true, object.metadata.name);
  }
  t.equal(validate?.({ apiVersion: "ztap/v1", kind: "Node", metadata: { name: "n" }, spec: { adress: "" } }), false);
});

t.test("object.schema.json has every kind, and ships with every file that it refers to", async (t) => {
  const { oneOf } = Object(JSON.parse(read("schemas/object.schema.json")));
  const files = oneOf.map(({ $ref }: { $ref: string }) => $ref);
  const kinds = files.map((file: string) => {
    const [kind] = /"kind":\s*\{[^}]*"const":\s*"(\w+)"/.exec(read(`schemas/${file}`))?.slice(1) ?? [];
    return kind;
  });
  t.same(new Set(kinds), new Set(KINDS));
  t.ok(JSON.parse(read("package.json")).files.includes("schemas"));
});

function readExample(name: string): ReturnType<typeof readManifests> {
  const folder = new URL(`examples/${name}/`, root);
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((path) => /\.(yaml|cidrs)$/.test(path))
    .sort();
  return readManifests(
    files.map((path) => ({ path, text: readFileSync(new URL(path, folder), "utf8"), blobId: path })),
  );
}

t.test("the examples have no diagnostics, and each file has its editor line", async (t) => {
  for (const example of ["web-to-db", "starter", "macos"]) t.same(readExample(example).diagnostics, [], example);
  for (const path of readdirSync(new URL("examples/", root), { recursive: true, encoding: "utf8" })) {
    if (path.endsWith(".yaml"))
      t.match(read(`examples/${path}`), /^# yaml-language-server: \$schema=\S+\/schemas\/object\.schema\.json\n/, path);
  }
});

t.test("outputs match their schemas, and each output has a formatVersion", async (t) => {
  const ajv = new Ajv2020({ strict: true });
  const outputs = schemas.filter((_, index) => names[index]?.startsWith("output/"));
  for (const schema of outputs) ajv.addSchema(schema as object);
  for (const name of names.filter((name) => name.startsWith("output/") && name !== "output/diagnostic.schema.json")) {
    t.match(
      JSON.parse(read(`schemas/${name}`)),
      { required: ["formatVersion"], properties: { formatVersion: { const: 1 } } },
      name,
    );
  }
  const validate = ajv.getSchema("validate.schema.json");
  const bad = readManifests([
    { path: "a.yaml", text: "apiVersion: ztap/v1\nkind: Node\nmetadata: {name: A}\nspec: {adress: x}\n", blobId: "a" },
  ]);
  t.ok(bad.diagnostics.length > 1);
  for (const { objects, diagnostics, omitted } of [bad, readExample("web-to-db")]) {
    const output = toValidateOutput(objects, diagnostics, omitted);
    t.equal(validate?.(JSON.parse(JSON.stringify(output))), true, ajv.errorsText(validate?.errors));
  }
});

t.test("docs/diagnostics.md explains exactly the existing codes", async (t) => {
  const documented = [...read("docs/diagnostics.md").matchAll(/^\| (ZT\d{4}) \| (\w+) \| ([^|]+) \|[^\n]+\|$/gm)].map(
    ([, code, severity, title]) => ({ code, severity, title: title?.trim() }),
  );
  t.same(documented, Object.values(CODES));
  t.equal(new Set(documented.map(({ code }) => code)).size, documented.length);
});
