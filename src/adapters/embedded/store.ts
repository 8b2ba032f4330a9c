/**
 * The embedded store: `file:PATH`. One machine, any number of processes.
 */
import type { Store } from "../../interfaces/store.js";
import type { Clock } from "../../interfaces/system.js";
import { LocalStore } from "../../store/local/local-store.js";
import { EmbeddedTable, type EmbeddedOptions } from "./table.js";

export type { EmbeddedOptions } from "./table.js";

/**
 * Opens the store.
 * @throws StoreError `store-permission`, `store-damaged`, `store-version`, `store-locked`, `store-unavailable`
 */
export async function openEmbeddedStore(options: EmbeddedOptions, clock: Clock): Promise<Store> {
  return new LocalStore(await EmbeddedTable.open(options, clock), clock);
}
