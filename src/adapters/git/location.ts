/**
 * The location of a repository: splits the user's text into the URL for git, the text to show, and the credentials,
 * which are in neither.
 */
import { stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { SourceError } from "../../interfaces/source.js";
import { scpHost } from "./endpoint.js";
import { ALLOWED_PROTOCOLS } from "./git.js";

export interface Location {
  /** For git: an absolute path, or a URL without a password. */
  readonly url: string;
  /** For messages. */
  readonly shown: string;
  /** True for a repository on this machine's disk. */
  readonly local: boolean;
  /** The URL that was most likely meant if the path looks like one of another host. */
  readonly meant?: string;
  /** A line for git's credential store: https URL with user and password, percent-encoded. */
  readonly credential: string | null;
}

/** Returns the most likely URL for `github.com/a/b`, as browsers and Go accept it; undefined for any other text. */
export function meantUrl(text: string): string | undefined {
  return /^[\w-]+(\.[\w-]+)+\/[^/]/.test(text) ? `https://${text}` : undefined;
}

const ALLOWED: ReadonlySet<string> = new Set(ALLOWED_PROTOCOLS);

/** Returns true for `https://…`, `ssh://…`, `file://…`, any other `scheme://…`, and `user@host:path`. */
export function isRemoteLocation(text: string): boolean {
  return /^[a-z][a-z0-9+.-]*:(\/\/|:)/i.test(text) || scpHost(text) !== null;
}

/**
 * Parses a location.
 * @throws SourceError `source-not-found` for a text that cannot be a repository or must not be contacted
 */
export function parseLocation(text: string): Location {
  if (text === "" || text.startsWith("-") || /[\0\n\r]/.test(text)) {
    throw new SourceError(
      "source-not-found",
      `${JSON.stringify(text)} cannot be a repository: use a path, or an https, ssh or file URL`,
    );
  }
  const scheme = /^([a-z][a-z0-9+.-]*):(\/\/|:)/i.exec(text)?.[1]?.toLowerCase();
  if (scheme === undefined)
    return scpHost(text) !== null ? scpLocation(text) : { ...localLocation(resolve(text)), ...meantInstead(text) };
  if (!ALLOWED.has(scheme) || !URL.canParse(text)) {
    throw new SourceError(
      "source-not-found",
      `a ${scheme} URL cannot be the source: use a path, or an https, ssh or file URL`,
    );
  }
  return scheme === "file" ? fileLocation(text) : urlLocation(new URL(text));
}

function meantInstead(text: string): Pick<Location, "meant"> {
  const meant = meantUrl(text);
  return meant === undefined ? {} : { meant };
}

function localLocation(path: string): Location {
  return { url: path, shown: path, local: true, credential: null };
}

function fileLocation(text: string): Location {
  try {
    return localLocation(fileURLToPath(text));
  } catch {
    throw new SourceError(
      "source-not-found",
      `${JSON.stringify(text)} names no path on this machine; use file:///path`,
    );
  }
}

function scpLocation(text: string): Location {
  if (/(^|[@:])-/.test(text))
    throw new SourceError(
      "source-not-found",
      `${JSON.stringify(text)} cannot be a repository: a part of it begins with "-"`,
    );
  return { url: text, shown: text, local: false, credential: null };
}

function urlLocation(url: URL): Location {
  if (url.hostname === "" || url.hostname.startsWith("-") || url.username.startsWith("-")) {
    throw new SourceError("source-not-found", "the URL names no host");
  }
  const bare = new URL(url);
  bare.password = "";
  // The user of an ssh URL is the account that serves the repository; that of an https URL may be a token.
  if (url.protocol === "https:") bare.username = "";
  const secret = url.username !== "" || url.password !== "";
  const shown = bare.href.replace("://", url.protocol === "https:" && secret ? "://***@" : "://");
  const credential = url.protocol === "https:" && secret ? `https://${url.username}:${url.password}@${url.host}` : null;
  return { url: bare.href, shown, local: false, credential };
}

/**
 * Returns true for a folder that has a repository's files and is not in a work tree. A folder inside a work tree never
 * counts: a commit could have put those files there, and must not decide which files are read, or what they are
 * compared with.
 */
export async function isBareRepository(path: string): Promise<boolean> {
  const has = (folder: string, name: string) =>
    stat(join(folder, name)).then(
      () => true,
      () => false,
    );
  for (let folder = resolve(path), last = ""; folder !== last; [folder, last] = [dirname(folder), folder])
    if (await has(folder, ".git")) return false;
  return (await has(path, "HEAD")) && (await has(path, "objects")) && (await has(path, "refs"));
}
