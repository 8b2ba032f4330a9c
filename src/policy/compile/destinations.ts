/**
 * Destinations: some addresses, the workloads that have them, and the clauses of identity profiles about them. All profiles
 * about the same addresses share the clauses that do not depend on the sender. Pure.
 *
 * A port of an address belongs to the workloads there that are known to have it; if there is none, to those whose ports are
 * not known at all; if there is none either, to those that let workloads in by name at this port, since they would do so if they
 * had it; otherwise to nobody, and it is not limited. Protocols without ports belong to all workloads there. A connection passes
 * if any of its owners lets the sender in.
 */
import { isUnplaced } from "../../inventory/unplaced.js";
import { hostCidr } from "../../model/ip.js";
import type { PortProtocol, WorkloadPort } from "../../model/objects.js";
import type { Clause, PortRange } from "../../model/ruleset.js";
import { canonicalCidrs, resolveNames, type PortSpec } from "./peers.js";
import type { SelectableWorkload } from "./select.js";

/** What a rule of a destination's ingress policies lets in, apart from the peers. */
export interface LetIn {
  readonly ports: PortSpec;
  /** The workloads that its policy isolates. */
  readonly subjects: readonly SelectableWorkload[];
}

/** In the order in which they stand in a profile: what comes later decides less. */
interface Stages {
  /** Ports of workloads that are known to have them. */
  readonly known: readonly Clause[];
  /** Other ports. */
  readonly others: readonly Clause[];
  /** Protocols without ports. */
  readonly portless: readonly Clause[];
}

const TRANSPORTS: readonly PortProtocol[] = ["TCP", "UDP", "SCTP"];
const EVERY_PORT: readonly PortRange[] = TRANSPORTS.map((protocol) => ({ protocol, first: 0, last: 65535 }));
const ANYTHING: PortSpec = { any: true, ranges: [], names: [] };

export class Destinations {
  readonly #owners = new Map<SelectableWorkload, string[]>();
  readonly #open: Stages;
  readonly #closed: Stages;
  readonly #made = new Map<LetIn, Stages>();
  readonly #ports: ReadonlyMap<SelectableWorkload, readonly WorkloadPort[]>;
  /** Places where the ports of every workload are known. */
  readonly #known: ReadonlySet<string>;

  /**
   * @param byPlace the workloads at each place; see `placesOf`
   * @param isIsolated whether policies of a workload enforce its ingress
   * @param naming all rules that let in workloads by name: these can be mistaken
   */
  constructor(
    byPlace: ReadonlyMap<string, readonly SelectableWorkload[]>,
    isIsolated: (owner: SelectableWorkload) => boolean,
    naming: readonly LetIn[],
  ) {
    this.#ports = knownPorts(byPlace);
    this.#known = new Set(
      [...byPlace].flatMap(([place, owners]) =>
        owners.every((owner) => this.#portsOf(owner) !== null) ? [place] : [],
      ),
    );
    for (const [place, owners] of byPlace)
      for (const owner of owners) this.#owners.set(owner, [...(this.#owners.get(owner) ?? []), place]);
    const open = [...this.#owners.keys()].filter((owner) => !isIsolated(owner));
    this.#open = this.#stagesOf({ ports: ANYTHING, subjects: open }, false);
    this.#closed = this.#closeAll(byPlace, naming);
  }

  /** Returns the clauses for a sender that these rules let in. */
  clauses(rules: readonly LetIn[]): readonly Clause[] {
    const stages = [this.#open, ...rules.map((rule) => this.#letIn(rule)), this.#closed];
    return (["known", "others", "portless"] as const).flatMap((stage) => stages.flatMap((one) => one[stage]));
  }

  #letIn(rule: LetIn): Stages {
    const stages = this.#made.get(rule) ?? this.#stagesOf(rule, true);
    this.#made.set(rule, stages);
    return stages;
  }

  /** Null: not known. */
  #portsOf(owner: SelectableWorkload): readonly WorkloadPort[] | null {
    return this.#ports.get(owner) ?? null;
  }

  #withKnownPorts(places: readonly string[]): readonly string[] {
    return places.filter((place) => this.#known.has(place));
  }

  #stagesOf({ ports, subjects }: LetIn, areIsolated: boolean): Stages {
    const [known, others, portless] = [new ClauseGroups(), new ClauseGroups(), new ClauseGroups()];
    const icmp = ports.ranges.filter(({ protocol }) => protocol === "ICMP");
    const transport = transportOf(ports);
    for (const owner of subjects) {
      const places = this.#owners.get(owner);
      if (places === undefined) continue;
      const own = this.#portsOf(owner);
      if (own === null) others.add(transport, places);
      else {
        known.add([...intersect(transport, own), ...resolveNames(ports, owner)], places);
        if (areIsolated) others.add(transport, this.#withKnownPorts(places));
      }
      portless.add(ports.any ? "any" : icmp, places);
    }
    return { known: known.clauses(), others: others.clauses(), portless: portless.clauses() };
  }

  /** What no rule lets in is denied, except a port that nobody has, and at which nobody lets a workload in by name. */
  #closeAll(byPlace: ReadonlyMap<string, readonly SelectableWorkload[]>, naming: readonly LetIn[]): Stages {
    const [known, unknown, portless] = [new ClauseGroups("deny"), new ClauseGroups("deny"), new ClauseGroups("deny")];
    const nobodys = new ClauseGroups();
    for (const [place, owners] of byPlace) {
      known.add(owners.flatMap((owner) => this.#portsOf(owner) ?? []).map(toRange), [place]);
      (this.#known.has(place) ? nobodys : unknown).add(EVERY_PORT, [place]);
      portless.add("any", [place]);
    }
    for (const { ports, subjects } of naming) {
      const places = subjects.flatMap((owner) => this.#withKnownPorts(this.#owners.get(owner) ?? []));
      unknown.add(transportOf(ports), places);
    }
    return {
      known: known.clauses(),
      others: [...unknown.clauses(), ...nobodys.clauses()],
      portless: portless.clauses(),
    };
  }
}

/** Returns the ports of a rule apart from ICMP's, and from those that have a name: these are known. */
function transportOf({ any, ranges }: PortSpec): readonly PortRange[] {
  return any ? EVERY_PORT : ranges.filter(({ protocol }) => protocol !== "ICMP");
}

/** Joins places with the same ports to one clause. */
class ClauseGroups {
  readonly #groups = new Map<string, { readonly ports: Clause["ports"]; readonly places: Set<string> }>();

  constructor(private readonly effect: "allow" | "deny" = "allow") {}

  add(ports: Clause["ports"], places: readonly string[]): void {
    if (ports.length === 0) return;
    const sorted = ports === "any" ? ports : sortRanges(ports);
    const key = JSON.stringify(sorted);
    const group = this.#groups.get(key) ?? { ports: sorted, places: new Set() };
    this.#groups.set(key, group);
    for (const place of places) group.places.add(place);
  }

  clauses(): readonly Clause[] {
    return [...this.#groups]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([, { ports, places }]) => {
        const unplaced = [...places].flatMap((place) => (place.startsWith(UNPLACED) ? [place.slice(1)] : [])).sort();
        return {
          rule: null,
          ...(this.effect === "deny" ? { effect: this.effect } : {}),
          peers: canonicalCidrs([...places].filter((place) => !place.startsWith(UNPLACED))),
          ...(unplaced.length === 0 ? {} : { unplaced }),
          ports,
        };
      });
  }
}

const UNPLACED = "@";

/**
 * Returns where connections to a workload go: its addresses, or a sign for one whose addresses are not known. The loopback
 * addresses are everybody's.
 */
export function placesOf({ name, workload }: SelectableWorkload): readonly string[] {
  if (isUnplaced(workload)) return [UNPLACED + name];
  return workload.spec.addresses.filter(isIdentifying).map(hostCidr);
}

export function isIdentifying(address: string): boolean {
  return !address.startsWith("127.") && address !== "::1";
}

/**
 * Returns the ports that each workload is known to have, of those of which any is known. What one listens on does not count where another one of
 * a place declares the port: whoever may listen there would take it away.
 */
function knownPorts(
  byPlace: ReadonlyMap<string, readonly SelectableWorkload[]>,
): ReadonlyMap<SelectableWorkload, readonly WorkloadPort[]> {
  const nameOf = ({ protocol, port }: WorkloadPort): string => `${protocol}/${port}`;
  const known = new Map<SelectableWorkload, readonly WorkloadPort[]>();
  for (const owners of byPlace.values()) {
    const declared = new Set(owners.flatMap(({ workload }) => workload.spec.ports.map(nameOf)));
    for (const owner of owners) {
      const { ports, listening = [] } = owner.workload.spec;
      const before = known.get(owner) ?? listening;
      if (ports.length > 0) known.set(owner, ports);
      else if (listening.length > 0)
        known.set(
          owner,
          before.filter((port) => !declared.has(nameOf(port))),
        );
    }
  }
  return known;
}

const toRange = ({ protocol, port }: WorkloadPort): PortRange => ({ protocol, first: port, last: port });

function intersect(ranges: readonly PortRange[], ports: readonly WorkloadPort[]): readonly PortRange[] {
  return ports
    .filter(({ protocol, port }) =>
      ranges.some((range) => range.protocol === protocol && range.first <= port && port <= range.last),
    )
    .map(toRange);
}

function sortRanges(ranges: readonly PortRange[]): readonly PortRange[] {
  const unique = new Map(ranges.map((range) => [`${range.protocol}/${range.first}/${range.last}`, range]));
  return [...unique.values()].sort(
    (a, b) => (a.protocol < b.protocol ? -1 : a.protocol > b.protocol ? 1 : 0) || a.first - b.first || a.last - b.last,
  );
}
