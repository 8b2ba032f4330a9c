/** Earlier versions of a policy, as the revisions that are kept have them. */
import { OperationError } from "../../model/operation-error.js";
import type { NetworkPolicy } from "../../model/objects.js";
import { qualifiedName, refKey, type StateObject } from "../../model/state.js";
import type { Store } from "../../interfaces/store.js";
import { readHistory, type PolicyVersion } from "./history.js";
import { unknownPolicy, type PolicyId } from "./report.js";
import { eachRevision } from "./revisions.js";

/** A version with its content. */
export interface VersionContent {
  readonly version: PolicyVersion;
  readonly policy: NetworkPolicy;
}

/** Two versions, the second of them the later one as the user named them. */
export interface VersionPair {
  readonly before: VersionContent;
  readonly after: VersionContent;
}

/** @throws OperationError `usage` */
export function parseVersion(text: string): number {
  if (!/^[1-9][0-9]{0,14}$/.test(text))
    throw new OperationError("usage", `not a version: ${JSON.stringify(text)}; write a whole number, from 1 on`);
  return Number(text);
}

/** @throws OperationError `not-found`, `no-such-version` */
export async function readVersion(store: Store, id: PolicyId, version: number): Promise<VersionContent> {
  const { object } = (await findVersion(store, id, version)).object;
  const { versions } = await readHistory(store, id);
  const row = versions.find((one) => one.version === version && one.action !== "deleted");
  if (row === undefined || object.kind !== "NetworkPolicy") throw noVersion(id, version, "was pruned from the store");
  return { version: row, policy: object };
}

/**
 * Reads two versions.
 * @param to null for the last version
 * @throws OperationError `not-found`, `no-such-version`
 */
export async function readVersions(store: Store, id: PolicyId, from: number, to: number | null): Promise<VersionPair> {
  const last = to ?? (await store.readPolicyVersion(id.namespace, id.name));
  if (last === 0) throw await unknownPolicy(store, id);
  return { before: await readVersion(store, id, from), after: await readVersion(store, id, last) };
}

/**
 * Returns a version, and the newest revision that has it.
 * @throws OperationError `not-found`, `no-such-version`
 */
export async function findVersion(
  store: Store,
  id: PolicyId,
  version: number,
): Promise<{ readonly object: StateObject; readonly revision: number }> {
  const last = await store.readPolicyVersion(id.namespace, id.name);
  if (last === 0) throw await unknownPolicy(store, id);
  const name = qualifiedName(id);
  if (version > last)
    throw new OperationError("no-such-version", `${name} never had a version ${version}; its last is ${last}`);
  const key = refKey({ kind: "NetworkPolicy", ...id });
  for await (const { number, entries } of eachRevision(store)) {
    const entry = entries.find((candidate) => refKey(candidate) === key);
    if (entry?.version !== version) continue;
    const object = (await store.readState(number)).objects.get(key);
    if (object !== undefined) return { object, revision: number };
  }
  throw noVersion(id, version, "was pruned from the store");
}

function noVersion(id: PolicyId, version: number, why: string): OperationError {
  const name = qualifiedName(id);
  return new OperationError(
    "no-such-version",
    `version ${version} of ${name} ${why}; \`ztap policy history ${name}\` shows those that are kept`,
  );
}
