/**
 * The receivers of notifications: JSON text → receivers with what each type needs, or a description of valid ones. The
 * schema has checked a list of a file already; a list of the environment is checked here alone. Pure.
 */
import {
  RECEIVER_TYPES,
  type CommitStatusReceiver,
  type Receiver,
  type ReceiverType,
  type SlackReceiver,
  type WebhookReceiver,
} from "../model/receiver.js";
import { COMMIT_STATES, MOST_RECEIVERS, type CommitState } from "../model/outbox.js";
import { isBoolean, isLabel, isString, listOf, oneOf, optional, shaped } from "../model/guards.js";

interface Written {
  readonly type: ReceiverType;
  readonly name?: string;
  readonly url?: string;
  readonly urlFile?: string;
  readonly repository?: string;
  readonly tokenFile?: string;
  readonly secretFile?: string;
  readonly caFile?: string;
  readonly context?: string;
  readonly events?: readonly CommitState[];
  readonly allowInsecure?: boolean;
}

const isWritten = shaped<Written>({
  type: oneOf(...RECEIVER_TYPES),
  name: optional(isLabel),
  url: optional(isString),
  urlFile: optional(isString),
  repository: optional(isString),
  tokenFile: optional(isString),
  secretFile: optional(isString),
  caFile: optional(isString),
  context: optional(isString),
  events: optional(listOf(oneOf(...COMMIT_STATES), COMMIT_STATES.length)),
  allowInsecure: optional(isBoolean),
});
const isList = listOf(isWritten, MOST_RECEIVERS);

/** Why a list is not valid: what is wanted. */
export class WrongReceiver {
  constructor(readonly wanted: string) {}
}

const DEFAULT_URLS: Partial<Record<ReceiverType, string>> = {
  github: "https://api.github.com",
  gitlab: "https://gitlab.com",
};

export function parseReceivers(text: string): readonly Receiver[] | WrongReceiver {
  const list = parse(text);
  if (!isList(list))
    return new WrongReceiver(
      `a list of at most ${MOST_RECEIVERS} receivers, each with a type (${RECEIVER_TYPES.join(", ")}) and its fields`,
    );
  const receivers: Receiver[] = [];
  for (const written of list) {
    const receiver = toReceiver(written);
    if (receiver instanceof WrongReceiver) return receiver;
    if (receivers.some(({ name }) => name === receiver.name))
      return new WrongReceiver(`another name for each receiver, and two are named ${receiver.name}`);
    receivers.push(receiver);
  }
  return receivers;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function toReceiver(written: Written): Receiver | WrongReceiver {
  const { type, name = type, events = COMMIT_STATES, caFile = null } = written;
  const wrong = (wanted: string): WrongReceiver => new WrongReceiver(`receiver ${name}: ${wanted}`);
  const problem = problemOf(written);
  if (problem !== null) return wrong(problem);
  const common = { name, events, caFile, isInsecureAllowed: written.allowInsecure === true };
  const { url = DEFAULT_URLS[type], urlFile, repository = "", tokenFile = "", secretFile = "" } = written;
  const location = urlFile === undefined ? { url: withoutSlash(url ?? "") } : { urlFile };
  switch (type) {
    case "github":
    case "gitlab":
    case "gitea": {
      const { context = null } = written;
      const receiver: CommitStatusReceiver = { type, ...common, location, repository, tokenFile, context };
      return receiver;
    }
    case "webhook": {
      const receiver: WebhookReceiver = { type, ...common, location, secretFile };
      return receiver;
    }
    case "slack": {
      const receiver: SlackReceiver = { type, ...common, location };
      return receiver;
    }
  }
}

/** The fields that each type has beside the common ones: needed, and possible. */
const FIELDS = {
  github: { needed: ["repository", "tokenFile"], possible: ["url", "context"] },
  gitlab: { needed: ["repository", "tokenFile"], possible: ["url", "context"] },
  gitea: { needed: ["url", "repository", "tokenFile"], possible: ["context"] },
  webhook: { needed: ["secretFile"], possible: ["url", "urlFile"] },
  slack: { needed: ["urlFile"], possible: [] },
} as const;
const OWN = ["url", "urlFile", "repository", "tokenFile", "secretFile", "context"] as const;

function problemOf(written: Written): string | null {
  const { type, url, repository = "", allowInsecure = false } = written;
  const { needed, possible } = FIELDS[type];
  const known: readonly string[] = [...needed, ...possible];
  const missing = needed.find((field) => written[field] === undefined);
  if (missing !== undefined) return `${missing}, which ${type} needs`;
  const extra = OWN.find((field) => written[field] !== undefined && !known.includes(field));
  if (extra === "url") return "urlFile in place of url: who knows this URL may write";
  if (extra !== undefined) return `no ${extra}, which ${type} does not have`;
  if (type === "webhook" && (url === undefined) === (written.urlFile === undefined)) return "either url or urlFile";
  const relative = (["urlFile", "tokenFile", "secretFile", "caFile"] as const).find(
    (field) => written[field] !== undefined && !written[field].startsWith("/"),
  );
  if (written.context !== undefined && !CONTEXT.test(written.context))
    return "up to 100 characters of ASCII as context";
  if (relative !== undefined) return `an absolute path as ${relative}`;
  const wrongUrl = url === undefined ? null : problemOfUrl(url, allowInsecure);
  if (wrongUrl !== null) return wrongUrl;
  return known.includes("repository") ? problemOfRepository(type, repository) : null;
}

/** Returns what is wrong with a URL, in words that do not repeat it. */
export function problemOfUrl(text: string, isInsecureAllowed: boolean): string | null {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || !["https:", "http:"].includes(url.protocol)) return "a URL that begins with https://";
  if (url.username !== "" || url.password !== "") return "no user and no password in the URL";
  if (url.hash !== "") return "no # in the URL";
  if (url.protocol === "https:" || isInsecureAllowed || isLoopback(url.hostname)) return null;
  return "https: http goes to this host alone, or with allowInsecure";
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "[::1]" || /^127\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}$/.test(host);
}

const CONTEXT = /^[!-~]([ -~]{0,98}[!-~])?$/;
const SEGMENT = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}$/;

function problemOfRepository(type: ReceiverType, repository: string): string | null {
  const segments = repository.split("/", 21);
  if (type === "gitlab" && /^[0-9]{1,18}$/.test(repository)) return null;
  const isWell = segments.every((segment) => SEGMENT.test(segment));
  if (type === "gitlab")
    return isWell && segments.length > 1 && segments.length <= 20
      ? null
      : "group/project as repository, or the project's number";
  return isWell && segments.length === 2 ? null : "owner/name as repository";
}

function withoutSlash(url: string): string {
  return url.endsWith("/") ? url.slice(0, -1) : url;
}
