/**
 * Confinement: which workloads may not use channels beside the packets that their programs decide (ztap_confined): a bit for each
 * isolated direction, and one for sockets of other cgroups, for each table set.
 */
import { ABI } from "../kernel/abi.generated.js";
import { kernel, type Native } from "../kernel/native.js";
import { allSubjects, type Image } from "../lower/image.js";
import type { SetIndex } from "./table-sets.js";

export class Confinement {
  constructor(
    private readonly native: Native,
    private readonly fd: number,
  ) {}

  /** Returns the bits of every confined workload, by subject id. */
  read(set: SetIndex): ReadonlyMap<number, number> {
    const bits = [...this.#values()].map(
      ([id, value]) => [id, (value >> shiftOf(set)) & ABI.CONFINEMENT_MASK] as const,
    );
    return new Map(bits.filter(([, one]) => one !== 0));
  }

  /** Before the switch: writes the half that is not in force. */
  prepare(image: Image, idle: SetIndex): void {
    const held = this.#values();
    const wanted = new Map([...allSubjects(image).values()].map(({ id, confinement }) => [id, confinement]));
    for (const id of new Set([...held.keys(), ...wanted.keys()])) {
      const before = held.get(id) ?? 0;
      const kept = before & ~(ABI.CONFINEMENT_MASK << shiftOf(idle));
      const next = kept | ((wanted.get(id) ?? 0) << shiftOf(idle));
      if (next !== before) this.#write(id, next);
    }
  }

  /** After the switch: forgets workloads that are confined in neither half that may come. */
  finish(image: Image): void {
    const confined = new Set(
      [...allSubjects(image).values()].flatMap(({ id, confinement }) => (confinement > 0 ? [id] : [])),
    );
    const gone = [...this.#values().keys()].filter((id) => !confined.has(id));
    if (gone.length === 0) return;
    kernel("Ending the confinement of workloads", () =>
      this.native.mapDelete(this.fd, Buffer.concat(gone.map((id) => word(id)))),
    );
  }

  #values(): ReadonlyMap<number, number> {
    const { count, keys, values } = kernel("Reading the confined workloads", () => this.native.mapRead(this.fd));
    return new Map(
      Array.from({ length: count }, (_, at) => [keys.readUInt32LE(at * 4), values.readUInt32LE(at * 4)] as const),
    );
  }

  #write(id: number, value: number): void {
    kernel("Confining a workload", () => this.native.mapSet(this.fd, word(id), word(value)));
  }
}

function shiftOf(set: SetIndex): number {
  return set * ABI.CONFINEMENT_BITS;
}

function word(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}
