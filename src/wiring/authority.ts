/** Wiring of a cluster's authority: its folder, its use cases, and etcd's users and roles. */
import { resolve } from "node:path";
import { systemClock } from "../adapters/system/clock.js";
import type { AuthorityFolder } from "../interfaces/authority.js";
import { OperationError } from "../model/operation-error.js";
import { bootstrapCluster, type Bootstrapped } from "../operations/bootstrap/bootstrap.js";
import { CLIENT_AUTHORITY, rootPath } from "../operations/bootstrap/certificates.js";
import type { ClusterAdditions, ClusterFile } from "../operations/bootstrap/cluster-file.js";
import { clientEndpoints } from "../operations/bootstrap/etcd-settings.js";
import { clusterAccess } from "../operations/bootstrap/roles.js";

const APPLY_TIMEOUT_MS = 5_000;

export async function openAuthority(
  dir: string,
  options: { readonly create?: boolean } = {},
): Promise<AuthorityFolder> {
  const { openAuthorityFolder } = await import("../adapters/authority/folder.js");
  return openAuthorityFolder(resolve(dir), systemClock, options);
}

/** Bootstraps the cluster of a folder, and with `apply` its etcd. */
export async function bootstrap(
  dir: string,
  added: ClusterAdditions,
  { validForMs, apply }: { readonly validForMs: number; readonly apply: boolean },
): Promise<Bootstrapped> {
  const folder = await openAuthority(dir, { create: true });
  const done = await bootstrapCluster(folder, added, validForMs);
  return { ...done, applied: apply ? await applyClusterAccess(folder, done.file) : null };
}

/**
 * Makes etcd's users and roles what the cluster's file says.
 * @returns what was changed
 * @throws StoreError
 */
export async function applyClusterAccess(folder: AuthorityFolder, file: ClusterFile): Promise<readonly string[]> {
  const { applyAccess } = await import("../adapters/etcd/roles.js");
  const read = (path: string): Buffer => {
    const text = folder.read(path);
    if (text === null)
      throw new OperationError("not-found", `${folder.path}/${path} is missing; run ztap cluster bootstrap`);
    return Buffer.from(text);
  };
  return applyAccess(
    {
      endpoints: clientEndpoints(file.members),
      prefix: `${file.prefix}/`,
      tls: { ca: read(`${CLIENT_AUTHORITY}.crt`), cert: read(`${rootPath}.crt`), key: read(`${rootPath}.key`) },
      auth: null,
      timeoutMs: APPLY_TIMEOUT_MS,
    },
    clusterAccess(file),
    systemClock,
  );
}
