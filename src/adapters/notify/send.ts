/**
 * Sends a request to a receiver: certificates are verified whatever the environment says, a redirection is not followed,
 * and the time and the size of the answer are bounded.
 */
import { request as requestPlain, type IncomingMessage } from "node:http";
import { request as requestTls } from "node:https";
import type { DeliveryOutcome } from "../../interfaces/delivery.js";
import { printableLine } from "../../model/printable.js";
import { messageInWords } from "../../model/system-error.js";
import type { DeliveryRequest } from "./requests.js";

const TIMEOUT_MS = 10_000;
/** What is read of an answer, for its words and so that the connection ends well. */
const MOST_ANSWER_BYTES = 65_536;
const MOST_WORDS = 200;

/** Statuses after which the same request may succeed: later, or with another token. */
const PASSING = [401, 403, 408, 409, 421, 423, 425, 429];

export interface SendOptions {
  /** PEM; null: the system's. */
  readonly authorities: string | null;
  /** Texts that are never in the words of the outcome. */
  readonly secrets: readonly string[];
  /** Whether an answer says that the receiver knows the event already. */
  readonly isKnown: (status: number, answer: string) => boolean;
  readonly now: number;
}

export async function send(
  { url, headers, body }: DeliveryRequest,
  options: SendOptions,
  signal: AbortSignal,
): Promise<DeliveryOutcome> {
  const { authorities, secrets, isKnown, now } = options;
  const hide = (text: string): string =>
    secrets.reduce((all, secret) => (secret === "" ? all : all.replaceAll(secret, "…")), text);
  const bounded = AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]);
  try {
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      const target = new URL(url);
      const common = {
        method: "POST",
        headers: {
          "user-agent": "ztap",
          "content-length": String(Buffer.byteLength(body)),
          connection: "close",
          ...headers,
        },
        signal: bounded,
        agent: false as const,
      };
      const call =
        target.protocol === "https:"
          ? requestTls(target, {
              ...common,
              rejectUnauthorized: true,
              ...(authorities === null ? {} : { ca: authorities }),
            })
          : requestPlain(target, common);
      call.on("response", resolve).on("error", reject).end(body);
    });
    const text = await readStart(answer);
    return outcomeOf(answer, hide(text), { isKnown, now });
  } catch (error) {
    const why = !bounded.aborted
      ? messageInWords(error)
      : signal.aborted
        ? "the attempt was cut short"
        : `no answer within ${TIMEOUT_MS / 1000} s`;
    return { outcome: "failed", problem: hide(printableLine(why)), retryAfterMs: null };
  }
}

function outcomeOf(
  answer: IncomingMessage,
  text: string,
  { isKnown, now }: Pick<SendOptions, "isKnown" | "now">,
): DeliveryOutcome {
  const status = answer.statusCode ?? 0;
  if ((status >= 200 && status < 300) || isKnown(status, text)) return { outcome: "delivered" };
  const words = printableLine(text).trim().slice(0, MOST_WORDS).toWellFormed();
  const problem = `status ${status}${words === "" ? "" : `: ${words}`}`;
  if (status >= 300 && status < 400)
    return { outcome: "refused", problem: `status ${status}: redirections are not followed` };
  if (status < 500 && !PASSING.includes(status)) return { outcome: "refused", problem };
  return { outcome: "failed", problem, retryAfterMs: retryAfterOf(answer.headers["retry-after"], now) };
}

/** Reads the header of RFC 9110, which holds seconds or a date. */
function retryAfterOf(header: string | undefined, now: number): number | null {
  if (header === undefined) return null;
  const ms = /^[0-9]{1,9}$/.test(header) ? Number(header) * 1000 : Date.parse(header) - now;
  return Number.isFinite(ms) && ms > 0 ? ms : null;
}

/** Returns the beginning of the answer; the rest is left. */
async function readStart(answer: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes >= MOST_ANSWER_BYTES) break;
  }
  return Buffer.concat(chunks).subarray(0, MOST_ANSWER_BYTES).toString("utf8");
}
