/**
 * Checks of one document that a schema cannot express: addresses, CIDRs, port ranges, cgroup paths.
 *
 * Takes a value that may have failed the schema, so that one run reports both kinds of problem; values of the wrong
 * type are skipped here, since the schema reports them.
 */
import {
  checkAddress,
  checkAgentAddress,
  checkCidr,
  checkSetCidr,
  countRemaining,
  isStrictSubset,
  isUnicast,
  type Checked,
  type Cidr,
} from "./address.js";
import type { Kind } from "../../model/objects.js";
import { checkCgroup } from "./cgroup.js";
import { checkNodeNames, checkPlacement } from "./process.js";
import { checkRollout } from "./rollout.js";
import { kubernetesRule, show, type Path, type Problem } from "../problem.js";

export type IpFamily = Exclude<Kind, "NetworkPolicy"> | "ZtapNetworkPolicy" | "KubernetesNetworkPolicy";

export function checkDocument(family: IpFamily, value: unknown): readonly Problem[] {
  const spec = fields(fields(value)["spec"]);
  switch (family) {
    case "Namespace":
      return [];
    case "Cluster":
      return checkRollout(spec["rollout"]);
    case "ConnectivityTest":
      return checkExpectations(spec);
    case "NetworkSet":
      return checkNetworkSet(spec);
    case "Node":
      return [
        ...checkText(spec["address"], ["spec", "address"], agentAddressProblem),
        ...checkAddresses(spec["addresses"]),
      ];
    case "NodeGroup":
      return [...checkNodeNames(spec["nodeNames"]), ...checkRanges(spec["addressRanges"])];
    case "Workload":
      return [
        ...checkPlacement(spec),
        ...checkAddresses(spec["addresses"]),
        ...checkText(spec["cgroup"], ["spec", "cgroup"], (text, path) => checkCgroup(text, path)),
        ...checkPortNames(spec["ports"]),
      ];
    case "ZtapNetworkPolicy":
    case "KubernetesNetworkPolicy":
      return [...checkRules(spec["ingress"], "ingress", ["from"]), ...checkRules(spec["egress"], "egress", ["to"])];
  }
}

function checkRanges(value: unknown): readonly Problem[] {
  return items(value).flatMap((text, index) => {
    const checked = typeof text === "string" ? checkCidr(text) : undefined;
    if (typeof text !== "string" || checked?.ok !== false) return [];
    return [refusal(checked, "badCidr", ["spec", "addressRanges", index], text, "a CIDR such as 10.20.0.0/16")];
  });
}

const isMapping = (value: unknown): value is Readonly<Record<string, unknown>> =>
  value !== null && typeof value === "object" && !Array.isArray(value);

const fields = (value: unknown): Readonly<Record<string, unknown>> => (isMapping(value) ? value : {});

const items = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);

function checkText(
  value: unknown,
  path: Path,
  check: (text: string, path: Path) => Problem | undefined,
): readonly Problem[] {
  const problem = typeof value === "string" ? check(value, path) : undefined;
  return problem === undefined ? [] : [problem];
}

function agentAddressProblem(text: string, path: Path): Problem | undefined {
  const checked = checkAgentAddress(text);
  if (checked.ok) return undefined;
  return refusal(checked, "badAgentAddress", path, text, "host:port, with an IPv6 host in brackets");
}

function refusal(
  checked: Extract<Checked<unknown>, { ok: false }>,
  malformed: Problem["code"],
  path: Path,
  found: string,
  wanted: string,
  kubernetes?: string,
): Problem {
  const rule = kubernetes === undefined || checked.reason !== "malformed" ? "" : ` ${kubernetesRule(kubernetes)}`;
  return {
    code: checked.reason === "mapped" ? "mappedAddress" : checked.reason === "hostBits" ? "hostBits" : malformed,
    path,
    message: `${checked.message}${rule}`,
    found,
    wanted: checked.reason === "hostBits" ? "the network's own address before the slash" : wanted,
    ...(checked.fix === undefined ? {} : { fix: checked.fix }),
  };
}

/** The set's file is checked by cidr-files.ts, and its size where both are known (kinds.ts). */
function checkNetworkSet(spec: Readonly<Record<string, unknown>>): readonly Problem[] {
  const problems = (["cidrs", "except"] as const).flatMap((key) =>
    items(spec[key]).flatMap((text, index) => {
      const checked = typeof text === "string" ? checkSetCidr(text) : undefined;
      return checked?.ok === false ? [cidrProblem(checked, ["spec", key, index], String(text))] : [];
    }),
  );
  if (spec["cidrs"] !== undefined || spec["file"] !== undefined) return problems;
  const missing: Problem = {
    code: "missingField",
    path: ["spec"],
    anchor: "key",
    message: "the set has neither cidrs nor file",
    wanted: "cidrs or file",
    fix: "add cidrs; an empty list is a set without addresses",
  };
  return [missing, ...problems];
}

function checkAddresses(value: unknown): readonly Problem[] {
  const first = new Map<string, number>();
  return items(value).flatMap((text, index) => {
    if (typeof text !== "string") return [];
    const path = ["spec", "addresses", index];
    const checked = checkAddress(text);
    if (!checked.ok) return [refusal(checked, "badAddress", path, text, "an IPv4 or IPv6 address")];
    if (!isUnicast(checked.value)) {
      const problem: Problem = {
        code: "badAddress",
        path,
        message: `${text} is not the address of one host`,
        found: text,
        wanted: "a unicast address",
      };
      return [problem];
    }
    const before = first.get(checked.value);
    if (before === undefined) {
      first.set(checked.value, index);
      return [];
    }
    const problem: Problem = {
      code: "duplicateAddress",
      path,
      message: `${text} is the same address as spec.addresses[${before}]`,
      found: text,
      wanted: "each address once",
      fix: "remove it",
    };
    return [problem];
  });
}

/** Port names must be unique for each protocol. Kubernetes, too, requires unique names for the ports of a container. */
function checkPortNames(value: unknown): readonly Problem[] {
  const first = new Map<string, number>();
  return items(value).flatMap((item, index) => {
    const { name, protocol } = fields(item);
    if (typeof name !== "string") return [];
    const key = `${typeof protocol === "string" ? protocol : "TCP"}/${name}`;
    const before = first.get(key);
    if (before === undefined) {
      first.set(key, index);
      return [];
    }
    const problem: Problem = {
      code: "duplicatePort",
      path: ["spec", "ports", index, "name"],
      message: `${key} is already the name of spec.ports[${before}]`,
      found: name,
      wanted: "each name once for a protocol",
    };
    return [problem];
  });
}

/** Refuses a test without expectations, since it could never fail. */
function checkExpectations(spec: Readonly<Record<string, unknown>>): readonly Problem[] {
  const [allow, deny] = [items(spec["allow"]), items(spec["deny"])];
  if (allow.length + deny.length === 0) {
    return [
      {
        code: "missingField",
        path: ["spec"],
        anchor: "key",
        message: "the test expects nothing, so it could never fail",
        wanted: "at least one entry in allow or deny",
        fix: "add what must be allowed, or what must never be",
      },
    ];
  }
  return (["allow", "deny"] as const).flatMap((key) => [
    ...checkRules(spec[key], key, ["from", "to"]),
    ...items(spec[key]).flatMap((item, index) => checkEnds(fields(item), ["spec", key, index])),
  ]);
}

/** The fields of a peer that stands for addresses without a workload. */
const BLOCK_PEERS = ["ipBlock", "networkSet", "networkSetSelector"];

/**
 * Refuses an expectation between address blocks only: policies belong to workloads, and do not cover connections
 * between two addresses without a workload.
 */
function checkEnds(expectation: Readonly<Record<string, unknown>>, path: Path): readonly Problem[] {
  const isOnlyBlocks = (value: unknown): boolean => {
    const list: readonly unknown[] = Array.isArray(value) ? value : value === undefined ? [] : [value];
    return list.length > 0 && list.every((peer) => BLOCK_PEERS.some((key) => fields(peer)[key] !== undefined));
  };
  if (!isOnlyBlocks(expectation["from"]) || !isOnlyBlocks(expectation["to"])) return [];
  return [
    {
      code: "testWithoutWorkload",
      path,
      anchor: "key",
      message: "both ends are address blocks, and policies cover only connections of workloads",
      wanted: "a podSelector or namespaceSelector on one end",
    },
  ];
}

function checkRules(value: unknown, listKey: string, peerKeys: readonly ("from" | "to")[]): readonly Problem[] {
  return items(value).flatMap((item, index) => {
    const rule = fields(item);
    const path: Path = ["spec", listKey, index];
    const checkPeers = (peerKey: string, peers: unknown): readonly Problem[] =>
      Array.isArray(peers)
        ? peers.flatMap((peer: unknown, at) => checkIPBlock(fields(peer)["ipBlock"], [...path, peerKey, at, "ipBlock"]))
        : checkIPBlock(fields(peers)["ipBlock"], [...path, peerKey, "ipBlock"]);
    return [
      ...peerKeys.flatMap((peerKey) => checkPeers(peerKey, rule[peerKey])),
      ...items(rule["ports"]).flatMap((port, at) => checkRange(fields(port), [...path, "ports", at])),
    ];
  });
}

function checkRange(port: Readonly<Record<string, unknown>>, path: Path): readonly Problem[] {
  const { port: first, endPort } = port;
  if (typeof first !== "number" || typeof endPort !== "number" || endPort >= first) return [];
  return [
    {
      code: "endPortBelowPort",
      path: [...path, "endPort"],
      message: `endPort ${endPort} is below port ${first} ${kubernetesRule("must be greater than or equal to `port`")}`,
      found: String(endPort),
      wanted: `${first} or more`,
      fix: "swap the two, or remove endPort",
    },
  ];
}

/** Largest number of prefixes of one block; the tables of a node hold 64 such blocks. */
const PREFIXES = 65_536;

function checkRemaining(outer: Cidr, excepts: readonly Cidr[], path: Path): readonly Problem[] {
  const remaining = excepts.length === 0 ? 1 : countRemaining(outer, excepts);
  if (remaining <= PREFIXES) return [];
  return [
    {
      code: "exceptTooMany",
      path: [...path, "except"],
      anchor: "key",
      message: `cidr ${outer.text} without these ${excepts.length} blocks takes ${remaining} prefixes`,
      found: `${remaining} prefixes`,
      wanted: `at most ${PREFIXES}`,
      fix: "name wider blocks under except, or name the addresses that are meant under cidr",
    },
  ];
}

const CIDR_RULE = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";

/** Describes a text of a NetworkSet that is no CIDR. */
export function cidrProblem(checked: Extract<Checked<unknown>, { ok: false }>, path: Path, found: string): Problem {
  return refusal(checked, "badCidr", path, show(found), WANTED_CIDR);
}

const WANTED_CIDR = "a CIDR such as 10.0.0.0/8 or 2001:db8::/32";

function checkIPBlock(value: unknown, path: Path): readonly Problem[] {
  const block = fields(value);
  const text = block["cidr"];
  const outer = typeof text === "string" ? checkCidr(text) : undefined;
  const wanted = WANTED_CIDR;
  const problems: Problem[] = [];
  const excepts: Cidr[] = [];
  if (outer?.ok === false) problems.push(refusal(outer, "badCidr", [...path, "cidr"], String(text), wanted, CIDR_RULE));
  for (const [index, except] of items(block["except"]).entries()) {
    if (typeof except !== "string") continue;
    const at = [...path, "except", index];
    const inner = checkCidr(except);
    if (!inner.ok) problems.push(refusal(inner, "badCidr", at, except, wanted, CIDR_RULE));
    else if (outer?.ok === true && !isStrictSubset(inner.value, outer.value)) {
      const same = inner.value.text === outer.value.text;
      problems.push({
        code: "exceptOutside",
        path: at,
        message: `except ${except} ${same ? "is all of" : "does not lie inside"} cidr ${outer.value.text} ${kubernetesRule("must be a strict subset of `cidr`")}`,
        found: show(except),
        wanted: `a smaller block inside ${outer.value.text}`,
        fix: same
          ? "remove the whole peer, which matches no address"
          : "remove it: addresses outside cidr do not match anyway",
      });
    } else excepts.push(inner.value);
  }
  if (outer?.ok === true) problems.push(...checkRemaining(outer.value, excepts, path));
  return problems;
}
