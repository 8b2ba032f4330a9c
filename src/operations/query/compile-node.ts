/**
 * `ztap enforcement render`: compiles the ruleset of one node, and returns the backend that the state declares for it.
 */
import { NodeDescriptions } from "../../inventory/nodes.js";
import { placeReported } from "../../inventory/place.js";
import { suggest } from "../../model/suggest.js";
import type { ObjectSet } from "../../model/state.js";
import type { Ruleset } from "../../model/ruleset.js";
import { compile } from "../../policy/compile/compile.js";
import { OperationError } from "../../model/operation-error.js";

/**
 * Compiles the ruleset, with the instances that Git alone tells.
 * @throws OperationError `not-found` for a node that the state neither declares nor places a workload on
 */
export function compileNode(
  objects: ObjectSet,
  node: string,
): { readonly ruleset: Ruleset; readonly declared: "ebpf" | "pf" } {
  if (objects.size === 0)
    throw new OperationError(
      "not-found",
      "there are no objects here, so that a node would load nothing; check the folder",
    );
  const names = new Set<string>();
  let declared: "ebpf" | "pf" = "ebpf";
  for (const { object } of objects.values()) {
    if (object.kind === "Workload" && object.spec.node !== undefined) names.add(object.spec.node);
    if (object.kind !== "Node") continue;
    names.add(object.metadata.name);
    if (object.metadata.name === node) declared = object.spec.enforcement ?? "ebpf";
  }
  const nodes = new NodeDescriptions(objects);
  const isDescribed = !nodes.isEmpty && nodes.match(node) !== undefined;
  if (names.has(node) || isDescribed) return { ruleset: compile(placeReported(objects, [], node), node), declared };
  const guess = suggest(node, [...names]);
  const hint = guess === undefined ? "name one with --node" : `did you mean ${guess}?`;
  throw new OperationError("not-found", `the state has no node ${node}; ${hint}`);
}
