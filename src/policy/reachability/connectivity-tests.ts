/**
 * Finds the expectations of a state's ConnectivityTests that the state does not meet, over all matching workloads and
 * all packets. Pure, and in the terms of `ztap connectivity`: a connection that is listed there breaks a `deny` here,
 * and one that is missing there breaks an `allow`.
 *
 * A connection between two workloads with several addresses counts as allowed if any pair of addresses allows it. An
 * address block stands for the addresses in it that no workload has.
 */
import type { ConnectionProtocol } from "../../model/connection.js";
import type { ConnectivityTest, Expectation, Peer } from "../../model/objects.js";
import type { Direction } from "../../model/ruleset.js";
import { refKey, refOf, type ObjectSet } from "../../model/state.js";
import { AddressParser, EVERYWHERE, firstAddress, type Interval } from "../address-space.js";
import { isBefore, type AddressRange } from "./external.js";
import { NetworkSetIndex } from "../compile/network-sets.js";
import { WorkloadIndex } from "../compile/workload-index.js";
import { createExplainer, type End as QuestionEnd, type Explanation } from "../explain.js";
import { blockCidrs, canonicalCidrs, readPorts, resolveNames } from "../compile/peers.js";
import { isUnplaced } from "../../inventory/unplaced.js";
import { withExamplePlaces } from "./example-places.js";
import { PortSets, type PortSetId } from "./port-sets.js";
import { createReach, type Reach } from "./reach.js";

export interface BrokenExpectation {
  /** `refKey` of the test. */
  readonly test: string;
  readonly list: "allow" | "deny";
  readonly index: number;
  /** The number of pairs (workload with workload, or workload with the blocks) that break it. */
  readonly pairs: number;
  /** Null for an `allow` without any connection: it selects no workload, or no workload has a port of that name. */
  readonly example: Counterexample | null;
}

/** One packet that is allowed and must not be, or the other way round. */
export interface Counterexample {
  /** `namespace/workload`, or an address. */
  readonly from: string;
  readonly to: string;
  readonly protocol: Exclude<ConnectionProtocol, "*">;
  /** `type << 8 | code` for ICMP; null for `other`. */
  readonly port: number | null;
  /** Null if no packet can pass between the two at all: they have no addresses of one family. */
  readonly explanation: Explanation | null;
}

/**
 * Returns the broken expectations by test, then in the order of their lists.
 * @throws TooManyPortSets if the state has too many combinations of ports
 */
export function findBroken(objects: ObjectSet): readonly BrokenExpectation[] {
  const tests = [...objects.values()].flatMap(({ object }) => (object.kind === "ConnectivityTest" ? [object] : []));
  if (tests.length === 0) return [];
  const checker = new Checker(objects);
  return tests.flatMap((test) =>
    (["allow", "deny"] as const).flatMap((list) =>
      test.spec[list].flatMap((expectation, index) => {
        const { pairs, example, isAsked } = checker.check(test, list, expectation);
        if (example === null && (isAsked || list === "deny")) return [];
        const shown = example === null ? null : checker.explain(example, list);
        return [{ test: refKey(refOf(test)), list, index, pairs, example: shown }];
      }),
    ),
  );
}

interface End {
  /** Indices into the names of all workloads. */
  readonly workloads: readonly number[];
  /** Ascending, disjoint. */
  readonly blocks: readonly Interval[];
}

interface Example {
  readonly from: number | string;
  readonly to: number | string;
  readonly set: PortSetId;
}

interface Found {
  isAsked: boolean;
  pairs: number;
  example: Example | null;
}

/** Workloads with the same expectation and the same connections. */
interface Group {
  readonly classId: number;
  readonly wanted: PortSetId;
  readonly members: readonly number[];
}

/** Largest number of pairs of classes, workloads and address ranges that are checked in all: some seconds of work. */
const MAX_STEPS = 30_000_000;
const NOBODY: ReadonlySet<number> = new Set();

/** The tests are too large to be checked. The caller must not take this for a success. */
export class TooManyExpectations extends Error {
  override readonly name = "TooManyExpectations";
  readonly code = "too-complex";
  constructor() {
    super("the tests cover more connections than ztap can check; write fewer or narrower expectations");
  }
}

class Checker {
  readonly #sets = new PortSets();
  readonly #reach: Reach;
  readonly #candidates: WorkloadIndex;
  readonly #places: ReadonlyMap<string, number>;
  readonly #networkSets: NetworkSetIndex;
  readonly #parser = new AddressParser();
  #explain: ReturnType<typeof createExplainer> | null = null;
  #steps = 0;
  /** The state with an address for each workload that has none in Git. */
  readonly #examples: ObjectSet;

  constructor(objects: ObjectSet) {
    this.#examples = withExamplePlaces(objects);
    this.#reach = createReach(objects, this.#sets);
    this.#candidates = new WorkloadIndex(objects);
    this.#networkSets = new NetworkSetIndex(objects);
    this.#places = new Map(this.#reach.names.map((name, index) => [name, index]));
  }

  check(test: ConnectivityTest, list: "allow" | "deny", expectation: Expectation): Found {
    const { namespace } = test.metadata;
    const [from, to] = [this.#endOf(expectation.from, namespace), this.#endOf(expectation.to, namespace)];
    const spec = readPorts(expectation.ports);
    const wanted = this.#sets.of(spec.any ? "any" : spec.ranges);
    const wantedOf = (place: number): PortSetId => {
      const candidate = this.#candidates.all[place];
      if (candidate === undefined || spec.names.length === 0) return wanted;
      return this.#sets.union(wanted, this.#sets.of(resolveNames(spec, candidate)));
    };
    const assess = (allowed: PortSetId, asked: PortSetId): PortSetId =>
      list === "deny" ? this.#sets.intersect(allowed, asked) : this.#sets.subtract(asked, allowed);
    const found: Found = { isAsked: false, pairs: 0, example: null };
    // What must be allowed must be so wherever the two run; what must never be, nowhere.
    const rowOf = list === "deny" ? this.#reach.row : this.#reach.sureRow;
    this.#checkPairs(from.workloads, this.#groups(to.workloads, wantedOf), { rowOf, assess, found });
    const blocks = { assess, found };
    this.#checkBlocks(from.workloads, to.blocks, { ...blocks, direction: "egress", wantedOf: () => wanted });
    this.#checkBlocks(to.workloads, from.blocks, { ...blocks, direction: "ingress", wantedOf });
    return found;
  }

  explain({ from, to, set }: Example, list: "allow" | "deny"): Counterexample {
    const [entry] = this.#sets.entries(set);
    const protocol = entry === undefined || entry.protocol === "*" ? "TCP" : entry.protocol;
    const [first, last] = entry?.ports[0] ?? [0, 0];
    // No service uses port 0.
    const port = protocol === "other" ? null : protocol !== "ICMP" && first === 0 && last > 0 ? 1 : first;
    this.#explain ??= createExplainer(this.#examples);
    const ends = { from: this.#describe(from, to), to: this.#describe(to, from) };
    const explanation = this.#explain({ ...ends, protocol, port });
    // Where an end may have several addresses, the pair that breaks the expectation.
    const broken = explanation?.pairs.find(({ verdict }) => verdict === (list === "deny" ? "Allowed" : "Denied"));
    const isOne = broken === undefined || explanation === null || !this.#isUnplaced(from, to);
    return {
      from: ends.from.workload ?? ends.from.addresses.join(),
      to: ends.to.workload ?? ends.to.addresses.join(),
      protocol,
      port,
      explanation: isOne ? explanation : { ...broken, pairs: [broken] },
    };
  }

  /** All tests of a state share one budget: the check must not take hours, since the caller also enforces. */
  #spend(steps: number): void {
    this.#steps += steps;
    if (this.#steps > MAX_STEPS) throw new TooManyExpectations();
  }

  #isUnplaced(...ends: readonly (number | string)[]): boolean {
    return ends.some((end) => {
      const candidate = typeof end === "string" ? undefined : this.#candidates.all[end];
      return candidate !== undefined && isUnplaced(candidate.workload);
    });
  }

  /**
   * With an external address, the workload's own policies decide alone, whatever its own address, even if it has none.
   */
  #describe(end: number | string, other: number | string): QuestionEnd {
    if (typeof end === "string") return { workload: null, addresses: [end] };
    const candidate = this.#candidates.all[end];
    const placed = this.#examples.get(`Workload/${candidate?.name ?? ""}`)?.object;
    const own = placed?.kind === "Workload" ? placed.spec.addresses : [];
    const anyOwn = typeof other === "string" ? [other.includes(":") ? "::" : "0.0.0.0"] : own;
    return { workload: candidate?.name ?? null, addresses: anyOwn };
  }

  #endOf(peers: readonly Peer[] | undefined, namespace: string): End {
    if (peers === undefined) return { workloads: this.#candidates.all.map((_, place) => place), blocks: EVERYWHERE };
    const selected = this.#candidates.peersOf(peers, namespace).map(({ name }) => this.#places.get(name) ?? -1);
    const cidrs = canonicalCidrs(blockCidrs(peers, this.#networkSets));
    return { workloads: selected, blocks: cidrs.map((cidr) => this.#parser.parse(cidr)) };
  }

  #groups(places: readonly number[], wantedOf: (place: number) => PortSetId): readonly Group[] {
    const byClass = Map.groupBy(places, (place) => `${this.#reach.classOf[place] ?? 0}/${wantedOf(place)}`);
    return [...byClass.values()].map((members) => ({
      classId: this.#reach.classOf[members[0] ?? 0] ?? 0,
      wanted: wantedOf(members[0] ?? -1),
      members,
    }));
  }

  #checkPairs(
    sources: readonly number[],
    targets: readonly Group[],
    {
      rowOf,
      assess,
      found,
    }: {
      readonly rowOf: Reach["row"];
      readonly assess: (allowed: PortSetId, asked: PortSetId) => PortSetId;
      readonly found: Found;
    },
  ): void {
    for (const source of this.#groups(sources, () => this.#sets.empty)) {
      const row = rowOf(source.classId);
      this.#spend(targets.length + this.#reach.classCount);
      for (const target of targets) {
        found.isAsked ||= target.wanted !== this.#sets.empty;
        const set = assess(row[target.classId] ?? this.#sets.empty, target.wanted);
        if (set === this.#sets.empty) continue;
        // A workload may always talk to itself, and tests do not cover that; its instances are different ends.
        this.#spend(source.members.length + target.members.length);
        const isSeveral = this.#reach.isSeveral[source.classId] === true;
        const others = source.classId === target.classId && !isSeveral ? new Set(target.members) : NOBODY;
        const own = source.members.filter((place) => others.has(place)).length;
        found.pairs += source.members.length * target.members.length - own;
        if (found.example !== null) continue;
        for (const from of source.members) {
          const to = target.members.find((place) => place !== from || isSeveral);
          if (to !== undefined) found.example = { from, to, set };
          if (to !== undefined) break;
        }
      }
    }
  }

  #checkBlocks(
    workloads: readonly number[],
    blocks: readonly Interval[],
    how: {
      readonly direction: Direction;
      readonly wantedOf: (place: number) => PortSetId;
      readonly assess: (allowed: PortSetId, asked: PortSetId) => PortSetId;
      readonly found: Found;
    },
  ): void {
    if (blocks.length === 0) return;
    // Workloads with equal policies share one list of ranges.
    const known = new Map<readonly AddressRange[], Map<PortSetId, Omit<Example, "from"> | null>>();
    for (const place of workloads) {
      const ranges = this.#reach.external.ranges(place, how.direction);
      const wanted = how.wantedOf(place);
      how.found.isAsked ||= wanted !== this.#sets.empty;
      const byWanted = known.get(ranges) ?? new Map<PortSetId, Omit<Example, "from"> | null>();
      known.set(ranges, byWanted);
      if (!byWanted.has(wanted))
        byWanted.set(
          wanted,
          this.#firstBroken(ranges, blocks, (allowed) => how.assess(allowed, wanted)),
        );
      const first = byWanted.get(wanted) ?? null;
      if (first === null) continue;
      how.found.pairs += 1;
      how.found.example ??=
        how.direction === "egress" ? { from: place, ...first } : { from: first.to, to: place, set: first.set };
    }
  }

  /** Returns the first address of the blocks, without a workload, whose ports break the expectation. */
  #firstBroken(
    ranges: readonly AddressRange[],
    blocks: readonly Interval[],
    assess: (allowed: PortSetId) => PortSetId,
  ): Omit<Example, "from"> | null {
    let next = 0;
    for (const block of blocks) {
      // Both are ascending: ranges before this block are before all later ones.
      while (isBefore(ranges[next], block)) next += 1;
      for (const piece of piecesOf(block, ranges, next, this.#sets.empty)) {
        this.#spend(1);
        const set = assess(piece.set);
        if (set === this.#sets.empty || this.#reach.external.isTaken(piece)) continue;
        return { to: firstAddress(piece, (part) => !this.#reach.external.isTaken(part)), set };
      }
    }
    return null;
  }
}

/**
 * Splits an interval at the borders of the ranges. Parts outside all ranges get the empty set.
 * @param first index of the first range that does not end before the interval
 */
function* piecesOf(
  block: Interval,
  ranges: readonly AddressRange[],
  first: number,
  empty: PortSetId,
): Generator<AddressRange> {
  let from = block.start;
  for (let index = first; index < ranges.length; index += 1) {
    const range = ranges[index];
    if (range === undefined || isBefore(block, range)) break;
    const { family, start, end, set } = range;
    if (start > from) yield { family, start: from, end: start - 1n, set: empty };
    const last = end < block.end ? end : block.end;
    yield { family, start: start > from ? start : from, end: last, set };
    from = last + 1n;
  }
  if (from <= block.end) yield { family: block.family, start: from, end: block.end, set: empty };
}
