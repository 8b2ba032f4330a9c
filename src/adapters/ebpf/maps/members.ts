/** Members: what the workloads of this node say of themselves in their SYNs (ztap_members): subject id → identity. */
import { kernel, type Native } from "../kernel/native.js";
import { allSubjects, type Image, type ImageSubject } from "../lower/image.js";

export class Members {
  constructor(
    private readonly native: Native,
    private readonly fd: number,
  ) {}

  /** Returns the identities, by subject id. */
  read(): ReadonlyMap<number, number> {
    const { count, keys, values } = kernel("Reading the identities", () => this.native.mapRead(this.fd));
    return new Map(
      Array.from({ length: count }, (_, at) => [keys.readUInt32LE(at * 4), values.readUInt32LE(at * 4)] as const),
    );
  }

  /** A workload has the same identity in every ruleset, so that the order of this and the switch does not matter. */
  write(image: Image): void {
    const held = this.read();
    const wanted = new Map(
      [...allSubjects(image).values()].flatMap((one) =>
        one.identity === 0 ? [] : [[memberOf(one), one.identity] as const],
      ),
    );
    const gone = [...held.keys()].filter((id) => !wanted.has(id));
    kernel("Writing the identities", () => {
      if (gone.length > 0) this.native.mapDelete(this.fd, Buffer.concat(gone.map(word)));
      for (const [id, identity] of wanted)
        if (held.get(id) !== identity) this.native.mapSet(this.fd, word(id), word(identity));
    });
  }
}

/** Returns the key of a subject. What is in no other workload is the host's: it has no cgroup of its own. */
export function memberOf({ id, subject }: ImageSubject): number {
  return subject.isHost === true ? 0 : id;
}

function word(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}
