/**
 * Makes src/model/generated.ts (types of the input kinds), src/manifest/schema/validators.generated.ts
 * (ajv's standalone code) and src/settings/*.generated.ts (see settings.mjs) from the schemas in this folder.
 * `node schemas/generate.mjs` writes them; `--check` compares, and exits 1 where a committed file is not what the schemas say.
 *
 * The `$id`s are relative, so that the schemas refer to each other wherever they are read from: this
 * folder, the npm package, a mirror.
 *
 * The validator is generated because compiling schemas at start-up costs four times as much as
 * loading the compiled code. It is a TypeScript file without type checks, and not JavaScript, so that
 * tsc puts it into dist like everything else.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { Ajv2020 } from "ajv/dist/2020.js";
import standalone from "ajv/dist/standalone/index.js";
import { compile } from "json-schema-to-typescript";
import { EXTENSIONS, readSettings, settingsModule, tableModule } from "./settings.mjs";

const FILES = ["common", "config", "bootstrap", "node", "node-group", "namespace", "workload", "network-policy", "network-set", "connectivity-test", "cluster", "object"];

/** They describe a file as a whole, and no object; they refer to no other schema. */
const FILES_OF_THEIR_OWN = ["config", "bootstrap"];

/** Exported validator → schema. Policies have one for each apiVersion, so that an error never comes from the other. */
const VALIDATORS = {
  validateConfig: "config.schema.json",
  validateBootstrap: "bootstrap.schema.json",
  validateNode: "node.schema.json",
  validateNodeGroup: "node-group.schema.json",
  validateNamespace: "namespace.schema.json",
  validateWorkload: "workload.schema.json",
  validateZtapNetworkPolicy: "network-policy.schema.json#/$defs/ZtapNetworkPolicy",
  validateNetworkSet: "network-set.schema.json",
  validateConnectivityTest: "connectivity-test.schema.json",
  validateCluster: "cluster.schema.json",
  validateKubernetesNetworkPolicy: "network-policy.schema.json#/$defs/KubernetesNetworkPolicy",
};

const readSchema = (name) => JSON.parse(readFileSync(new URL(`${name}.schema.json`, import.meta.url), "utf8"));

/** json-schema-to-typescript numbers a type anew wherever `$ref` has siblings; the referred type is what is wanted. */
function bareReferences(schema) {
  if (Array.isArray(schema)) return schema.map(bareReferences);
  if (schema === null || typeof schema !== "object") return schema;
  if (typeof schema.$ref === "string") return { $ref: `#/$defs/${typeName(schema.$ref)}` };
  // One value or a list of such values: the properties of the one are those of an item.
  if (Array.isArray(schema.type) && schema.items !== undefined) {
    const { title, description, items } = bareReferences({ ...schema, type: undefined });
    return { title, description, anyOf: [items, { type: "array", items }] };
  }
  // What the types cannot say is left out: conditions are checked, not typed.
  const {
    $schema,
    $id,
    if: _if,
    then: _then,
    else: _else,
    allOf,
    dependentRequired,
    dependentSchemas,
    propertyNames,
    ...rest
  } = schema;
  for (const key of ["maxItems", ...EXTENSIONS]) delete rest[key];
  return Object.fromEntries(Object.entries(rest).map(([key, value]) => [key, bareReferences(value)]));
}

function typeName(ref) {
  const [file, pointer] = ref.split("#");
  return pointer ? pointer.split("/").at(-1) : readSchema(file.replace(".schema.json", "")).title;
}

async function generateTypes() {
  const $defs = {};
  for (const name of FILES.filter((file) => !FILES_OF_THEIR_OWN.includes(file))) {
    const { $defs: own, ...schema } = bareReferences(readSchema(name));
    Object.assign($defs, own);
    if (name !== "common") $defs[schema.title] = schema;
  }
  const { AnyDocument, ...others } = $defs;
  const manifests = await compile({ ...AnyDocument, $defs: others }, "AnyDocument", {
    bannerComment:
      "/** Generated from schemas/ by schemas/generate.mjs; do not edit. What authors may write, before normalization. */",
    additionalProperties: false,
    style: { printWidth: 120 },
  });
  const files = [];
  for (const name of FILES_OF_THEIR_OWN)
    files.push(await compile(bareReferences(readSchema(name)), readSchema(name).title, { bannerComment: "", style: { printWidth: 120 } }));
  return manifests + files.join("");
}

/** The standalone code quotes the schemas; without words they take a fifth of the space. */
function withoutWords(schema) {
  if (Array.isArray(schema)) return schema.map(withoutWords);
  if (schema === null || typeof schema !== "object") return schema;
  const words = (key, value) => ["title", "description", "tsType", "$comment"].includes(key) && typeof value === "string";
  const kept = Object.entries(schema).filter(([key, value]) => !words(key, value) && !["examples", ...EXTENSIONS].includes(key));
  return Object.fromEntries(kept.map(([key, value]) => [key, withoutWords(value)]));
}

function generateValidators() {
  const ajv = new Ajv2020({
    schemas: FILES.map((name) => withoutWords(readSchema(name))),
    allErrors: true,
    // Errors carry the value and the schema around it: what was found, and which fields are known.
    verbose: true,
    strict: true,
    // Conditions (`then`) speak of properties whose type stands beside them.
    strictTypes: false,
    // Every pattern and length in the schemas is about ASCII text; this leaves the code without any import.
    unicodeRegExp: false,
    code: { source: true, esm: true },
  });
  const code = joinInPlace(standalone.default(ajv, VALIDATORS));
  if (/\brequire\(/.test(code))
    throw new Error("The standalone validator requires a helper; avoid the keyword that needs it.");
  return `/** Generated from schemas/ by schemas/generate.mjs; do not edit. */\n// @ts-nocheck\n/* eslint-disable */\n${code}`;
}

/** ajv copies the errors of a list again for each of its items; joined in place, their number costs what it should. */
function joinInPlace(code) {
  const copying = /vErrors = vErrors === null \? (validate\d+)\.errors : vErrors\.concat\(\1\.errors\)/g;
  const joined = code.replace(copying, "vErrors = joinErrors(vErrors, $1.errors)");
  if (joined === code || joined.includes(".concat(")) throw new Error("ajv's code joins errors in another way now.");
  const join =
    "function joinErrors(all, more){if(all === null){return more;}for(const error of more){all.push(error);}return all;}";
  return `${joined}${join}\n`;
}

const root = new URL("../", import.meta.url);
const outputs = {
  "src/model/generated.ts": await generateTypes(),
  "src/manifest/schema/validators.generated.ts": generateValidators(),
  "src/settings/table.generated.ts": tableModule(readSettings()),
  "src/settings/settings.generated.ts": settingsModule(readSettings()),
};
for (const [path, text] of Object.entries(outputs)) {
  const url = new URL(path, root);
  if (!process.argv.includes("--check")) writeFileSync(url, text);
  else if (!existsSync(url) || readFileSync(url, "utf8") !== text) {
    console.error(`${path} is not what schemas/ says: run node schemas/generate.mjs`);
    process.exitCode = 1;
  }
}
