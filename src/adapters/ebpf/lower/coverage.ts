/**
 * Coverage: assigns each port to a clause; if several clauses match, to the first in the list. Runs of ports are sorted
 * and disjoint, so that two coverages are joined in one pass.
 *
 * "Every port of a protocol" and "any protocol" are kept apart from runs: only they match packets whose ports are not
 * known. A run that would change nothing beside them is left out.
 */
import type { Clause, PortRange } from "../../../model/ruleset.js";

const LAST_PORT = 65535;

export interface Run {
  readonly first: number;
  readonly last: number;
  /** Index of the clause that has these ports. */
  readonly clause: number;
}

export interface Coverage {
  /** The clause that allows any protocol; Infinity if none does. */
  readonly any: number;
  readonly protocols: ReadonlyMap<PortRange["protocol"], ProtocolCoverage>;
}

export interface ProtocolCoverage {
  /** The clause that allows every port; Infinity if none does. */
  readonly whole: number;
  readonly runs: readonly Run[];
}

export const NOTHING: Coverage = { any: Infinity, protocols: new Map() };

/** Counts the work, so that tests can compare the cost with the output. */
export interface Effort {
  runs: number;
}

export function coverClause(clause: Clause, index: number, effort: Effort): Coverage {
  if (clause.ports === "any") return { any: index, protocols: new Map() };
  effort.runs += clause.ports.length;
  const protocols = new Map<PortRange["protocol"], ProtocolCoverage>();
  for (const [protocol, ranges] of Map.groupBy(clause.ports, (range) => range.protocol)) {
    const isWhole = ranges.some(({ first, last }) => first === 0 && last === LAST_PORT);
    const sorted = isWhole ? [] : ranges.toSorted((a, b) => a.first - b.first);
    const runs: Run[] = [];
    for (const { first, last } of sorted) push(runs, first, last, index);
    protocols.set(protocol, { whole: isWhole ? index : Infinity, runs });
  }
  return { any: Infinity, protocols };
}

export function join(a: Coverage, b: Coverage, effort: Effort): Coverage {
  if (a === NOTHING) return b;
  if (b === NOTHING) return a;
  const any = Math.min(a.any, b.any);
  const protocols = new Map<PortRange["protocol"], ProtocolCoverage>();
  for (const protocol of new Set([...a.protocols.keys(), ...b.protocols.keys()])) {
    const [left, right] = [a.protocols.get(protocol), b.protocols.get(protocol)];
    const whole = Math.min(left?.whole ?? Infinity, right?.whole ?? Infinity);
    const bound = Math.min(whole, any);
    const runs = joinRuns(left?.runs ?? [], right?.runs ?? [], bound, effort);
    protocols.set(protocol, { whole: whole < any ? whole : Infinity, runs });
  }
  return { any, protocols };
}

/** Joins halves recursively: each run is visited as often as the list can be halved. */
export function joinAll(all: readonly Coverage[], effort: Effort): Coverage {
  const [first = NOTHING] = all;
  if (all.length < 2) return first;
  const half = all.length >> 1;
  return join(joinAll(all.slice(0, half), effort), joinAll(all.slice(half), effort), effort);
}

/** Joins two lists; for common ports the earlier clause wins; clauses that are not before `bound` are left out. */
function joinRuns(a: readonly Run[], b: readonly Run[], bound: number, effort: Effort): readonly Run[] {
  const runs: Run[] = [];
  let [at, bt, port] = [0, 0, 0];
  for (let [left, right] = [a[0], b[0]]; left !== undefined || right !== undefined;) {
    effort.runs += 1;
    const inLeft = left !== undefined && left.first <= port;
    const inRight = right !== undefined && right.first <= port;
    const clause = Math.min(
      inLeft ? (left?.clause ?? Infinity) : Infinity,
      inRight ? (right?.clause ?? Infinity) : Infinity,
    );
    // The range ends before the next port at which either list changes.
    const ends = [left, right].map((run) =>
      run === undefined ? LAST_PORT : run.first > port ? run.first - 1 : run.last,
    );
    const last = Math.min(...ends);
    if (clause < bound) push(runs, port, last, clause);
    port = last + 1;
    if (left !== undefined && left.last < port) left = a[++at];
    if (right !== undefined && right.last < port) right = b[++bt];
  }
  return runs;
}

/** Appends ports; extends the last run if they are adjacent to it or within it. */
function push(runs: Run[], first: number, last: number, clause: number): void {
  const before = runs.at(-1);
  if (before === undefined || before.clause !== clause || before.last + 1 < first) runs.push({ first, last, clause });
  else if (before.last < last) runs[runs.length - 1] = { first: before.first, last, clause };
}
