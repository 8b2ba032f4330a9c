/**
 * Render: turns a ruleset into the text of pf's anchor. Pure and deterministic: equal rulesets give equal text, on any
 * machine.
 *
 * In an enforced direction every rule is `quick`: the first that matches decides, as in the evaluator, and no later
 * rule of the machine's own can open what is blocked here. In audit mode none is: the last that matches decides, so
 * that the rules are in reverse order, and later rules of the machine's own apply as if there were no policy.
 */
import { isIPv4 } from "node:net";
import type { Direction, Profile, Ruleset, Subject } from "../../../model/ruleset.js";
import type { Refusal } from "../../../interfaces/enforcer.js";
import { EnforcerError } from "../../../interfaces/enforcer.js";
import { groupLines, type Group } from "./clauses.js";
import { hostCidr } from "../../../model/ip.js";
import { isIsolated, listRefusals, MAX_TABLES, PF_CAPACITY } from "./limits.js";
import { commentOf, labelOf } from "./names.js";
import { Text, type RenderedRule } from "./text.js";

export interface Rendered {
  /** The input of `pfctl -f -`. */
  readonly text: string;
  readonly rules: readonly RenderedRule[];
  /** By name; CIDRs. */
  readonly tables: ReadonlyMap<string, readonly string[]>;
  readonly refusals: readonly Refusal[];
  /** Workloads whose addresses are blocked in both directions, since pf cannot express their policies. */
  readonly closed: ReadonlySet<string>;
}

const DIRECTIONS: readonly Direction[] = ["ingress", "egress"];

/** @throws EnforcerError `limit` */
export function render(ruleset: Ruleset): Rendered {
  const refusals = listRefusals(ruleset);
  const refused = new Set(refusals.map(({ workload }) => workload));
  const isolated = ruleset.subjects.filter((subject) => isIsolated(subject) || subject.identity !== undefined);
  const closed = isolated.filter(({ workload, ingress, egress, identity }) => {
    // Audit mode drops nothing, including packets that it cannot evaluate.
    const isEnforced = ingress.mode === "enforce" || egress.mode === "enforce" || identity !== undefined;
    return refused.has(workload) && isEnforced;
  });
  const open = isolated.filter(({ workload }) => !refused.has(workload));
  const text = new Text();
  text.comment(commentOf(`Enforcement of node ${ruleset.node}, generated from its policies by ztap: change those`));
  for (const subject of closed) close(text, subject);
  for (const subject of open) always(text, subject);
  for (const direction of DIRECTIONS) {
    for (const group of groupsOf(ruleset, open, direction)) renderGroup(text, group);
  }
  requireRoom(text);
  return {
    text: text.toString(),
    rules: text.rules,
    tables: text.tables,
    refusals,
    closed: new Set(closed.map(({ workload }) => workload)),
  };
}

/** Closes a workload in both directions, whatever its policies: a policy that cannot be expressed allows nothing. */
function close(text: Text, { workload, addresses }: Subject): void {
  if (addresses.length === 0) return;
  text.comment(commentOf(`${workload}: pf cannot express its policies, so that it is closed`));
  const own = text.hosts(addresses.map(hostCidr));
  const label = labelOf("closed", workload);
  text.rule({ text: `block drop in quick from any to ${own.text}`, kind: "closed", label });
  text.rule({ text: `block drop out quick from ${own.text} to any`, kind: "closed", label });
}

const DISCOVERY = [133, 134, 135, 136];

/**
 * Renders the rules that are independent of policies: a workload's self traffic, and neighbour discovery, which IPv6
 * requires.
 */
function always(text: Text, subject: Subject): void {
  const { workload, addresses } = subject;
  const own = text.hosts(addresses.map(hostCidr));
  const own6 = addresses.filter((address) => !isIPv4(address));
  text.comment(commentOf(`${workload}: itself, and neighbour discovery`));
  for (const direction of DIRECTIONS) {
    if (subject[direction].mode === "open") continue;
    const way = direction === "ingress" ? "in" : "out";
    const self = labelOf("self", workload);
    // Only on the loopback device: on the wire anyone can forge the address.
    text.rule({
      text: `pass ${way} quick on lo0 from ${own.text} to ${own.text} flags any no state`,
      kind: "self",
      label: self,
    });
    if (own6.length === 0) continue;
    const hosts = text.hosts(own6.map(hostCidr)).text;
    const fromTo = direction === "ingress" ? `from any to ${hosts}` : `from ${hosts} to any`;
    for (const type of DISCOVERY) {
      text.rule({
        text: `pass ${way} quick inet6 proto icmp6 ${fromTo} icmp6-type ${type} code 0 no state`,
        kind: "neighbour",
        label: labelOf("neighbour", workload),
      });
    }
  }
}

/** Groups subjects with one profile, mode and user: they share the rules that allow. */
function groupsOf(ruleset: Ruleset, subjects: readonly Subject[], direction: Direction): readonly Group[] {
  const profiles = new Map(ruleset.profiles.map((profile) => [profile.key, profile]));
  const groups = Map.groupBy(
    subjects.filter((subject) => subject[direction].mode !== "open"),
    (subject) => JSON.stringify([subject[direction].profile, subject[direction].mode, subject.user ?? null]),
  );
  return [...groups.values()].flatMap((members): readonly Group[] => {
    const [first] = members;
    if (first === undefined) return [];
    const { mode } = first[direction];
    const profile: Profile | undefined = profiles.get(first[direction].profile ?? "");
    if (profile === undefined) throw new TypeError(`the ruleset has no profile ${first[direction].profile ?? ""}`);
    return [{ profile, direction, isEnforced: mode === "enforce", user: first.user ?? null, subjects: members }];
  });
}

function renderGroup(text: Text, group: Group): void {
  const { subjects, direction, isEnforced } = group;
  const names = subjects.map(({ workload }) => workload).join(", ");
  text.comment(commentOf(`${names}: ${direction}${isEnforced ? "" : ", audited"}`));
  const lines = groupLines(text, group);
  for (const line of isEnforced ? lines : lines.toReversed()) text.rule(line);
}

function requireRoom({ rules, tables }: Text): void {
  const entries = [...tables.values()].reduce((sum, { length }) => sum + length, 0);
  const { limit } = PF_CAPACITY;
  if (rules.length <= limit.ports && entries <= limit.addresses && tables.size <= MAX_TABLES) return;
  throw new EnforcerError(
    "limit",
    `The ruleset needs ${rules.length} rules and ${tables.size} tables with ${entries} entries; ` +
      `ztap gives pf at most ${limit.ports} rules and ${MAX_TABLES} tables with ${limit.addresses} entries.`,
  );
}
