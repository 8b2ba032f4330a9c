/** A token of an enrolment, as one word: where to go, whom to trust there, for which node, and the secret. Pure. */
import { isLabel, isString, shaped, type Guard } from "../../model/guards.js";
import { OperationError } from "../../model/operation-error.js";
import { isHostAndPort } from "../../settings/types.js";

export interface EnrolmentToken {
  /** `host:port` of the authority. */
  readonly address: string;
  readonly node: string;
  /** SHA-256 of the public key (SPKI) that the authority must have, as base64url. */
  readonly fingerprint: string;
  readonly id: string;
  readonly secret: string;
}

const PREFIX = "ztap-enroll-1.";
const MAX_LENGTH = 2_000;

const isWord: Guard<string> = (value): value is string => isString(value) && /^[A-Za-z0-9_-]{16,64}$/.test(value);

const isToken = shaped<EnrolmentToken>({
  address: (value): value is string => isString(value) && isHostAndPort(value),
  node: isLabel,
  fingerprint: isWord,
  id: isWord,
  secret: isWord,
});

export function encodeToken({ address, node, fingerprint, id, secret }: EnrolmentToken): string {
  return PREFIX + Buffer.from(JSON.stringify({ address, node, fingerprint, id, secret })).toString("base64url");
}

/** @throws OperationError `usage`; the token is not quoted, since it is a secret */
export function decodeToken(text: string): EnrolmentToken {
  const word = text.trim();
  const value = word.startsWith(PREFIX) && word.length <= MAX_LENGTH ? parse(word.slice(PREFIX.length)) : null;
  if (isToken(value)) return value;
  throw new OperationError(
    "usage",
    `this is no whole token: wanted one word that begins with ${PREFIX}, as ztap cluster token prints it`,
  );
}

function parse(text: string): unknown {
  try {
    return JSON.parse(Buffer.from(text, "base64url").toString());
  } catch {
    return null;
  }
}
