/**
 * EnrolmentTokens in files below the authority's folder. A file holds the digest of the secret. A used token has a second
 * file, which holds the digest of the key that it was used for: it is made once, also with several processes, and is on the
 * disk before anything is issued. A token that a newer one has replaced has a third file.
 */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { EnrolmentTokens, IssuedToken, TokenUse } from "../../interfaces/enrolment.js";
import type { Clock } from "../../interfaces/system.js";
import { isDigest, isLabel, isString, isTime, nullable, shaped, type Guard } from "../../model/guards.js";
import { makeFile, readIfThere, replaceFile } from "../system/atomic-file.js";
import { makeFolder } from "../system/folder.js";

interface TokenRecord {
  readonly node: string;
  readonly expiresAt: string;
  /** SHA-256 of the secret. */
  readonly secret: string;
}

const isTokenRecord = shaped<TokenRecord>({ node: isLabel, expiresAt: isTime, secret: isDigest });

const isTokenUse = shaped<TokenUse>({ publicKey: nullable(isDigest), certificate: nullable(isString) });
/** A token file that cannot be read counts as used. */
const UNKNOWN_USE: TokenUse = { publicKey: null, certificate: null };

const SECRET_BYTES = 32;
const ID_BYTES = 12;
const ID = /^[A-Za-z0-9_-]{16}$/;
/** Used and expired tokens are kept so long, so that a node learns why its token is refused. */
const KEPT_MS = 7 * 24 * 3_600_000;

export class TokenFiles implements EnrolmentTokens {
  readonly #folder: string;

  /** @param root the authority's folder */
  constructor(
    root: string,
    private readonly clock: Pick<Clock, "now">,
  ) {
    this.#folder = join(root, "tokens");
  }

  create(node: string, expiresAt: string): { readonly id: string; readonly secret: string } {
    makeFolder(this.#folder, 0o700);
    this.#removeOld();
    const [id, secret] = [ID_BYTES, SECRET_BYTES].map((bytes) => randomBytes(bytes).toString("base64url"));
    if (id === undefined || secret === undefined) throw new Error("no random bytes");
    const record: TokenRecord = { node, expiresAt, secret: digestOf(secret).toString("hex") };
    // First, so that a crash leaves none rather than two.
    for (const earlier of this.#idsOf(node)) makeFile(this.#path(earlier, "void"), "");
    makeFile(this.#path(id, "json"), JSON.stringify(record));
    return { id, secret };
  }

  find(id: string, secret: string): IssuedToken | null {
    const record = ID.test(id) ? this.#read(this.#path(id, "json"), isTokenRecord) : null;
    const wanted = Buffer.from(record?.secret ?? "0".repeat(64), "hex");
    const isEqual = timingSafeEqual(wanted, digestOf(secret));
    if (record === null || !isEqual) return null;
    return { id, node: record.node, expiresAt: record.expiresAt, isVoid: this.#isVoid(id), use: this.#useOf(id) };
  }

  use(id: string, publicKey: string): boolean {
    if (!ID.test(id)) return false;
    const use: TokenUse = { publicKey, certificate: null };
    return makeFile(this.#path(id, "used"), JSON.stringify(use)) || this.#useOf(id)?.publicKey === publicKey;
  }

  keep(id: string, certificate: string): void {
    const use: TokenUse = { publicKey: this.#useOf(id)?.publicKey ?? null, certificate };
    replaceFile(this.#path(id, "used"), JSON.stringify(use));
  }

  #useOf(id: string): TokenUse | null {
    const path = this.#path(id, "used");
    return this.#read(path, isTokenUse) ?? (readIfThere(path) === null ? null : UNKNOWN_USE);
  }

  #read<T>(path: string, isOne: Guard<T>): T | null {
    const text = readIfThere(path);
    if (text === null) return null;
    try {
      const record: unknown = JSON.parse(text);
      return isOne(record) ? record : null;
    } catch {
      return null;
    }
  }

  #isVoid(id: string): boolean {
    return readIfThere(this.#path(id, "void")) !== null;
  }

  /** The tokens for a node. */
  #idsOf(node: string): readonly string[] {
    return this.#ids().filter((id) => this.#read(this.#path(id, "json"), isTokenRecord)?.node === node);
  }

  #ids(): readonly string[] {
    return readdirSync(this.#folder).flatMap((name) => {
      const [id = "", ending] = name.split(".");
      return ID.test(id) && ending === "json" ? [id] : [];
    });
  }

  #removeOld(): void {
    for (const id of this.#ids()) {
      const record = this.#read(this.#path(id, "json"), isTokenRecord);
      if (record === null || Date.parse(record.expiresAt) + KEPT_MS >= this.clock.now()) continue;
      // In this order: a token without its marks would be good again.
      for (const each of ["json", "used", "void"] as const) rmSync(this.#path(id, each), { force: true });
    }
  }

  #path(id: string, ending: "json" | "used" | "void"): string {
    return join(this.#folder, `${id}.${ending}`);
  }
}

function digestOf(secret: string): Buffer {
  return createHash("sha256").update(secret).digest();
}
