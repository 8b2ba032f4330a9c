/**
 * Reads manifests in a process of its own: what comes from a repository takes neither the memory nor the time of the
 * process that enforces. Imported dynamically only, so that the bundle keeps this module beside its script.
 */
import { fileURLToPath } from "node:url";
import { ProcessLimitError, runBounded, type ProcessLimits } from "../adapters/system/bounded-process.js";
import { SourceError } from "../interfaces/source.js";
import type { ManifestFile, Manifests } from "../manifest/read.js";

const MIB = 1024 * 1024;
/** 10,000 objects take a fifteenth of the time, and a tenth of the answer. */
const READ_LIMITS: ProcessLimits = {
  memoryMib: 1024,
  cpuSeconds: 30,
  deadlineMs: 300_000,
  answerBytes: 64 * MIB,
};

const SCRIPT = fileURLToPath(new URL("./manifest-script.js", import.meta.url));

/**
 * Reads the files as `readBoundedManifests` does.
 * @throws SourceError `too-large`
 */
export async function readManifestsApart(
  files: readonly ManifestFile[],
  { signal, limits = READ_LIMITS }: { readonly signal?: AbortSignal; readonly limits?: ProcessLimits } = {},
): Promise<Manifests> {
  try {
    return (await runBounded(SCRIPT, files, { ...limits, signal })) as Manifests;
  } catch (error) {
    if (!(error instanceof ProcessLimitError)) throw error;
    const bound =
      error.limit === "time" ? `${limits.cpuSeconds} s of processor time` : `${limits.memoryMib} MiB of memory`;
    throw new SourceError("too-large", `reading its policies takes more than ${bound}`);
  }
}
