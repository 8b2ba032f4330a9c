/**
 * AuthorityFolder on disk. A key is made once and never replaced; a certificate that is missing, about to expire, or not
 * what it has to be any more is issued again for the same key. Each file is written as a whole, and the key before its
 * certificate: a run that was interrupted is completed by the next one.
 */
import type { X509Certificate } from "node:crypto";
import { existsSync, rmdirSync, rmSync } from "node:fs";
import { isIP } from "node:net";
import { dirname, join } from "node:path";
import type { AuthorityFolder, EnsuredFile, WantedCertificate } from "../../interfaces/authority.js";
import type { Clock } from "../../interfaces/system.js";
import { RENEW_BEFORE_MS } from "../../model/certificate.js";
import { OperationError } from "../../model/operation-error.js";
import { makeFile, readIfThere, replaceFile } from "../system/atomic-file.js";
import { commonNameOf, isIssuedBy, readCertificates, readPrivateKey } from "../system/certificate-pair.js";
import { makeFolder } from "../system/folder.js";
import { listIssued, lockOpenToOthers, removeLeftovers, whyUnusable } from "./examine.js";
import { withLock } from "./lock.js";
import { CLOCK_SKEW_MS, generateKey, issueAuthority, issueCertificate, publicKeyPem, type Issuer } from "./x509.js";

/** An authority lives longer than what it issues. */
const AUTHORITY_VALID_MS = 10 * 365 * 24 * 3_600_000;

const LOCK = "lock.db";
/** Of etcd's users and roles. */
const ETCD_LOCK = "etcd-lock.db";
const MINUTE_MS = 60_000;

export interface AuthorityFolderOptions {
  /** Makes the folder with the first change, if there is none. */
  readonly create?: boolean;
  /** Is told what takes long, once. */
  readonly waiting?: (what: string) => void;
}

/**
 * Opens the folder.
 * @throws OperationError `not-found` if there is none and it is not to be made, `invalid-settings` if another user can
 * write to a part of it or read a key of it, or could have
 */
export function openAuthorityFolder(
  path: string,
  clock: Pick<Clock, "now" | "monotonic" | "sleep">,
  { create = false, waiting = () => undefined }: AuthorityFolderOptions = {},
): AuthorityFolder {
  if (existsSync(path)) {
    refuseUnusable(path);
    if (create) removeLeftovers(path, clock.now());
  } else if (!create)
    throw new OperationError("not-found", `there is no folder ${path}; ztap cluster bootstrap makes it`);
  return new DiskFolder(path, clock, waiting);
}

/** @throws OperationError `invalid-settings` */
function refuseUnusable(path: string): void {
  const why = whyUnusable(path, process.geteuid?.() ?? 0);
  if (why !== null)
    // Another user may have put a key there, or have read one: another mode does not undo that.
    throw new OperationError(
      "invalid-settings",
      `the authority's folder ${path} is not used: ${why}; use a new folder, where root or the user who runs ztap alone can write, since others may know or have chosen what is in this one`,
    );
  const lock = lockOpenToOthers(path);
  if (lock !== null)
    throw new OperationError("invalid-settings", `others may open ${lock}, and keep it locked; chmod 600 ${lock}`);
}

/** Makes the folder. One that cannot be used is removed again, with the folders above it that were made for it. */
function makeUsableFolder(path: string): void {
  const made: string[] = [];
  for (let each = path; !existsSync(each); each = dirname(each)) made.push(each);
  makeFolder(path, 0o700);
  try {
    refuseUnusable(path);
  } catch (error) {
    for (const each of made) rmdirSync(each);
    throw error;
  }
}

class DiskFolder implements AuthorityFolder {
  constructor(
    readonly path: string,
    private readonly clock: Pick<Clock, "now" | "monotonic" | "sleep">,
    private readonly waiting: (what: string) => void,
  ) {}

  exclusively<T>(change: () => Promise<T>): Promise<T> {
    return this.#locked(LOCK, this.path, change);
  }

  applying<T>(change: () => Promise<T>): Promise<T> {
    return this.#locked(ETCD_LOCK, "etcd's users and roles", change);
  }

  async #locked<T>(lock: string, what: string, change: () => Promise<T>): Promise<T> {
    if (!existsSync(this.path)) makeUsableFolder(this.path);
    return withLock(join(this.path, lock), { what, clock: this.clock, waiting: this.waiting }, change);
  }

  read(path: string): string | null {
    return readIfThere(join(this.path, path));
  }

  publicKey(path: string): string | null {
    return publicKeyIn(this.read(path));
  }

  validForMs(path: string): number | null {
    const [found] = readCertificates(this.read(path) ?? "") ?? [];
    if (found === undefined) return null;
    const wholeMs = found.validToDate.getTime() - found.validFromDate.getTime() - CLOCK_SKEW_MS;
    // Certificates have whole seconds.
    return Math.max(Math.round(wholeMs / MINUTE_MS), 1) * MINUTE_MS;
  }

  remove(path: string): void {
    rmSync(join(this.path, path), { force: true });
  }

  issued(): readonly string[] {
    return existsSync(this.path) ? listIssued(this.path) : [];
  }

  write(path: string, text: string): EnsuredFile {
    const found = this.read(path);
    if (found === text) return { path, outcome: "kept", reason: null };
    replaceFile(join(this.path, path), text);
    return found === null
      ? { path, outcome: "made", reason: null }
      : { path, outcome: "renewed", reason: "its content changed" };
  }

  async ensure(wanted: WantedCertificate, validForMs: number): Promise<EnsuredFile> {
    const path = `${wanted.path}.crt`;
    const found = this.read(path);
    if (wanted.issuer === null && found !== null && this.read(`${wanted.path}.key`) === null)
      // Another key would be another authority, which nothing that runs trusts.
      throw new OperationError(
        "bad-key",
        `${join(this.path, wanted.path)}.key is missing, and its certificate is there: restore it from the backup; for a new authority, use a new folder`,
      );
    const publicKey = wanted.isKeyElsewhere ? publicKeyIn(found) : publicKeyPem(await this.#key(wanted.path));
    if (publicKey === null) return { path, outcome: "absent", reason: null };
    const reason = found === null ? null : this.#whyRenew(found, wanted, publicKey);
    if (found !== null && reason === null) return { path, outcome: "kept", reason: null };
    await this.issue(wanted, publicKey, validForMs);
    return { path, outcome: found === null ? "made" : "renewed", reason };
  }

  async issue(wanted: WantedCertificate, publicKey: string, validForMs: number): Promise<string> {
    const { path, profile, issuer } = wanted;
    const nowMs = this.clock.now();
    const certificate =
      issuer === null
        ? await issueAuthority(await this.#key(path), profile.commonName, { nowMs, validForMs: AUTHORITY_VALID_MS })
        : await issueCertificate(publicKey, profile, this.#issuer(issuer), { nowMs, validForMs });
    replaceFile(join(this.path, `${path}.crt`), certificate);
    return certificate;
  }

  /** @throws OperationError `bad-key` */
  async #key(path: string): Promise<string> {
    const file = `${path}.key`;
    if (this.read(file) === null) makeFile(join(this.path, file), await generateKey());
    // Another process may have made it at the same time.
    const key = this.read(file) ?? "";
    if (readPrivateKey(key)?.asymmetricKeyType === "ec") return key;
    throw new OperationError(
      "bad-key",
      `${join(this.path, file)} is no private key on an elliptic curve; restore it, or remove it to get another one`,
    );
  }

  #issuer(path: string): Issuer {
    const [certificate, privateKey] = [this.read(`${path}.crt`), this.read(`${path}.key`)];
    if (certificate !== null && privateKey !== null) return { certificate, privateKey };
    const missing = certificate === null ? "crt" : "key";
    throw new OperationError(
      "not-found",
      `${join(this.path, `${path}.${missing}`)} is missing: this folder can issue nothing`,
    );
  }

  /** Returns why a certificate has to be issued again, in one phrase; null if it is good. */
  #whyRenew(text: string, { profile, issuer }: WantedCertificate, publicKey: string): string | null {
    const [found] = readCertificates(text) ?? [];
    if (found === undefined) return "it could not be read";
    if (found.publicKey.export({ type: "spki", format: "pem" }) !== publicKey) return "it was for another key";
    if (commonNameOf(found) !== profile.commonName) return "its name changed";
    const [authority] = issuer === null ? [found] : (readCertificates(this.read(`${issuer}.crt`) ?? "") ?? []);
    if (authority === undefined || !isIssuedBy(found, authority)) return "it was issued by another authority";
    if (hostsOf(found) !== canonicalHosts(profile.hosts)) return "its addresses changed";
    const leftMs = found.validToDate.getTime() - this.clock.now();
    if (leftMs > RENEW_BEFORE_MS) return null;
    return leftMs <= 0 ? "it had expired" : "it was about to expire";
  }
}

/** The public key of a certificate, if there is one. */
function publicKeyIn(text: string | null): string | null {
  const [found] = text === null ? [] : (readCertificates(text) ?? []);
  return found?.publicKey.export({ type: "spki", format: "pem" }).toString() ?? null;
}

function hostsOf({ subjectAltName = "" }: X509Certificate): string {
  const parts = subjectAltName === "" ? [] : subjectAltName.split(", ");
  return canonicalHosts(parts.map((part) => part.replace(/^(DNS|IP Address):/, "")));
}

/** Node.js prints IPv6 addresses in full: both are compared in one form. */
function canonicalHosts(hosts: readonly string[]): string {
  return hosts
    .map((host) => (isIP(host) === 6 ? new URL(`http://[${host}]/`).hostname : host.toLowerCase()))
    .sort()
    .join(",");
}
