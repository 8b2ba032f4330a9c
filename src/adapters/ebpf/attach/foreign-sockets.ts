/**
 * Foreign sockets: IP sockets that processes of a confined workload have open, and that belong to a cgroup outside of it: a
 * process keeps its sockets when it is moved, inherits them when it is started, and gets them in messages. The workload's programs
 * do not see their packets; the guards refuse them (ztap_foreign).
 *
 * The kernel records those that a new program inherits at once. `scan` finds the others.
 */
import { asEnforcerError, kernel, type LoadedObject, type Native } from "../kernel/native.js";
import { ABI, FOREIGN_SOCKET } from "../kernel/abi.generated.js";
import { mapOf, programOf } from "../kernel/load.js";
import { FIND_FOREIGN, NO_FOREIGN } from "../kernel/programs.js";
import type { Image } from "../lower/image.js";

const DOING = "Looking for sockets of other cgroups";

export class ForeignSockets {
  constructor(
    private readonly native: Native,
    private readonly object: LoadedObject,
  ) {}

  /** Looks at the open files of all processes, and forgets sockets that no process of a confined workload has any more. */
  async scan(image: Image): Promise<void> {
    const isConfined = [...image.subjects.values()].some(({ confinement }) => confinement > 0);
    if (!isConfined && this.#read().length === 0) return;
    const { native, object } = this;
    const before = Number(process.hrtime.bigint() >> BigInt(ABI.TICK_SHIFT));
    const link = kernel(DOING, () => native.iterCreate(programOf(object, FIND_FOREIGN), -1));
    try {
      await native.iterRun(link).catch((error: unknown) => {
        throw asEnforcerError(DOING, error);
      });
    } finally {
      native.closeFd(link);
    }
    const gone = this.#read().filter(({ seen }) => ((before - seen) | 0) > 0);
    if (gone.length === 0) return;
    kernel(DOING, () => {
      native.mapDelete(this.#fd, Buffer.concat(gone.map(({ key }) => key)));
      // One that is recorded in this moment is found again by the next scan.
      if (this.#read().length === 0) native.runEach(programOf(object, NO_FOREIGN), Buffer.alloc(8), 8);
    });
  }

  /** Returns how many a workload has, by subject id. */
  counts(): ReadonlyMap<number, number> {
    const counts = new Map<number, number>();
    for (const { subject } of this.#read()) counts.set(subject, (counts.get(subject) ?? 0) + 1);
    return counts;
  }

  get #fd(): number {
    return mapOf(this.object, "ztap_foreign");
  }

  #read(): readonly { readonly key: Buffer; readonly subject: number; readonly seen: number }[] {
    const { count, keys, values } = kernel(DOING, () => this.native.mapRead(this.#fd));
    return Array.from({ length: count }, (_, at) => ({
      key: keys.subarray(at * 8, at * 8 + 8),
      subject: values.readUInt32LE(at * FOREIGN_SOCKET.size + FOREIGN_SOCKET.subject),
      seen: values.readUInt32LE(at * FOREIGN_SOCKET.size + FOREIGN_SOCKET.seen),
    }));
  }
}
