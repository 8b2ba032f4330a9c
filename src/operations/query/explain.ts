/**
 * `ztap explain`: reads a question as the user writes it, and answers it from a state. Each end is `namespace/workload`
 * or an address; PORT/PROTO is accepted in all its forms.
 */
import { isIP } from "node:net";
import { checkAddress } from "../../manifest/document/address.js";
import { suggest } from "../../model/suggest.js";
import type { Workload, WorkloadPort } from "../../model/objects.js";
import type { ObjectSet } from "../../model/state.js";
import { qualifiedName, refKey } from "../../model/state.js";
import type { End, Explanation, Question } from "../../policy/explain.js";
import { withExamplePlaces } from "../../policy/reachability/example-places.js";
import { explain } from "../../policy/explain.js";
import { OperationError } from "../../model/operation-error.js";
import { readPort } from "./port-syntax.js";

export interface Explained extends Explanation {
  readonly question: Question;
}

/**
 * Explains a connection.
 * @param state a workload whose addresses it does not say is explained at an example of each place that it may have
 * @param from `namespace/workload` or an address
 * @param to the same with `:PORT/PROTO`; an IPv6 address in brackets
 * @param namespace that of a workload without one
 * @throws OperationError `invalid-query` for malformed text, `not-found` for a workload or a port name that the state
 * does not have, `no-address` if no packet can pass between the ends
 */
export function explainConnection(state: ObjectSet, from: string, to: string, namespace = "default"): Explained {
  const objects = withExamplePlaces(state);
  if (objects.size === 0)
    throw new OperationError(
      "not-found",
      "there are no objects here, so that there is no connection to explain; check the folder",
    );
  const target = splitTarget(to);
  const question: Question = {
    from: readEnd(objects, from, namespace),
    to: readEnd(objects, target.end, namespace),
    ...readPort(target.port, portsOf(objects, target.end, namespace)),
  };
  if (question.from.workload === null && question.to.workload === null) {
    throw new OperationError(
      "not-found",
      `neither ${from} nor ${target.end} is a workload: policies do not cover this connection`,
    );
  }
  for (const end of [question.from, question.to]) {
    if (end.addresses.length > 0) continue;
    throw new OperationError(
      "no-address",
      `workload ${end.workload ?? ""} has no addresses, so that packets cannot be matched to it; add spec.addresses`,
    );
  }
  const explanation = explain(objects, question);
  if (explanation === null)
    throw new OperationError("no-address", `${from} and ${target.end} have no addresses of the same family`);
  return { ...explanation, question };
}

function splitTarget(text: string): { readonly end: string; readonly port: string } {
  const [, end, port] = /^(\[[^\]]*\]|[^:[\]]+):([^:]+)$/.exec(text) ?? [];
  if (end !== undefined && port !== undefined) return { end, port };
  if (!text.includes("[") && text.split(":").length > 2)
    throw new OperationError("invalid-query", `${text}: write an IPv6 address in brackets, as in [fd00::1]:443/TCP`);
  throw new OperationError("invalid-query", `${text} names no port: write ${text}:PORT/PROTO, as in ${text}:443/TCP`);
}

function readEnd(objects: ObjectSet, text: string, namespace: string): End {
  const bare = text.replace(/^\[(.*)\]$/, "$1");
  const [address = ""] = bare.split("%");
  if (isIP(address) !== 0 || /^\d+(\.\d+)+$/.test(bare)) return readAddress(objects, bare);
  const found = findWorkload(objects, text, namespace);
  if (found !== undefined) return { workload: qualifiedName(found.metadata), addresses: found.spec.addresses };
  const wanted = text.includes("/") ? text : `${namespace}/${text}`;
  const workloads = listWorkloads(objects);
  const elsewhere = workloads
    .filter(({ metadata }) => metadata.name === text)
    .map((found) => qualifiedName(found.metadata));
  const guess =
    elsewhere.length > 0
      ? elsewhere.slice(0, 3).join(" or ")
      : suggest(
          wanted,
          workloads.map(({ metadata }) => qualifiedName(metadata)),
        );
  const hint = guess === undefined ? "write namespace/workload, or an IP address" : `did you mean ${guess}?`;
  throw new OperationError("not-found", `there is no workload ${wanted}; ${hint}`);
}

/** Reads an address. An address of a workload stands for that workload. */
function readAddress(objects: ObjectSet, text: string): End {
  const address = checkAddress(text);
  if (!address.ok)
    throw new OperationError(
      "invalid-query",
      [address.message, address.fix].filter((part) => part !== undefined).join("; "),
    );
  const owners = listWorkloads(objects)
    .filter(({ spec }) => spec.addresses.includes(address.value))
    .map(({ metadata }) => qualifiedName(metadata))
    .sort();
  if (owners.length > 1)
    throw new OperationError("invalid-query", `${text} is shared by ${owners.join(", ")}: name one of them`);
  return { workload: owners[0] ?? null, addresses: [address.value] };
}

function portsOf(objects: ObjectSet, end: string, namespace: string): readonly WorkloadPort[] | null {
  return findWorkload(objects, end, namespace)?.spec.ports ?? null;
}

/** Finds a workload. A name without a namespace is in the one that is given. */
function findWorkload(objects: ObjectSet, text: string, within: string): Workload | undefined {
  const [namespace, name] = text.includes("/") ? text.split("/", 2) : [within, text];
  if (namespace === undefined || name === undefined) return undefined;
  const object = objects.get(refKey({ kind: "Workload", namespace, name }))?.object;
  return object?.kind === "Workload" ? object : undefined;
}

function listWorkloads(objects: ObjectSet): readonly Workload[] {
  return [...objects.values()].flatMap(({ object }) => (object.kind === "Workload" ? [object] : []));
}
