/**
 * The last enforced state, in one compressed file of the state folder: the revision's record with its digest, then each
 * object's text in the order of the revision's entries.
 */
import { constants } from "node:fs";
import { open, readFile, rename } from "node:fs/promises";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { gunzip, gzip } from "node:zlib";
import { makeFolder } from "../system/folder.js";
import { canonicalJson } from "../../model/digest.js";
import { refKey, type CommittedState } from "../../model/state.js";
import type { LastGoodState } from "../../interfaces/last-good.js";
import { isString, listOf, oneOf, shaped } from "../../model/guards.js";
import { decode, decodeObject, decodeRevision, encodeRevision } from "../../store/records.js";
import type { Logger } from "../../interfaces/system.js";

const FORMAT = "ztap-copy/1";
const MAX_TEXT_BYTES = 512 * 1024 * 1024;

interface LastGoodDocument {
  readonly format: typeof FORMAT;
  readonly revision: string;
  readonly objects: readonly string[];
}

const isLastGoodDocument = shaped<LastGoodDocument>({
  format: oneOf(FORMAT),
  revision: isString,
  objects: listOf(isString),
});

/** Returns the folder of the last-good states of this machine's nodes. */
export function lastGoodFolder(stateDir: string): string {
  return join(stateDir, "nodes");
}

export function lastGoodPath(stateDir: string, node: string): string {
  return join(lastGoodFolder(stateDir), `${node}.json.gz`);
}

export class LastGoodFile implements LastGoodState {
  readonly #path: string;
  readonly #logger: Logger;

  constructor(path: string, logger: Logger) {
    this.#path = path;
    this.#logger = logger;
  }

  async read(): Promise<CommittedState | null> {
    const bytes = await readFile(this.#path).catch((error: unknown) => {
      if (!isMissing(error)) this.#logger.warn(`the last-good state cannot be read: ${this.#path}`, { error });
      return null;
    });
    if (bytes === null) return null;
    try {
      const text = (await promisify(gunzip)(bytes, { maxOutputLength: MAX_TEXT_BYTES })).toString();
      const copy = decode(text, isLastGoodDocument, this.#path);
      const revision = decodeRevision(copy.revision, this.#path);
      const objects = revision.entries.map((entry, index) => decodeObject(copy.objects[index], entry));
      return { revision, objects: new Map(objects.map((object) => [refKey(object.ref), object])) };
    } catch (error) {
      this.#logger.warn(`the last-good state is damaged and is not used: ${this.#path}`, { error });
      return null;
    }
  }

  async write({ revision, objects }: CommittedState): Promise<void> {
    const texts = revision.entries.map((entry) => canonicalJson(objects.get(refKey(entry))?.object));
    const copy: LastGoodDocument = { format: FORMAT, revision: encodeRevision(revision), objects: texts };
    const bytes = await promisify(gzip)(JSON.stringify(copy));
    const folder = dirname(this.#path);
    makeFolder(folder, 0o700);
    const next = `${this.#path}.next`;
    const { O_WRONLY, O_CREAT, O_TRUNC, O_NOFOLLOW } = constants;
    const file = await open(next, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0o600);
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(next, this.#path);
    const entry = await open(folder, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      await entry.sync();
    } finally {
      await entry.close();
    }
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}
