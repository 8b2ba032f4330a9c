/**
 * The last enforced state, in one compressed file of the state folder: the revision's record with its digest, then each
 * object's text in the order of the revision's entries, and the part of it that was withheld. A second file of the same
 * form holds the announced state, a third one the endpoints that both are compiled with, a fourth one the record of a trial, and a fifth one
 * the overrides.
 */
import { constants } from "node:fs";
import { open, readFile, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { gunzip, gzip } from "node:zlib";
import { makeFolder } from "../system/folder.js";
import { canonicalJson } from "../../model/digest.js";
import { isNodeEndpoints, type NodeEndpoints } from "../../model/endpoints.js";
import { refKey } from "../../model/state.js";
import type { ControlEndpoint } from "../../model/management-access.js";
import type { Override } from "../../model/override.js";
import type { LastGood, LastGoodState } from "../../interfaces/last-good.js";
import {
  isPort,
  isPositive,
  isString,
  isText,
  isTime,
  isToken,
  listOf,
  nullable,
  oneOf,
  optional,
  shaped,
} from "../../model/guards.js";
import {
  decode,
  decodeObject,
  decodeRevision,
  encodeOverrides,
  encodeRevision,
  isOverrideList,
} from "../../store/records.js";
import { decodeWithholding, encodeWithholding } from "../../store/withholding.js";
import type { RevertedTrial, RunningTrial, TrialRecord } from "../../model/trial.js";
import type { Logger } from "../../interfaces/system.js";

const isEndpointList = listOf(isNodeEndpoints);

const tried = { revision: isPositive, commitId: isToken };
const isRunning = shaped<RunningTrial>({
  ...tried,
  state: oneOf("running"),
  until: isTime,
  boot: nullable(isToken),
  reached: listOf(shaped<ControlEndpoint>({ role: oneOf("store", "source"), host: isText, port: isPort })),
});
const isReverted = shaped<RevertedTrial>({ ...tried, state: oneOf("reverted"), reason: isText, at: isTime });
const isTrial = (value: unknown): value is TrialRecord => isRunning(value) || isReverted(value);

const FORMAT = "ztap-copy/1";
const MAX_TEXT_BYTES = 512 * 1024 * 1024;

interface LastGoodDocument {
  readonly format: typeof FORMAT;
  readonly revision: string;
  readonly objects: readonly string[];
  /** Its record, if a part of the revision was withheld. */
  readonly withholding?: string;
  /** See LastGood. */
  readonly boot?: string;
}

const isLastGoodDocument = shaped<LastGoodDocument>({
  format: oneOf(FORMAT),
  revision: isString,
  objects: listOf(isString),
  withholding: optional(isString),
  boot: optional(isToken),
});

/** Returns the folder of the last-good states of this machine's nodes. */
export function lastGoodFolder(stateDir: string): string {
  return join(stateDir, "nodes");
}

export function lastGoodPath(stateDir: string, node: string): string {
  return join(lastGoodFolder(stateDir), `${node}.json.gz`);
}

function endpointsPath(path: string): string {
  return path.replace(/\.json\.gz$/, ".endpoints.json.gz");
}

/** Returns the path of the state that is announced beside the last-good state of this path. */
export function announcedPath(path: string): string {
  return path.replace(/\.json\.gz$/, ".announced.json.gz");
}

function trialPath(path: string): string {
  return path.replace(/\.json\.gz$/, ".trial.json.gz");
}

function overridesPath(path: string): string {
  return path.replace(/\.json\.gz$/, ".overrides.json.gz");
}

export class LastGoodFile implements LastGoodState {
  readonly #path: string;
  readonly #logger: Logger;

  constructor(path: string, logger: Logger) {
    this.#path = path;
    this.#logger = logger;
  }

  read(): Promise<LastGood | null> {
    return this.#read(this.#path);
  }

  write(state: LastGood): Promise<void> {
    return this.#write(this.#path, state);
  }

  readAnnounced(): Promise<LastGood | null> {
    return this.#read(announcedPath(this.#path));
  }

  async announce(state: LastGood | null): Promise<void> {
    const path = announcedPath(this.#path);
    if (state === null) await rm(path, { force: true });
    else await this.#write(path, state);
  }

  async writeEndpoints(endpoints: readonly NodeEndpoints[]): Promise<void> {
    await this.#replace(endpointsPath(this.#path), JSON.stringify(endpoints));
  }

  async readTrial(): Promise<TrialRecord | null> {
    const path = trialPath(this.#path);
    try {
      return decode(await unzip(await readFile(path)), isTrial, path);
    } catch (error) {
      if (!isMissing(error)) this.#logger.warn(`the record of a trial cannot be read: ${path}`, { error });
      return null;
    }
  }

  async writeTrial(trial: TrialRecord | null): Promise<void> {
    const path = trialPath(this.#path);
    if (trial === null) await rm(path, { force: true });
    else await this.#replace(path, JSON.stringify(trial));
  }

  async readOverrides(): Promise<readonly Override[]> {
    const path = overridesPath(this.#path);
    try {
      return decode(await unzip(await readFile(path)), isOverrideList, path);
    } catch (error) {
      if (!isMissing(error)) this.#logger.warn(`the copy of the overrides cannot be read: ${path}`, { error });
      return [];
    }
  }

  async writeOverrides(overrides: readonly Override[]): Promise<void> {
    const path = overridesPath(this.#path);
    if (overrides.length === 0) await rm(path, { force: true });
    else await this.#replace(path, encodeOverrides(overrides));
  }

  /** A state without its endpoints is still the better part of it. */
  async #readEndpoints(): Promise<Pick<LastGood, "endpoints">> {
    const path = endpointsPath(this.#path);
    try {
      const endpoints = decode(await unzip(await readFile(path)), isEndpointList, path);
      return endpoints.length === 0 ? {} : { endpoints };
    } catch (error) {
      if (!isMissing(error)) this.#logger.warn(`the last-good endpoints cannot be read: ${path}`, { error });
      return {};
    }
  }

  async #read(path: string): Promise<LastGood | null> {
    const bytes = await readFile(path).catch((error: unknown) => {
      if (!isMissing(error)) this.#logger.warn(`the last-good state cannot be read: ${path}`, { error });
      return null;
    });
    if (bytes === null) return null;
    try {
      const text = await unzip(bytes);
      const { revision: record, objects: texts, withholding, boot } = decode(text, isLastGoodDocument, path);
      const revision = decodeRevision(record, path);
      const objects = revision.entries.map((entry, index) => decodeObject(texts[index], entry));
      return {
        revision,
        objects: new Map(objects.map((object) => [refKey(object.ref), object])),
        ...(withholding === undefined ? {} : { withholding: decodeWithholding(withholding, path) }),
        ...(boot === undefined ? {} : { boot }),
        ...(await this.#readEndpoints()),
      };
    } catch (error) {
      this.#logger.warn(`the last-good state is damaged and is not used: ${path}`, { error });
      return null;
    }
  }

  async #write(path: string, { revision, objects, withholding, boot }: LastGood): Promise<void> {
    const texts = revision.entries.map((entry) => canonicalJson(objects.get(refKey(entry))?.object));
    const record: LastGoodDocument = {
      format: FORMAT,
      revision: encodeRevision(revision),
      objects: texts,
      ...(withholding === undefined ? {} : { withholding: encodeWithholding(withholding) }),
      ...(boot === undefined ? {} : { boot }),
    };
    await this.#replace(path, JSON.stringify(record));
  }

  async #replace(path: string, text: string): Promise<void> {
    const bytes = await promisify(gzip)(text);
    const folder = dirname(path);
    makeFolder(folder, 0o700);
    const next = `${path}.next`;
    const { O_WRONLY, O_CREAT, O_TRUNC, O_NOFOLLOW } = constants;
    const file = await open(next, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0o600);
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(next, path);
    const entry = await open(folder, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      await entry.sync();
    } finally {
      await entry.close();
    }
  }
}

async function unzip(bytes: Buffer): Promise<string> {
  return (await promisify(gunzip)(bytes, { maxOutputLength: MAX_TEXT_BYTES })).toString();
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}
