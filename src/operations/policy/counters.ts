/** What a node's kernel has counted for one policy: packets by rule, and what no rule allowed of its workloads. Pure. */
import type { Direction, IsolationMode, Rule, Ruleset } from "../../model/ruleset.js";
import type { PacketCounters } from "../../interfaces/enforcer.js";

export interface PolicyCounters {
  readonly rules: readonly RulePackets[];
  /** Each direction of a workload that the policy isolates. */
  readonly workloads: readonly DirectionPackets[];
}

export interface RulePackets {
  readonly direction: Direction;
  /** Place in the policy's list, from 0. */
  readonly index: number;
  readonly file: string | null;
  readonly line: number | null;
  /** Packets that passed because of it, answers among them; null where there are too many rules to count each. */
  readonly packets: number | null;
}

export interface DirectionPackets {
  readonly workload: string;
  readonly direction: Direction;
  readonly mode: IsolationMode;
  /** No rule of any policy allowed them. */
  readonly denied: number | null;
  /** The same, and they passed. */
  readonly audited: number | null;
  /** Connects and sends that were refused before there was a packet; egress only. */
  readonly refusedCalls: number | null;
}

const DIRECTIONS = ["ingress", "egress"] as const;

/** @param policy `namespace/name` */
export function countPolicy(ruleset: Ruleset, counters: PacketCounters, policy: string): PolicyCounters {
  const rules = new Map<string, Rule>();
  for (const rule of ruleset.profiles.flatMap((profile) => profile.rules))
    if (`${rule.policy.namespace}/${rule.policy.name}` === policy) rules.set(rule.key, rule);
  return {
    rules: [...rules.values()]
      .toSorted((a, b) => DIRECTIONS.indexOf(a.direction) - DIRECTIONS.indexOf(b.direction) || a.index - b.index)
      .map(({ key, direction, index, file, line }) => {
        // A rule that stands for nothing at present has no counter, and let nothing pass.
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
