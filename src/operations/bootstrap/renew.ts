/**
 * The authority's side of a renewal: a node gets its next certificate with the one that it has, and no token. It must be
 * a node of the cluster's file, and hold the key that its newest certificate is for: a key that was replaced renews
 * nothing. A node that asks again for the same key gets the same certificate: an answer that was lost costs nothing.
 */
import type { AuthorityFolder } from "../../interfaces/authority.js";
import type {
  ClientCertificate,
  EnrolmentAnswer,
  RenewalRequest,
  ShownCertificate,
} from "../../interfaces/enrolment.js";
import type { Clock, Logger } from "../../interfaces/system.js";
import { isLabel, shaped } from "../../model/guards.js";
import { CLIENT_AUTHORITY, wantedOfNode } from "./certificates.js";
import type { ClusterFile } from "./cluster-file.js";
import {
  EnrolmentRefused,
  isCertificateRequest,
  readCluster,
  readRequestOf,
  VALID_FOR_MS,
  type RequestReader,
} from "./enroll.js";
import { storeUrl } from "./etcd-settings.js";
import { forgetUnlisted } from "./forget.js";

export interface RenewalDeps {
  readonly folder: AuthorityFolder;
  readonly clock: Pick<Clock, "now">;
  readonly logger: Logger;
  readonly readRequest: RequestReader;
  /** Examines a certificate (PEM) against the authority's at a time. */
  readonly examineClient: (certificate: string, authority: string, nowMs: number) => ClientCertificate;
}

export const isRenewalRequest = shaped<RenewalRequest>({ node: isLabel, request: isCertificateRequest });

/**
 * Issues the next certificate of a node.
 * @param accepted is called once the present one is known to be good
 * @throws EnrolmentRefused
 */
export async function renewNode(
  deps: RenewalDeps,
  shown: ShownCertificate | null,
  { node, request }: RenewalRequest,
  accepted: () => void,
): Promise<EnrolmentAnswer> {
  const { folder } = deps;
  const authority = folder.read(`${CLIENT_AUTHORITY}.crt`) ?? "";
  const present = examineShown(deps, shown, authority);
  if (present.commonName !== node) throw new EnrolmentRefused("the certificate is another name's");
  const file = readCluster(folder);
  if (!isListed(file, node)) {
    await folder.exclusively(async () => forgetUnlisted(folder, readCluster(folder)));
    throw new EnrolmentRefused(notListed(node));
  }
  accepted();
  const publicKey = await readRequestOf(deps.readRequest, request, node);
  const keys = { present: present.publicKey, next: publicKey };
  const certificate = await folder.exclusively(() => issueNext(deps, node, keys));
  return { certificate, authority, store: storeUrl(file), warning: null };
}

function isListed({ nodes, enrolled }: ClusterFile, node: string): boolean {
  return nodes.includes(node) || enrolled.includes(node);
}

const notListed = (node: string): string => `${node} is not among the nodes of this cluster`;

/** @throws EnrolmentRefused in words that help a node whose certificate has just expired */
function examineShown(
  { examineClient, clock }: RenewalDeps,
  shown: ShownCertificate | null,
  authority: string,
): { readonly commonName: string; readonly publicKey: string } {
  if (shown === null) throw new EnrolmentRefused("no certificate was shown");
  const found = examineClient(shown.certificate, authority, clock.now());
  if (found.problem !== null) throw new EnrolmentRefused(`the certificate is not accepted: ${found.problem}`);
  if (shown.distrust !== null) throw new EnrolmentRefused(`the certificate is not accepted: ${shown.distrust}`);
  return found;
}

async function issueNext(
  { folder, logger }: RenewalDeps,
  node: string,
  keys: { readonly present: string; readonly next: string },
): Promise<string> {
  const file = readCluster(folder);
  if (!isListed(file, node)) throw new EnrolmentRefused(notListed(node));
  const wanted = wantedOfNode(node, true);
  // As long as the one before: who asked for short ones has a reason.
  const validForMs = folder.validForMs(`${wanted.path}.crt`) ?? VALID_FOR_MS;
  const newest = folder.publicKey(`${wanted.path}.crt`);
  if (newest === null)
    throw new EnrolmentRefused("the authority has no certificate of this node any more; enroll with a new token");
  if (keys.next === newest) {
    const { outcome } = await folder.ensure(wanted, validForMs);
    if (outcome !== "kept") logger.info("renewed a certificate", { node, key: "the same" });
    return folder.read(`${wanted.path}.crt`) ?? "";
  }
  if (keys.present !== newest)
    throw new EnrolmentRefused(
      "another key has taken the place of this one; if it was not you, find out who has this node's certificate",
    );
  if (file.nodes.includes(node))
    throw new EnrolmentRefused(
      "the key of this node was made with the authority: it can be renewed for that key alone",
    );
  logger.info("renewed a certificate", { node, key: "another one" });
  return folder.issue(wanted, keys.next, validForMs);
}
