/**
 * Load: loads a node's maps and programs into this process: adopts the maps that an earlier agent pinned, and creates
 * missing ones. Attaches nothing.
 */
import { createHash } from "node:crypto";
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { makeFolder } from "../../system/folder.js";
import { EnforcerError } from "../../../interfaces/enforcer.js";
import { ABI, CONTROL } from "./abi.generated.js";
import { EXPORTERS, HOOKS, HOST_PROGRAMS, IMPORTERS, NEWBORN_PROGRAMS, SECURITY_PROGRAMS } from "./programs.js";
import { asEnforcerError, kernel, type LoadedObject, type Native } from "./native.js";
import { BPFFS } from "./paths.js";

const STORAGE = "ztap_cgroup";
/** Maps of programs. */
const DECIDERS = ["ztap_decider_ingress", "ztap_decider_egress"] as const;

/** Exists only for BPF_PROG_TEST_RUN. */
const TEST_MAPS = ["ztap_test_subjects"];

const PROGRAMS = [
  ...HOOKS.map((hook) => `ztap_${hook}`),
  ...NEWBORN_PROGRAMS,
  ...SECURITY_PROGRAMS,
  ...HOST_PROGRAMS,
  ...EXPORTERS,
];

export function mountBpffs(native: Native): void {
  if (native.isBpffs(BPFFS)) return;
  kernel(`Mounting the BPF file system on ${BPFFS}`, () => native.mountBpffs(BPFFS));
}

/**
 * Loads the object.
 * @throws EnforcerError `abi-version` if the pinned maps are not of the version of their folder
 */
export function loadObject(native: Native, nativeDir: string, mapsFolder: string, node: string): LoadedObject {
  makeFolder(mapsFolder);
  checkVersion(native, mapsFolder);
  unpinBoundMaps(native, mapsFolder);
  const object = load(native, nativeDir, mapsFolder, PROGRAMS);
  initialise(native, object, node);
  return object;
}

/**
 * Unpins the maps of programs that the guards call, if they belong to another cgroup storage than the pinned one, or that has
 * lost its pin: the kernel binds such a map to the storage of its first program, and refuses every program over another. What is
 * attached stays so; the guards in force then close newborn cgroups, until the next apply has replaced them.
 */
function unpinBoundMaps(native: Native, mapsFolder: string): void {
  const storage = openPinned(native, mapsFolder, STORAGE);
  try {
    const id = storage < 0 ? null : native.mapInfo(storage).id;
    for (const name of DECIDERS)
      if (id === null || !isOver(native, mapsFolder, name, id)) rmSync(join(mapsFolder, name), { force: true });
  } finally {
    if (storage >= 0) native.closeFd(storage);
  }
}

/** Returns whether the program in a map of programs uses a map, or there is none. */
function isOver(native: Native, mapsFolder: string, name: string, mapId: number): boolean {
  const fd = openPinned(native, mapsFolder, name);
  if (fd < 0) return true;
  try {
    const held = kernel(`Reading the pinned ${name}`, () => native.mapGet(fd, ZERO_KEY));
    if (held === null) return true;
    const program = kernel(`Reading the program in ${name}`, () => native.programById(held.readUInt32LE()));
    try {
      return native.programInfo(program).mapIds.includes(mapId);
    } finally {
      native.closeFd(program);
    }
  } finally {
    native.closeFd(fd);
  }
}

/** Returns -1 if the map has no pin. */
function openPinned(native: Native, mapsFolder: string, name: string): number {
  return kernel(`Opening the pinned ${name}`, () => native.openPin(join(mapsFolder, name)));
}

/** Loads the programs that take over from another version, over the pinned maps. */
export function loadImporters(native: Native, nativeDir: string, mapsFolder: string): LoadedObject {
  return load(native, nativeDir, mapsFolder, IMPORTERS);
}

/** Loads every program that an agent may need, over maps of their own, to test whether this kernel accepts them. */
export function tryPrograms(native: Native, nativeDir: string): void {
  closeObject(native, load(native, nativeDir, "", [...PROGRAMS, ...IMPORTERS]));
}

function load(native: Native, nativeDir: string, mapsFolder: string, programs: readonly string[]): LoadedObject {
  const file = join(nativeDir, "ztap.bpf.o");
  const all = native.takesSecurityPrograms() ? programs : programs.filter((name) => !SECURITY_PROGRAMS.includes(name));
  return kernel("Loading the eBPF programs", () => native.loadObject(file, mapsFolder, all, TEST_MAPS));
}

/**
 * Opens the pinned maps for reading. The programs of this build are loaded for a comparison with those in force;
 * nothing is pinned, created or initialised. A map without a pin reads as empty.
 */
export function borrowObject(native: Native, nativeDir: string, mapsFolder: string): LoadedObject {
  checkVersion(native, mapsFolder);
  const fresh = load(native, nativeDir, "", PROGRAMS);
  const maps = Object.entries(fresh.maps).map(([name, fd]) => {
    const pinned = openPinned(native, mapsFolder, name);
    if (pinned < 0) return [name, fd] as const;
    native.closeFd(fd);
    return [name, pinned] as const;
  });
  return { maps: Object.fromEntries(maps), programs: fresh.programs };
}

export function closeObject(native: Native, object: LoadedObject): void {
  for (const fd of [...Object.values(object.maps), ...Object.values(object.programs)]) native.closeFd(fd);
}

/** Returns the descriptor of a program of the object. */
export function programOf({ programs }: LoadedObject, name: string): number {
  const fd = programs[name];
  if (fd === undefined) throw new TypeError(`no program ${name}`);
  return fd;
}

/**
 * Runs an iterator of the object once, over everything that it iterates over.
 * @param doing names the work in errors
 * @param mapFd the map, if it iterates over one
 * @returns what it wrote
 * @throws EnforcerError
 */
export async function runIterator(
  native: Native,
  object: LoadedObject,
  name: string,
  doing: string,
  mapFd = -1,
): Promise<Buffer> {
  const link = kernel(doing, () => native.iterCreate(programOf(object, name), mapFd));
  try {
    return await native.iterRun(link).catch((error: unknown) => {
      throw asEnforcerError(doing, error);
    });
  } finally {
    native.closeFd(link);
  }
}

/** Returns the descriptor of a map of the object. */
export function mapOf({ maps }: LoadedObject, name: string): number {
  const fd = maps[name];
  if (fd === undefined) throw new TypeError(`no map ${name}`);
  return fd;
}

/** Returns the names of the maps whose pins exist. */
export function pinnedMaps(object: LoadedObject, mapsFolder: string): readonly string[] {
  return Object.keys(object.maps).filter((name) => existsSync(join(mapsFolder, name)));
}

/** Pins maps that lost their pin: without it the next agent would start with an empty map. */
export function pinMaps(native: Native, object: LoadedObject, mapsFolder: string): void {
  makeFolder(mapsFolder);
  for (const [name, fd] of Object.entries(object.maps)) {
    const pin = join(mapsFolder, name);
    if (!existsSync(pin)) kernel(`Pinning ${name}`, () => native.pin(fd, pin));
  }
}

const ZERO_KEY = Buffer.alloc(4);

/** Returns the ABI version of pinned maps: 0 if they were never initialised, null if there are none. */
export function pinnedVersion(native: Native, mapsFolder: string): number | null {
  const fd = kernel("Opening the pinned control map", () => native.openPin(join(mapsFolder, "ztap_control")));
  if (fd < 0) return null;
  try {
    return (
      kernel("Reading the pinned control map", () => native.mapGet(fd, ZERO_KEY))?.readUInt32LE(CONTROL.abi) ?? null
    );
  } finally {
    native.closeFd(fd);
  }
}

function checkVersion(native: Native, mapsFolder: string): void {
  const found = pinnedVersion(native, mapsFolder);
  if (found === null || found === 0 || found === ABI.VERSION) return;
  throw new EnforcerError(
    "abi-version",
    `The tables in ${mapsFolder} have the ABI version ${found} instead of ${ABI.VERSION}: they are damaged. ` +
      `They stay in force. To replace them, run "ztap enforcement remove" and start the agent again.`,
  );
}

/** The epoch of tables before the first ruleset. */
export const FIRST_EPOCH = 2n;

/**
 * Writes the first value of the control map. No program reads it before the first attachment, so that the write needs
 * no care.
 */
function initialise(native: Native, object: LoadedObject, node: string): void {
  const fd = object.maps["ztap_control"];
  if (fd === undefined) throw new TypeError("the object has no control map");
  const held = native.mapGet(fd, ZERO_KEY);
  if (held !== null && held.readUInt32LE(CONTROL.abi) !== 0) return;
  const value = Buffer.alloc(CONTROL.size);
  value.writeUInt32LE(ABI.VERSION, CONTROL.abi);
  value.writeUInt32LE(saltOf(node), CONTROL.salt);
  value.writeBigUInt64LE(FIRST_EPOCH, CONTROL.epoch);
  kernel("Initialising the control map", () => native.mapSet(fd, ZERO_KEY, value));
}

/** Returns the node's part in the marks of packets: a multiple of 4. */
function saltOf(node: string): number {
  return (createHash("sha256").update(node).digest().readUInt32LE() & ~3) >>> 0;
}
