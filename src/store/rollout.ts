/** The record of a rollout: what each field may hold, and how it is written. */
import {
  isCount,
  isLabel,
  isPositive,
  isText,
  isTime,
  isToken,
  listOf,
  nullable,
  oneOf,
  optional,
  shaped,
  type Guard,
} from "../model/guards.js";
import type { LabelSelector, SelectorRequirement } from "../model/objects.js";
import { recordLine } from "../model/printable.js";
import {
  GATES,
  ROLLOUT_STATES,
  type FreezeWindow,
  type Rollout,
  type RolloutGates,
  type RolloutLayer,
  type RolloutPlan,
  type RolloutWave,
} from "../model/rollout.js";

const MOST_ITEMS = 1000;

const isLabelMap: Guard<Readonly<Record<string, string>>> = (value): value is Readonly<Record<string, string>> =>
  typeof value === "object" && value !== null && !Array.isArray(value) && Object.values(value).every(isText);

const isSelector = shaped<LabelSelector>({
  matchLabels: optional(isLabelMap),
  matchExpressions: optional(
    listOf(
      shaped<SelectorRequirement>({
        key: isText,
        operator: oneOf("In", "NotIn", "Exists", "DoesNotExist"),
        values: optional(listOf(isText, MOST_ITEMS)),
      }),
      MOST_ITEMS,
    ),
  ),
});

const SECONDS = /^[0-9]{1,8}s$/;
const PERCENT = /^[0-9]{1,3}%$/;
const isSeconds: Guard<string> = (value): value is string => isText(value) && SECONDS.test(value);
const isMax: Guard<number | string> = (value): value is number | string =>
  isPositive(value) || (isText(value) && PERCENT.test(value));

const isPlan = shaped<RolloutPlan>({
  waves: listOf(shaped<RolloutWave>({ nodes: optional(isSelector), max: isMax, soak: isSeconds }), MOST_ITEMS),
  shadow: isSeconds,
  gates: shaped<RolloutGates>({
    newDenials: optional(isCount),
    stalled: optional(isCount),
    drift: optional(isCount),
    unconfirmed: optional(isCount),
  }),
  onFailure: oneOf("revert", "pause"),
  freeze: listOf(shaped<FreezeWindow>({ from: isText, to: isText, timezone: isText }), MOST_ITEMS),
});

const isWave: Guard<number> = (value): value is number => value === -1 || isCount(value);

export const isRollout = shaped<Rollout>({
  revision: isPositive,
  commitId: isToken,
  base: isPositive,
  layers: listOf(shaped<RolloutLayer>({ revision: isPositive, commitId: isToken, nodes: listOf(isLabel) }), MOST_ITEMS),
  state: oneOf(...ROLLOUT_STATES),
  wave: isWave,
  plan: isPlan,
  since: isTime,
  settledSince: nullable(isTime),
  term: nullable(isCount),
  message: nullable(isText),
  by: nullable(isText),
  waived: listOf(oneOf(...GATES), GATES.length),
  serial: isCount,
});

/** Returns the record with its texts for people bounded, and of one line. */
export function tidyRollout(rollout: Rollout): Rollout {
  const line = (text: string | null): string | null => (text === null ? null : recordLine(text));
  return { ...rollout, message: line(rollout.message), by: line(rollout.by) };
}

/** Returns the rollout of head. A program that knows no rollouts moves head and leaves the record of an earlier one. */
export function rolloutOf(record: Rollout | null, head: number | null): Rollout | null {
  return record !== null && record.revision === head ? record : null;
}

/** Whether a record is still the one that was read. */
export function isSameRollout(record: Rollout | null, expected: Rollout): boolean {
  return record?.serial === expected.serial && record.commitId === expected.commitId;
}

/** The oldest revision that a node may have to enforce; null if that is head. */
export function oldestOf(rollout: Rollout | null): number | null {
  return rollout === null ? null : Math.min(rollout.base, ...rollout.layers.map(({ revision }) => revision));
}
