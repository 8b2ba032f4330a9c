/** Stores and enforcers for programs, by the same names that the command line uses. */
import { hostname } from "node:os";
import { resolveSettings, type SettingKey, type SettingsLayer } from "../settings/settings.js";
import type { ProcessDiscovery } from "../interfaces/discovery.js";
import type { Enforcer } from "../interfaces/enforcer.js";
import type { Store } from "../interfaces/store.js";
import type { Logger } from "../interfaces/system.js";
import { openDiscovery } from "../wiring/discovery.js";
import { openEnforcer as openMachineEnforcer } from "../wiring/enforcer.js";
import { openStoreAdapter as openStoreOf } from "../wiring/store.js";
import { quietLogger } from "./quiet.js";

/**
 * Returns the settings. Environment and configuration files are only for the command line: a setting that is not given
 * has its default.
 */
function settingsOf(values: Readonly<Partial<Record<SettingKey, string>>>) {
  const layer: SettingsLayer = Object.fromEntries(
    Object.entries(values).map(([key, text]) => [key, { text, origin: "options" }]),
  );
  const machine = { isRoot: true, hostname: hostname(), home: "/", xdgStateHome: undefined, xdgConfigHome: undefined };
  return resolveSettings([layer], machine);
}

/**
 * Opens a store; the caller must `close()` it.
 * @param url as `--store` takes it: `memory:` for a new one in this process, `file:PATH` for an embedded one
 * @param access `read` neither creates nor changes anything
 * @throws OperationError `invalid-settings`, StoreError
 */
export function openStore(url: string, access: "read" | "write" = "write"): Promise<Store> {
  return openStoreOf(settingsOf({ store: url }), access);
}

export interface EnforcerOptions {
  /** The node whose workloads it enforces. */
  readonly node: string;
  /** Default `auto`: the machine's own backend. */
  readonly backend?: "auto" | "ebpf" | "none";
  /** Folder on a BPF file system; default `/sys/fs/bpf/ztap`. */
  readonly pinRoot?: string;
  readonly logger?: Logger;
}

/**
 * Returns the machine's backend, not opened yet.
 * @throws OperationError `unsupported` if the machine has none
 */
export function createEnforcer({ logger = quietLogger, ...values }: EnforcerOptions): Promise<Enforcer> {
  return openMachineEnforcer(settingsOf(values), logger);
}

/** Returns what finds the processes of workloads on this machine: units, containers and cgroups. */
export function createProcessDiscovery({
  logger = quietLogger,
}: { readonly logger?: Logger } = {}): Promise<ProcessDiscovery> {
  return openDiscovery(settingsOf({}), logger);
}
