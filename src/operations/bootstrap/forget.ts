/**
 * Forgets the newest certificate of a name: who has its key renews nothing any more. A name that comes back later, or gets
 * a token, may be another host's, and the former key may be in other hands.
 */
import type { AuthorityFolder } from "../../interfaces/authority.js";
import { nodePath } from "./certificates.js";
import type { ClusterFile } from "./cluster-file.js";

export function forgetNode(folder: AuthorityFolder, node: string): void {
  folder.remove(`${nodePath(node)}.crt`);
}

/** Forgets all names that the file does not list as nodes. */
export function forgetUnlisted(folder: AuthorityFolder, { nodes, enrolled }: ClusterFile): void {
  const listed = new Set([...nodes, ...enrolled].map((node) => `${nodePath(node)}.crt`));
  for (const path of folder.issued())
    if (/^nodes\/[^/]+\/node\.crt$/.test(path) && !listed.has(path)) folder.remove(path);
}
