/**
 * Foreign sockets: IP sockets that processes of a confined workload have open, and that belong to a cgroup outside of it: a
 * process keeps its sockets when it is moved, inherits them when it is started, and gets them in messages. The workload's programs
 * do not see their packets; the guards refuse them (ztap_foreign).
 *
 * The kernel records those that a new program inherits at once. `scan` finds the others. Sockets of management sessions are never
 * refused: sshd moves the process of a session, and its connection stays in the cgroup of the server.
 */
import { kernel, type LoadedObject, type Native } from "../kernel/native.js";
import { ABI, FOREIGN_SOCKET, FOUND } from "../kernel/abi.generated.js";
import { mapOf, programOf, runIterator } from "../kernel/load.js";
import { FIND_FOREIGN, SET_FOREIGN } from "../kernel/programs.js";

const DOING = "Looking for sockets of other cgroups";

/** Returns the processes of management sessions; null if that is not known. */
export type FindSessions = () => Promise<ReadonlySet<number> | null>;

/** The bits of enum ztap_confinement that are in force, by subject id. */
export type Confined = ReadonlyMap<number, number>;

interface Foreign {
  readonly key: Buffer;
  readonly subject: number;
  readonly seen: number;
  readonly isRefused: boolean;
  readonly process: number;
}

export class ForeignSockets {
  /** Where they are not, a socket that is not refused is reported all the same. */
  #areSessionsKnown = true;

  constructor(
    private readonly native: Native,
    private readonly object: LoadedObject,
    private readonly findSessions: FindSessions,
  ) {}

  /** Looks at the open files of all processes, and forgets sockets that no process of a confined workload has any more. */
  async scan(confined: Confined): Promise<void> {
    if (confined.size === 0 && this.#read().length + this.#read("ztap_tolerated").length === 0) return;
    const { native, object } = this;
    const before = Number(process.hrtime.bigint() >> BigInt(ABI.TICK_SHIFT));
    await runIterator(native, object, FIND_FOREIGN, DOING);
    const isGone = ({ seen }: Foreign): boolean => ((before - seen) | 0) > 0;
    const found = this.#read();
    await this.#refuse(
      confined,
      found.filter((one) => !isGone(one)),
    );
    kernel(DOING, () => {
      // Looked at again: a service that was started meanwhile may have the socket.
      for (const map of ["ztap_foreign", "ztap_tolerated"]) {
        const gone = this.#read(map).filter(isGone);
        if (gone.length > 0) native.mapDelete(mapOf(object, map), Buffer.concat(gone.map(({ key }) => key)));
      }
      if (found.length === 0 || this.#read().length > 0) return;
      this.#setFound(false);
      if (this.#read().length > 0) this.#setFound(true);
    });
  }

  #setFound(isAny: boolean): void {
    const value = Buffer.alloc(FOUND.size);
    value.writeUInt32LE(isAny ? 1 : 0, FOUND.any);
    this.native.runEach(programOf(this.object, SET_FOREIGN), value, value.length);
  }

  async #refuse(confined: Confined, found: readonly Foreign[]): Promise<void> {
    if (found.length === 0) return;
    const strict = strictSubjects(confined);
    const sessions = await this.findSessions();
    this.#areSessionsKnown = sessions !== null;
    if (sessions === null) return;
    for (const one of found) {
      const isRefused = strict.has(one.subject) && !sessions.has(one.process);
      if (isRefused === one.isRefused) continue;
      const value = Buffer.alloc(FOREIGN_SOCKET.size);
      value.writeUInt32LE(one.subject, FOREIGN_SOCKET.subject);
      value.writeUInt32LE(one.seen, FOREIGN_SOCKET.seen);
      value.writeUInt32LE(isRefused ? 1 : 0, FOREIGN_SOCKET.refused);
      value.writeUInt32LE(one.process, FOREIGN_SOCKET.process);
      kernel(DOING, () => this.native.mapSet(this.#fd, one.key, value));
    }
  }

  /** Returns how many a workload has, by subject id; those of management sessions are left out. */
  counts(confined: Confined): ReadonlyMap<number, number> {
    const strict = strictSubjects(confined);
    const isCounted = ({ subject, isRefused }: Foreign): boolean =>
      isRefused || !this.#areSessionsKnown || !strict.has(subject);
    const counts = new Map<number, number>();
    for (const { subject } of [...this.#read().filter(isCounted), ...this.#read("ztap_tolerated")])
      counts.set(subject, (counts.get(subject) ?? 0) + 1);
    return counts;
  }

  get #fd(): number {
    return mapOf(this.object, "ztap_foreign");
  }

  #read(map = "ztap_foreign"): readonly Foreign[] {
    const { count, keys, values } = kernel(DOING, () => this.native.mapRead(mapOf(this.object, map)));
    return Array.from({ length: count }, (_, at) => {
      const value = values.subarray(at * FOREIGN_SOCKET.size, (at + 1) * FOREIGN_SOCKET.size);
      return {
        key: keys.subarray(at * 8, at * 8 + 8),
        subject: value.readUInt32LE(FOREIGN_SOCKET.subject),
        seen: value.readUInt32LE(FOREIGN_SOCKET.seen),
        isRefused: value.readUInt32LE(FOREIGN_SOCKET.refused) !== 0,
        process: value.readUInt32LE(FOREIGN_SOCKET.process),
      };
    });
  }
}

/** Returns the ids of the workloads that may have no foreign sockets. */
function strictSubjects(confined: Confined): ReadonlySet<number> {
  return new Set([...confined].flatMap(([id, bits]) => ((bits & ABI.OWN_SOCKETS_ONLY) !== 0 ? [id] : [])));
}
