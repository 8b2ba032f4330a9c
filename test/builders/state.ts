/** Desired states from YAML text, for tests of everything behind the manifest stage. */
import { hasErrors } from "../../src/model/diagnostic.js";
import type { DesiredState, ObjectSet, SourceRef } from "../../src/model/state.js";
import { readManifests } from "../../src/manifest/read.js";

export const TEST_SOURCE: SourceRef = {
  location: "test",
  commit: "c".repeat(40),
  dirty: false,
  author: "Ada <ada@example.com>",
  subject: "test",
};

/** @throws with the diagnostics where the text is refused: a test's own mistake */
export function objectsOf(text: string): ObjectSet {
  const { objects, diagnostics } = readManifests([{ path: "state.yaml", text, blobId: text }]);
  if (hasErrors(diagnostics))
    throw new Error(diagnostics.map((d) => `${d.line}:${d.column} ${d.code} ${d.message}`).join("\n"));
  return objects;
}

export function stateOf(text: string): DesiredState {
  return { source: TEST_SOURCE, objects: objectsOf(text) };
}

/** A state from documents as JSON, which is YAML. @throws as `objectsOf` */
export function objectsOfDocuments(documents: readonly object[]): ObjectSet {
  return objectsOf(documents.map((document) => JSON.stringify(document)).join("\n---\n"));
}

/** `web@n1 10.0.0.1 app=web [http:80/TCP]` → a Workload document. */
export function workload(line: string, namespace = "default"): string {
  const [, name = "", node, addresses = "", labels = "", ports = ""] =
    /^(\S+?)(?:@(\S+))? (\S+)(?: ([^[]*?))?(?: ?\[(.*)\])?$/.exec(line) ?? [];
  const pairs = labels.split(/[ ,]+/).filter((pair) => pair !== "");
  const entries = ports.split(",").filter((port) => port !== "");
  return [
    "---",
    "apiVersion: ztap/v1",
    "kind: Workload",
    `metadata: { name: ${name}, namespace: ${namespace}, labels: { ${pairs.map((pair) => pair.replace("=", ": ")).join(", ")} } }`,
    "spec:",
    ...(node === undefined ? [] : [`  node: ${node}`, `  cgroup: test/${namespace}-${name}`]),
    `  addresses: [${
      addresses === "-"
        ? ""
        : addresses
            .split(",")
            .map((address) => `"${address}"`)
            .join(", ")
    }]`,
    `  ports: [${entries.map((entry) => entry.replace(/^(.*):(\d+)\/(\w+)$/, "{ name: $1, port: $2, protocol: $3 }")).join(", ")}]`,
    "",
  ].join("\n");
}

/** A NetworkPolicy document around the YAML of its spec, which is indented by two. */
export function policy(
  name: string,
  spec: string,
  options: { readonly namespace?: string; readonly api?: string } = {},
): string {
  const { namespace = "default", api = "ztap/v1" } = options;
  return `---\napiVersion: ${api}\nkind: NetworkPolicy\nmetadata: { name: ${name}, namespace: ${namespace} }\nspec:\n${spec}\n`;
}
