/** The text for the nodes of our own examples, as it stands in test/pf/golden. */
import { readdirSync, readFileSync } from "node:fs";
import t from "tap";
import { render } from "../../src/adapters/pf/render/render.js";
import { hasErrors } from "../../src/model/diagnostic.js";
import type { ObjectSet } from "../../src/model/state.js";
import { compile } from "../../src/policy/compile/compile.js";
import { readBoundedManifests } from "../../src/wiring/manifests.js";
import { matchGolden } from "../golden.js";
import { parseAnchor } from "./grammar.js";

// Tests run from dist/test/pf.
const root = new URL("../../../", import.meta.url);

function readExample(name: string) {
  const folder = new URL(`examples/${name}/`, root);
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((path) =>
    /\.(yaml|cidrs)$/.test(path),
  );
  const read = readBoundedManifests(
    files.sort().map((path) => ({ path, text: readFileSync(new URL(path, folder), "utf8"), blobId: path })),
  );
  if (hasErrors(read.diagnostics)) throw new Error(JSON.stringify(read.diagnostics));
  return read.objects;
}

/** web-to-db as Macs could enforce it: they know workloads by the addresses that Git says. */
const ADDRESSES: Readonly<Record<string, readonly [node: string, ...addresses: string[]]>> = {
  web: ["web-1", "10.77.0.1", "fd77::1"],
  batch: ["web-1", "10.77.0.3", "fd77::3"],
  db: ["db-1", "10.77.0.2", "fd77::2"],
};

function withAddresses(objects: ObjectSet): ObjectSet {
  const placed = [...objects].map(([key, state]) => {
    const { object } = state;
    const [node, ...addresses] = ADDRESSES[object.metadata.name] ?? [];
    if (object.kind !== "Workload" || node === undefined) return [key, state] as const;
    return [key, { ...state, object: { ...object, spec: { node, addresses, ports: object.spec.ports } } }] as const;
  });
  return new Map(placed);
}

for (const [example, nodes] of [
  ["macos", ["mac-1"]],
  ["web-to-db", ["db-1", "web-1"]],
] as const) {
  const read = readExample(example);
  const objects = example === "macos" ? read : withAddresses(read);
  for (const node of nodes) {
    t.test(`${example}: ${node}`, async (t) => {
      const { text, refusals } = render(compile(objects, node));
      t.same(refusals, []);
      t.ok(parseAnchor(text).rules.length > 0, "what the model reads is what is compared");
      matchGolden(t, `test/pf/golden/${example}-${node}.conf`, text);
    });
  }
}
