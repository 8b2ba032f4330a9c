/** Program state: whether an attached program, or one that others call, is this build's. */
import { mapOf, programOf } from "../kernel/load.js";
import { kernel, type LoadedObject, type Native } from "../kernel/native.js";

/** `stale`: of another build, over the same maps. */
export type ProgramState = "attached" | "stale" | "absent";

interface Loaded {
  readonly native: Native;
  readonly object: LoadedObject;
}

const mapIds = new WeakMap<LoadedObject, ReadonlySet<number>>();

function mapIdsOf(native: Native, object: LoadedObject): ReadonlySet<number> {
  const known = mapIds.get(object) ?? new Set(Object.values(object.maps).map((map) => native.mapInfo(map).id));
  mapIds.set(object, known);
  return known;
}

/** Compares a program in the kernel with one of the object: `absent` if it has maps of its own. */
export function compareProgram(native: Native, object: LoadedObject, programId: number, program: number): ProgramState {
  const found = native.programById(programId);
  try {
    const { tag, mapIds: used } = native.programInfo(found);
    const ours = mapIdsOf(native, object);
    if (!used.every((id) => ours.has(id))) return "absent";
    return tag === native.programInfo(program).tag ? "attached" : "stale";
  } finally {
    native.closeFd(found);
  }
}

/** Returns whether the map holds this build's program, for those that call it. */
export function hasDecider({ native, object }: Loaded, map: string, program: string, slot = 0): boolean {
  const held = native.mapGet(mapOf(object, map), keyOf(slot));
  return (
    held !== null && compareProgram(native, object, held.readUInt32LE(), programOf(object, program)) === "attached"
  );
}

export function placeDecider({ native, object }: Loaded, map: string, program: string, slot = 0): void {
  const value = keyOf(programOf(object, program));
  kernel(`Placing ${program}`, () => native.mapSet(mapOf(object, map), keyOf(slot), value));
}

function keyOf(number: number): Buffer {
  const key = Buffer.alloc(4);
  key.writeUInt32LE(number);
  return key;
}
