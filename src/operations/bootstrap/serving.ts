/** The certificate with which enrolment is served: nodes that renew check how long it is valid, and a server may run for years. */
import type { AuthorityFolder } from "../../interfaces/authority.js";
import type { Clock, Logger } from "../../interfaces/system.js";
import { wantedOfEnrolment } from "./certificates.js";
import { readCluster, VALID_FOR_MS } from "./enroll.js";
import { forgetUnlisted } from "./forget.js";

const CHECK_MS = 3_600_000;

export interface ServingDeps {
  readonly folder: AuthorityFolder;
  readonly clock: Pick<Clock, "sleep">;
  readonly logger: Logger;
  /** Serves with the certificate that the folder has now. */
  readonly use: () => void;
}

/** Renews the certificate if it is missing or near its end, and forgets nodes that are not listed any more. */
export function prepareServing(folder: AuthorityFolder): Promise<void> {
  return folder.exclusively(async () => {
    await folder.ensure(wantedOfEnrolment(), VALID_FOR_MS);
    forgetUnlisted(folder, readCluster(folder));
  });
}

/** Does that once an hour, until the signal aborts. Never rejects: the former certificate stays in use. */
export async function keepServing({ folder, clock, logger, use }: ServingDeps, signal: AbortSignal): Promise<void> {
  const wait = (): Promise<void> => clock.sleep(CHECK_MS, signal);
  for (await wait(); !signal.aborted; await wait())
    try {
      await prepareServing(folder);
      use();
    } catch (error) {
      logger.warn("the folder of the authority could not be looked after", { error });
    }
}
