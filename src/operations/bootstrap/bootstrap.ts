/**
 * Bootstraps a cluster: keys, certificates, the settings of etcd's members and the script of its roles, all below one
 * folder. A run adds what is missing and renews what will expire soon; keys are never replaced.
 */
import type { AuthorityFolder, EnsuredFile } from "../../interfaces/authority.js";
import { OperationError } from "../../model/operation-error.js";
import {
  authorityCopies,
  CLIENT_AUTHORITY,
  isOfAuthority,
  PEER_AUTHORITY,
  wantedCertificates,
} from "./certificates.js";
import { CLUSTER_FILE, extendClusterFile, type ClusterAdditions, type ClusterFile } from "./cluster-file.js";
import { etcdSettings, storeUrl } from "./etcd-settings.js";
import { forgetUnlisted } from "./forget.js";
import { clusterAccess, ROLES_FILE, rolesScript } from "./roles.js";

export interface Bootstrapped {
  readonly folder: string;
  readonly file: ClusterFile;
  readonly files: readonly EnsuredFile[];
  /** What was changed in etcd; null if it was not asked to. */
  readonly applied: readonly string[] | null;
  /** Users of etcd that cluster.yaml no longer lists; null if it was not asked to. */
  readonly unlisted: readonly string[] | null;
  readonly store: string;
}

export type WrittenCluster = Omit<Bootstrapped, "applied" | "unlisted">;

export function bootstrapCluster(
  folder: AuthorityFolder,
  added: ClusterAdditions,
  validForMs: number,
): Promise<WrittenCluster> {
  // Before the folder is made.
  extendedCluster(folder, added);
  return folder.exclusively(() => writeCluster(folder, added, validForMs));
}

function extendedCluster(folder: AuthorityFolder, added: ClusterAdditions): ReturnType<typeof extendClusterFile> {
  const found = folder.read(CLUSTER_FILE);
  const extended = extendClusterFile(`${folder.path}/${CLUSTER_FILE}`, found, added);
  if (extended.file.members.length > 0) return extended;
  throw new OperationError("usage", "the cluster has no members of etcd; name them: --members m1=10.0.0.1");
}

/** A new authority in place of a lost one would sign what nothing that runs trusts. */
function refuseSecondAuthority(folder: AuthorityFolder, path: string): void {
  if (folder.read(`${path}.key`) !== null || folder.read(`${path}.crt`) !== null) return;
  const [issued] = folder.issued().filter((one) => isOfAuthority(one, path));
  if (issued === undefined) return;
  throw new OperationError(
    "bad-key",
    `${folder.path}/${path}.key and .crt are missing, and ${issued} is there, which they have signed or served: restore them from the backup; for a new authority, use a new folder`,
  );
}

async function writeCluster(
  folder: AuthorityFolder,
  added: ClusterAdditions,
  validForMs: number,
): Promise<WrittenCluster> {
  const { text, file } = extendedCluster(folder, added);
  for (const path of [CLIENT_AUTHORITY, PEER_AUTHORITY]) refuseSecondAuthority(folder, path);
  forgetUnlisted(folder, file);
  const files = [folder.write(CLUSTER_FILE, text)];
  for (const wanted of wantedCertificates(file)) files.push(await folder.ensure(wanted, validForMs));
  for (const { path, of } of authorityCopies(file)) files.push(folder.write(path, folder.read(of) ?? ""));
  for (const member of file.members)
    files.push(folder.write(`members/${member.name}/etcd.env`, etcdSettings(file, member)));
  files.push(folder.write(ROLES_FILE, rolesScript(clusterAccess(file))));
  return { folder: folder.path, file, files, store: storeUrl(file) };
}
