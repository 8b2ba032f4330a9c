/**
 * The packets that a node's kernel has counted for one policy: by rule, and those of its workloads that no rule
 * allowed. Pure.
 */
import type { Direction, IsolationMode, Rule, Ruleset } from "../../model/ruleset.js";
import type { PacketCounters } from "../../interfaces/enforcer.js";

export interface PolicyCounters {
  readonly rules: readonly RulePackets[];
  /** One entry for each isolated direction of each workload of the policy. */
  readonly workloads: readonly DirectionPackets[];
}

export interface RulePackets {
  readonly direction: Direction;
  /** Index in the policy's list, from 0. */
  readonly index: number;
  readonly file: string | null;
  readonly line: number | null;
  /** Packets that passed by this rule, replies included; null if there are too many rules to count each. */
  readonly packets: number | null;
}

export interface DirectionPackets {
  readonly workload: string;
  readonly direction: Direction;
  readonly mode: IsolationMode;
  /** Packets that no rule of any policy allowed. */
  readonly denied: number | null;
  /** Packets that no rule allowed, and that passed in audit mode. */
  readonly audited: number | null;
  /** Connects and sends that were refused before there was a packet; egress only. */
  readonly refusedCalls: number | null;
}

const DIRECTIONS = ["ingress", "egress"] as const;

/**
 * Returns the counters of a policy.
 * @param policy `namespace/name`
 */
export function countPolicy(ruleset: Ruleset, counters: PacketCounters, policy: string): PolicyCounters {
  const rules = new Map<string, Rule>();
  for (const rule of ruleset.profiles.flatMap((profile) => profile.rules))
    if (`${rule.policy.namespace}/${rule.policy.name}` === policy) rules.set(rule.key, rule);
  return {
    rules: [...rules.values()]
      .toSorted((a, b) => DIRECTIONS.indexOf(a.direction) - DIRECTIONS.indexOf(b.direction) || a.index - b.index)
      .map(({ key, direction, index, file, line }) => {
        // A rule without any clause at present has no counter, and allowed nothing.
        const packets = counters.rules.get(key) ?? (counters.rules.has(key) ? null : 0n);
        return {
          direction,
          index,
          file: file ?? null,
          line: line ?? null,
          packets: packets === null ? null : Number(packets),
        };
      }),
    workloads: ruleset.subjects.flatMap((subject) =>
      DIRECTIONS.filter((direction) => subject[direction].policies.includes(policy)).map((direction) => {
        const counted = counters.workloads.get(subject.workload);
        const { denied, audited } = counted?.[direction] ?? { denied: null, audited: null };
        return {
          workload: subject.workload,
          direction,
          mode: subject[direction].mode,
          denied: denied === null ? null : Number(denied),
          audited: audited === null ? null : Number(audited),
          refusedCalls: direction === "ingress" ? 0 : counted === undefined ? null : Number(counted.refusedCalls),
        };
      }),
    ),
  };
}
