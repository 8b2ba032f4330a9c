/**
 * The authority's side of an enrolment. In this order, so that neither a wrong request costs a token, nor a token is good
 * for two keys: the token is checked, then the request, then the token is marked as used for that key on the disk, then the
 * certificate is issued. A node that asks again with the same key before the token expires gets the same certificate: an answer
 * that was lost costs nothing.
 */
import type { AuthorityFolder } from "../../interfaces/authority.js";
import type { EnrolmentAnswer, EnrolmentRequest, EnrolmentTokens } from "../../interfaces/enrolment.js";
import type { Clock, Logger } from "../../interfaces/system.js";
import { digestOfText } from "../../model/digest.js";
import { isLabel, isString, shaped, type Guard } from "../../model/guards.js";
import { OperationError } from "../../model/operation-error.js";
import { CLIENT_AUTHORITY, wantedOfNode } from "./certificates.js";
import { CLUSTER_FILE, extendClusterFile, readClusterFile, type ClusterFile } from "./cluster-file.js";
import { storeUrl } from "./etcd-settings.js";
import { forgetNode, forgetUnlisted } from "./forget.js";
import { clusterAccess, ROLES_FILE, rolesScript } from "./roles.js";
import type { EnrolmentToken } from "./token.js";

/** How long a node's certificate is valid. */
export const VALID_FOR_MS = 365 * 24 * 3_600_000;
const MAX_REQUEST = 4_096;
/** How long a node waits for etcd's users and roles. Below the time that a connection may be idle. */
const ACCESS_WAIT_MS = 8_000;

/** Reads a PKCS #10 request; null if it is none, or its key has not signed it. */
export type RequestReader = (
  text: string,
) => Promise<{ readonly commonName: string; readonly publicKey: string } | null>;

export interface EnrolmentDeps {
  readonly folder: AuthorityFolder;
  readonly tokens: EnrolmentTokens;
  readonly clock: Pick<Clock, "now" | "sleep">;
  readonly logger: Logger;
  readonly readRequest: RequestReader;
  /** Makes etcd's users and roles what the cluster's file says then. @throws if etcd cannot be reached */
  readonly applyAccess: () => Promise<unknown>;
}

const isShort: Guard<string> = (value): value is string => isString(value) && value.length <= 64;

export const isCertificateRequest: Guard<string> = (value): value is string =>
  isString(value) && value.length <= MAX_REQUEST;

export const isEnrolmentRequest = shaped<EnrolmentRequest>({
  id: isShort,
  secret: isShort,
  node: isLabel,
  request: isCertificateRequest,
});

const REPLACED = "a newer token for this node has replaced this one";

/** Why a node gets no certificate, in words for that node. Without a good secret a peer learns nothing else. */
export class EnrolmentRefused extends Error {
  override readonly name = "EnrolmentRefused";
}

/**
 * Issues a certificate.
 * @param accepted is called once the token is known to be good
 * @throws EnrolmentRefused
 */
export async function enrolNode(
  deps: EnrolmentDeps,
  asked: EnrolmentRequest,
  accepted: () => void,
): Promise<EnrolmentAnswer> {
  const { folder, tokens } = deps;
  const token = tokens.find(asked.id, asked.secret);
  if (token === null) throw new EnrolmentRefused("the token is not known here");
  const { node } = token;
  if (node !== asked.node) throw new EnrolmentRefused("the token is for another node");
  if (token.isVoid) throw new EnrolmentRefused(REPLACED);
  if (deps.clock.now() >= Date.parse(token.expiresAt))
    throw new EnrolmentRefused(`the token expired at ${token.expiresAt}`);
  accepted();
  const publicKey = await readRequestOf(deps.readRequest, asked.request, node);
  const file = readCluster(folder);
  if (!file.enrolled.includes(node)) throw new EnrolmentRefused(notEnrolling(node));
  return {
    certificate: await folder.exclusively(() => issueOnce(deps, asked, publicKey)),
    authority: folder.read(`${CLIENT_AUTHORITY}.crt`) ?? "",
    store: storeUrl(file),
    warning: await applyOrWarn(deps, node),
  };
}

const notEnrolling = (node: string): string => `${node} is no longer among the nodes that may enroll`;

/** Returns the public key of a request for that name. @throws EnrolmentRefused */
export async function readRequestOf(read: RequestReader, text: string, node: string): Promise<string> {
  const request = await read(text);
  if (request === null) throw new EnrolmentRefused("the request is none for a key on P-256 that has signed it");
  if (request.commonName !== node) throw new EnrolmentRefused("the request is for another name");
  return request.publicKey;
}

/** Returns the certificate of the one key that the token is good for. */
async function issueOnce(
  { folder, tokens, logger }: EnrolmentDeps,
  { id, secret, node }: EnrolmentRequest,
  publicKey: string,
): Promise<string> {
  // Another token may have been made since it was looked at, or the node removed.
  if (!readCluster(folder).enrolled.includes(node)) throw new EnrolmentRefused(notEnrolling(node));
  if (tokens.find(id, secret)?.isVoid !== false) throw new EnrolmentRefused(REPLACED);
  const digest = digestOfText(publicKey);
  if (!tokens.use(id, digest))
    throw new EnrolmentRefused(
      "the token was used already, for another key; if it was not you, find out who has this node's certificate",
    );
  const certificateBefore = tokens.find(id, secret)?.use?.certificate ?? null;
  if (certificateBefore !== null) return certificateBefore;
  const certificate = await folder.issue(wantedOfNode(node, true), publicKey, VALID_FOR_MS);
  tokens.keep(id, certificate);
  logger.info("issued a certificate", { node });
  return certificate;
}

/** The certificate is issued whether or not etcd answers, and in time: until etcd knows the user, it refuses it. */
async function applyOrWarn(deps: EnrolmentDeps, node: string): Promise<string | null> {
  const unknown = "etcd does not know this node yet; on the authority's host, run: ztap cluster bootstrap DIR --apply";
  const applying = deps.applyAccess().then(
    () => null,
    (error: unknown) => {
      deps.logger.warn("etcd's users and roles could not be changed", { node, error });
      return unknown;
    },
  );
  const waiting = new AbortController();
  const late = deps.clock.sleep(ACCESS_WAIT_MS, waiting.signal).then(() => unknown);
  try {
    return await Promise.race([applying, late]);
  } finally {
    waiting.abort();
  }
}

export interface TokenDeps {
  readonly folder: AuthorityFolder;
  readonly tokens: EnrolmentTokens;
  readonly clock: Pick<Clock, "now">;
  /** Of the key with which enrolment is served. */
  readonly fingerprint: string;
}

export interface MadeToken {
  readonly token: EnrolmentToken;
  readonly expiresAt: string;
}

/** Makes a token, and adds the node to the cluster's file. */
export function makeToken(deps: TokenDeps, node: string, address: string, forMs: number): Promise<MadeToken> {
  return deps.folder.exclusively(async () => addToken(deps, node, address, forMs));
}

function addToken(deps: TokenDeps, node: string, address: string, forMs: number): MadeToken {
  const { folder, tokens, clock, fingerprint } = deps;
  if (!isLabel(node)) throw new OperationError("usage", `node: found ${JSON.stringify(node)}, wanted a DNS label`);
  const file = readCluster(folder);
  if (file.nodes.includes(node))
    throw new OperationError(
      "usage",
      `the key of ${node} was made here: copy nodes/${node}/ to it, or move it to enrolled in cluster.yaml`,
    );
  const added = { members: [], nodes: [], leaders: [], operators: [], enrolled: [node] };
  // Refuses a name that another bearer has.
  const { text, file: next } = extendClusterFile(`${folder.path}/${CLUSTER_FILE}`, folder.read(CLUSTER_FILE), added);
  forgetUnlisted(folder, file);
  // Whoever has the key of its former certificate is not who uses the token.
  forgetNode(folder, node);
  folder.write(CLUSTER_FILE, text);
  folder.write(ROLES_FILE, rolesScript(clusterAccess(next)));
  const expiresAt = new Date(clock.now() + forMs).toISOString();
  return { token: { address, node, fingerprint, ...tokens.create(node, expiresAt) }, expiresAt };
}

export function readCluster(folder: AuthorityFolder): ClusterFile {
  const text = folder.read(CLUSTER_FILE);
  const path = `${folder.path}/${CLUSTER_FILE}`;
  if (text === null) throw new OperationError("not-found", `${path} is missing; run ztap cluster bootstrap first`);
  return readClusterFile(path, text);
}
