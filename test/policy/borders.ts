/** What two ends of a state may do, packet by packet on and beside every border: asked of the evaluator, and read from a list. */
import { containsCidr } from "cidr-tools";
import type { Connection } from "../../src/model/connection.js";
import type { ObjectSet } from "../../src/model/state.js";
import { compile } from "../../src/policy/compile/compile.js";
import type { createEvaluator } from "../../src/policy/evaluate.js";
import { BORDER_ADDRESSES, BORDER_PORTS } from "../builders/arbitrary.js";

export const PROTOCOLS = { TCP: 6, UDP: 17, SCTP: 132, ICMP: 1, other: 47 } as const;
export type Protocol = keyof typeof PROTOCOLS;
const NAMES: readonly Protocol[] = ["TCP", "UDP", "SCTP", "ICMP", "other"];

export interface End {
  readonly name: string;
  /** False for an address that no workload has. */
  readonly isWorkload: boolean;
  readonly addresses: readonly string[];
}

export function endsOf(...states: readonly ObjectSet[]): readonly End[] {
  const workloads = states.map((objects) =>
    compile(objects, null).subjects.map(({ workload: name, addresses }) => ({ name, isWorkload: true, addresses })),
  );
  const taken = new Set(workloads.flat().flatMap(({ addresses }) => addresses));
  const outside = BORDER_ADDRESSES.filter((address) => !taken.has(address));
  const byName = new Map(workloads.flat().map((end) => [end.name, end]));
  return [...byName.values(), ...outside.map((name) => ({ name, isWorkload: false, addresses: [name] }))];
}

export function* pairsOf(ends: readonly End[]): Generator<readonly [End, End]> {
  for (const from of ends) {
    for (const to of ends) {
      if (from !== to && (from.isWorkload || to.isWorkload)) yield [from, to];
    }
  }
}

/** What the evaluator says of all border packets of a pair, as text: for each protocol the ports that pass. */
export function evaluated(evaluate: ReturnType<typeof createEvaluator>, from: End, to: End): string {
  const isV6 = (address: string) => address.includes(":");
  return describe((protocol, port) => {
    const allows = (end: End, direction: "ingress" | "egress", peer: string) =>
      !end.isWorkload ||
      evaluate({
        workload: end.name,
        direction,
        peer,
        protocol: protocol === "ICMP" && isV6(peer) ? 58 : PROTOCOLS[protocol],
        port,
      }).verdict === "Allowed";
    // A workload without addresses still has policies, which speak of addresses outside.
    if (!to.isWorkload && from.addresses.length === 0) return allows(from, "egress", to.name);
    if (!from.isWorkload && to.addresses.length === 0) return allows(to, "ingress", from.name);
    // Outside of the workloads, a workload's own families do not matter.
    if (!to.isWorkload) return allows(from, "egress", to.name);
    if (!from.isWorkload) return allows(to, "ingress", from.name);
    return from.addresses.some((source) =>
      to.addresses.some(
        (target) => isV6(source) === isV6(target) && allows(from, "egress", target) && allows(to, "ingress", source),
      ),
    );
  });
}

export const describe = (passes: (protocol: Protocol, port: number) => boolean): string =>
  NAMES.map((protocol) => `${protocol} ${BORDER_PORTS.filter((port) => passes(protocol, port)).join(",")}`).join("; ");

/** Those between two ends, found through the text of the CIDRs: this is what a reader of the output does. */
export class Listing {
  readonly #byEnds: ReadonlyMap<string, readonly Connection[]>;
  readonly #cidrs: readonly string[];
  readonly #texts = new Map<string, readonly string[]>();
  constructor(connections: readonly Connection[]) {
    this.#byEnds = Map.groupBy(connections, ({ from, to }) => `${from} ${to}`);
    this.#cidrs = [...new Set(connections.flatMap(({ from, to }) => [from, to]))].filter(
      (text) => /\/\d+$/.test(text) && /[.:]/.test(text),
    );
  }
  #textsOf({ isWorkload, name }: End): readonly string[] {
    const known = this.#texts.get(name);
    if (known !== undefined) return known;
    const texts = isWorkload ? [name] : this.#cidrs.filter((cidr) => containsCidr([cidr], [name]));
    this.#texts.set(name, texts);
    return texts;
  }
  between(from: End, to: End): readonly Connection[] {
    const [sources, targets] = [this.#textsOf(from), this.#textsOf(to)];
    const found = sources.flatMap((source) => targets.map((target) => this.#byEnds.get(`${source} ${target}`) ?? []));
    if (found.filter((list) => list.length > 0).length > 1)
      throw new Error(`${from.name} → ${to.name} is listed in several CIDRs`);
    return found.flat();
  }
  passes(from: End, to: End): (protocol: Protocol, port: number) => boolean {
    const connections = this.between(from, to);
    return (protocol, port) =>
      connections.some(
        (connection) =>
          (connection.protocol === "*" || connection.protocol === protocol) &&
          connection.ports.some(([first, last]) => first <= port && port <= last),
      );
  }
}
