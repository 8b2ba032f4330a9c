/** Wiring of a cluster's authority: its folder, its use cases, and etcd's users and roles. */
import { resolve } from "node:path";
import { systemClock } from "../adapters/system/clock.js";
import { createPublicKey } from "node:crypto";
import type { AccessOptions } from "../adapters/etcd/roles.js";
import type { AuthorityFolder } from "../interfaces/authority.js";
import type { ServerIdentity } from "../adapters/authority/server.js";
import type { Logger } from "../interfaces/system.js";
import type { AccessChanges } from "../model/etcd-roles.js";
import { OperationError } from "../model/operation-error.js";
import { answerCall } from "../operations/bootstrap/answer.js";
import { applyCluster } from "../operations/bootstrap/apply.js";
import { bootstrapCluster, type Bootstrapped } from "../operations/bootstrap/bootstrap.js";
import { CLIENT_AUTHORITY, ENROLMENT, rootPath } from "../operations/bootstrap/certificates.js";
import type { ClusterAdditions, ClusterFile } from "../operations/bootstrap/cluster-file.js";
import { clientEndpoints } from "../operations/bootstrap/etcd-settings.js";
import { makeToken, type MadeToken } from "../operations/bootstrap/enroll.js";
import { clusterAccess, isClusterRole } from "../operations/bootstrap/roles.js";
import { keepServing, prepareServing } from "../operations/bootstrap/serving.js";
import type { HostAndPort } from "../settings/types.js";
import { sayIfSlow, type Say } from "./slow.js";

const APPLY_TIMEOUT_MS = 5_000;
/** Nodes that enroll at once, and wait for one another. */
const MAX_WAITING = 1_000;

export async function openAuthority(
  dir: string,
  options: { readonly create?: boolean; readonly waiting?: Say } = {},
): Promise<AuthorityFolder> {
  const { openAuthorityFolder } = await import("../adapters/authority/folder.js");
  return openAuthorityFolder(resolve(dir), systemClock, options);
}

interface BootstrapOptions {
  readonly validForMs: number;
  readonly apply: boolean;
  /** Deletes users of etcd that cluster.yaml no longer lists. */
  readonly prune: boolean;
  readonly waiting: Say;
}

/** Bootstraps the cluster of a folder, and with `apply` its etcd. */
export async function bootstrap(
  dir: string,
  added: ClusterAdditions,
  { validForMs, apply, prune, waiting }: BootstrapOptions,
): Promise<Bootstrapped> {
  const folder = await openAuthority(dir, { create: true, waiting });
  const done = await bootstrapCluster(folder, added, validForMs);
  if (!apply) return { ...done, applied: null, unlisted: null };
  const what = `an answer of etcd at ${clientEndpoints(done.file.members).join(", ")}`;
  const { changes, unlisted } = await sayIfSlow(waiting, what, () => applyFolder(folder, prune));
  return { ...done, applied: changes, unlisted };
}

/**
 * Makes etcd's users and roles what the cluster's file says.
 * @throws StoreError
 */
function applyFolder(folder: AuthorityFolder, prune = false): Promise<AccessChanges> {
  return applyCluster({
    folder,
    apply: (file, made, isCurrent) => applyFile(folder, file, { made, isCurrent, prune }),
  });
}

async function applyFile(
  folder: AuthorityFolder,
  file: ClusterFile,
  options: Pick<AccessOptions, "made" | "isCurrent" | "prune">,
): Promise<AccessChanges> {
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
    { ...options, isOwnRole: isClusterRole, clock: systemClock },
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

/** Serves enrolment and renewal until the signal aborts. */
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
  const { examineClient } = await import("../adapters/system/certificate-pair.js");
  const { bulkhead } = await import("cockatiel");
  // Two that change the same users and roles would each find the other's changes half done.
  const oneAtATime = bulkhead(1, MAX_WAITING);
  const deps = {
    folder,
    tokens: new TokenFiles(folder.path, systemClock),
    clock: systemClock,
    logger,
    readRequest,
    examineClient,
    applyAccess: () => oneAtATime.execute(() => applyFolder(folder)),
  };
  await prepareServing(folder);
  const identity = (): ServerIdentity => ({
    certificate: readOrRefuse(folder, `${ENROLMENT}.crt`),
    privateKey: readOrRefuse(folder, `${ENROLMENT}.key`),
    authority: readOrRefuse(folder, `${CLIENT_AUTHORITY}.crt`),
  });
  const server = await serveEnrolment({ ...listen, ...identity(), clock: systemClock }, (call, accepted) =>
    answerCall(deps, call, accepted),
  );
  logger.info("serving enrolment", { address: server.address, folder: folder.path });
  await keepServing({ folder, clock: systemClock, logger, use: () => server.use(identity()) }, signal);
  await server.close();
}
