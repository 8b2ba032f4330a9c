/**
 * Makes etcd's users and roles what the cluster's file says. Runs one after another, in any process. The folder is not
 * locked meanwhile: etcd may take long, nodes enroll at that time, and a person who edits the file takes no lock at all.
 * So the file is read again at the end, and what has changed is applied as well.
 */
import type { AuthorityFolder, MadeUsers } from "../../interfaces/authority.js";
import type { AccessChanges } from "../../model/etcd-roles.js";
import { OperationError } from "../../model/operation-error.js";
import { CLUSTER_FILE, type ClusterFile } from "./cluster-file.js";
import { readCluster } from "./enroll.js";
import { madeUsers } from "./made-users.js";

const MAX_ROUNDS = 10;

export interface ApplyDeps {
  readonly folder: AuthorityFolder;
  /** @param isCurrent whether the file is still what it was: nothing is deleted if it is not */
  readonly apply: (file: ClusterFile, made: MadeUsers, isCurrent: () => boolean) => Promise<AccessChanges>;
}

/** @throws OperationError `lost-race` if the file changes all the time */
export function applyCluster({ folder, apply }: ApplyDeps): Promise<AccessChanges> {
  return folder.applying(async () => {
    const changes: string[] = [];
    for (let round = 0; round < MAX_ROUNDS; round += 1) {
      const before = folder.read(CLUSTER_FILE);
      const isCurrent = (): boolean => folder.read(CLUSTER_FILE) === before;
      const done = await apply(readCluster(folder), madeUsers(folder), isCurrent);
      changes.push(...done.changes);
      if (isCurrent()) return { changes, unlisted: done.unlisted };
    }
    throw new OperationError(
      "lost-race",
      `${folder.path}/${CLUSTER_FILE} changes all the time; etcd's users and roles are what it said before; try again`,
    );
  });
}
