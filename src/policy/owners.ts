/**
 * Owners: the workloads that have an address, and those that have a destination (address, protocol, port). Pure; holds no
 * reference to the state that it was made from.
 */
import { protocolName } from "../model/protocol.js";
import { qualifiedName, type ObjectSet } from "../model/state.js";

export interface Destination {
  /** Canonical text. */
  readonly address: string;
  /** IP protocol number. */
  readonly protocol: number;
  /** Null if it is not known, or the protocol has none. */
  readonly port: number | null;
}

interface Owner {
  readonly name: string;
  readonly addresses: readonly string[];
  /** `protocol/port`; empty: not known. */
  readonly ports: ReadonlySet<string>;
  /** By Git; otherwise its node reports them. */
  readonly isDeclared: boolean;
}

export class OwnerIndex {
  readonly #byName = new Map<string, Owner>();
  readonly #byAddress = new Map<string, Owner[]>();
  readonly #sharing = new Map<string, readonly string[]>();

  constructor(objects: ObjectSet) {
    for (const { object } of objects.values()) {
      if (object.kind !== "Workload" || object.spec.isTemplate === true) continue;
      const { addresses, ports, listening = [] } = object.spec;
      const known = ports.length > 0 ? ports : listening;
      const texts = new Set(known.map(({ protocol, port }) => `${protocol}/${port}`));
      const owner = { name: qualifiedName(object.metadata), addresses, ports: texts, isDeclared: ports.length > 0 };
      this.#byName.set(owner.name, owner);
      for (const address of addresses) {
        const sharing = this.#byAddress.get(address);
        if (sharing === undefined) this.#byAddress.set(address, [owner]);
        else sharing.push(owner);
      }
    }
  }

  /** Returns the workloads with an address, `namespace/name`, sorted. */
  at(address: string): readonly string[] {
    return (this.#byAddress.get(address) ?? []).map(({ name }) => name).sort();
  }

  /**
   * Returns the workloads that have a destination, sorted: those that are known to have the port; else those whose ports
   * are not known; else all. Of a protocol without ports, all that have the address.
   */
  of({ address, protocol, port }: Destination): readonly string[] {
    const all = this.#byAddress.get(address) ?? [];
    const name = protocolName(protocol);
    if (name === undefined || name === "ICMP" || port === null) return this.at(address);
    const listening = all.filter(({ ports }) => ports.has(`${name}/${port}`));
    const declaring = listening.filter(({ isDeclared }) => isDeclared);
    const having = declaring.length > 0 ? declaring : listening;
    const unknown = all.filter(({ ports }) => ports.size === 0);
    const owners = having.length > 0 ? having : unknown.length > 0 ? unknown : all;
    return owners.map((owner) => owner.name).sort();
  }

  /** Returns the other workloads that have an address of this one, sorted. */
  sharingWith(workload: string): readonly string[] {
    const known = this.#sharing.get(workload) ?? this.#listSharing(workload);
    this.#sharing.set(workload, known);
    return known;
  }

  #listSharing(workload: string): readonly string[] {
    const addresses = this.#byName.get(workload)?.addresses ?? [];
    const others = addresses.flatMap((address) => this.at(address)).filter((name) => name !== workload);
    return [...new Set(others)].sort();
  }
}
