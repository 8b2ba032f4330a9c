/**
 * Inspect: reads ztap's enforcement in this machine's kernel from the pins alone, by node and version. Needs no agent,
 * no ruleset and no loaded object, and changes nothing.
 */
import { dirname, join } from "node:path";
import type { EntryCounts, InspectedLink, InspectedNode } from "../../model/inspection.js";
import { ABI, BIRTHS, CONTROL, FOREIGN_SOCKET } from "./kernel/abi.generated.js";
import { Delegation } from "./attach/delegation.js";
import { cgroupPaths } from "./attach/cgroups.js";
import { GUARDS, HOOKS, ROOT_HOOKS } from "./kernel/programs.js";
import { pinnedVersion } from "./kernel/load.js";
import { kernel, loadNative, type Native } from "./kernel/native.js";
import { requireOwnFolder } from "./kernel/privileges.js";
import { entriesOf, listLinks, type Link } from "./attach/pins.js";
import { DEFAULT_PIN_ROOT, findCgroupRoot, unpinName } from "./kernel/paths.js";
import { listVersions } from "./upgrade/versions.js";

export interface InspectKernelOptions {
  readonly pinRoot?: string;
  readonly cgroupRoot?: string;
  readonly nativeDir?: string;
}

export function inspectEnforcement(options: InspectKernelOptions = {}): readonly InspectedNode[] {
  const pinRoot = options.pinRoot ?? DEFAULT_PIN_ROOT;
  const names = entriesOf(pinRoot);
  if (names.length === 0) return [];
  const standing = names.flatMap((name) => listVersions(join(pinRoot, name)).map((folders) => ({ name, folders })));
  for (const { folders } of standing)
    for (const folder of [folders.maps, folders.links]) requireOwnFolder(dirname(pinRoot), folder);
  const native = loadNative(options.nativeDir);
  const cgroupRoot = options.cgroupRoot ?? findCgroupRoot();
  const pinned = standing.map(({ name, folders }) => ({
    name,
    folders,
    links: [...listLinks(native, folders.links).values()].flat(),
  }));
  const links = pinned.flatMap((one) => one.links);
  const paths = cgroupPaths(
    native,
    cgroupRoot,
    new Set(links.flatMap(({ cgroupId }) => (cgroupId === 0n ? [] : [cgroupId]))),
  );
  // The guards are at the root, where the host's programs are.
  const guards = standing.flatMap(({ folders }) =>
    [...GUARDS, ...ROOT_HOOKS].flatMap(
      (pin) => withPin(native, join(folders.births, pin), (fd) => native.linkInfo(fd).programId) ?? [],
    ),
  );
  const own = new Set([...links.map((link) => link.programId), ...guards]);
  return pinned.map(({ name, folders, links: held }) => {
    const epoch = readEpoch(native, folders.maps);
    const active = epoch !== null && (epoch & 1n) === 1n ? "b" : "a";
    const counts = (set: string): EntryCounts => ({
      addresses: countEntries(native, join(folders.maps, `ztap_addrs_${set}`)),
      ports: countEntries(native, join(folders.maps, `ztap_ports_${set}`)),
    });
    return {
      node: unpinName(name),
      abi: pinnedVersion(native, folders.maps),
      epoch: epoch === null ? null : String(epoch),
      links: held.map((link) => inspectLink(link, paths)),
      entries: { active: counts(active), idle: counts(active === "a" ? "b" : "a") },
      foreign: foreignPrograms(native, cgroupRoot, held, paths, own),
      sockets: foreignSockets(native, join(folders.maps, "ztap_foreign")),
      newborns: {
        patterns: countEntries(native, join(folders.maps, "ztap_patterns")),
        waiting: waitingNewborns(native, folders.maps),
      },
      delegated: delegatedWorkloads(cgroupRoot, held, paths),
    };
  });
}

function inspectLink(link: Link, paths: ReadonlyMap<bigint, string | null>): InspectedLink {
  const { workload, pin, hook, programId, cgroupId } = link;
  return { workload, hook: hook === "" ? pin : hook, programId, cgroup: paths.get(cgroupId) ?? null };
}

function foreignPrograms(
  native: Native,
  root: string,
  links: readonly Link[],
  paths: ReadonlyMap<bigint, string | null>,
  own: ReadonlySet<number>,
): InspectedNode["foreign"] {
  return [...new Set(links.map((link) => link.cgroupId))].flatMap((cgroupId) => {
    const cgroup = paths.get(cgroupId);
    if (cgroup === undefined || cgroup === null) return [];
    return HOOKS.flatMap((hook) =>
      kernel("Listing attached programs", () => native.attached(join(root, cgroup), hook))
        .filter((programId) => !own.has(programId))
        .map((programId) => ({ cgroup, hook, programId })),
    );
  });
}

function foreignSockets(native: Native, pin: string): InspectedNode["sockets"] {
  const read = withPin(native, pin, (fd) => native.mapRead(fd));
  if (read === undefined) return { found: 0, refused: 0 };
  const isRefused = (at: number): boolean =>
    read.values.readUInt32LE(at * FOREIGN_SOCKET.size + FOREIGN_SOCKET.refused) !== 0;
  return { found: read.count, refused: Array.from({ length: read.count }, (_, at) => at).filter(isRefused).length };
}

/** Of another version only what this one knows the layout of. */
function waitingNewborns(native: Native, maps: string): number {
  if (pinnedVersion(native, maps) !== ABI.VERSION) return 0;
  return (
    withPin(native, join(maps, "ztap_births"), (fd) => native.mapGet(fd, Buffer.alloc(4)))?.readUInt32LE(
      BIRTHS.waiting,
    ) ?? 0
  );
}

function delegatedWorkloads(
  root: string,
  links: readonly Link[],
  paths: ReadonlyMap<bigint, string | null>,
): InspectedNode["delegated"] {
  const byWorkload = new Map(links.map(({ workload, cgroupId }) => [workload, paths.get(cgroupId)]));
  const delegation = new Delegation(root);
  return [...byWorkload].flatMap(([workload, path]) => {
    const above = path === undefined || path === null ? null : delegation.above(join(root, path));
    return above === null ? [] : [{ workload, cgroup: above.cgroup }];
  });
}

function readEpoch(native: Native, maps: string): bigint | null {
  return withPin(native, join(maps, "ztap_control"), (fd) => native.wordLoad(fd, CONTROL.epoch)) ?? null;
}

function countEntries(native: Native, pin: string): number {
  return withPin(native, pin, (fd) => native.mapRead(fd).count) ?? 0;
}

function withPin<T>(native: Native, pin: string, look: (fd: number) => T): T | undefined {
  const fd = kernel(`Opening ${pin}`, () => native.openPin(pin));
  if (fd < 0) return undefined;
  try {
    return kernel(`Reading ${pin}`, () => look(fd));
  } finally {
    native.closeFd(fd);
  }
}
