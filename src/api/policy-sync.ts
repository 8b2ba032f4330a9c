/**
 * Policies for programs: writes as the leader, reads, and follows. The operations of the command line in one object.
 */
import { OperationError } from "../model/operation-error.js";
import type { NetworkPolicy } from "../model/objects.js";
import { refKey } from "../model/state.js";
import { refuseLockout } from "../operations/change/lockout.js";
import type { PolicyWritten, WriteDeps, Writer } from "../operations/policy/write.js";
import { rollbackPolicy, syncPolicy } from "../operations/policy/write.js";
import type { PolicyListing, PolicyRow } from "../operations/policy/report.js";
import { listPolicies, policyRows } from "../operations/policy/report.js";
import type { PolicyEvent } from "../operations/policy/watch.js";
import { watchPolicies } from "../operations/policy/watch.js";
import type { Store } from "../interfaces/store.js";
import { describeWriter, openManagementAccess, systemClock, systemRandom } from "../wiring/host.js";
import { readBoundedManifests } from "../wiring/manifests.js";
import type { LeaderElection } from "./election.js";

export interface PolicySyncOptions {
  /** The node that this program writes as: it has to be the leader, unless there is none. */
  readonly node: string;
  /** The writer, for the revision's record; default: the node. */
  readonly author?: string;
  /**
   * Refuses also if this election names another leader, as in memory, where no process campaigns for a registered node.
   */
  readonly election?: LeaderElection;
  /** Also commits a state that would cut off an agent, or an SSH session in use on this machine. Default: false. */
  readonly allowLockout?: boolean;
}

export interface WriteOptions {
  /** For the revision's record. */
  readonly reason?: string;
  /** Commits over the state of a polled source; see docs/operations.md. */
  readonly override?: boolean;
}

export interface SyncOptions extends WriteOptions {
  readonly name: string;
  /** Default: the one in the text. */
  readonly namespace?: string;
}

export interface WrittenPolicy extends PolicyRow {
  /** False if the policy had this content already, and nothing was committed. */
  readonly changed: boolean;
}

export interface PolicyInForce extends PolicyRow {
  readonly policy: NetworkPolicy;
}

export interface SubscribeOptions {
  readonly signal: AbortSignal;
  /** The revision that is known already; 0 for none. Without it, the policies in force come first, as `current`. */
  readonly since?: number;
}

export interface PolicySync {
  /**
   * Commits one policy of a YAML text as its latest version.
   * @throws OperationError `invalid-source`, `not-leader`, `override-needed`, `not-found`, `usage`, `lost-race`; StoreError
   */
  syncPolicy(text: string, options: SyncOptions): Promise<WrittenPolicy>;
  /** Makes an earlier version the latest one. @throws as `syncPolicy`, and OperationError `no-such-version` */
  rollbackPolicy(
    name: string,
    version: number,
    options?: WriteOptions & { readonly namespace?: string },
  ): Promise<WrittenPolicy>;
  /** Returns the policy in force; null if there is none of that name. Namespace `default` unless given. */
  getPolicy(name: string, namespace?: string): Promise<PolicyInForce | null>;
  /** Returns the version in force; null if there is none of that name. */
  getPolicyVersion(name: string, namespace?: string): Promise<number | null>;
  listPolicies(): Promise<readonly PolicyListing[]>;
  /**
   * Yields each new version and each deletion, of every revision since, until the signal aborts. If the store no longer
   * has the known revision, all policies come again as `current`.
   */
  subscribePolicies(options: SubscribeOptions): AsyncIterable<PolicyEvent>;
}

/** Creates the object. The store belongs to the caller. */
export function createPolicySync(store: Store, options: PolicySyncOptions): PolicySync {
  const { node, allowLockout = false } = options;
  const deps: WriteDeps = {
    store,
    clock: systemClock,
    random: systemRandom,
    read: readBoundedManifests,
    async requireWayIn(objects) {
      await refuseLockout({ store, node, managementAccess: openManagementAccess({ allowLockout }) }, objects);
    },
  };
  const writer = async ({ reason = "", override = false }: WriteOptions): Promise<Writer> => {
    const leader = options.election?.leader() ?? null;
    if (leader !== null && leader.id !== options.node)
      throw new OperationError(
        "not-leader",
        `node ${options.node} does not lead, ${leader.id} (${leader.address}) does`,
      );
    return {
      node: options.node,
      holder: await describeWriter(),
      author: options.author ?? options.node,
      reason,
      override,
    };
  };
  return {
    async syncPolicy(text, { name, namespace, ...write }) {
      const file = { path: `${name}.yaml`, text, blobId: text };
      return accept(await syncPolicy(deps, file, { name, namespace: namespace ?? null }, await writer(write)));
    },
    async rollbackPolicy(name, version, { namespace = "default", ...write } = {}) {
      return accept(await rollbackPolicy(deps, { namespace, name }, version, await writer(write)));
    },
    async getPolicy(name, namespace = "default") {
      return readPolicy(store, name, namespace);
    },
    async getPolicyVersion(name, namespace = "default") {
      const rows = await listPolicies(store);
      return rows.find((row) => row.name === name && row.namespace === namespace)?.version ?? null;
    },
    listPolicies: () => listPolicies(store),
    subscribePolicies: ({ signal, ...from }) => watchPolicies(store, signal, from),
  };
}

function accept(written: PolicyWritten): WrittenPolicy {
  if (written.outcome !== "invalid") return { ...written.policy, changed: written.outcome === "committed" };
  const problems = written.diagnostics
    .filter(({ severity }) => severity === "error")
    .map(({ file, line, column, code, message }) => `${file}:${line}:${column} ${code} ${message}`);
  throw new OperationError("invalid-source", problems.join("\n"));
}

async function readPolicy(store: Store, name: string, namespace: string): Promise<PolicyInForce | null> {
  const head = await store.readHead();
  if (head === null) return null;
  const state = await store.readState(head);
  const object = state.objects.get(refKey({ kind: "NetworkPolicy", namespace, name }))?.object;
  const row = policyRows(state.revision).find((known) => known.name === name && known.namespace === namespace);
  return object?.kind === "NetworkPolicy" && row !== undefined ? { ...row, policy: object } : null;
}
