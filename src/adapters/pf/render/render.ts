/**
 * Render: ruleset → the text of pf's anchor. Pure and deterministic: equal rulesets give equal text, on any machine.
 *
 * In a direction that is enforced every rule is `quick`: the first that matches decides, as in the evaluator, and no
 * later rule of the machine's own may open what is blocked here. In audit mode none is: the last that matches
 * decides, so they stand in reverse, and later rules of the machine's own go on as if there were no policy.
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
  /** What `pfctl -f -` is given. */
  readonly text: string;
  readonly rules: readonly RenderedRule[];
  /** By name; CIDRs. */
  readonly tables: ReadonlyMap<string, readonly string[]>;
  readonly refusals: readonly Refusal[];
  /** Workloads whose addresses are blocked in both directions, since pf cannot say what they may do. */
  readonly closed: ReadonlySet<string>;
}

const DIRECTIONS: readonly Direction[] = ["ingress", "egress"];

/** @throws EnforcerError `limit` */
export function render(ruleset: Ruleset): Rendered {
  const refusals = listRefusals(ruleset);
  const refused = new Set(refusals.map(({ workload }) => workload));
  const isolated = ruleset.subjects.filter(isIsolated);
  const closed = isolated.filter(({ workload, ingress, egress }) => {
    // Audit mode drops nothing, also not what it cannot judge.
    return refused.has(workload) && (ingress.mode === "enforce" || egress.mode === "enforce");
  });
  const open = isolated.filter(({ workload }) => !refused.has(workload));
  const text = new Text();
  text.comment(commentOf(`What ztap enforces on node ${ruleset.node}, made from its policies: change those`));
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

/** Both ways, whatever its policies say: what cannot be said is not allowed. */
function close(text: Text, { workload, addresses }: Subject): void {
  if (addresses.length === 0) return;
  text.comment(commentOf(`${workload}: pf cannot say what its policies ask, so it is closed`));
  const own = text.hosts(addresses.map(hostCidr));
  const label = labelOf("closed", workload);
  text.rule({ text: `block drop in quick from any to ${own.text}`, kind: "closed", label });
  text.rule({ text: `block drop out quick from ${own.text} to any`, kind: "closed", label });
}

const DISCOVERY = [133, 134, 135, 136];

/** What no policy is asked about: a workload's talk to itself, and neighbour discovery, without which there is no IPv6. */
function always(text: Text, subject: Subject): void {
  const { workload, addresses } = subject;
  const own = text.hosts(addresses.map(hostCidr));
  const own6 = addresses.filter((address) => !isIPv4(address));
  text.comment(commentOf(`${workload}: itself, and neighbour discovery`));
  for (const direction of DIRECTIONS) {
    if (subject[direction].mode === "open") continue;
    const way = direction === "ingress" ? "in" : "out";
    const self = labelOf("self", workload);
    // Only the loopback device is believed: on the wire anybody may claim the address.
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

/** Subjects with one profile, mode and user share the rules that allow. */
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
      `pf is given at most ${limit.ports} rules and ${MAX_TABLES} tables with ${limit.addresses} entries.`,
  );
}
