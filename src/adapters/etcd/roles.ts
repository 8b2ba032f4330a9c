/**
 * Makes the users and roles of etcd equal to the wanted ones: adds what is missing, and takes from the wanted users and
 * roles what they have beyond. Other users and roles stay as they are. Ends with authentication enabled. May be run
 * again after a failure at any point.
 */
import type { IPermission } from "etcd3";
import type { AccessChanges, EtcdAccess, EtcdRole, EtcdUser, KeyPermission } from "../../model/etcd-roles.js";
import type { Clock } from "../../interfaces/system.js";
import { EtcdClient, type EtcdOptions } from "./client.js";
import { endOfPrefix } from "./requests.js";

export interface AccessOptions {
  /** Whether a role is one of a cluster's nodes and operators: a user that has these alone was made for one of them. */
  readonly isOwnRole: (role: string) => boolean;
  /** Deletes such users that are not wanted; without it they are reported. */
  readonly prune: boolean;
  readonly clock: Clock;
}

/** @throws StoreError */
export async function applyAccess(
  options: EtcdOptions,
  access: EtcdAccess,
  { isOwnRole, prune, clock }: AccessOptions,
): Promise<AccessChanges> {
  const client = new EtcdClient(options, clock, 0);
  try {
    const changes = [...(await applyRoles(client, access.roles)), ...(await applyUsers(client, access.users))];
    await client.call((etcd, deadline) => etcd.auth.authEnable(deadline));
    const unlisted = await findUnlisted(client, access.users, isOwnRole);
    if (!prune) return { changes, unlisted: [...unlisted.keys()] };
    return { changes: [...changes, ...(await deleteUsers(client, unlisted, access))], unlisted: [] };
  } finally {
    client.close();
  }
}

/** Returns the roles of each user that was made for a node or an operator, and is not wanted. */
async function findUnlisted(
  client: EtcdClient,
  wanted: readonly EtcdUser[],
  isOwnRole: (role: string) => boolean,
): Promise<ReadonlyMap<string, readonly string[]>> {
  const names = new Set(wanted.map(({ name }) => name));
  const found = listOf((await client.call((etcd, deadline) => etcd.auth.userList(deadline))).users);
  const unlisted = new Map<string, readonly string[]>();
  for (const name of found.filter((one) => !names.has(one))) {
    const roles = listOf((await client.call((etcd, deadline) => etcd.auth.userGet({ name }, deadline))).roles);
    if (roles.length > 0 && roles.every(isOwnRole)) unlisted.set(name, roles);
  }
  return unlisted;
}

/** Deletes the users, and those of their roles that nothing of the cluster has. */
async function deleteUsers(
  client: EtcdClient,
  users: ReadonlyMap<string, readonly string[]>,
  access: EtcdAccess,
): Promise<readonly string[]> {
  const changes: string[] = [];
  for (const name of users.keys()) {
    await client.call((etcd, deadline) => etcd.auth.userDelete({ name }, deadline));
    changes.push(`user ${name} was deleted`);
  }
  const kept = new Set(access.roles.map(({ name }) => name));
  for (const role of new Set([...users.values()].flat().filter((one) => !kept.has(one)))) {
    await client.call((etcd, deadline) => etcd.auth.roleDelete({ role }, deadline));
    changes.push(`role ${role} was deleted`);
  }
  return changes;
}

async function applyRoles(client: EtcdClient, wanted: readonly EtcdRole[]): Promise<readonly string[]> {
  const found = listOf((await client.call((etcd, deadline) => etcd.auth.roleList(deadline))).roles);
  const changes: string[] = [];
  for (const role of wanted) {
    if (!found.includes(role.name)) {
      const made = unlessThere(client.call((etcd, deadline) => etcd.auth.roleAdd({ name: role.name }, deadline)));
      if (await made) changes.push(`role ${role.name} was made`);
    }
    changes.push(...(await applyPermissions(client, role)));
  }
  return changes;
}

async function applyPermissions(client: EtcdClient, { name, permissions }: EtcdRole): Promise<readonly string[]> {
  const { perm } = await client.call((etcd, deadline) => etcd.auth.roleGet({ role: name }, deadline));
  const wanted = new Map(permissions.map((one) => [textOf(toMessage(one)), toMessage(one)]));
  const found = new Map(listOf(perm).map((one) => [textOf(one), one]));
  const changes: string[] = [];
  // A permission on the same keys replaces the former one: what remains to be revoked is on others.
  for (const [text, message] of wanted) {
    if (found.has(text)) continue;
    await client.call((etcd, deadline) => etcd.auth.roleGrantPermission({ name, perm: message }, deadline));
    changes.push(`role ${name} may ${text}`);
  }
  const kept = new Set([...wanted.values()].map(keysOf));
  for (const [text, message] of found) {
    if (kept.has(keysOf(message))) continue;
    const { key, range_end } = message;
    await client.call((etcd, deadline) => etcd.auth.roleRevokePermission({ role: name, key, range_end }, deadline));
    changes.push(`role ${name} may no longer ${text}`);
  }
  return changes;
}

async function applyUsers(client: EtcdClient, wanted: readonly EtcdUser[]): Promise<readonly string[]> {
  const found = listOf((await client.call((etcd, deadline) => etcd.auth.userList(deadline))).users);
  const changes: string[] = [];
  for (const { name, roles } of wanted) {
    if (!found.includes(name)) {
      // No password is set: the certificate alone authenticates the user.
      const options = { no_password: true };
      const made = unlessThere(client.call((etcd, deadline) => etcd.auth.userAdd({ name, options }, deadline)));
      if (await made) changes.push(`user ${name} was made`);
    }
    changes.push(...(await applyGrants(client, name, roles)));
  }
  return changes;
}

async function applyGrants(client: EtcdClient, user: string, wanted: readonly string[]): Promise<readonly string[]> {
  const found = listOf((await client.call((etcd, deadline) => etcd.auth.userGet({ name: user }, deadline))).roles);
  const changes: string[] = [];
  for (const role of wanted.filter((one) => !found.includes(one))) {
    await client.call((etcd, deadline) => etcd.auth.userGrantRole({ user, role }, deadline));
    changes.push(`user ${user} has the role ${role}`);
  }
  for (const role of found.filter((one) => !wanted.includes(one))) {
    await client.call((etcd, deadline) => etcd.auth.userRevokeRole({ name: user, role }, deadline));
    changes.push(`user ${user} no longer has the role ${role}`);
  }
  return changes;
}

/** Returns false if it was there: another process made it at this moment. */
async function unlessThere(adding: Promise<unknown>): Promise<boolean> {
  try {
    await adding;
    return true;
  } catch (error) {
    // etcd answers with a text alone.
    if (error instanceof Error && /(user|role) name already exists/.test(error.message)) return false;
    throw error;
  }
}

function toMessage({ access, key, isPrefix }: KeyPermission): IPermission {
  const bytes = Buffer.from(key);
  return {
    permType: access === "read" ? "Read" : "Readwrite",
    key: bytes,
    range_end: isPrefix ? endOfPrefix(bytes) : Buffer.alloc(0),
  };
}

/** One text for one permission, in each spelling of its type. */
function textOf(permission: IPermission): string {
  return `${permission.permType.toLowerCase()} ${keysOf(permission)}`;
}

/** One text for one range of keys: two ranges that begin at one key differ in their ends. */
function keysOf({ key, range_end }: { readonly key: Buffer; readonly range_end?: Buffer }): string {
  if (range_end === undefined || range_end.length === 0) return key.toString();
  return range_end.equals(endOfPrefix(key)) ? `${key.toString()}…` : `${key.toString()} to ${range_end.toString()}`;
}

/** The protocol omits empty lists and ends; the package's types do not express that. */
function listOf<T>(list: readonly T[] | undefined): readonly T[] {
  return list ?? [];
}
