/** Describes address blocks by the NetworkSet that they belong to. */
import type { NetworkSet } from "../../model/objects.js";
import type { ObjectSet } from "../../model/state.js";
import { AddressParser, AddressSet, type Interval } from "../../policy/address-space.js";

/** Describes CIDRs that do not overlap; null if no NetworkSet holds all of them. */
export type SetNamer = (cidrs: readonly string[]) => string | null;

interface KnownSet {
  readonly name: string;
  readonly addresses: AddressSet;
  readonly size: bigint;
}

export function createSetNamer(objects: ObjectSet): SetNamer {
  const declared = [...objects.values()].flatMap(({ object }) => (object.kind === "NetworkSet" ? [object] : []));
  if (declared.length === 0) return () => null;
  let known: readonly KnownSet[] | undefined;
  const parser = new AddressParser();
  return (cidrs) => {
    known ??= declared.map((set) => readSet(set, parser)).sort((a, b) => (a.size < b.size ? -1 : 1));
    const blocks = cidrs.map((cidr) => parser.parse(cidr));
    // The smallest set says most.
    const set = known.find(({ addresses }) => blocks.every((block) => addresses.contains(block)));
    if (set === undefined) return null;
    if (sizeOf(blocks) === set.size) return `NetworkSet ${set.name}`;
    return blocks.length === 1
      ? `${cidrs[0] ?? ""} of NetworkSet ${set.name}`
      : `${blocks.length} blocks of NetworkSet ${set.name}`;
  };
}

function readSet({ metadata, spec }: NetworkSet, parser: AddressParser): KnownSet {
  const blocks = spec.cidrs.map((cidr) => parser.parse(cidr));
  return { name: metadata.name, addresses: new AddressSet(blocks), size: sizeOf(blocks) };
}

function sizeOf(blocks: readonly Interval[]): bigint {
  return blocks.reduce((sum, { start, end }) => sum + end - start + 1n, 0n);
}
