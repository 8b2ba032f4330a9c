/** Wiring of a cluster's authority: its folder, its use cases, and etcd's users and roles. */
import { resolve } from "node:path";
import { systemClock } from "../adapters/system/clock.js";
import { createPublicKey } from "node:crypto";
import type { AuthorityFolder } from "../interfaces/authority.js";
import type { Logger } from "../interfaces/system.js";
import { OperationError } from "../model/operation-error.js";
import { bootstrapCluster, type Bootstrapped } from "../operations/bootstrap/bootstrap.js";
import { CLIENT_AUTHORITY, ENROLMENT, rootPath } from "../operations/bootstrap/certificates.js";
import type { ClusterAdditions, ClusterFile } from "../operations/bootstrap/cluster-file.js";
import { clientEndpoints } from "../operations/bootstrap/etcd-settings.js";
import {
  enrolNode,
  EnrolmentRefused,
  isEnrolmentRequest,
  makeToken,
  readCluster,
  type MadeToken,
} from "../operations/bootstrap/enroll.js";
import { clusterAccess } from "../operations/bootstrap/roles.js";
import { decodeToken } from "../operations/bootstrap/token.js";
import type { HostAndPort } from "../settings/types.js";
import { parseHostPort } from "../settings/types.js";

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
  const read = (path: string): Buffer => Buffer.from(readOrRefuse(folder, path));
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

function readOrRefuse(folder: AuthorityFolder, path: string): string {
  const text = folder.read(path);
  if (text !== null) return text;
  throw new OperationError("not-found", `${folder.path}/${path} is missing; run ztap cluster bootstrap`);
}

/** Makes a token for a node. */
export async function makeNodeToken(dir: string, node: string, address: string, forMs: number): Promise<MadeToken> {
  const folder = await openAuthority(dir);
  const { TokenFiles } = await import("../adapters/authority/tokens.js");
  const { fingerprintOf } = await import("../adapters/authority/client.js");
  const key = createPublicKey(readOrRefuse(folder, `${ENROLMENT}.key`)).export({ type: "spki", format: "der" });
  const tokens = new TokenFiles(folder.path, systemClock);
  return makeToken({ folder, tokens, clock: systemClock, fingerprint: fingerprintOf(key) }, node, address, forMs);
}

/** Two that change the same users and roles would each find the other's changes half done. */
function oneAtATime<T>(run: () => Promise<T>): () => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  return () => {
    const next = last.then(run, run);
    last = next;
    return next;
  };
}

/** Serves enrolment until the signal aborts. */
export async function serveAuthority(
  dir: string,
  listen: HostAndPort,
  logger: Logger,
  signal: AbortSignal,
): Promise<void> {
  const folder = await openAuthority(dir);
  const { TokenFiles } = await import("../adapters/authority/tokens.js");
  const { readRequest } = await import("../adapters/authority/x509.js");
  const { serveEnrolment } = await import("../adapters/authority/server.js");
  const deps = {
    folder,
    tokens: new TokenFiles(folder.path, systemClock),
    clock: systemClock,
    logger,
    readRequest,
    applyAccess: oneAtATime(() => applyClusterAccess(folder, readCluster(folder))),
  };
  const server = await serveEnrolment(
    {
      ...listen,
      certificate: readOrRefuse(folder, `${ENROLMENT}.crt`),
      privateKey: readOrRefuse(folder, `${ENROLMENT}.key`),
      clock: systemClock,
    },
    async (body, from, accepted) => {
      if (!isEnrolmentRequest(body)) return { status: 400, body: { error: "this is no request for a certificate" } };
      try {
        return { status: 200, body: await enrolNode(deps, body, accepted) };
      } catch (error) {
        const isRefusal = error instanceof EnrolmentRefused;
        logger.warn("refused an enrolment", { node: body.node, from, error });
        return isRefusal
          ? { status: 403, body: { error: error.message } }
          : { status: 500, body: { error: "the authority failed; its log says why" } };
      }
    },
  );
  logger.info("serving enrolment", { address: server.address, folder: folder.path });
  if (!signal.aborted)
    await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
  await server.close();
}

export interface Enrolled {
  readonly node: string;
  readonly files: { readonly ca: string; readonly cert: string; readonly key: string };
  /** Null if the node had a good certificate, and the token was not used. */
  readonly store: string | null;
  readonly warning: string | null;
}

/** Reads a token from a file. @throws OperationError `invalid-settings` if other users can read it */
export async function readTokenFile(file: string): Promise<string> {
  const { readPrivate } = await import("../adapters/system/private-file.js");
  const found = readPrivate(resolve(file), process.geteuid?.() ?? 0);
  if (found === null) throw new OperationError("not-found", `there is no file ${file}`);
  if (found.text !== null) return found.text;
  throw new OperationError(
    "invalid-settings",
    `the token is not read: ${found.problem}; if it was a good one, ask for another, and chmod 600 its file`,
  );
}

/** Gets this node its certificate, with a token. */
export async function enrollNode(word: string, dir: string): Promise<Enrolled> {
  const token = decodeToken(word);
  const { NodeFiles } = await import("../adapters/authority/node-files.js");
  const { requestCertificate } = await import("../adapters/authority/client.js");
  const files = new NodeFiles(resolve(dir), token.node);
  const done = { node: token.node, files: files.paths };
  if (files.isGood(systemClock.now())) return { ...done, store: null, warning: null };
  const address = parseHostPort(token.address);
  if (address === null) throw new OperationError("usage", "the token names no address");
  const { node, id, secret } = token;
  const request = await files.request();
  const answer = await requestCertificate(address, token.fingerprint, { id, secret, node, request });
  files.store(answer.certificate, answer.authority, systemClock.now());
  return { ...done, store: answer.store, warning: answer.warning };
}
