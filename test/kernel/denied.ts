/** How many packets a node's ingress programs have refused so far, read from its pins while an agent has them. */
import { join } from "node:path";
import { KernelCounters } from "../../src/adapters/ebpf/maps/counters.js";
import { loadNative } from "../../src/adapters/ebpf/kernel/native.js";
import { DEFAULT_PIN_ROOT, nodeFolders } from "../../src/adapters/ebpf/kernel/paths.js";

const MAPS = ["packets", "rule_counts", "rule_places", "subject_counts", "subject_places"].map(
  (name) => `ztap_${name}`,
);

export interface Refusals {
  readonly read: () => bigint;
  readonly close: () => void;
}

export function refusalsOf(node: string): Refusals {
  const native = loadNative();
  const folder = nodeFolders(DEFAULT_PIN_ROOT, node).maps;
  const maps = Object.fromEntries(MAPS.map((name) => [name, native.openPin(join(folder, name))]));
  const counters = new KernelCounters(native, maps);
  return {
    read: () =>
      counters.totals().find(({ direction, verdict }) => direction === "ingress" && verdict === "denied")?.packets ??
      0n,
    close: () => Object.values(maps).forEach((fd) => native.closeFd(fd)),
  };
}
