/**
 * Deadline: a timer of the kernel that puts the table set before in force again, also without this process; see
 * docs/adr/0024-commit-confirmed.md.
 */
import { EnforcerError } from "../../../interfaces/enforcer.js";
import { DEADLINE, DEADLINE_REQUEST } from "../kernel/abi.generated.js";
import { mapOf, programOf } from "../kernel/load.js";
import { kernel, type LoadedObject, type Native } from "../kernel/native.js";
import { SET_DEADLINE } from "../kernel/programs.js";

const NS_PER_MS = 1_000_000n;

export class Deadline {
  constructor(
    private readonly native: Native,
    private readonly object: LoadedObject,
  ) {}

  /**
   * The kernel ends the epoch after this time, unless another is in force by then. Replaces an earlier deadline.
   * @throws EnforcerError
   */
  set(epoch: bigint, ms: number): void {
    this.#request(epoch, BigInt(Math.max(1, Math.ceil(ms))) * NS_PER_MS);
  }

  /** Once this returns, the kernel ends no epoch. @throws EnforcerError */
  end(): void {
    this.#request(0n, 0n);
  }

  /** Whether this epoch is to end; ends of overrides, which add two, do not count. */
  isFor(epoch: bigint): boolean {
    const ended = this.#read(DEADLINE.epoch);
    return ended !== 0n && epoch >= ended && ((epoch - ended) & 1n) === 0n;
  }

  /** How often the kernel has ended an epoch by itself. */
  returned(): bigint {
    return this.#read(DEADLINE.returned);
  }

  #read(offset: number): bigint {
    const value = kernel("Reading the deadline", () =>
      this.native.mapGet(mapOf(this.object, "ztap_deadline"), Buffer.alloc(4)),
    );
    return value?.readBigUInt64LE(offset) ?? 0n;
  }

  #request(epoch: bigint, after: bigint): void {
    const record = Buffer.alloc(DEADLINE_REQUEST.size);
    record.writeBigUInt64LE(epoch, DEADLINE_REQUEST.epoch);
    record.writeBigUInt64LE(after, DEADLINE_REQUEST.after);
    const failed = kernel("Setting the deadline", () =>
      this.native.runEach(programOf(this.object, SET_DEADLINE), record, record.length),
    );
    if (failed > 0) throw new EnforcerError("kernel", "this kernel refuses the timer of an unconfirmed revision");
  }
}
