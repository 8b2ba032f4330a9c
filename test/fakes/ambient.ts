/** What the loops are given in tests: silent logs, recorded telemetry, seeded randomness. */
import type { Logger, Random } from "../../src/interfaces/system.js";
import type { Telemetry } from "../../src/interfaces/telemetry.js";

export const silentLogger: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

/** Every call by name with its arguments, in order. */
export function recordTelemetry(): {
  readonly telemetry: Telemetry;
  readonly calls: (readonly [string, ...unknown[]])[];
} {
  const calls: (readonly [string, ...unknown[]])[] = [];
  const record =
    (name: string) =>
    (...args: unknown[]) => {
      calls.push([name, ...args]);
    };
  const telemetry: Telemetry = {
    committed: record("committed"),
    rejected: record("rejected"),
    rewritten: record("rewritten"),
    suspended: record("suspended"),
    sourceError: record("sourceError"),
    storeError: record("storeError"),
    storeHealth: record("storeHealth"),
    certificates: record("certificates"),
    head: record("head"),
    rollout: record("rollout"),
    policyVersions: record("policyVersions"),
    delivered: record("delivered"),
    deliveryFailed: record("deliveryFailed"),
    deliveriesLost: record("deliveriesLost"),
    deliveriesPending: record("deliveriesPending"),
    pollRequested: record("pollRequested"),
    leader: record("leader"),
    elected: record("elected"),
    enforced: record("enforced"),
    inForce: record("inForce"),
    stalled: record("stalled"),
    withheld: record("withheld"),
    overrides: record("overrides"),
    refusedEndpoints: record("refusedEndpoints"),
    pending: record("pending"),
    undeclared: record("undeclared"),
    discoveryProblems: record("discoveryProblems"),
    unidentifiedContainers: record("unidentifiedContainers"),
    drift: record("drift"),
    escapes: record("escapes"),
    refusals: record("refusals"),
    healed: record("healed"),
    packets: record("packets"),
    flows: record("flows"),
  };
  return { telemetry, calls };
}

/** A small deterministic generator (mulberry32): the same seed gives the same run. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const hex = () =>
    Math.floor(next() * 2 ** 32)
      .toString(16)
      .padStart(8, "0");
  return { fraction: next, id: () => hex() + hex() + hex() + hex() };
}
