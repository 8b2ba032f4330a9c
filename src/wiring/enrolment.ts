/** Wiring of a node that enrolls, and renews its certificate. */
import { resolve } from "node:path";
import type { NodeFiles } from "../adapters/authority/node-files.js";
import { systemClock } from "../adapters/system/clock.js";
import type { EnrolmentAnswer } from "../interfaces/enrolment.js";
import { OperationError } from "../model/operation-error.js";
import { ENROLMENT_NAME } from "../operations/bootstrap/names.js";
import { decodeToken, type EnrolmentToken } from "../operations/bootstrap/token.js";
import { parseHostPort } from "../settings/types.js";
import { sayIfSlow, type Say } from "./slow.js";

export interface Enrolled {
  readonly node: string;
  readonly files: { readonly ca: string; readonly cert: string; readonly key: string };
  /** Null if the node had a good certificate, and the token was not used. */
  readonly store: string | null;
  readonly warning: string | null;
}

/** Reads a token from a file. @throws OperationError `invalid-settings` if other users can read it */
export async function readTokenFile(file: string): Promise<string> {
  const { readPrivate } = await import("../adapters/system/private-file.js");
  const found = readPrivate(resolve(file), process.geteuid?.() ?? 0);
  if (found === null) throw new OperationError("not-found", `there is no file ${file}`);
  if (found.text !== null) return found.text;
  throw new OperationError(
    "invalid-settings",
    `the token is not read: ${found.problem}; if it was a good one, ask for another, and chmod 600 its file`,
  );
}

/** Gets this node its certificate, with a token. */
export async function enrollNode(word: string, dir: string, waiting: Say): Promise<Enrolled> {
  const token = decodeToken(word);
  const { NodeFiles } = await import("../adapters/authority/node-files.js");
  const files = new NodeFiles(resolve(dir), token.node);
  return files.exclusively({ clock: systemClock, waiting }, () => enrollWith(files, token, waiting));
}

async function enrollWith(files: NodeFiles, token: EnrolmentToken, waiting: Say): Promise<Enrolled> {
  const { requestCertificate } = await import("../adapters/authority/client.js");
  const done = { node: token.node, files: files.paths };
  if (files.isGood(systemClock.now())) return { ...done, store: null, warning: null };
  const address = parseHostPort(token.address);
  if (address === null) throw new OperationError("usage", "the token names no address");
  const { node, id, secret } = token;
  const request = await files.request();
  const answer = await sayIfSlow(waiting, `the authority at ${token.address}`, () =>
    requestCertificate(address, token.fingerprint, { id, secret, node, request }),
  );
  files.store(answer.certificate, answer.authority, systemClock.now());
  files.rememberAddress(token.address);
  return { ...done, store: answer.store, warning: answer.warning };
}

export interface Renewed {
  readonly node: string;
  readonly files: Enrolled["files"];
  /** `kept`: it is good for more than 30 days; `unchanged`: it is not, and the authority gave the same one. */
  readonly outcome: "renewed" | "kept" | "unchanged";
  /** RFC 3339. */
  readonly expiresAt: string;
}

export interface RenewalOptions {
  /** `host:port` of the authority; undefined: where the node enrolled. */
  readonly address: string | undefined;
  readonly newKey: boolean;
  readonly waiting: Say;
}

/** Gets this node its next certificate, with the one that it has. */
export async function renewNodeFiles(dir: string, options: RenewalOptions): Promise<Renewed> {
  const { NodeFiles, nodeNameIn } = await import("../adapters/authority/node-files.js");
  const node = nodeNameIn(resolve(dir));
  if (node === null)
    throw new OperationError("not-found", `there is no certificate in ${dir}; a new node uses ztap cluster enroll`);
  const files = new NodeFiles(resolve(dir), node);
  return files.exclusively({ clock: systemClock, waiting: options.waiting }, () => renewWith(files, node, options));
}

async function renewWith(files: NodeFiles, node: string, options: RenewalOptions): Promise<Renewed> {
  files.settle();
  const [before, isGood] = [files.certificate, files.isGood(systemClock.now())];
  const done = (outcome: Renewed["outcome"]): Renewed => {
    return { node, files: files.paths, outcome, expiresAt: files.expiresAt() ?? "" };
  };
  if (!options.newKey && !files.hasNextKey && isGood) return done("kept");
  const where = options.address ?? files.address;
  if (where === null)
    throw new OperationError("usage", "where the authority is, is not known here: give --address HOST:PORT");
  const answer = await askForNext(files, node, where, options);
  files.storeNext(answer.certificate, answer.authority, systemClock.now());
  files.rememberAddress(where);
  if (files.certificate !== before) return done("renewed");
  return done(isGood ? "kept" : "unchanged");
}

/** Asks for the key that is to be used. A key for which nothing was issued is dropped, so that no later run asks for it. */
async function askForNext(
  files: NodeFiles,
  node: string,
  where: string,
  { newKey, waiting }: RenewalOptions,
): Promise<EnrolmentAnswer> {
  const { NotIssued, requestRenewal } = await import("../adapters/authority/client.js");
  const address = parseHostPort(where);
  if (address === null)
    throw new OperationError("usage", `${where} is no address of an authority: give --address HOST:PORT`);
  const identity = { ...files.present(systemClock.now()), serverName: ENROLMENT_NAME };
  const ask = async (key: "present" | "next"): Promise<EnrolmentAnswer> => {
    const request = await files.request(key);
    return sayIfSlow(waiting, `the authority at ${where}`, () => requestRenewal(address, identity, { node, request }));
  };
  // The authority may have issued for a key that was made before, and then renews no other.
  const wasMadeBefore = files.hasNextKey;
  if (!newKey && !wasMadeBefore) return ask("present");
  try {
    return await ask("next");
  } catch (error) {
    if (!(error instanceof NotIssued)) throw error;
    if (!wasMadeBefore) files.dropNextKey();
    if (newKey || error.reason !== "refused") throw error;
  }
  // It answers for the newest key alone: with an answer for the present one it has not issued for the other.
  const answer = await ask("present");
  files.dropNextKey();
  return answer;
}
