/** The enforcement of a node as its agent reported it or, if its kernel can be read from here, as it is now. */
import { isOverriding, type Override } from "../../model/override.js";
import type { CommittedState } from "../../model/state.js";
import type { DriftItem, NodeStatus, SubjectStatus } from "../../model/status.js";
import { listDrift, movedWorkloads, withoutRestarts } from "../../diff/drift.js";
import { describeWithholding, markWithheld, type Withholding } from "../../model/withholding.js";
import type { LastGood } from "../../interfaces/last-good.js";
import { compile } from "../../policy/compile/compile.js";
import { placeReported } from "../../inventory/place.js";
import { withOverrides } from "../../policy/overrides.js";
import { mixRulesets } from "../../policy/withhold.js";
import type { Ruleset } from "../../model/ruleset.js";
import { EnforcerError, type Enforcer, type PacketCounters } from "../../interfaces/enforcer.js";
import { StoreError, type Store } from "../../interfaces/store.js";
import type { Clock } from "../../interfaces/system.js";

/** An enforcer that is only used for reading. */
export type Observer = Pick<Enforcer, "backend" | "endsOverrides" | "open" | "observe" | "close">;

export interface ObserveDeps {
  readonly store: Store;
  readonly clock: Clock;
  /**
   * Opens this machine's own kernel for reading; null for a node that is not enforced here, or without the privilege.
   */
  readonly openLocal: (node: string, boot: string | null) => Promise<Observer | null>;
  /**
   * Returns whether the node's agent runs on this machine; null if that is not known. Called only if `openLocal` opened
   * it.
   */
  readonly isAgentHere?: (node: string) => Promise<boolean | null>;
  /**
   * Reads the states of which this machine enforces only a part for the node, or was about to: its disk alone has what
   * stays in force in the place of the rest.
   */
  readonly readPartial?: (node: string) => Promise<readonly LastGood[]>;
}

export interface ObservedNode {
  readonly status: NodeStatus | null;
  /** Whether the kernel was read just now, instead of by the agent some time ago. */
  readonly isLive: boolean;
  /** Whether its agent runs on this machine; null if that is not known. */
  readonly hasAgent: boolean | null;
  /** A remark on the reading itself. */
  readonly note?: string;
  /** The kernel's counters, if it was read, with their ruleset. */
  readonly counted?: Pick<Compared, "ruleset" | "counters">;
}

/**
 * Compares the kernel with what the node reports as enforced: a node behind head has not drifted, and neither has one
 * that enforces all of a revision but what is withheld.
 */
export async function observeNode(
  deps: ObserveDeps,
  node: string,
  head: CommittedState,
  reported: NodeStatus | null,
): Promise<ObservedNode> {
  const local = reported?.backend === "none" ? null : await deps.openLocal(node, reported?.boot ?? null);
  if (local === null) return { status: reported, isLive: false, hasAgent: null };
  const hasAgent = (await deps.isAgentHere?.(node)) ?? null;
  try {
    await local.open();
    const target = await readTarget(deps, node, head, reported);
    const overrides = await deps.store.readOverrides();
    const said = overrides.filter(({ id }) => reported?.overrides?.includes(id));
    const seen = target && (await compare(deps.store, local, target, { node, reported, overrides: said }));
    const ordered = overrides.filter((one) => isOverriding(one, deps.clock.now()));
    const tried = idsOf(said) === idsOf(ordered) ? target : null;
    const ahead = seen?.drift.length === 0 ? null : await findAhead(deps, local, tried, { node, overrides: ordered });
    const compared = ahead ?? seen;
    if (compared === null) return asReported(reported, hasAgent, "what is withheld is not on this machine's disk");
    const { drift, subjects } = compared;
    const unreported = {
      ...{ node, backend: local.backend, ...reportOf(compared) },
      enforcedRevision: drift.length === 0 ? reportOf(compared).enforcedRevision : null,
      attemptedRevision: null,
      healed: 0,
    };
    const known = ahead === null || reported === null ? reported : reportAhead(reported, ahead);
    const observedAt = new Date(deps.clock.now()).toISOString();
    return {
      status: { ...(known ?? unreported), drift, subjects, observedAt },
      isLive: true,
      hasAgent,
      counted: compared,
    };
  } catch (error) {
    // Pins of another version of ztap, or damaged ones, cannot be read; the node's own report can. And a node may say
    // that it enforces a revision that there is not.
    const isExpected =
      error instanceof EnforcerError || (error instanceof StoreError && error.code === "revision-missing");
    if (!isExpected || reported === null) throw error;
    return asReported(reported, hasAgent, error.message);
  } finally {
    await local.close();
  }
}

function asReported(reported: NodeStatus | null, hasAgent: boolean | null, why: string): ObservedNode {
  const message = `as last reported; the kernel could not be compared: ${why}`;
  return { status: reported && { ...reported, message }, isLive: false, hasAgent, note: message };
}

/** Returns what the node reports as enforced; null if the withheld part of it is not known here. */
async function readTarget(
  { store, readPartial }: ObserveDeps,
  node: string,
  head: CommittedState,
  reported: NodeStatus | null,
): Promise<LastGood | null> {
  const { enforcedRevision, withheld } = reported ?? {};
  if (withheld !== undefined) {
    const found = (await readPartial?.(node)) ?? [];
    return found.find(({ revision }) => revision.number === withheld.revision) ?? null;
  }
  const enforced = enforcedRevision ?? head.revision.number;
  return enforced === head.revision.number ? head : store.readState(enforced);
}

type Reported = Pick<NodeStatus, "enforcedRevision" | "rulesetDigest" | "state" | "message" | "withheld">;

/** Returns the fields of a report that follow from what is in force. */
function reportOf({ revision, digest, withholding }: Compared): Reported {
  if (withholding === null)
    return { enforcedRevision: revision, rulesetDigest: digest, state: "InSync", message: null };
  const { workloads, enforcedRevision } = withholding;
  const message = describeWithholding(withholding);
  return { enforcedRevision, rulesetDigest: digest, state: "Stalled", message, withheld: { revision, workloads } };
}

/** Corrects a report that the node has overtaken. */
function reportAhead({ withheld, ...reported }: NodeStatus, ahead: Compared): NodeStatus {
  const { state, message, ...inForce } = reportOf(ahead);
  const isSaid = ahead.withholding === null && withheld === undefined;
  return { ...reported, ...inForce, ...(isSaid ? {} : { state, message, attemptedRevision: ahead.revision }) };
}

const idsOf = (overrides: readonly Override[]): string => overrides.map(({ id }) => id).join();

interface Ordered {
  /** Those that hold over the revision. */
  readonly overrides: readonly Override[];
}

interface Compared {
  readonly revision: number;
  readonly digest: string;
  readonly drift: readonly DriftItem[];
  readonly subjects: readonly SubjectStatus[];
  readonly ruleset: Ruleset;
  readonly counters: PacketCounters;
  readonly withholding: Withholding | null;
}

/**
 * Compares the kernel with a ruleset.
 * @param reported its workloads as the agent last saw them: one whose cgroup was created again since then is pending, and
 * has not drifted
 */
async function compare(
  store: Pick<Store, "listEndpoints">,
  local: Observer,
  { revision, objects, withholding: part }: LastGood,
  { node, reported, overrides }: { readonly node: string; readonly reported: NodeStatus | null } & Ordered,
): Promise<Compared> {
  const withholding = part ?? null;
  const whole = compile(placeReported(objects, await store.listEndpoints(), node), node);
  const over = withOverrides(whole, overrides, local.endsOverrides === true);
  const ruleset = withholding === null ? over : mixRulesets(over, withholding);
  const observed = await local.observe(ruleset);
  const moved = movedWorkloads(reported?.subjects ?? [], observed.subjects);
  const subjects = observed.subjects.map((subject): SubjectStatus =>
    subject.state === "Stalled" && moved.has(subject.workload)
      ? { ...subject, state: "Pending", message: "its cgroup was created again, and nothing is attached to it yet" }
      : subject,
  );
  return {
    ...{ revision: revision.number, digest: ruleset.digest, ruleset, withholding, counters: observed.counters },
    drift: listDrift(withoutRestarts(observed.difference, moved)),
    subjects: markWithheld(subjects, withholding),
  };
}

/**
 * An agent enforces a new revision before it reports it: a kernel that matches head exactly, or the part of a revision
 * that this machine is to enforce, has not drifted. Null if it matches neither. Cgroups created again do not count here,
 * since head may give a workload another cgroup.
 */
async function findAhead(
  { store, readPartial }: ObserveDeps,
  local: Observer,
  compared: LastGood | null,
  { node, overrides }: { readonly node: string } & Ordered,
): Promise<Compared | null> {
  const head = await store.readHead();
  const isCompared = compared?.revision.number === head && compared.withholding === undefined;
  const candidates = head === null || isCompared ? [] : [await store.readState(head)];
  for (const state of [...candidates, ...((await readPartial?.(node)) ?? [])]) {
    const seen = await compare(store, local, state, { node, reported: null, overrides });
    if (seen.drift.length === 0) return seen;
  }
  return null;
}
