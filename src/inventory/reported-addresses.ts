/** The addresses that a node reports: which of them count. */
import { canonicalAddress, hostCidr } from "../model/ip.js";
import type { ObjectSet } from "../model/state.js";
import { AddressParser, type Interval } from "../policy/address-space.js";
import type { DescribedNode } from "./nodes.js";
import { isDiscovered } from "./process.js";

/** Addresses that identify no host: loopback, link-local, multicast, unspecified, and IPv4 in IPv6 form. */
const NOBODYS = [
  "0.0.0.0/8",
  "127.0.0.0/8",
  "169.254.0.0/16",
  "224.0.0.0/3",
  "::/127",
  "::ffff:0:0/96",
  "fe80::/10",
  "ff00::/8",
];

export interface RefusedAddress {
  readonly address: string;
  readonly why: string;
}

export interface CheckedAddresses {
  /** Canonical text, sorted. */
  readonly addresses: readonly string[];
  readonly refused: readonly RefusedAddress[];
  /** Those among the refused that only lie outside of the node's ranges. */
  readonly outside: readonly string[];
}

export class AddressCheck {
  readonly #parser = new AddressParser();
  readonly #nobodys = NOBODYS.map((cidr) => this.#parser.parse(cidr));
  /** Where Git declares an address: names of nodes, and of external peers. */
  readonly #declared = new Map<string, Set<string>>();

  constructor(objects: ObjectSet) {
    for (const { object } of objects.values()) {
      if (object.kind === "Node") this.#declare(object.spec.addresses, object.metadata.name);
      if (object.kind === "Workload" && !isDiscovered(object)) {
        const { namespace, name } = object.metadata;
        this.#declare(object.spec.addresses, object.spec.node ?? `external peer ${namespace}/${name}`);
      }
    }
  }

  #declare(addresses: readonly string[], by: string): void {
    for (const address of addresses) {
      const known = this.#declared.get(address) ?? new Set();
      this.#declared.set(address, known.add(by));
    }
  }

  /** Keeps the addresses that the node may report, and that Git does not declare for another one. */
  check(reported: readonly string[], { name, addressRanges }: DescribedNode): CheckedAddresses {
    const ranges = addressRanges.map((cidr) => this.#parser.parse(cidr));
    const refused: RefusedAddress[] = [];
    const outside: string[] = [];
    const addresses = [...new Set(reported.map(canonicalAddress))].sort().filter((address) => {
      const one = this.#parser.parse(hostCidr(address));
      const isOutside = !ranges.some((range) => contains(range, one));
      const why = this.#refuse(address, one, name) ?? (isOutside ? describeRanges(ranges) : null);
      if (why !== null) refused.push({ address, why });
      if (isOutside && this.#refuse(address, one, name) === null) outside.push(address);
      return why === null;
    });
    return { addresses, refused, outside };
  }

  #refuse(address: string, one: Interval, node: string): string | null {
    if (this.#nobodys.some((range) => contains(range, one))) return "it identifies no host";
    const declared = this.#declared.get(address);
    return declared === undefined || declared.has(node) ? null : `Git declares it for ${[...declared].join(", ")}`;
  }
}

function describeRanges(ranges: readonly Interval[]): string {
  return ranges.length === 0
    ? "no NodeGroup of the node has addressRanges, and its Node has no addresses"
    : "it lies outside the addressRanges of the node's groups";
}

function contains(outer: Interval, { family, start, end }: Interval): boolean {
  return outer.family === family && outer.start <= start && end <= outer.end;
}
