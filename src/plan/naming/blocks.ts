/** Describes address blocks in a few words. */
import type { Interval } from "../../policy/address-space.js";
import { compareIntervals, EVERYWHERE, FAMILIES, toCidrs } from "../../policy/address-space.js";

interface Cidr extends Interval {
  readonly text: string;
}

/** The number of CIDRs that are listed; the rest is counted. */
const LISTED_CIDRS = 4;

/**
 * Returns `every other address`, `every other IPv4 address but 10.0.0.0/8`, or the CIDRs. The blocks hold addresses
 * without a workload.
 */
export function describeBlocks(blocks: readonly Cidr[]): string {
  const gaps = FAMILIES.map((family) => gapsIn(blocks, family));
  if (gaps.every(({ length }) => length === 0)) return "every other address";
  return FAMILIES.map((family, at) => describeFamily(family, blocks, gaps[at] ?? []))
    .filter((text) => text !== "")
    .join(", ");
}

function describeFamily(family: Interval["family"], blocks: readonly Cidr[], gaps: readonly Cidr[]): string {
  const own = blocks.filter((block) => block.family === family);
  if (own.length === 0) return "";
  const all = `every other IPv${family} address`;
  if (gaps.length === 0) return all;
  const isShorter = own.length > LISTED_CIDRS && gaps.length < own.length;
  return isShorter ? `${all} but ${list(gaps)}` : list(own);
}

function list(cidrs: readonly Cidr[]): string {
  const rest = cidrs.length - LISTED_CIDRS;
  const shown = cidrs.slice(0, LISTED_CIDRS).map(({ text }) => text);
  return rest > 0 ? `${shown.join(", ")} and ${rest} more` : shown.join(", ");
}

/** Returns the part of an address space that the blocks do not cover; without texts if it is in too many pieces. */
function gapsIn(blocks: readonly Cidr[], family: Interval["family"]): readonly Cidr[] {
  const space = EVERYWHERE.find((all) => all.family === family);
  if (space === undefined) return [];
  const own = blocks.filter((block) => block.family === family).toSorted(compareIntervals);
  const gaps: Interval[] = [];
  let from = space.start;
  for (const { start, end } of own) {
    if (start > from) gaps.push({ family, start: from, end: start - 1n });
    from = end + 1n;
  }
  if (from <= space.end) gaps.push({ family, start: from, end: space.end });
  // Among many blocks, as many gaps are no shorter description: their CIDRs are not listed.
  if (own.length > LISTED_CIDRS && gaps.length >= own.length) return gaps.map((gap) => ({ ...gap, text: "" }));
  return gaps.flatMap(toCidrs);
}
