/**
 * `ztap policy sync` and `ztap policy rollback`: commit head with one policy replaced as a new revision, under the
 * leader's fence. After a lost race the write runs again on the new head: it concerns this one policy, whatever else
 * was committed meanwhile.
 */
import type { Diagnostic } from "../../model/diagnostic.js";
import { hasErrors } from "../../model/diagnostic.js";
import type { Suspension } from "../../model/source-control.js";
import type { CommittedState, ObjectSet, Revision, SourceRef, StateObject } from "../../model/state.js";
import { qualifiedName, refKey } from "../../model/state.js";
import { fieldsOf } from "../../manifest/document/file.js";
import type { Manifests, readManifests } from "../../manifest/read.js";
import type { SourceFile } from "../../interfaces/source.js";
import type { Store } from "../../interfaces/store.js";
import type { Clock, Random } from "../../interfaces/system.js";
import { OperationError } from "../../model/operation-error.js";
import { readGitDifference } from "./git-state.js";
import { requireLeadership, withLeadership, type LeaderCandidate } from "./leadership.js";
import { startRollout } from "../../plan/rollout/start.js";
import { requireOverride } from "../change/ownership.js";
import type { PolicyId, PolicyRow } from "./report.js";
import { policyRows } from "./report.js";
import { findVersion } from "./versions.js";
import { readPolicyFile, type PolicyChoice } from "./file.js";
import { rereadObjects } from "../change/revalidate.js";

export interface WriteDeps {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly read: typeof readManifests;
  /**
   * Refuses a lock-out.
   * @throws OperationError `lockout` if the state would cut off an agent, or a session in use
   */
  readonly requireWayIn: (objects: ObjectSet) => Promise<void>;
}

export interface Writer extends LeaderCandidate {
  /** The writer, `user@host`. */
  readonly author: string;
  /** The writer's reason; empty for none. */
  readonly reason: string;
  /** Whether to commit over the state of a polled source. */
  readonly override: boolean;
}

export type PolicyWritten =
  /** The text, or the resulting state, does not validate. */
  | { readonly outcome: "invalid"; readonly diagnostics: readonly Diagnostic[] }
  | { readonly outcome: "unchanged"; readonly policy: PolicyRow }
  | {
      readonly outcome: "committed";
      readonly policy: PolicyRow;
      readonly revision: Revision;
      /**
       * True if Git has another version of this policy: the leader will restore it, unless `source.selfHeal` is off.
       */
      readonly overGit: boolean;
      /** The suspension in force: the leader restores nothing before it has ended. */
      readonly suspension: Suspension | null;
      /** Warnings about the policy within the whole state. */
      readonly warnings: readonly Diagnostic[];
    };

/**
 * Commits one policy of a text.
 * @throws OperationError `not-leader`, `override-needed`, `not-found`, `usage`, `lockout`, `lost-race`
 */
export async function syncPolicy(
  deps: WriteDeps,
  file: SourceFile,
  choice: PolicyChoice,
  writer: Writer,
): Promise<PolicyWritten> {
  const reading = readPolicyFile(file, choice, deps.read);
  if (reading.policy === null) return { outcome: "invalid", diagnostics: reading.errors };
  return writePolicy(deps, { ...reading.policy, file }, { ...writer, reason: why("sync", writer.reason) }, file.path);
}

/**
 * Commits an earlier version of a policy as its latest version.
 * @throws OperationError `not-leader`, `override-needed`, `not-found`, `no-such-version`, `lockout`, `lost-race`
 */
export async function rollbackPolicy(
  deps: WriteDeps,
  id: PolicyId,
  version: number,
  writer: Writer,
): Promise<PolicyWritten> {
  const { object, revision } = await findVersion(deps.store, id, version);
  const reason = why(`rollback to version ${version}`, writer.reason);
  return writePolicy(deps, object, { ...writer, reason }, `revision ${revision}`);
}

function why(action: string, reason: string): string {
  return reason === "" ? action : `${action}: ${reason}`;
}

const ATTEMPTS = 8;

/** The policy with its file, if it came from one. */
type WrittenPolicy = StateObject & { readonly file?: SourceFile };

async function writePolicy(
  deps: WriteDeps,
  policy: WrittenPolicy,
  writer: Writer,
  location: string,
): Promise<PolicyWritten> {
  const { store } = deps;
  const source: SourceRef = { location, commit: null, dirty: false, author: null, subject: null };
  for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
    await requireLeadership(store, writer);
    const head = await store.readHead();
    const base = head === null ? null : await store.readState(head);
    if (base?.objects.get(refKey(policy.ref))?.digest === policy.digest)
      return { outcome: "unchanged", policy: rowOf(base.revision, policy) };
    const overGit = await requireOverride(store, source, writer.override);
    const { objects, diagnostics } = withPolicy(base, policy, deps.read);
    if (hasErrors(diagnostics)) return { outcome: "invalid", diagnostics };
    await deps.requireWayIn(objects);
    const draft = draftOf(deps, objects, source, writer);
    const rollout = startRollout(base?.objects ?? null, draft);
    const result = await withLeadership(store, writer, (fence) =>
      store.commit({ ...draft, rollout }, { expectHead: head, fence }),
    );
    if (result.outcome === "committed") {
      const { revision } = result;
      const { suspension } = await store.readSourceControl();
      const written = { policy: rowOf(revision, policy), revision, suspension, warnings: diagnostics };
      const differs = overGit && (await differsFromGit(store, revision, policy));
      return { outcome: "committed", ...written, overGit: differs };
    }
  }
  throw new OperationError(
    "lost-race",
    `head or the leader changed ${ATTEMPTS} times while ${qualifiedName(policy.ref)} was being written; nothing was changed, try again`,
  );
}

/** Returns true also if Git's version is not known. */
async function differsFromGit(store: Store, revision: Revision, { ref }: StateObject): Promise<boolean> {
  const git = await readGitDifference(store, revision, await store.readSourceStatus());
  return git?.differs?.has(refKey(ref)) ?? true;
}

function draftOf({ clock, random }: WriteDeps, objects: ObjectSet, source: SourceRef, writer: Writer) {
  return {
    objects: [...objects.values()],
    source,
    node: writer.node,
    author: writer.author,
    reason: writer.reason,
    commitId: random.id(),
    time: new Date(clock.now()).toISOString(),
  };
}

/**
 * Validates the whole state with the policy in it; returns only the warnings about this policy. Diagnostics about it
 * refer to the fields of its file.
 */
function withPolicy(
  base: CommittedState | null,
  { file, ...policy }: WrittenPolicy,
  read: typeof readManifests,
): Pick<Manifests, "objects" | "diagnostics"> {
  const key = refKey(policy.ref);
  const others = [...(base?.objects ?? [])].flatMap(([other, object]) => (other === key ? [] : [object]));
  const origin = "head";
  const name = `${origin}#${others.length}`;
  const { objects, diagnostics } = rereadObjects([...others, { object: policy.object }], read, origin);
  const { position } = policy;
  const locate = file && position && fieldsOf(file, position.line);
  return {
    objects: new Map([...objects].map(([other, state]) => [other, other === key ? policy : state])),
    diagnostics: diagnostics.flatMap((found) => {
      if (found.file !== name) return found.severity === "error" ? [found] : [];
      const place = locate?.(found.path) ?? position;
      return place === undefined
        ? [found]
        : [{ ...found, file: place.file, line: place.line, column: "column" in place ? place.column : 1 }];
    }),
  };
}

/**
 * Returns the row of a policy.
 * @throws RangeError if the revision does not have it, which cannot happen: it was just committed or read there
 */
function rowOf(revision: Revision, { ref }: StateObject): PolicyRow {
  const row = policyRows(revision).find(({ namespace, name }) => namespace === ref.namespace && name === ref.name);
  if (row === undefined) throw new RangeError(`revision ${revision.number} has no ${qualifiedName(ref)}`);
  return row;
}
