/** Expiries: timers of the kernel at which overrides end, also without this process; see docs/adr/0028-overrides.md. */
import { EnforcerError } from "../../../interfaces/enforcer.js";
import { ABI, EXPIRY_REQUEST } from "../kernel/abi.generated.js";
import { programOf } from "../kernel/load.js";
import { kernel, type LoadedObject, type Native } from "../kernel/native.js";
import { SET_EXPIRY } from "../kernel/programs.js";
import { allSubjects, type Image } from "../lower/image.js";

export class Expiries {
  /** Those that this process has set; null before. */
  #known: string | null = null;

  constructor(
    private readonly native: Native,
    private readonly object: LoadedObject,
  ) {}

  /** From now on the kernel ends the overrides of these images, and no others. @throws EnforcerError */
  set(images: readonly Image[]): void {
    const subjects = images.flatMap((image) => [...allSubjects(image).values()]);
    const ends = new Set(subjects.flatMap(({ record }) => record.override?.until ?? []));
    if (ends.size > ABI.MAX_EXPIRIES)
      throw new EnforcerError("limit", `overrides end at ${ends.size} times; the kernel keeps ${ABI.MAX_EXPIRIES}`);
    const all = [...ends].sort((a, b) => a - b);
    if (all.join() === this.#known) return;
    this.#known = null;
    const requests = Buffer.alloc(ABI.MAX_EXPIRIES * EXPIRY_REQUEST.size);
    for (let at = 0; at < ABI.MAX_EXPIRIES; at++) {
      requests.writeBigUInt64LE(BigInt(at), at * EXPIRY_REQUEST.size + EXPIRY_REQUEST.index);
      requests.writeBigUInt64LE(BigInt(all[at] ?? 0), at * EXPIRY_REQUEST.size + EXPIRY_REQUEST.until);
    }
    const failed = kernel("Setting the ends of overrides", () =>
      this.native.runEach(programOf(this.object, SET_EXPIRY), requests, EXPIRY_REQUEST.size),
    );
    if (failed > 0) throw new EnforcerError("kernel", "this kernel refuses the timer of an override");
    this.#known = all.join();
  }
}
