/**
 * Example places: gives workloads whose addresses are not known some that they may have, one for each part of their ranges
 * that the blocks of policies distinguish. So a single packet can be named and explained. No two workloads get the same.
 */
import { rangesOfUnplaced } from "../../inventory/unplaced.js";
import { digestOf } from "../../model/digest.js";
import type { Peer, Workload } from "../../model/objects.js";
import type { ObjectSet, StateObject } from "../../model/state.js";
import { AddressParser, compareIntervals, firstAddress, type Interval } from "../address-space.js";
import { NetworkSetIndex } from "../compile/network-sets.js";
import { blockCidrs } from "../compile/peers.js";

/** Largest number of examples of one workload. */
const MOST_EXAMPLES = 16;

/** Returns the state itself if it has no such workload. */
export function withExamplePlaces(objects: ObjectSet): ObjectSet {
  const ranges = rangesOfUnplaced(objects);
  if (ranges.size === 0) return objects;
  const parser = new AddressParser();
  const borders = bordersOf(objects, parser);
  const taken = declaredAddresses(objects, parser);
  const examples = new Map<readonly Interval[], readonly Interval[]>();
  const placed = new Map<string, StateObject>(objects);
  for (const [key, state] of objects) {
    const { object } = state;
    if (object.kind !== "Workload") continue;
    const own = ranges.get(`${object.metadata.namespace}/${object.metadata.name}`);
    if (own === undefined) continue;
    const pieces = examples.get(own) ?? cut(own, borders).slice(0, MOST_EXAMPLES);
    examples.set(own, pieces);
    const addresses = pieces.flatMap((piece) => takeFirst(piece, taken) ?? []);
    const workload: Workload = { ...object, spec: { ...object.spec, addresses: addresses.sort() } };
    placed.set(key, { ...state, object: workload, digest: digestOf(workload) });
  }
  return placed;
}

type Taken = Readonly<Record<Interval["family"], Set<bigint>>>;

function takeFirst(piece: Interval, taken: Taken): string | undefined {
  const used = taken[piece.family];
  for (let address = piece.start; address <= piece.end; address += 1n) {
    if (used.has(address)) continue;
    used.add(address);
    return firstAddress({ family: piece.family, start: address, end: address }, () => true);
  }
  return undefined;
}

function declaredAddresses(objects: ObjectSet, parser: AddressParser): Taken {
  const taken: Taken = { 4: new Set(), 6: new Set() };
  for (const { object } of objects.values()) {
    const addresses = object.kind === "Workload" || object.kind === "Node" ? object.spec.addresses : [];
    for (const address of addresses) {
      const { family, start } = parser.parse(address);
      taken[family].add(start);
    }
  }
  return taken;
}

/** The first addresses of all intervals that the blocks of policies make, ascending. */
function bordersOf(objects: ObjectSet, parser: AddressParser): Readonly<Record<Interval["family"], readonly bigint[]>> {
  const found: Taken = { 4: new Set(), 6: new Set() };
  const sets = new NetworkSetIndex(objects);
  const add = (peers: readonly Peer[] | undefined): void => {
    for (const cidr of blockCidrs(peers ?? [], sets)) {
      const { family, start, end } = parser.parse(cidr);
      found[family].add(start).add(end + 1n);
    }
  };
  for (const { object } of objects.values()) {
    if (object.kind !== "NetworkPolicy") continue;
    for (const { from } of object.spec.ingress ?? []) add(from);
    for (const { to } of object.spec.egress ?? []) add(to);
  }
  const sorted = (set: ReadonlySet<bigint>): readonly bigint[] => [...set].sort((a, b) => (a < b ? -1 : 1));
  return { 4: sorted(found[4]), 6: sorted(found[6]) };
}

function cut(ranges: readonly Interval[], borders: ReturnType<typeof bordersOf>): readonly Interval[] {
  return ranges
    .flatMap(({ family, start, end }) => {
      const inside = borders[family].filter((border) => border > start && border <= end);
      return [start, ...inside].map((from, index) => ({ family, start: from, end: (inside[index] ?? end + 1n) - 1n }));
    })
    .sort(compareIntervals);
}
