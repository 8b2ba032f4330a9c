/**
 * Resolves the terms of a rule (selectors, blocks, port names) to the terms of a ruleset (CIDRs, port numbers), with
 * Kubernetes' semantics for NetworkPolicyPeer and NetworkPolicyPort.
 */
import { excludeCidr, mergeCidr } from "cidr-tools";
import { isUnplaced } from "../../inventory/unplaced.js";
import { hostCidr } from "../../model/ip.js";
import type { Peer, PolicyPort } from "../../model/objects.js";
import type { PortRange, Senders } from "../../model/ruleset.js";
import { workloadOf } from "../../model/endpoints.js";
import type { NetworkSetIndex } from "./network-sets.js";
import type { WorkloadIndex } from "./workload-index.js";
import { selectorKey } from "./workload-index.js";
import type { SelectableWorkload } from "./select.js";

/** A clause without its rule. */
export interface Resolved {
  readonly peers: "any" | readonly string[];
  /** Names of peers whose addresses are not known. */
  readonly unplaced: readonly string[];
  readonly ports: "any" | readonly PortRange[];
}

type ResolvedPeers = Pick<Resolved, "peers" | "unplaced">;

const ANY: ResolvedPeers = { peers: "any", unplaced: [] };

interface NamedPort {
  readonly protocol: PortRange["protocol"];
  readonly name: string;
}

/** The content of a `ports` list, with port names still unresolved. */
export interface PortSpec {
  readonly any: boolean;
  readonly ranges: readonly PortRange[];
  readonly names: readonly NamedPort[];
}

const ALL_PORTS = { first: 0, last: 65535 } as const;

export function readPorts(ports: readonly PolicyPort[] | undefined): PortSpec {
  const ranges: PortRange[] = [];
  const names: NamedPort[] = [];
  for (const port of ports ?? []) {
    if (port.protocol === "ICMP") {
      const { type, code } = port;
      const first = type === undefined ? 0 : (type << 8) | (code ?? 0);
      const last = type === undefined ? 65535 : (type << 8) | (code ?? 255);
      ranges.push({ protocol: "ICMP", first, last });
    } else if (typeof port.port === "string") {
      names.push({ protocol: port.protocol, name: port.port });
    } else if (port.port === undefined) {
      ranges.push({ protocol: port.protocol, ...ALL_PORTS });
    } else {
      ranges.push({ protocol: port.protocol, first: port.port, last: port.endPort ?? port.port });
    }
  }
  return { any: (ports ?? []).length === 0, ranges, names };
}

/** Returns the ranges of a workload's own named ports. A name that the workload does not have gives no range. */
export function resolveNames(spec: PortSpec, candidate: SelectableWorkload): readonly PortRange[] {
  return spec.names.flatMap(({ protocol, name }) =>
    candidate.workload.spec.ports
      .filter((port) => port.name === name && port.protocol === protocol)
      .map(({ port }) => ({ protocol, first: port, last: port })),
  );
}

/** Returns CIDRs merged, disjoint and sorted: IPv4 before IPv6, then by address. Equal sets give equal lists. */
export function canonicalCidrs(cidrs: readonly string[]): readonly string[] {
  return cidrs.length === 0 ? [] : mergeCidr([...cidrs]);
}

function unplacedNames(candidates: readonly SelectableWorkload[]): readonly string[] {
  return candidates.flatMap(({ name, workload }) => (isUnplaced(workload) ? [name] : [])).sort();
}

/** Returns the addresses of the ipBlocks and NetworkSets of a rule; they may overlap. */
export function blockCidrs(peers: readonly Peer[], sets: NetworkSetIndex): readonly string[] {
  return peers.flatMap((peer): readonly string[] => {
    const { ipBlock } = peer;
    if (ipBlock === undefined) return sets.setsOf(peer).flatMap(({ spec }) => spec.cidrs);
    return ipBlock.except === undefined || ipBlock.except.length === 0
      ? [ipBlock.cidr]
      : excludeCidr([ipBlock.cidr], [...ipBlock.except]);
  });
}

/** Resolves the peers of rules. Each distinct list is resolved once, and rules with the same peers share one list. */
export class PeerResolver {
  readonly #candidates: WorkloadIndex;
  readonly #sets: NetworkSetIndex;
  readonly #hosts = new Map<readonly SelectableWorkload[], readonly string[]>();
  readonly #unplaced = new Map<readonly SelectableWorkload[], readonly string[]>();
  readonly #resolved = new Map<string, ResolvedPeers>();

  constructor(candidates: WorkloadIndex, sets: NetworkSetIndex) {
    this.#candidates = candidates;
    this.#sets = sets;
  }

  /** Returns every address that a rule's peers match, or `any` if it has no peers. */
  resolve(peers: readonly Peer[], policyNamespace: string): ResolvedPeers {
    if (peers.length === 0) return ANY;
    const key = selectorKey(peers, policyNamespace);
    const known = this.#resolved.get(key);
    if (known !== undefined) return known;
    const candidates = this.#candidates.peersOf(peers, policyNamespace);
    const hosts = this.#hostsOf(candidates);
    const blocks = blockCidrs(peers, this.#sets);
    const resolved = {
      peers: blocks.length === 0 ? hosts : canonicalCidrs([...hosts, ...blocks]),
      unplaced: this.#unplacedOf(candidates),
    };
    this.#resolved.set(key, resolved);
    return resolved;
  }

  /** Returns the peers of a rule apart; null if none of them is a workload, or all addresses match. */
  sendersOf(peers: readonly Peer[], policyNamespace: string): Senders | null {
    const candidates = peers.length === 0 ? [] : this.#candidates.peersOf(peers, policyNamespace);
    if (candidates.length === 0) return null;
    const addresses = new Map<string, Set<string>>();
    for (const { name, workload } of candidates) {
      const key = workloadOf(name);
      const own = addresses.get(key) ?? new Set();
      for (const address of workload.spec.addresses) own.add(address);
      addresses.set(key, own);
    }
    return {
      blocks: canonicalCidrs(blockCidrs(peers, this.#sets)),
      workloads: [...addresses].map(([workload, own]) => ({ workload, addresses: [...own].sort() })),
    };
  }

  #unplacedOf(candidates: readonly SelectableWorkload[]): readonly string[] {
    const unplaced = this.#unplaced.get(candidates) ?? unplacedNames(candidates);
    this.#unplaced.set(candidates, unplaced);
    return unplaced;
  }

  #hostsOf(candidates: readonly SelectableWorkload[]): readonly string[] {
    const known = this.#hosts.get(candidates);
    if (known !== undefined) return known;
    const hosts = canonicalCidrs(candidates.flatMap(({ workload }) => workload.spec.addresses.map(hostCidr)));
    this.#hosts.set(candidates, hosts);
    return hosts;
  }
}

/**
 * Returns the clauses for the port names of an egress rule. Each name is looked up at each peer workload, so that the
 * same name may mean different ports on different peers. A name means nothing on an ipBlock or a NetworkSet.
 */
export function resolveEgressNames(
  spec: PortSpec,
  peers: readonly Peer[],
  policyNamespace: string,
  candidates: WorkloadIndex,
): readonly Resolved[] {
  if (spec.names.length === 0) return [];
  const hostsByPort = new Map<string, { range: PortRange; hosts: string[]; candidates: SelectableWorkload[] }>();
  for (const candidate of candidates.peersOf(peers, policyNamespace)) {
    for (const range of resolveNames(spec, candidate)) {
      const key = `${range.protocol}/${range.first.toString().padStart(5, "0")}`;
      const entry = hostsByPort.get(key) ?? { range, hosts: [], candidates: [] };
      entry.hosts.push(...candidate.workload.spec.addresses.map(hostCidr));
      entry.candidates.push(candidate);
      hostsByPort.set(key, entry);
    }
  }
  return [...hostsByPort.entries()]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, { range, hosts, candidates: named }]) => ({
      peers: canonicalCidrs(hosts),
      unplaced: unplacedNames(named),
      ports: [range],
    }));
}
