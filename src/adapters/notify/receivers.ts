/**
 * Receivers as targets of deliveries. Secrets are read at each attempt, so that a token that was replaced counts at once, and
 * only from files that nobody else can read.
 */
import { readFile } from "node:fs/promises";
import type { DeliveryOutcome, DeliveryTarget } from "../../interfaces/delivery.js";
import type { Clock } from "../../interfaces/system.js";
import { digestOfText } from "../../model/digest.js";
import type { CommitEvent } from "../../model/outbox.js";
import type { Receiver } from "../../model/receiver.js";
import { messageInWords } from "../../model/system-error.js";
import { problemOfUrl } from "../../settings/receivers.js";
import { writableByOthers } from "../system/ownership.js";
import { readSecret } from "../system/private-file.js";
import { toRequest } from "./requests.js";
import { send } from "./send.js";

/** @param user the effective user of this process */
export function toTarget(receiver: Receiver, user: number, clock: Clock): DeliveryTarget {
  const { name, events, type } = receiver;
  return {
    name,
    events,
    target: digestOfText(identityOf(receiver)),
    showsLast: type !== "slack" && type !== "webhook",
    send: async (event, signal) => {
      try {
        return await deliver(receiver, event, { user, now: clock.now(), signal });
      } catch (error) {
        return { outcome: "failed", problem: messageInWords(error), retryAfterMs: null };
      }
    },
  };
}

/** One text for one place to tell. */
function identityOf(receiver: Receiver): string {
  const { type, location } = receiver;
  const own = "repository" in receiver ? [receiver.repository, receiver.context] : [];
  return JSON.stringify([type, location, ...own]);
}

async function deliver(
  receiver: Receiver,
  event: CommitEvent,
  { user, now, signal }: { readonly user: number; readonly now: number; readonly signal: AbortSignal },
): Promise<DeliveryOutcome> {
  const { location, type, caFile, isInsecureAllowed } = receiver;
  const url = "url" in location ? location.url : readSecret(location.urlFile, user);
  // That of a file is known only now.
  const wrong = problemOfUrl(url, isInsecureAllowed);
  if (wrong !== null) throw new Error(`the URL is not used: it must be ${wrong}`);
  const secret =
    type === "slack" ? "" : readSecret(type === "webhook" ? receiver.secretFile : receiver.tokenFile, user);
  const options = {
    authorities: caFile === null ? null : await readAuthorities(caFile, user),
    secrets: "url" in location ? [secret] : [secret, url, new URL(url).pathname],
    isKnown: type === "gitlab" ? isSameInGitLab : () => false,
    now,
  };
  return send(toRequest(receiver, event, url, secret), options, signal);
}

/** GitLab refuses a status that has the state that it has already: other words for a state are not shown there. */
function isSameInGitLab(status: number, answer: string): boolean {
  return status === 400 && answer.includes("Cannot transition status");
}

async function readAuthorities(path: string, user: number): Promise<string> {
  const why = writableByOthers(path, user);
  if (why !== null) throw new Error(`${path} is not used: ${why}`);
  return readFile(path, "utf8");
}
