/** Reports on policies from the store and the nodes: list, history, and the drift report. */
import type { NetworkPolicy } from "../../model/objects.js";
import type { Suspension } from "../../model/source-control.js";
import type { CommittedState, ObjectSet, Revision, RevisionEntry } from "../../model/state.js";
import { releasedTo } from "../../model/rollout.js";
import { NodeDescriptions } from "../../inventory/nodes.js";
import { qualifiedName, refKey } from "../../model/state.js";
import type { DriftItem, Heartbeat } from "../../model/status.js";
import type { WithheldWorkload } from "../../model/withholding.js";
import { NetworkSetIndex } from "../../policy/compile/network-sets.js";
import { modesOf, type PolicyModes } from "../../policy/compile/modes.js";
import type { Store } from "../../interfaces/store.js";
import { suggest } from "../../model/suggest.js";
import { runsAs, whyAway } from "./silent-agent.js";
import { OperationError } from "../../model/operation-error.js";
import { readGitDifference, readSourceNow, type GitState } from "./git-state.js";
import { describeDamage, readSound } from "../cluster/damage.js";
import { observeNode, type ObserveDeps, type ObservedNode } from "./observe.js";
import { countPolicy, type PolicyCounters } from "./counters.js";
import { listSubjects, type PolicySubject } from "./subjects.js";

export interface PolicyRow {
  readonly namespace: string;
  readonly name: string;
  readonly version: number;
  readonly sourceNode: string;
  readonly updatedAt: string;
  readonly revision: number;
  readonly commit: string | null;
  /** True if the revision was committed from a work tree with changes that are not in the commit. */
  readonly dirty: boolean;
}

export interface PolicyId {
  readonly namespace: string;
  readonly name: string;
}

/** Reads a policy's name. `name` is in the namespace `default`, as in every manifest. */
export function parsePolicyId(text: string): PolicyId {
  const [first = "", second, ...rest] = text.split("/");
  if (first === "" || second === "" || rest.length > 0) {
    throw new OperationError(
      "usage",
      `not the name of a policy: ${JSON.stringify(text)}; write NAME or NAMESPACE/NAME`,
    );
  }
  return second === undefined ? { namespace: "default", name: first } : { namespace: first, name: second };
}

export interface PolicyListing extends PolicyRow {
  /** Compared with the commit that the leader accepted last, as the store has it; null if no source is polled. */
  readonly git: GitState | null;
  /** The mode of each isolated direction, set by the policy, its Namespace or the Cluster. */
  readonly mode: PolicyModes;
}

export async function listPolicies(store: Store): Promise<readonly PolicyListing[]> {
  const head = await store.readHead();
  if (head === null) return [];
  const { revision, objects } = await store.readState(head);
  const source = await readSound(store.readSourceStatus());
  const git = source.damage === null ? await readGitDifference(store, revision, source.value) : { differs: null };
  const stateOf = (row: PolicyRow): GitState | null => {
    if (git === null) return null;
    if (git.differs === null) return "Unknown";
    return git.differs.has(refKey({ kind: "NetworkPolicy", ...row })) ? "OutOfSync" : "Synced";
  };
  return policyRows(revision).flatMap((row) => {
    const found = objects.get(refKey({ kind: "NetworkPolicy", ...row }))?.object;
    return found?.kind === "NetworkPolicy" ? [{ ...row, git: stateOf(row), mode: modesOf(found, objects) }] : [];
  });
}

export function policyRows(revision: Revision): readonly PolicyRow[] {
  return revision.entries.flatMap((entry) => (isPolicyEntry(entry) ? [toRow(entry, revision)] : []));
}

type PolicyEntry = RevisionEntry & { readonly namespace: string };

function isPolicyEntry(entry: RevisionEntry): entry is PolicyEntry {
  return entry.kind === "NetworkPolicy" && entry.namespace !== null;
}

function toRow(entry: PolicyEntry, revision: Revision): PolicyRow {
  return {
    namespace: entry.namespace,
    name: entry.name,
    version: entry.version ?? 0,
    sourceNode: entry.sourceNode ?? revision.node,
    updatedAt: entry.updatedAt ?? revision.time,
    revision: revision.number,
    commit: revision.source.commit,
    dirty: revision.source.dirty,
  };
}

export async function unknownPolicy(store: Store, id: PolicyId): Promise<OperationError> {
  const last = await store.readPolicyVersion(id.namespace, id.name);
  if (last > 0) {
    const message = `no policy ${qualifiedName(id)} in the store: it was deleted after version ${last}`;
    return new OperationError("not-found", `${message}; \`ztap policy history\` lists the revisions that are kept`);
  }
  const head = await store.readHead();
  const revision = head === null ? null : await store.readRevision(head);
  const rows = revision === null ? [] : policyRows(revision);
  const elsewhere = rows.filter(({ name }) => name === id.name).map(qualifiedName);
  const meant = suggest(qualifiedName(id), rows.map(qualifiedName));
  const hint =
    elsewhere.length > 0
      ? `; there is ${elsewhere.join(", ")}`
      : meant === undefined
        ? "; `ztap policy list` shows those that are"
        : `; did you mean ${meant}?`;
  return new OperationError("not-found", `no policy ${qualifiedName(id)} in the store${hint}`);
}

export type NodeSyncState = "InSync" | "Pending" | "Drifted" | "Stalled" | "Unknown";

export interface PolicyReport {
  readonly policy: PolicyRow & { readonly file: string | null; readonly line: number | null };
  readonly spec: NetworkPolicy["spec"];
  /** The NetworkSets that its rules name or select, with the number of their CIDRs. */
  readonly networkSets: readonly { readonly name: string; readonly cidrs: number }[];
  /** As in the list. */
  readonly mode: PolicyModes;
  readonly subjects: readonly PolicySubject[];
  readonly git: { readonly state: GitState; readonly message: string | null };
  readonly nodes: readonly PolicyNode[];
  /** While it is in force, the leader commits nothing from the source. */
  readonly suspension: Suspension | null;
  readonly drift: boolean;
}

export interface PolicyNode {
  readonly node: string;
  readonly state: NodeSyncState;
  readonly message: string | null;
  readonly desiredRevision: number;
  readonly enforcedRevision: number | null;
  readonly drift: readonly DriftItem[];
  /** Workloads that the policy selects and for which the node does not enforce the desired revision. */
  readonly withheld: readonly WithheldWorkload[];
  readonly observedAt: string | null;
  /** Null if the kernel could not be read from here. */
  readonly counters: PolicyCounters | null;
}

export interface ReportDeps extends ObserveDeps {
  /** Reads the objects in Git now, or the reason why they are not known. */
  readonly readGit: () => Promise<GitReading>;
}

export type GitReading = { readonly objects: ObjectSet } | { readonly objects: null; readonly why: string };

/**
 * `ztap policy show`: compares Git, store, node and kernel for one policy.
 * @throws OperationError `not-found`
 */
export async function reportPolicy(deps: ReportDeps, id: PolicyId): Promise<PolicyReport> {
  const head = await deps.store.readHead();
  const state = head === null ? null : await deps.store.readState(head);
  const ref = { kind: "NetworkPolicy" as const, ...id };
  const found = state?.objects.get(refKey(ref));
  const entry = state?.revision.entries.filter(isPolicyEntry).find((candidate) => refKey(candidate) === refKey(ref));
  if (state === null || found?.object.kind !== "NetworkPolicy" || entry === undefined)
    throw await unknownPolicy(deps.store, id);
  const policy = found.object;
  const subjects = listSubjects(policy, state.objects, await deps.store.listEndpoints());
  const control = await readSound(deps.store.readSourceControl());
  const suspension = control.value?.suspension ?? null;
  const source = await readSound(readSourceNow(deps.store, state.revision, suspension));
  const git = await compareGit(
    deps,
    refKey(ref),
    found.digest,
    source.value?.message ?? source.damage ?? control.damage,
  );
  const nodes = await reportNodes(deps, state, qualifiedName(id), subjects);
  return {
    policy: { ...toRow(entry, state.revision), file: entry.position?.file ?? null, line: entry.position?.line ?? null },
    spec: policy.spec,
    networkSets: new NetworkSetIndex(state.objects)
      .setsOfPolicy(policy)
      .map(({ metadata: { name }, spec: { cidrs } }) => ({ name, cidrs: cidrs.length })),
    mode: modesOf(policy, state.objects),
    subjects,
    git,
    nodes,
    suspension,
    drift: git.state === "OutOfSync" || nodes.some((node) => node.state !== "InSync"),
  };
}

async function compareGit(
  { readGit }: ReportDeps,
  key: string,
  digest: string,
  message: string | null,
): Promise<PolicyReport["git"]> {
  const reading = await readGit();
  if (reading.objects === null) return { state: "Unknown", message: reading.why };
  return { state: reading.objects.get(key)?.digest === digest ? "Synced" : "OutOfSync", message };
}

async function reportNodes(
  deps: ReportDeps,
  state: CommittedState,
  policy: string,
  subjects: PolicyReport["subjects"],
): Promise<readonly PolicyNode[]> {
  const { store } = deps;
  const names = [...new Set(subjects.flatMap(({ node }) => (node === null ? [] : [node])))].sort();
  const statuses = new Map((await store.listNodeStatus()).map((status) => [status.node, status]));
  const heartbeats = await store.listHeartbeats();
  const damaged = await store.listDamaged();
  const byNode = new Map(heartbeats.map((heartbeat) => [heartbeat.id, heartbeat]));
  const strangers = undeclaredAgents(state, heartbeats);
  const nodes: PolicyNode[] = [];
  const released = await releasedStates(store, state);
  for (const node of names) {
    const wanted = await released(node);
    const observed = await observeNode(deps, node, wanted, statuses.get(node) ?? null);
    const own = subjects.filter((subject) => subject.node === node).map(({ workload }) => workload);
    const other = runsAs(statuses.get(node), [...statuses.values()], heartbeats);
    const agent = {
      isAlive: byNode.get(node)?.alive ?? false,
      other,
      strangers,
      damage: describeDamage(damaged, node),
    };
    const found = toPolicyNode(node, observed, agent, wanted.revision.number, policy, own);
    nodes.push(wanted === state ? found : withRollout(found, state.revision.number));
  }
  return nodes;
}

/** Returns a function that reads what a rollout has a node enforce; head's state without one. */
async function releasedStates(store: Store, head: CommittedState): Promise<(node: string) => Promise<CommittedState>> {
  const { rollout } = await store.readRelease();
  const { number } = head.revision;
  const current = rollout?.revision === number ? rollout : null;
  const known = new Map<number, CommittedState>([[number, head]]);
  return async (node) => {
    const released = releasedTo(current, number, node);
    const state = known.get(released) ?? (await store.readState(released));
    known.set(released, state);
    return state;
  };
}

/** Says that a node is right to enforce an earlier revision. */
function withRollout(node: PolicyNode, head: number): PolicyNode {
  const waits = `revision ${head} is not released to it by the rollout`;
  if (node.state !== "InSync") return node;
  return { ...node, message: node.message === null ? waits : `${waits}; ${node.message}` };
}

/**
 * Returns agents that run for nodes that the state does not declare: their name may be a mistake for a declared node.
 */
function undeclaredAgents({ objects }: CommittedState, heartbeats: readonly Heartbeat[]): readonly string[] {
  const nodes = new NodeDescriptions(objects);
  return heartbeats.filter(({ id, alive }) => alive && nodes.match(id) === undefined).map(({ id }) => id);
}

interface AgentSigns {
  readonly isAlive: boolean;
  /** See `runsAs`. */
  readonly other: string | null;
  readonly strangers: readonly string[];
  /** See `describeDamage`. */
  readonly damage: string | null;
}

function toPolicyNode(
  node: string,
  { status, isLive, hasAgent, note, counted }: ObservedNode,
  { isAlive, other, strangers, damage }: AgentSigns,
  desiredRevision: number,
  policy: string,
  workloads: readonly string[],
): PolicyNode {
  if (status === null) {
    return {
      node,
      state: "Unknown",
      message: damage ?? neverReported(node, strangers),
      desiredRevision,
      enforcedRevision: null,
      drift: [],
      withheld: [],
      observedAt: null,
      counters: null,
    };
  }
  const away = whyAway(other, hasAgent);
  const drift = status.drift.filter(
    (item) =>
      (item.workload === undefined || workloads.includes(item.workload)) &&
      (item.policies === undefined || item.policies.includes(policy)),
  );
  const subjects = status.subjects.filter(({ workload }) => workloads.includes(workload));
  const stalled = subjects.find(({ state }) => state === "Stalled");
  const pending = subjects.find(({ state }) => state === "Pending");
  const withheld = status.withheld?.workloads.filter(({ workload }) => workloads.includes(workload)) ?? [];
  // For a workload that is not withheld, the revision is in force.
  const enforcedRevision =
    status.withheld === undefined || withheld.length > 0 ? status.enforcedRevision : status.withheld.revision;
  const facts = {
    node,
    desiredRevision,
    enforcedRevision,
    drift,
    withheld,
    observedAt: status.observedAt,
    counters: counted === undefined ? null : countPolicy(counted.ruleset, counted.counters, policy),
  };
  const verdict = (state: NodeSyncState, message: string | null): PolicyNode => ({ ...facts, state, message });
  const why = (subject: { readonly workload: string; readonly message?: string }) =>
    `${subject.workload}: ${subject.message ?? "not enforced"}`;
  if (!isAlive && !isLive) return verdict("Unknown", `${away}; it last reported at ${status.observedAt}`);
  // The node's own message is about the last repair, not about the current difference.
  if (drift.length > 0) return verdict("Drifted", note ?? driftMessage(drift.length, isAlive ? null : away));
  if (status.state === "Stalled" && status.subjects.length === 0) return verdict("Stalled", status.message);
  if (stalled !== undefined) return verdict("Stalled", why(stalled));
  // The attempted revision failed, for whatever workload, so that this workload is not known to be enforced either.
  if (status.state === "Stalled" && status.attemptedRevision !== enforcedRevision)
    return verdict("Stalled", status.message);
  const isAhead = isLive && enforcedRevision !== null && enforcedRevision > desiredRevision;
  if (enforcedRevision !== desiredRevision && !isAhead) {
    return verdict(isAlive ? "Pending" : "Unknown", isAlive ? "not enforced yet" : away);
  }
  if (pending !== undefined) return verdict("Pending", why(pending));
  const others = status.withheld?.workloads.map(({ workload }) => workload).join(", ");
  const remark = others === undefined ? status.message : `revision ${enforcedRevision} is withheld from ${others}`;
  return verdict("InSync", isAlive ? remark : `${away}; enforcement stands as observed`);
}

function neverReported(node: string, strangers: readonly string[]): string {
  const [stranger] = strangers;
  const hint =
    stranger === undefined
      ? ""
      : `; one runs as ${strangers.slice(0, 3).join(", ")}, which is not declared: start the agent of ${node} with --node ${node}`;
  return `no agent has ever reported as ${node}${hint}`;
}

/**
 * Returns the message of drift.
 * @param away null if the agent is alive
 */
function driftMessage(count: number, away: string | null): string {
  const differences = `${count} ${count === 1 ? "difference" : "differences"}`;
  return `${differences}; ${away ?? "the agent heals them at its next check"}`;
}
