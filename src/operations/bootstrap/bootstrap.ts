/**
 * Bootstraps a cluster: keys, certificates, the settings of etcd's members and the script of its roles, all below one
 * folder. A run adds what is missing and renews what will expire soon; keys are never replaced.
 */
import type { AuthorityFolder, EnsuredFile } from "../../interfaces/authority.js";
import { OperationError } from "../../model/operation-error.js";
import { authorityCopies, wantedCertificates } from "./certificates.js";
import {
  addToClusterFile,
  CLUSTER_FILE,
  readClusterFile,
  type ClusterAdditions,
  type ClusterFile,
} from "./cluster-file.js";
import { etcdSettings, storeUrl } from "./etcd-settings.js";
import { clusterAccess, rolesScript } from "./roles.js";

export interface Bootstrapped {
  readonly folder: string;
  readonly file: ClusterFile;
  readonly files: readonly EnsuredFile[];
  /** What was changed in etcd; null if it was not asked to. */
  readonly applied: readonly string[] | null;
  readonly store: string;
}

export function bootstrapCluster(
  folder: AuthorityFolder,
  added: ClusterAdditions,
  validForMs: number,
): Promise<Omit<Bootstrapped, "applied">> {
  return folder.exclusively(() => writeCluster(folder, added, validForMs));
}

async function writeCluster(
  folder: AuthorityFolder,
  added: ClusterAdditions,
  validForMs: number,
): Promise<Omit<Bootstrapped, "applied">> {
  const found = folder.read(CLUSTER_FILE);
  const text = addToClusterFile(CLUSTER_FILE, found, added);
  const file = readClusterFile(`${folder.path}/${CLUSTER_FILE}`, text);
  if (file.members.length === 0)
    throw new OperationError("usage", "the cluster has no members of etcd; name them: --members m1=10.0.0.1");
  const files = [folder.write(CLUSTER_FILE, text)];
  for (const wanted of wantedCertificates(file)) files.push(await folder.ensure(wanted, validForMs));
  for (const { path, of } of authorityCopies(file)) files.push(folder.write(path, folder.read(of) ?? ""));
  for (const member of file.members)
    files.push(folder.write(`members/${member.name}/etcd.env`, etcdSettings(file, member)));
  files.push(folder.write("roles.sh", rolesScript(clusterAccess(file))));
  return { folder: folder.path, file, files, store: storeUrl(file) };
}
