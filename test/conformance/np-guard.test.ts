/**
 * The expected connection lists of np-guard's netpol-analyzer, port by port: through the evaluator
 * and through connectivity.
 *
 * Where ztap's terms differ, the case is told in ztap's terms, and nothing is left out:
 *
 * - np-guard judges a pod by its labels alone, ztap by its address too. So workloads that have no
 *   address there, or one that they share, are given one that lies in no ipBlock of the case.
 * - np-guard's protocols are TCP, UDP and SCTP, and its external ranges are IPv4.
 * - Workloads of one name and several kinds are told apart by the kind in the name.
 * - A policy name that Kubernetes itself would refuse (with `_`) is written with `-`.
 * - A container port without a number cannot be written, and no name can stand for it in either tool.
 */
import t from "tap";
import type { Connection, PortInterval } from "../../src/model/connection.js";
import type { ObjectSet } from "../../src/model/state.js";
import { compile } from "../../src/policy/compile/compile.js";
import { listConnections } from "../../src/policy/reachability/connectivity.js";
import { createEvaluator } from "../../src/policy/evaluate.js";
import { objectsOfDocuments } from "../builders/state.js";
import { readCases } from "./cases.js";

type Labels = Readonly<Record<string, string>>;

interface Case {
  readonly namespaces: Readonly<Record<string, Labels>>;
  readonly workloads: Readonly<
    Record<
      string,
      {
        readonly ns: string;
        readonly labels: Labels | null;
        readonly ip: string | null;
        readonly ports: readonly (readonly [string | null, number | null, string])[];
      }
    >
  >;
  readonly policies: readonly { readonly metadata: { readonly name: string } }[];
  readonly connlist: readonly { readonly from: string; readonly to: string; readonly conns: string }[];
  readonly probePorts: readonly number[];
}

const PROTOCOLS = { TCP: 6, UDP: 17, SCTP: 132 } as const;
type Protocol = keyof typeof PROTOCOLS;
const NAMES: readonly Protocol[] = ["TCP", "UDP", "SCTP"];

/** One end of a connection: a workload with its address, or an address outside. */
interface End {
  /** As np-guard writes it; for an address outside the address. */
  readonly key: string;
  /** Null outside. */
  readonly workload: string | null;
  readonly address: string;
}

const nameOf = (key: string): string => key.replace(/\[(\w+)\]$/, (_, kind: string) => `-${kind.toLowerCase()}`);

/** 203.0.113.0/24 is for documentation (RFC 5737): no case has an ipBlock around it. */
function placeWorkloads(workloads: Case["workloads"]): readonly End[] {
  const shared = Map.groupBy(Object.values(workloads), ({ ip }) => ip);
  return Object.entries(workloads).map(([key, { ip }], index) => {
    const isOwn = ip !== null && shared.get(ip)?.length === 1;
    return { key, workload: nameOf(key), address: isOwn ? ip : `203.0.113.${index + 1}` };
  });
}

function objectsOf({ namespaces, workloads, policies }: Case, ends: readonly End[]): ObjectSet {
  return objectsOfDocuments([
    ...Object.entries(namespaces).map(([name, labels]) => ({
      apiVersion: "ztap/v1",
      kind: "Namespace",
      metadata: { name, labels },
    })),
    ...ends.map(({ key, workload, address }) => {
      const { ns, labels, ports } = workloads[key] ?? { ns: "", labels: {}, ports: [] };
      return {
        apiVersion: "ztap/v1",
        kind: "Workload",
        metadata: { namespace: ns, name: workload?.split("/")[1], labels: labels ?? {} },
        spec: {
          addresses: [address],
          ports: ports.flatMap(([name, port, protocol]) =>
            port === null ? [] : [{ ...(name === null ? {} : { name }), port, protocol }],
          ),
        },
      };
    }),
    ...policies.map((policy) => ({
      ...policy,
      metadata: { ...policy.metadata, name: policy.metadata.name.replaceAll("_", "-") },
    })),
  ]);
}

const toNumber = (address: string): number => address.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
const toAddress = (value: number): string => [24, 16, 8, 0].map((shift) => (value >>> shift) & 255).join(".");

/** `10.0.0.0-10.9.255.255[External]` → its first and last address. */
function readRange(text: string): PortInterval | null {
  const [, first, last] = /^([\d.]+)-([\d.]+)\[External\]$/.exec(text) ?? [];
  return first === undefined || last === undefined ? null : [toNumber(first), toNumber(last)];
}

/** The borders of every range from both sides. */
function listOutside({ connlist }: Case, ends: readonly End[]): readonly End[] {
  const ranges = connlist.flatMap(({ from, to }) => [readRange(from), readRange(to)]).filter((range) => range !== null);
  const values = new Set([0, 2 ** 32 - 1, ...ranges.flatMap(([first, last]) => [first - 1, first, last, last + 1])]);
  const taken = new Set(ends.map(({ address }) => address));
  return [...values]
    .filter((value) => value >= 0 && value < 2 ** 32)
    .map(toAddress)
    .filter((address) => !taken.has(address))
    .map((address) => ({ key: address, workload: null, address }));
}

/** `TCP 80-90,443,UDP 53` or `All Connections` → intervals by protocol. */
function readConns(text: string): ReadonlyMap<Protocol, readonly PortInterval[]> {
  if (text === "All Connections") return new Map(NAMES.map((protocol) => [protocol, [[0, 65535]]]));
  const result = new Map<Protocol, PortInterval[]>();
  let protocol: Protocol | undefined;
  for (const part of text.split(/[ ,]+/)) {
    const named = NAMES.find((name) => name === part);
    if (named !== undefined) {
      protocol = named;
      result.set(named, []);
      continue;
    }
    const [first, last = first] = part.split("-").map(Number);
    const intervals = protocol === undefined ? undefined : result.get(protocol);
    if (first === undefined || last === undefined || !Number.isInteger(first) || intervals === undefined)
      throw new Error(`not understood: ${text}`);
    intervals.push([first, last]);
  }
  return result;
}

const matches = (text: string, { key, workload, address }: End): boolean => {
  const range = readRange(text);
  if (range === null || workload !== null) return text === key;
  return range[0] <= toNumber(address) && toNumber(address) <= range[1];
};

function expected({ connlist }: Case, from: End, to: End, protocol: Protocol): readonly PortInterval[] {
  return connlist
    .filter((entry) => matches(entry.from, from) && matches(entry.to, to))
    .flatMap(({ conns }) => readConns(conns).get(protocol) ?? []);
}

const holds = (intervals: readonly PortInterval[], port: number) =>
  intervals.some(([first, last]) => first <= port && port <= last);

const inCidr = (cidr: string, address: string): boolean => {
  const [base = "", bits] = cidr.split("/");
  const size = 2 ** (32 - Number(bits));
  return !base.includes(":") && Math.floor(toNumber(base) / size) === Math.floor(toNumber(address) / size);
};

function listed(connections: readonly Connection[], from: End, to: End, protocol: Protocol): readonly PortInterval[] {
  const isEnd = (text: string, end: End) =>
    end.workload === null ? /^\d+\.[\d.]+\/\d+$/.test(text) && inCidr(text, end.address) : text === end.workload;
  return connections
    .filter((connection) => connection.protocol === "*" || connection.protocol === protocol)
    .filter((connection) => isEnd(connection.from, from) && isEnd(connection.to, to))
    .flatMap(({ ports }) => ports);
}

const read = readCases("np-guard-connlist.json");
if ("missing" in read) {
  t.test("np-guard connection lists", { skip: read.missing }, async () => undefined);
} else {
  const cases = Object.entries((JSON.parse(read.text) as { readonly cases: Readonly<Record<string, Case>> }).cases);
  t.equal(cases.length, 20, "all cases of the list");
  for (const [name, data] of cases) {
    t.test(name, async (t) => {
      const workloads = placeWorkloads(data.workloads);
      const objects = objectsOf(data, workloads);
      const evaluate = createEvaluator(compile(objects, null));
      const connections = listConnections(objects);
      const ends = [...workloads, ...listOutside(data, workloads)];
      const differences: string[] = [];
      let cells = 0;
      for (const from of ends) {
        for (const to of ends) {
          if (from.key === to.key || (from.workload === null && to.workload === null)) continue;
          for (const protocol of NAMES) {
            const wanted = expected(data, from, to, protocol);
            const found = listed(connections, from, to, protocol);
            // Both lists are ascending intervals; as text they are equal exactly where the sets are.
            if (JSON.stringify(wanted) !== JSON.stringify(found))
              differences.push(
                `connectivity: ${from.key} → ${to.key} ${protocol}: ${JSON.stringify({ wanted, found })}`,
              );
            for (const port of data.probePorts) {
              const packet = { protocol: PROTOCOLS[protocol], port };
              const sides = [
                ...(from.workload === null
                  ? []
                  : [evaluate({ workload: from.workload, direction: "egress", peer: to.address, ...packet })]),
                ...(to.workload === null
                  ? []
                  : [evaluate({ workload: to.workload, direction: "ingress", peer: from.address, ...packet })]),
              ];
              cells += 1;
              if (sides.every(({ verdict }) => verdict === "Allowed") !== holds(wanted, port))
                differences.push(`evaluator: ${from.key} → ${to.key} ${port}/${protocol}: ${JSON.stringify(sides)}`);
            }
          }
        }
      }
      t.ok(cells > 0, `${cells} cells`);
      t.same(differences, []);
    });
  }
}
