/** Wiring of the store: selects and opens the adapter of a settings' URL. */
import { readFile } from "node:fs/promises";
import { systemClock, systemRandom } from "../adapters/system/clock.js";
import { writableByOthers } from "../adapters/system/ownership.js";
import { describeForeign } from "../settings/load.js";
import { OperationError } from "../model/operation-error.js";
import type { Settings } from "../settings/settings.js";
import type { StoreCertificates } from "../interfaces/certificates.js";
import type { Store } from "../interfaces/store.js";
import type { CertificateExpiry } from "../model/certificate.js";

/**
 * Opens the store, uses it, and closes it, even if the use fails.
 * @param options `create`: false only to read; `when-written` so that a refused write does not create an empty store
 */
export async function withStore<T>(
  settings: Settings,
  { create }: { readonly create: boolean | "when-written" },
  use: (store: Store) => Promise<T>,
): Promise<T> {
  const store = await openStoreAdapter(settings, create === "when-written" ? "change" : create ? "write" : "read");
  try {
    return await use(store);
  } finally {
    await store.close();
  }
}

/**
 * Opens a store only to read, uses it, and closes it. A store of this machine that does not exist is an error: an empty
 * answer would look like that of a store without policies.
 * @throws OperationError `not-found`
 */
export async function withExistingStore<T>(settings: Settings, use: (store: Store) => Promise<T>): Promise<T> {
  return withStore(settings, { create: false }, async (store) => {
    const missing = await findMissingStore(settings);
    if (missing !== null) throw new OperationError("not-found", describeMissing(missing, settings));
    return use(store);
  });
}

/** Returns the folder of a store that does not exist yet; null for one that does, or cannot be looked at, and for etcd. */
export async function findMissingStore({ store }: Settings): Promise<string | null> {
  if (store.kind !== "file") return null;
  const { identityOf } = await import("../adapters/embedded/files.js");
  try {
    return identityOf(store.path) === null ? store.path : null;
  } catch {
    // To open it fails for the same reason, and says so.
    return null;
  }
}

function describeMissing(path: string, { isStoreNamed }: Settings): string {
  return isStoreNamed || process.geteuid?.() === 0
    ? `there is no store at ${path}; name another with --store, or commit the first revision with ztap apply`
    : `there is no store at ${path}, the default of this user; root's is another: run as root, or name the store with --store, ZTAP_STORE or a configuration file`;
}

/**
 * Opens the store of an agent, with the certificates that it renews while it runs; null for a store without any. Uses it,
 * and closes it, even if the use fails.
 */
export async function withAgentStore<T>(
  settings: Settings,
  use: (store: Store, certificates: StoreCertificates | null) => Promise<T>,
): Promise<T> {
  const { store: where } = settings;
  if (where.kind !== "etcd" || !where.tls) return withStore(settings, { create: true }, (store) => use(store, null));
  const { store, certificates } = await openClusterStore(settings, where);
  try {
    return await use(store, certificates);
  } finally {
    await store.close();
  }
}

export async function openStoreAdapter(settings: Settings, access: "read" | "change" | "write"): Promise<Store> {
  if (settings.store.kind === "memory") {
    const { openMemoryStore } = await import("../adapters/memory/store.js");
    return openMemoryStore(systemClock);
  }
  if (settings.store.kind === "etcd") return (await openClusterStore(settings, settings.store)).store;
  const { openEmbeddedStore } = await import("../adapters/embedded/store.js");
  return openEmbeddedStore({ path: settings.store.path, access }, systemClock);
}

async function openClusterStore(
  { etcd, election }: Settings,
  { tls, endpoints, prefix }: Extract<Settings["store"], { kind: "etcd" }>,
): Promise<{ readonly store: Store; readonly certificates: StoreCertificates }> {
  const { openEtcdStore } = await import("../adapters/etcd/store.js");
  const [ca, cert, key, password] = await Promise.all(
    [etcd.ca, etcd.cert, etcd.key, etcd.passwordFile].map(readSecret),
  );
  const { CertificateFiles } = await import("../adapters/system/certificate-files.js");
  const bytes = { ca: ca ?? null, cert: cert ?? null, key: key ?? null };
  const store = openEtcdStore(
    {
      endpoints,
      prefix,
      tls: tls ? bytes : null,
      auth:
        etcd.user === null
          ? null
          : { username: etcd.user, password: (password ?? "").toString().replace(/\r?\n$/, "") },
      // Below the heartbeat's lease, so that an unresponsive etcd member does not cost it.
      timeoutMs: Math.max(1000, election.electionTimeoutMs / 2),
    },
    systemClock,
    systemRandom.fraction(),
  );
  return { store, certificates: new CertificateFiles(etcd, bytes, (found) => store.replaceTls(found), systemClock) };
}

/** Returns when this machine's certificates for the store expire; empty for a store without any. */
export async function readExpiries({ store, etcd }: Settings): Promise<readonly CertificateExpiry[]> {
  if (store.kind !== "etcd" || !store.tls) return [];
  const { listExpiries } = await import("../adapters/system/certificate-files.js");
  const read = async (file: string | null): Promise<Buffer | null> =>
    file === null ? null : readFile(file).catch(() => null);
  return listExpiries(etcd, { ca: await read(etcd.ca), cert: await read(etcd.cert) });
}

async function readSecret(file: string | null): Promise<Buffer | null> {
  if (file === null) return null;
  const why = writableByOthers(file, process.geteuid?.() ?? 0);
  if (why !== null)
    throw new OperationError(
      "invalid-settings",
      `${file}, named in the etcd settings, is not read: ${describeForeign(why)}`,
    );
  return readFile(file).catch((cause: unknown) => {
    throw new OperationError("invalid-settings", `${file}: cannot be read; it is named in the etcd settings`, {
      cause,
    });
  });
}
