/** The key and the certificates of a node on its own disk. The key is made here, and never leaves. */
import { renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { OperationError } from "../../model/operation-error.js";
import { RENEW_BEFORE_MS } from "../../model/certificate.js";
import { makeFile, readIfThere, replaceFile } from "../system/atomic-file.js";
import { commonNameOf, problemOfPair, readCertificates, readPrivateKey } from "../system/certificate-pair.js";
import { makeFolder } from "../system/folder.js";
import { writableByOthers } from "../system/ownership.js";
import { withLock, type LockOptions } from "./lock.js";
import { createRequest, generateKey } from "./x509.js";

/** Where the authority is, for renewals. */
const ADDRESS = "authority";
const LOCK = "lock.db";
/** The key of the next certificate, until that is here. */
const NEXT_KEY = "node-next.key";

/** Returns the name in the certificate of a folder; null if there is none that can be read. */
export function nodeNameIn(folder: string): string | null {
  const [own] = readCertificates(readIfThere(join(folder, "node.crt")) ?? "") ?? [];
  return own === undefined ? null : commonNameOf(own);
}

export class NodeFiles {
  readonly paths: { readonly ca: string; readonly cert: string; readonly key: string };
  readonly #nextKey: string;

  /** @throws OperationError `invalid-settings` if another user can write to the folder */
  constructor(
    readonly folder: string,
    private readonly node: string,
  ) {
    makeFolder(folder, 0o700);
    const why = writableByOthers(folder, process.geteuid?.() ?? 0);
    if (why !== null)
      throw new OperationError("invalid-settings", `no key is kept in ${folder}: ${why}; choose another with --dir`);
    this.#nextKey = join(folder, NEXT_KEY);
    this.paths = { ca: join(folder, "ca.crt"), cert: join(folder, "node.crt"), key: join(folder, "node.key") };
  }

  /** Runs one change of the files while no other one runs, in any process. */
  exclusively<T>(options: Omit<LockOptions, "what">, change: () => Promise<T>): Promise<T> {
    return withLock(join(this.folder, LOCK), { ...options, what: this.folder }, change);
  }

  /** Returns whether the node has a certificate that will be good for a while. */
  isGood(nowMs: number): boolean {
    const [ca, cert, key] = [readIfThere(this.paths.ca), readIfThere(this.paths.cert), readIfThere(this.paths.key)];
    return (
      ca !== null && cert !== null && key !== null && this.#problem(ca, cert, key, nowMs + RENEW_BEFORE_MS) === null
    );
  }

  /** Completes a change of the key that was interrupted between certificate and key. */
  settle(): void {
    const [key, next] = [readIfThere(this.paths.key), readIfThere(this.#nextKey)];
    const [own] = readCertificates(readIfThere(this.paths.cert) ?? "") ?? [];
    const fits = (text: string | null): boolean => {
      const privateKey = text === null ? null : readPrivateKey(text);
      return own !== undefined && privateKey !== null && own.checkPrivateKey(privateKey);
    };
    if (!fits(key) && fits(next)) renameSync(this.#nextKey, this.paths.key);
  }

  /** Returns the node's files, to show them. @throws OperationError `enrolment` if they are no longer good for that */
  present(nowMs: number): { readonly ca: string; readonly cert: string; readonly key: string } {
    const { paths } = this;
    const [ca, cert, key] = [readIfThere(paths.ca), readIfThere(paths.cert), readIfThere(paths.key)];
    const problem =
      ca === null || cert === null || key === null
        ? "ca.crt, node.crt and node.key are not all there"
        : this.#problem(ca, cert, key, nowMs);
    if (problem === null) return { ca: ca ?? "", cert: cert ?? "", key: key ?? "" };
    throw new OperationError(
      "enrolment",
      `nothing is renewed with the files in ${this.folder}: ${problem}; use a token of ztap cluster token`,
    );
  }

  /** The certificate, in PEM; null if there is none. */
  get certificate(): string | null {
    return readIfThere(this.paths.cert);
  }

  /** When the certificate expires. */
  expiresAt(): string | null {
    const [own] = readCertificates(readIfThere(this.paths.cert) ?? "") ?? [];
    return own?.validToDate.toISOString() ?? null;
  }

  /** Whether another key was made, and its certificate is not here yet: the authority may have issued it. */
  get hasNextKey(): boolean {
    return readIfThere(this.#nextKey) !== null;
  }

  /** Drops that key: nothing was issued for it. */
  dropNextKey(): void {
    rmSync(this.#nextKey, { force: true });
  }

  /** `host:port` of the authority, as it was when the node enrolled; null if it is not known. */
  get address(): string | null {
    return readIfThere(join(this.folder, ADDRESS))?.trim() ?? null;
  }

  rememberAddress(address: string): void {
    replaceFile(join(this.folder, ADDRESS), `${address}\n`);
  }

  /**
   * Returns a request for a certificate; makes the key if there is none.
   * @param which `next`: for another key, which is kept until its certificate is here
   * @throws OperationError `bad-key`
   */
  async request(which: "present" | "next" = "present"): Promise<string> {
    const key = which === "next" ? this.#nextKey : this.paths.key;
    if (readIfThere(key) === null) makeFile(key, await generateKey());
    const privateKey = readIfThere(key) ?? "";
    if (readPrivateKey(privateKey)?.asymmetricKeyDetails?.namedCurve === "prime256v1")
      return createRequest(privateKey, this.node);
    throw new OperationError("bad-key", `${key} is no private key on the curve P-256; remove it to get another one`);
  }

  /** Stores the certificates of a renewal: the authority has the same key as before. @throws OperationError `enrolment` */
  storeNext(certificate: string, authority: string, nowMs: number): void {
    const [known, found] = [readIfThere(this.paths.ca) ?? "", authority].map((text) => readCertificates(text)?.[0]);
    if (known === undefined || found?.publicKey.equals(known.publicKey) !== true)
      throw new OperationError(
        "enrolment",
        `the authority's answer is not used: it names another authority than ${this.paths.ca}; a node that changes to another one needs a token of that`,
      );
    this.store(certificate, authority, nowMs);
  }

  /** Stores the certificates, if they are for a key of this node. @throws OperationError `enrolment` */
  store(certificate: string, authority: string, nowMs: number): void {
    const { ca, cert, key } = this.paths;
    const keys = [key, this.#nextKey].map((path) => readIfThere(path) ?? "");
    const problems = keys.map((one) => this.#problem(authority, certificate, one, nowMs));
    if (!problems.includes(null))
      throw new OperationError("enrolment", `the authority's answer is of no use: ${problems[0]}`);
    replaceFile(ca, authority);
    replaceFile(cert, certificate);
    this.settle();
    // What writes to the folder without the lock, such as a person who copies files.
    this.present(nowMs);
  }

  #problem(authority: string, certificate: string, privateKey: string, nowMs: number): string | null {
    const problem = problemOfPair({ certificate, privateKey }, authority, nowMs);
    if (problem !== null) return problem;
    const [own] = readCertificates(certificate) ?? [];
    return own !== undefined && commonNameOf(own) === this.node ? null : "the certificate is for another name";
  }
}
