/**
 * EnrolmentTokens in files below the authority's folder. A file holds the digest of the secret. The file of a used token
 * has another name: the renaming happens once, also with several processes, and is on the disk before anything is issued.
 */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { EnrolmentTokens, IssuedToken } from "../../interfaces/enrolment.js";
import type { Clock } from "../../interfaces/system.js";
import { isDigest, isLabel, isTime, shaped } from "../../model/guards.js";
import { makeFile, moveOnce, readIfThere } from "../system/atomic-file.js";
import { makeFolder } from "../system/folder.js";

interface TokenRecord {
  readonly node: string;
  readonly expiresAt: string;
  /** SHA-256 of the secret. */
  readonly secret: string;
}

const isTokenRecord = shaped<TokenRecord>({ node: isLabel, expiresAt: isTime, secret: isDigest });

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
    makeFile(this.#path(id, "json"), JSON.stringify(record));
    return { id, secret };
  }

  find(id: string, secret: string): IssuedToken | null {
    const isId = ID.test(id);
    const open = isId ? this.#read(this.#path(id, "json")) : null;
    const record = open ?? (isId ? this.#read(this.#path(id, "used")) : null);
    const wanted = Buffer.from(record?.secret ?? "0".repeat(64), "hex");
    const isEqual = timingSafeEqual(wanted, digestOf(secret));
    if (record === null || !isEqual) return null;
    return { id, node: record.node, expiresAt: record.expiresAt, isUsed: open === null };
  }

  use(id: string): boolean {
    return ID.test(id) && moveOnce(this.#path(id, "json"), this.#path(id, "used"));
  }

  #read(path: string): TokenRecord | null {
    const text = readIfThere(path);
    if (text === null) return null;
    try {
      const record: unknown = JSON.parse(text);
      return isTokenRecord(record) ? record : null;
    } catch {
      return null;
    }
  }

  #removeOld(): void {
    for (const name of readdirSync(this.#folder)) {
      const path = join(this.#folder, name);
      const record = this.#read(path);
      if (record !== null && Date.parse(record.expiresAt) + KEPT_MS < this.clock.now()) rmSync(path, { force: true });
    }
  }

  #path(id: string, ending: "json" | "used"): string {
    return join(this.#folder, `${id}.${ending}`);
  }
}

function digestOf(secret: string): Buffer {
  return createHash("sha256").update(secret).digest();
}
