/** Wiring of sources: opens the folder, the repository or the mirror of a location. */
import { join } from "node:path";
import type { GitSource } from "../adapters/git/source.js";
import { hasErrors } from "../model/diagnostic.js";
import { readSound } from "../operations/cluster/damage.js";
import type { GitReading } from "../operations/policy/report.js";
import type { Settings } from "../settings/settings.js";
import type { BaseSource, Source } from "../interfaces/source.js";
import { SourceError } from "../interfaces/source.js";
import type { Store } from "../interfaces/store.js";
import { readBoundedManifests } from "./manifests.js";

export interface SourceChoice {
  /** A folder on this machine's disk, or the URL of a repository. */
  readonly location: string;
  readonly ref?: string | undefined;
}

/**
 * Opens a source. A folder is read as it is (with `ref`: from the repository around it); a URL or a bare repository is
 * read through a mirror.
 */
export async function openSource(settings: Settings, { location, ref }: SourceChoice): Promise<Source> {
  if (await isRepository(location)) return openRepository(settings, { location, ref, path: settings.source.path });
  const { FolderSource, RepositorySource } = await import("../adapters/git/folder.js");
  const dir = folderIn(location, settings);
  return ref === undefined ? new FolderSource({ dir }) : new RepositorySource({ dir, ref });
}

/** Opens the same location at another ref, for a comparison. */
export async function openBase(
  settings: Settings,
  { location, ref }: SourceChoice & { readonly ref: string },
): Promise<BaseSource> {
  if (await isRepository(location)) return openRepository(settings, { location, ref, path: settings.source.path });
  const { RepositorySource } = await import("../adapters/git/folder.js");
  return new RepositorySource({ dir: folderIn(location, settings), ref });
}

function folderIn(location: string, { source }: Settings): string {
  return source.path === null ? location : join(location, source.path);
}

/** Returns true for a location that is read through a mirror: a URL or a bare repository. */
async function isRepository(location: string): Promise<boolean> {
  const { isBareRepository, isRemoteLocation } = await import("../adapters/git/location.js");
  return isRemoteLocation(location) || (await isBareRepository(location));
}

export async function openRepository(
  settings: Settings,
  { location, ref, path, signal }: SourceChoice & { readonly path: string | null; readonly signal?: AbortSignal },
): Promise<GitSource> {
  const { GitSource } = await import("../adapters/git/source.js");
  const { verify } = settings.source;
  const isVerified = verify.sshSigners !== null || verify.openpgpKeys !== null;
  return new GitSource({
    location,
    cacheDir: join(settings.stateDir, "mirrors"),
    ...(ref === undefined ? {} : { ref }),
    ...(path === null ? {} : { path }),
    ...(isVerified ? { signers: verify } : {}),
    ...(signal === undefined ? {} : { signal }),
  });
}

/** Returns the repository of the settings; null if they name none. */
export function configuredSource({ source: { url, branch, path } }: Settings) {
  return url === null ? null : { location: url, ref: branch ?? undefined, path };
}

export function openPolledSource(settings: Settings, signal: AbortSignal): Promise<Source> | null {
  const choice = configuredSource(settings);
  return choice === null ? null : openRepository(settings, { ...choice, signal });
}

export async function openFolder(dir: string): Promise<Source> {
  const { FolderSource } = await import("../adapters/git/folder.js");
  return new FolderSource({ dir });
}

/**
 * Reads the objects in Git now, from the configured source or the one that the leader polls, or returns the reason why
 * they are not known.
 */
export async function readGitObjects(settings: Settings, store: Store): Promise<GitReading> {
  const configured = configuredSource(settings);
  const status = configured === null ? await readSound(store.readSourceStatus()) : null;
  if (status !== null && status.damage !== null) return { objects: null, why: status.damage };
  const polled = status?.value ?? null;
  const choice =
    configured ??
    (polled === null ? null : { location: polled.location, ref: polled.ref ?? undefined, path: polled.path });
  if (choice === null) return { objects: null, why: "no source is polled for this store" };
  try {
    const { files, source, unverified } = await (await openRepository(settings, choice)).fetch();
    if (unverified) return { objects: null, why: `commit ${unverified.commit.slice(0, 12)}: ${unverified.problem}` };
    const { objects, diagnostics } = readBoundedManifests(files);
    if (!hasErrors(diagnostics)) return { objects };
    return { objects: null, why: `commit ${source.commit?.slice(0, 12) ?? "none"} does not validate` };
  } catch (error) {
    if (error instanceof SourceError) return { objects: null, why: error.message };
    throw error;
  }
}
