/** Finds the kind of a document by apiVersion and kind, and turns its value into a canonical object. */
import { KINDS, type Kind, type ZtapObject } from "../../model/objects.js";
import type { NetworkSetSpecDocument } from "../../model/generated.js";
import { countCidrs, SET_LIMIT } from "./address.js";
import { checkDocument, type IpFamily } from "./check.js";
import type { ReadCidrFile } from "./cidr-files.js";
import { explainErrors } from "../schema/errors.js";
import {
  ignoredDirections,
  normalizeCluster,
  normalizeConnectivityTest,
  normalizeKubernetesNetworkPolicy,
  normalizeNamespace,
  normalizeNetworkSet,
  normalizeNode,
  normalizeNodeGroup,
  normalizeWorkload,
  normalizeZtapNetworkPolicy,
  setCidrText,
} from "./normalize.js";
import { formatPath, show, type Problem } from "../problem.js";
import { suggest } from "../../model/suggest.js";
import {
  parseCluster,
  parseConnectivityTest,
  parseKubernetesNetworkPolicy,
  parseNamespace,
  parseNetworkSet,
  parseNode,
  parseNodeGroup,
  parseWorkload,
  parseZtapNetworkPolicy,
  type Parsed,
} from "../schema/validators.js";

export interface Interpreted {
  /** Absent if a problem is an error. */
  readonly object?: ZtapObject;
  readonly problems: readonly Problem[];
  /** The number of further errors. */
  readonly omitted: number;
  /** The kind, as far as it is known: an object of this kind may be missing. */
  readonly kind: Kind | null;
}

/**
 * Turns a mapping into a canonical object or problems.
 *
 * @param value without the nulls that Kubernetes ignores
 * @param readCidrFile reads the file of a NetworkSet
 * @param written the same with its nulls, which show where a value was intended
 */
export function interpret(
  value: Readonly<Record<string, unknown>>,
  readCidrFile: ReadCidrFile,
  written: unknown = value,
): Interpreted {
  const family = familyOf(value);
  if (typeof family !== "string") return { problems: family, omitted: 0, kind: null };
  switch (family) {
    case "Node":
      return finish(family, { value, written }, parseNode(value), normalizeNode);
    case "NodeGroup":
      return finish(family, { value, written }, parseNodeGroup(value), normalizeNodeGroup);
    case "Namespace":
      return finish(family, { value, written }, parseNamespace(value), normalizeNamespace);
    case "Workload":
      return finish(family, { value, written }, parseWorkload(value), normalizeWorkload);
    case "Cluster":
      return finish(family, { value, written }, parseCluster(value), normalizeCluster);
    case "NetworkSet":
      return interpretNetworkSet(value, readCidrFile);
    case "ConnectivityTest":
      return finish(family, { value, written }, parseConnectivityTest(value), normalizeConnectivityTest);
    case "ZtapNetworkPolicy": {
      const parsed = parseZtapNetworkPolicy(value);
      const done = finish(family, { value, written }, parsed, normalizeZtapNetworkPolicy);
      return parsed.ok ? withIgnoredRules(done, parsed.document) : done;
    }
    case "KubernetesNetworkPolicy": {
      const parsed = parseKubernetesNetworkPolicy(value);
      const done = finish(family, { value, written }, parsed, normalizeKubernetesNetworkPolicy);
      return parsed.ok ? withIgnoredRules(done, parsed.document) : done;
    }
  }
}

function finish<T>(
  family: IpFamily,
  { value, written }: { readonly value: unknown; readonly written: unknown },
  parsed: Parsed<T>,
  normalize: (document: T) => ZtapObject,
): Interpreted {
  const kind = kindOf(family);
  const { problems: shape, omitted } = parsed.ok
    ? { problems: [], omitted: 0 }
    : explainErrors(parsed.errors, family === "KubernetesNetworkPolicy" ? "kubernetes" : "ztap", written);
  const seen = new Set(shape.map(({ path }) => formatPath(path)));
  const problems = [...shape, ...checkDocument(family, value).filter(({ path }) => !seen.has(formatPath(path)))];
  return parsed.ok && problems.length === 0
    ? { object: normalize(parsed.document), problems, omitted, kind }
    : { problems, omitted, kind };
}

function interpretNetworkSet(value: Readonly<Record<string, unknown>>, readCidrFile: ReadCidrFile): Interpreted {
  const parsed = parseNetworkSet(value);
  const spec: NetworkSetSpecDocument = parsed.ok ? parsed.document.spec : {};
  const file = spec.file === undefined ? { cidrs: [] } : readCidrFile(spec.file);
  const listed = "cidrs" in file ? file.cidrs : [];
  const done = finish("NetworkSet", { value, written: value }, parsed, (document) =>
    normalizeNetworkSet(document, listed ?? []),
  );
  const refused = { kind: done.kind, omitted: done.omitted };
  if ("problem" in file) return { ...refused, problems: [...done.problems, file.problem] };
  // The file's own lines are reported with their positions.
  if (file.cidrs === null || done.object === undefined) return { ...refused, problems: done.problems };
  const problem = setTooLarge(spec, file.cidrs);
  return problem === undefined ? done : { ...refused, problems: [problem] };
}

function setTooLarge(
  { cidrs = [], except = [] }: NetworkSetSpecDocument,
  listed: readonly string[],
): Problem | undefined {
  const tooLarge = (key: "cidrs" | "except", message: string, found: number): Problem => ({
    code: "setTooLarge",
    path: ["spec", key],
    anchor: "key",
    message,
    found: String(found),
    wanted: `at most ${SET_LIMIT}`,
    fix: "name wider blocks, or make several NetworkSets of it, which networkSetSelector joins",
  });
  const written = cidrs.length + listed.length;
  if (written > SET_LIMIT) return tooLarge("cidrs", `the set has ${written} CIDRs`, written);
  if (except.length > SET_LIMIT) return tooLarge("except", `the set excepts ${except.length} CIDRs`, except.length);
  const remaining = countCidrs([...cidrs.map(setCidrText), ...listed], except.map(setCidrText));
  if (remaining <= SET_LIMIT) return undefined;
  return tooLarge("except", `the set without what it excepts takes ${remaining} CIDRs`, remaining);
}

function kindOf(family: IpFamily): Kind {
  return family === "ZtapNetworkPolicy" || family === "KubernetesNetworkPolicy" ? "NetworkPolicy" : family;
}

/** The canonical form drops such rules, so that this is the last place that sees them. */
function withIgnoredRules(done: Interpreted, document: Parameters<typeof ignoredDirections>[0]): Interpreted {
  if (done.object?.kind !== "NetworkPolicy") return done;
  const { policyTypes } = done.object.spec;
  const problems = ignoredDirections(document, policyTypes).map((direction): Problem => {
    const type = direction === "ingress" ? "Ingress" : "Egress";
    return {
      code: "ignoredRules",
      path: ["spec", direction],
      anchor: "key",
      message: `the ${direction} rules have no effect, since policyTypes does not list ${type}`,
      found: policyTypes.length === 0 ? "no policyTypes" : policyTypes.join(", "),
      wanted: type,
      fix: `add ${type} to policyTypes, or remove ${direction}`,
    };
  });
  return { ...done, problems: [...done.problems, ...problems] };
}

/**
 * Returns the family, or the reason why there is none. One mistake in the first two lines gives one problem, whatever
 * else the document holds.
 */
function familyOf({ apiVersion, kind }: Readonly<Record<string, unknown>>): IpFamily | readonly Problem[] {
  if (apiVersion === undefined || kind === undefined) {
    const missing = [...(apiVersion === undefined ? ["apiVersion"] : []), ...(kind === undefined ? ["kind"] : [])];
    return missing.map((field): Problem => ({
      code: "missingField",
      path: [field],
      message: `the document has no ${field}`,
      wanted: field === "kind" ? `one of ${KINDS.join(", ")}` : "ztap/v1 or networking.k8s.io/v1",
      fix: field === "kind" ? "add kind" : "add apiVersion: ztap/v1",
    }));
  }
  if (apiVersion === "ztap/v1") {
    const known = KINDS.find((name) => name === kind);
    if (known === undefined) return [unknownKind(apiVersion, kind, KINDS)];
    return known === "NetworkPolicy" ? "ZtapNetworkPolicy" : known;
  }
  if (apiVersion === "networking.k8s.io/v1") {
    return kind === "NetworkPolicy" ? "KubernetesNetworkPolicy" : [unknownKind(apiVersion, kind, ["NetworkPolicy"])];
  }
  return [unknownApiVersion(apiVersion, kind)];
}

function unknownKind(apiVersion: string, kind: unknown, known: readonly string[]): Problem {
  const elsewhere = KINDS.find((name) => name === kind);
  const meant = typeof kind === "string" ? suggest(kind, known) : undefined;
  return {
    code: "unknownKind",
    path: ["kind"],
    message: `${apiVersion} has no kind ${show(kind)} here`,
    found: show(kind),
    wanted: known.length === 1 ? (known[0] ?? "") : `one of ${known.join(", ")}`,
    ...(elsewhere !== undefined
      ? { fix: "write apiVersion: ztap/v1" }
      : meant !== undefined
        ? { fix: `did you mean ${meant}?` }
        : { fix: "move the document out of the policy repository" }),
  };
}

function unknownApiVersion(apiVersion: unknown, kind: unknown): Problem {
  const known = typeof kind === "string" && KINDS.some((name) => name === kind);
  const kubernetes =
    kind === "NetworkPolicy" && typeof apiVersion === "string" && /k8s\.io|^extensions\//.test(apiVersion);
  return {
    code: "unknownApiVersion",
    path: ["apiVersion"],
    message: known
      ? `apiVersion ${show(apiVersion)} is not supported by ztap`
      : `a document of ${show(apiVersion)}, kind ${show(kind)}, is not supported by ztap`,
    found: show(apiVersion),
    wanted: "ztap/v1 or networking.k8s.io/v1",
    fix: kubernetes
      ? "write apiVersion: networking.k8s.io/v1"
      : known
        ? "write apiVersion: ztap/v1"
        : "move the document out of the policy repository",
  };
}
