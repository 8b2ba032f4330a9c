/** Watches the servers of the store: their alarms, and how full their databases are. Logs what is new. */
import type { StoreHealth } from "../model/status.js";
import type { Store } from "../interfaces/store.js";
import type { Logger } from "../interfaces/system.js";
import type { Telemetry } from "../interfaces/telemetry.js";
import { describeStoreProblems } from "../model/store-health.js";

export interface StoreHealthDeps {
  readonly store: Pick<Store, "readHealth">;
  readonly telemetry: Pick<Telemetry, "storeHealth">;
  readonly logger: Logger;
}

export class StoreHealthWatch {
  #reported: readonly string[] = [];

  constructor(private readonly deps: StoreHealthDeps) {}

  async run(): Promise<void> {
    const { store, telemetry, logger } = this.deps;
    // A server that does not answer is the matter of the other loops, which then fail.
    const health = (await store.readHealth()).filter(({ problem }) => problem === null);
    if (health.length === 0) return;
    telemetry.storeHealth(health);
    const problems = describeStoreProblems(health);
    for (const problem of problems) if (!this.#reported.includes(problem)) logger.warn(problem, sizesOf(health));
    if (problems.length === 0 && this.#reported.length > 0) logger.info("the store has room again", sizesOf(health));
    this.#reported = problems;
  }
}

function sizesOf(health: readonly StoreHealth[]): { readonly servers: readonly object[] } {
  return {
    servers: health.map(({ endpoint, databaseBytes, quotaBytes }) => ({ endpoint, databaseBytes, quotaBytes })),
  };
}
