/** Wiring of the store: selects and opens the adapter of a settings' URL. */
import { readFile } from "node:fs/promises";
import { systemClock, systemRandom } from "../adapters/system/clock.js";
import { writableByOthers } from "../adapters/system/ownership.js";
import { describeForeign } from "../settings/load.js";
import { OperationError } from "../model/operation-error.js";
import type { Settings } from "../settings/settings.js";
import type { Store } from "../interfaces/store.js";

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

export async function openStoreAdapter(settings: Settings, access: "read" | "change" | "write"): Promise<Store> {
  if (settings.store.kind === "memory") {
    const { openMemoryStore } = await import("../adapters/memory/store.js");
    return openMemoryStore(systemClock);
  }
  if (settings.store.kind === "etcd") return openClusterStore(settings, settings.store);
  const { openEmbeddedStore } = await import("../adapters/embedded/store.js");
  return openEmbeddedStore({ path: settings.store.path, access }, systemClock);
}

async function openClusterStore(
  { etcd, election }: Settings,
  { tls, endpoints, prefix }: Extract<Settings["store"], { kind: "etcd" }>,
): Promise<Store> {
  const { openEtcdStore } = await import("../adapters/etcd/store.js");
  const [ca, cert, key, password] = await Promise.all(
    [etcd.ca, etcd.cert, etcd.key, etcd.passwordFile].map(readSecret),
  );
  return openEtcdStore(
    {
      endpoints,
      prefix,
      tls: tls ? { ca: ca ?? null, cert: cert ?? null, key: key ?? null } : null,
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
