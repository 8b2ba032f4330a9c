/** Watches the certificates of the store: takes over renewed ones, and reports those that will expire soon. Logs what is new. */
import type { StoreCertificates } from "../interfaces/certificates.js";
import type { Clock, Logger } from "../interfaces/system.js";
import type { Telemetry } from "../interfaces/telemetry.js";
import { describeExpiries } from "../operations/cluster/certificates.js";

export interface CertificateDeps {
  /** Null if the store needs none. */
  readonly certificates: StoreCertificates | null;
  readonly clock: Pick<Clock, "now">;
  readonly telemetry: Pick<Telemetry, "certificates">;
  readonly logger: Logger;
}

export class CertificateWatch {
  #refused: string | null = null;
  #reported: readonly string[] = [];

  constructor(private readonly deps: CertificateDeps) {}

  async run(): Promise<void> {
    const { certificates, clock, telemetry, logger } = this.deps;
    if (certificates === null) return;
    const renewal = await certificates.renew();
    const inUse = certificates.list();
    if (renewal.outcome === "renewed") logger.info("renewed certificates are in use", { certificates: inUse });
    const problem = renewal.outcome === "refused" ? renewal.problem : null;
    if (problem !== null && problem !== this.#refused)
      logger.warn(`the certificates on the disk are not used, and those before stay: ${problem}`);
    this.#refused = problem;
    const nowMs = clock.now();
    telemetry.certificates(
      inUse.map(({ setting, expiresAt }) => ({
        setting,
        secondsLeft: Math.round((Date.parse(expiresAt) - nowMs) / 1000),
      })),
    );
    const expiring = describeExpiries(inUse, nowMs);
    for (const one of expiring) if (!this.#reported.includes(one)) logger.warn(one);
    this.#reported = expiring;
  }
}
