/** Wiring of what goes to receivers, and of what Git hosts say. */
import { systemClock } from "../adapters/system/clock.js";
import type { DeliveryTarget } from "../interfaces/delivery.js";
import type { Logger } from "../interfaces/system.js";
import type { Telemetry } from "../interfaces/telemetry.js";
import { OperationError } from "../model/operation-error.js";
import { messageInWords } from "../model/system-error.js";
import type { Settings } from "../settings/settings.js";

export async function openTargets({ notify }: Settings): Promise<readonly DeliveryTarget[]> {
  if (notify === null || notify.length === 0) return [];
  const { toTarget } = await import("../adapters/notify/receivers.js");
  return notify.map((receiver) => toTarget(receiver, effectiveUser(), systemClock));
}

/**
 * Opens the poll hook; null if there is none.
 * @param asked is called for each request that knows the secret
 * @throws OperationError `invalid-settings` if its secret cannot be used, `no-address` if it cannot listen there
 */
export async function openPollHook(
  { pollHook: { listen, secretFile } }: Settings,
  { logger, telemetry }: { readonly logger: Logger; readonly telemetry: Pick<Telemetry, "pollRequested"> },
  asked: () => void,
): Promise<{ readonly address: string; close(): Promise<void> } | null> {
  if (listen === null || secretFile === null) return null;
  const { servePollHook, SHORTEST_SECRET } = await import("../adapters/poll-hook/server.js");
  const { readSecret } = await import("../adapters/system/private-file.js");
  const read = (): string => {
    const secret = readSecret(secretFile, effectiveUser());
    if (secret.length < SHORTEST_SECRET)
      throw new Error(`${secretFile} contains less than ${SHORTEST_SECRET} characters, which could be guessed`);
    return secret;
  };
  try {
    read();
  } catch (cause) {
    throw new OperationError("invalid-settings", `pollHook.secretFile: ${messageInWords(cause)}`, { cause });
  }
  const on = {
    accepted: () => {
      telemetry.pollRequested({ outcome: "accepted" });
      logger.debug("a push was announced");
      asked();
    },
    refused: (why: string) => {
      telemetry.pollRequested({ outcome: "refused" });
      logger.debug(`a request at the poll hook was refused: ${why}`);
    },
    limited: () => telemetry.pollRequested({ outcome: "limited" }),
  };
  return servePollHook({ listen, readSecret: read, clock: systemClock, on }).catch((cause: unknown) => {
    const where = `${listen.host}:${listen.port}`;
    throw new OperationError("no-address", `pollHook.listen ${where}: ${messageInWords(cause)}`, { cause });
  });
}

function effectiveUser(): number {
  return process.geteuid?.() ?? 0;
}
