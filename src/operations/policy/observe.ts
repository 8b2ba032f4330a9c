/** The enforcement of a node as its agent reported it or, if its kernel can be read from here, as it is now. */
import type { CommittedState } from "../../model/state.js";
import type { DriftItem, NodeStatus, SubjectStatus } from "../../model/status.js";
import { listDrift, movedWorkloads, withoutRestarts } from "../../diff/drift.js";
import { compile } from "../../policy/compile/compile.js";
import type { Ruleset } from "../../model/ruleset.js";
import { EnforcerError, type Enforcer, type PacketCounters } from "../../interfaces/enforcer.js";
import { StoreError, type Store } from "../../interfaces/store.js";
import type { Clock } from "../../interfaces/system.js";

/** An enforcer that is only used for reading. */
export type Observer = Pick<Enforcer, "backend" | "open" | "observe" | "close">;

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

/** Compares the kernel with the revision that the node reports as enforced: a node behind head has not drifted. */
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
    const enforced = reported?.enforcedRevision ?? head.revision.number;
    const state = enforced === head.revision.number ? head : await deps.store.readState(enforced);
    const known = reported?.subjects ?? [];
    const seen = await compare(local, state, node, known);
    const ahead = seen.drift.length === 0 ? null : await compareWithHead(deps, local, enforced, node);
    const compared = ahead ?? seen;
    const { revision, digest, drift, subjects } = compared;
    const unreported = {
      node,
      backend: local.backend,
      attemptedRevision: null,
      enforcedRevision: drift.length === 0 ? revision : null,
      rulesetDigest: digest,
      state: "InSync" as const,
      message: null,
      healed: 0,
    };
    const said =
      ahead === null ? reported : reported && { ...reported, enforcedRevision: revision, rulesetDigest: digest };
    const observedAt = new Date(deps.clock.now()).toISOString();
    return {
      status: { ...(said ?? unreported), drift, subjects, observedAt },
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
    const message = `as last reported; the kernel could not be compared: ${error.message}`;
    return { status: { ...reported, message }, isLive: false, hasAgent, note: message };
  } finally {
    await local.close();
  }
}

interface Compared {
  readonly revision: number;
  readonly digest: string;
  readonly drift: readonly DriftItem[];
  readonly subjects: readonly SubjectStatus[];
  readonly ruleset: Ruleset;
  readonly counters: PacketCounters;
}

/**
 * Compares the kernel with a ruleset.
 * @param known the workloads as the agent last saw them: one whose cgroup was created again since then is pending, and
 * has not drifted
 */
async function compare(
  local: Observer,
  { revision, objects }: CommittedState,
  node: string,
  known: readonly SubjectStatus[],
): Promise<Compared> {
  const ruleset = compile(objects, node);
  const observed = await local.observe(ruleset);
  const moved = movedWorkloads(known, observed.subjects);
  const subjects = observed.subjects.map((subject): SubjectStatus =>
    subject.state === "Stalled" && moved.has(subject.workload)
      ? { ...subject, state: "Pending", message: "its cgroup was created again, and nothing is attached to it yet" }
      : subject,
  );
  const { counters } = observed;
  const drift = listDrift(withoutRestarts(observed.difference, moved));
  return { revision: revision.number, digest: ruleset.digest, drift, subjects, ruleset, counters };
}

/**
 * An agent enforces a new revision before it reports it: a kernel that matches head exactly has not drifted. Null if it
 * does not match. Cgroups created again do not count here, since head may give a workload another cgroup.
 */
async function compareWithHead(
  { store }: ObserveDeps,
  local: Observer,
  enforced: number,
  node: string,
): Promise<Compared | null> {
  const head = await store.readHead();
  if (head === null || head === enforced) return null;
  const seen = await compare(local, await store.readState(head), node, []);
  return seen.drift.length === 0 ? seen : null;
}
