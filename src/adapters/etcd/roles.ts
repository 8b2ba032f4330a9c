/**
 * Makes the users and roles of etcd equal to the wanted ones: adds what is missing, and takes from the wanted users and
 * roles what they have beyond. Other users and roles stay as they are: deleted are
 * users alone that were made here, and roles that no user has. Ends with authentication enabled. May be run
 * again after a failure at any point.
 */
import type { IPermission } from "etcd3";
import type { AccessChanges, EtcdAccess, EtcdRole, EtcdUser, KeyPermission } from "../../model/etcd-roles.js";
import type { Clock } from "../../interfaces/system.js";
import type { MadeUsers } from "../../interfaces/authority.js";
import { EtcdClient, type EtcdOptions } from "./client.js";
import { endOfPrefix } from "./requests.js";

export interface AccessOptions {
  /** Whether a role is one of a cluster's nodes and operators. */
  readonly isOwnRole: (role: string) => boolean;
  /** The users that were made before; those that are made now are added. */
  readonly made: MadeUsers;
  /** Deletes such users that are not wanted; without it they are reported. */
  readonly prune: boolean;
  /** Whether the wanted users are still those; asked before each user is deleted. */
  readonly isCurrent: () => boolean;
  readonly clock: Clock;
}

/** @throws StoreError */
export async function applyAccess(
  options: EtcdOptions,
  access: EtcdAccess,
  { isOwnRole, made, prune, isCurrent, clock }: AccessOptions,
): Promise<AccessChanges> {
  const client = new EtcdClient(options, clock, 0);
  try {
    const changes = [...(await applyRoles(client, access.roles)), ...(await applyUsers(client, access.users, made))];
    await client.call((etcd, deadline) => etcd.auth.authEnable(deadline));
    const unlisted = await findUnlisted(client, access.users, made);
    if (!prune) return { changes, unlisted };
    const deleted = await deleteUsers(client, unlisted, made, isCurrent);
    const kept = new Set(access.roles.map(({ name }) => name));
    const roles = deleted.flatMap((user) => user.roles).filter((role) => isOwnRole(role) && !kept.has(role));
    return {
      changes: [
        ...changes,
        ...deleted.map(({ name }) => `user ${name} was deleted`),
        ...(await deleteRoles(client, new Set(roles))),
      ],
      unlisted: unlisted.filter((name) => !deleted.some((one) => one.name === name)),
    };
  } finally {
    client.close();
  }
}

/** Returns the users that were made before, are there still, and are not wanted. Others may be anybody's. */
async function findUnlisted(
  client: EtcdClient,
  wanted: readonly EtcdUser[],
  made: MadeUsers,
): Promise<readonly string[]> {
  const names = new Set(wanted.map(({ name }) => name));
  const found = await listUsers(client);
  // One of this name that comes later is another's.
  for (const name of made.names) if (!found.includes(name)) made.remove(name);
  return found.filter((name) => !names.has(name) && made.names.includes(name));
}

/** Deletes the users, until those that are wanted have changed. @returns those that were deleted */
async function deleteUsers(
  client: EtcdClient,
  names: readonly string[],
  made: MadeUsers,
  isCurrent: () => boolean,
): Promise<readonly EtcdUser[]> {
  const deleted: EtcdUser[] = [];
  for (const name of names) {
    const roles = await rolesOf(client, name);
    if (!isCurrent()) break;
    await client.call((etcd, deadline) => etcd.auth.userDelete({ name }, deadline));
    made.remove(name);
    deleted.push({ name, roles });
  }
  return deleted;
}

/** Deletes the roles that no user has. */
async function deleteRoles(client: EtcdClient, roles: ReadonlySet<string>): Promise<readonly string[]> {
  if (roles.size === 0) return [];
  const used = new Set<string>();
  for (const name of await listUsers(client)) for (const role of await rolesOf(client, name)) used.add(role);
  const unused = [...roles].filter((role) => !used.has(role));
  for (const role of unused) await client.call((etcd, deadline) => etcd.auth.roleDelete({ role }, deadline));
  return unused.map((role) => `role ${role} was deleted`);
}

async function listUsers(client: EtcdClient): Promise<readonly string[]> {
  return listOf((await client.call((etcd, deadline) => etcd.auth.userList(deadline))).users);
}

async function rolesOf(client: EtcdClient, name: string): Promise<readonly string[]> {
  return listOf((await client.call((etcd, deadline) => etcd.auth.userGet({ name }, deadline))).roles);
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

async function applyUsers(
  client: EtcdClient,
  wanted: readonly EtcdUser[],
  made: MadeUsers,
): Promise<readonly string[]> {
  const found = await listUsers(client);
  const changes: string[] = [];
  for (const { name, roles } of wanted) {
    if (!found.includes(name) && (await addUser(client, name, made))) changes.push(`user ${name} was made`);
    const before = await rolesOf(client, name);
    // As roles.sh makes it.
    if (!made.names.includes(name) && before.length > 0 && before.every((role) => roles.includes(role))) made.add(name);
    changes.push(...(await applyGrants(client, { name, roles }, before)));
  }
  return changes;
}

/** @returns false if another process made it at this moment */
async function addUser(client: EtcdClient, name: string, made: MadeUsers): Promise<boolean> {
  // No password is set: the certificate alone authenticates the user.
  const options = { no_password: true };
  // First, so that none is made that is not known after a crash.
  made.add(name);
  const isNew = await unlessThere(client.call((etcd, deadline) => etcd.auth.userAdd({ name, options }, deadline)));
  if (!isNew) made.remove(name);
  return isNew;
}

async function applyGrants(
  client: EtcdClient,
  { name: user, roles: wanted }: EtcdUser,
  found: readonly string[],
): Promise<readonly string[]> {
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
