/** Items: turns an anchor's text, and the state read from the machine, into the keyed values that are compared. */
import { createHash } from "node:crypto";
import type { Ruleset } from "../../model/ruleset.js";
import { AddressParser } from "../../policy/address-space.js";
import type { EnforcementItem, ItemSet } from "../../interfaces/enforcer.js";
import { ANCHOR } from "./render/names.js";
import type { PfState } from "./pfctl/output.js";
import type { Rendered } from "./render/render.js";
import { describeState, killOf } from "./pfctl/states.js";
import { lineOf, type RenderedRule } from "./render/text.js";

/** The state read from the machine. */
export interface Held {
  readonly isEnabled: boolean;
  readonly isHeld: boolean;
  /** Whether the main ruleset evaluates the anchor. */
  readonly isLinked: boolean;
  /** The anchor's rules, as pfctl prints them. */
  readonly rules: readonly string[];
  readonly tables: ReadonlyMap<string, readonly string[]>;
  readonly forbidden: readonly PfState[];
}

export function wantedItems(ruleset: Ruleset, rendered: Rendered): ItemSet {
  const items = new Map<string, EnforcementItem>();
  for (const item of MACHINE) add(items, item);
  for (const item of ruleItems(ruleset, rendered)) add(items, item);
  add(items, orderItem(rendered.rules.map((_rule, index) => index)));
  for (const [name, cidrs] of rendered.tables) add(items, tableItem(name, cidrs));
  return items;
}

/**
 * Returns the items of the machine's state.
 * @param printed the anchor's text as this machine's pfctl prints what it would load: rules are compared in that form
 */
export function heldItems(ruleset: Ruleset, rendered: Rendered, printed: readonly string[], held: Held): ItemSet {
  const items = new Map<string, EnforcementItem>();
  const state = { enabled: held.isEnabled, anchor: held.isLinked, reference: held.isHeld };
  for (const item of MACHINE) if (state[item.name]) add(items, item);
  const wanted = ruleItems(ruleset, rendered);
  const places = new Map<string, number[]>();
  printed.forEach((line, index) => places.set(line, [...(places.get(line) ?? []), index]));
  const order: number[] = [];
  for (const [at, line] of held.rules.entries()) {
    const index = places.get(line)?.shift();
    const item = index === undefined ? undefined : wanted[index];
    if (index === undefined || item === undefined) {
      add(items, otherItem(at, line));
      continue;
    }
    order.push(index);
    add(items, item);
  }
  add(items, orderItem(order));
  for (const [name, cidrs] of held.tables) add(items, tableItem(name, cidrs));
  for (const one of held.forbidden) add(items, stateItem(one));
  return items;
}

/**
 * Returns the item of a rule of an earlier ruleset, or of another program. The label of ztap's own rules names the
 * workload.
 */
function otherItem(at: number, line: string): EnforcementItem {
  const [, workload] = /label "ztap:[dac]:[0-9a-f]+:([^"]+)"/.exec(line) ?? [];
  return {
    key: `rule/other/${at}`,
    value: line,
    type: "entry",
    label: `pf's rule "${line}" of anchor ${ANCHOR}`,
    ...(workload === undefined ? {} : { workload }),
  };
}

const MACHINE = [
  { name: "enabled", key: "link/enabled", value: "yes", type: "link", label: "pf on this machine" },
  { name: "anchor", key: "link/anchor", value: "yes", type: "link", label: `anchor "${ANCHOR}" in pf's main ruleset` },
  {
    name: "reference",
    key: "link/reference",
    value: "yes",
    type: "link",
    label: "ztap's reference that keeps pf enabled",
  },
] as const satisfies readonly (EnforcementItem & { readonly name: string })[];

function add(items: Map<string, EnforcementItem>, item: EnforcementItem): void {
  items.set(item.key, item);
}

function ruleItems(ruleset: Ruleset, { rules }: Rendered): readonly EnforcementItem[] {
  const subjects = new Map(ruleset.subjects.map((subject) => [subject.workload, subject]));
  const seen = new Map<string, number>();
  return rules.map((rule) => {
    const nth = seen.get(rule.label) ?? 0;
    seen.set(rule.label, nth + 1);
    const policies = policiesOf(rule, subjects);
    return {
      key: `rule/${rule.label}/${nth}`,
      value: lineOf(rule),
      type: "entry",
      label: `pf's rule "${rule.text}"`,
      ...(rule.workload === undefined ? {} : { workload: rule.workload }),
      ...(policies === undefined ? {} : { policies }),
    };
  });
}

function policiesOf(
  { rule, workload, direction }: RenderedRule,
  subjects: ReadonlyMap<string, Ruleset["subjects"][number]>,
): readonly string[] | undefined {
  if (rule !== undefined) return [`${rule.policy.namespace}/${rule.policy.name}`];
  if (workload === undefined || direction === undefined) return undefined;
  return subjects.get(workload)?.[direction].policies;
}

/**
 * Returns the item of the order: the first rule that matches decides, so that the same rules in another order are
 * different.
 */
function orderItem(places: readonly number[]): EnforcementItem {
  const isAscending = places.every((place, at) => at === 0 || place > (places[at - 1] ?? -1));
  return {
    key: "rule/order",
    value: isAscending ? "as written" : "another",
    type: "entry",
    label: `order of the rules of anchor ${ANCHOR}`,
  };
}

const parser = new AddressParser();

function tableItem(name: string, cidrs: readonly string[]): EnforcementItem {
  const hash = createHash("sha256");
  const intervals = cidrs.map((cidr) => parser.parse(cidr));
  for (const text of intervals.map(({ family, start, end }) => `${family} ${start} ${end}\n`).sort()) hash.update(text);
  return {
    key: `table/${name}`,
    value: `${cidrs.length} addresses, ${hash.digest("hex").slice(0, 12)}`,
    type: "entry",
    label: `pf's table ${name}`,
  };
}

function stateItem(state: PfState): EnforcementItem {
  const what = describeState(state);
  return {
    key: `state/${state.direction}/${what}`,
    value: killOf(state).join(" "),
    type: "entry",
    label: `connection ${what}, which no rule allows any more,`,
  };
}
