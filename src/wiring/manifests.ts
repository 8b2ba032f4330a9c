/** Wiring of manifests: reads them with the capacity of every backend. */
import { EBPF_CAPACITY } from "../adapters/ebpf/lower/capacity.js";
import { PF_CAPACITY } from "../adapters/pf/render/limits.js";
import type { ManifestFile, Manifests, ReadOptions } from "../manifest/read.js";
import { readManifests as readUnbounded } from "../manifest/read.js";

/**
 * Reads manifests for every command and the leader: a state that no node could enforce is refused like any other
 * mistake.
 */
export function readBoundedManifests(files: readonly ManifestFile[], options: ReadOptions = {}): Manifests {
  return readUnbounded(files, { capacities: { ebpf: EBPF_CAPACITY, pf: PF_CAPACITY }, ...options });
}
