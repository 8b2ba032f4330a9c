/**
 * The embedded store: `file:PATH`. One machine, any number of processes.
 */
import type { Store } from "../../ports/store.js";
import type { Clock } from "../../ports/system.js";
import { LocalStore } from "../../store/local.js";
import { EmbeddedTable, type EmbeddedOptions } from "./table.js";

export type { EmbeddedOptions } from "./table.js";

/** @throws StoreError `store-permission`, `store-damaged`, `store-version`, `store-unavailable` */
export function openEmbeddedStore(options: EmbeddedOptions, clock: Clock): Store {
  return new LocalStore(new EmbeddedTable(options, clock), clock);
}
