/**
 * The interface of native/addon, typed, with its errors as EnforcerErrors.
 *
 * Everything is a file descriptor, a buffer or a number; the addon makes no policy decisions. The caller owns a file
 * descriptor that it got, and closes it with `closeFd`.
 */
import { createRequire } from "node:module";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { EnforcerError, type EnforcerErrorCode } from "../../../interfaces/enforcer.js";

/** An attachment for all cgroups, at the cgroup root. */
export type RootHook = Hook | "setsockopt" | "sock_ops";

export type Hook = "bind4" | "bind6" | "connect4" | "connect6" | "sendmsg4" | "sendmsg6" | "ingress" | "egress";

export interface LoadedObject {
  readonly maps: Readonly<Record<string, number>>;
  readonly programs: Readonly<Record<string, number>>;
}

export interface MapInfo {
  readonly id: number;
  readonly type: number;
  readonly name: string;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
}

export interface MapContents {
  readonly count: number;
  readonly keys: Buffer;
  readonly values: Buffer;
}

export interface ProgramInfo {
  readonly id: number;
  readonly tag: string;
  readonly name: string;
  readonly mapIds: readonly number[];
}

export interface LinkInfo {
  readonly id: number;
  readonly programId: number;
  /** 0: detached, or its cgroup is gone. */
  readonly cgroupId: bigint;
  /** A Hook, or empty for a link of another type. */
  readonly hook: string;
}

/** Opaque to JavaScript. */
export interface RingHandle {
  readonly ring: never;
}

/** Opaque to JavaScript. */
export interface WatchHandle {
  readonly watch: never;
}

export type InterfaceAttachment = "link" | "filter" | "none";

export interface NamespaceVisit {
  /** `detach` is for filters: links end with their pins. */
  readonly does: "look" | "attach" | "detach";
  readonly isLink: boolean;
  /** Descriptors of the programs at ingress and egress. */
  readonly programs: readonly [ingress: number, egress: number];
  /** Of the pins. */
  readonly folder: string;
  /** They identify filters. */
  readonly handle: number;
  readonly priority: number;
}

export interface VisitedNamespace {
  readonly inode: number;
  readonly interfaces: readonly {
    readonly name: string;
    readonly isAttached: boolean;
    /** Why attaching failed; empty if it did not. */
    readonly problem: string;
  }[];
}

export interface KernelFeature {
  readonly name: string;
  /** The first release of Linux that has it. */
  readonly since: string;
  /** The build option of the kernel that enables it. */
  readonly option: string;
  readonly present: boolean;
}

export interface Native {
  loadObject(
    file: string,
    pinFolder: string,
    programs: readonly string[],
    withoutMaps: readonly string[],
  ): LoadedObject;
  /** Returns whether this kernel takes programs at its security functions. */
  takesSecurityPrograms(): boolean;
  programInfo(fd: number): ProgramInfo;
  programById(id: number): number;
  testRun(fd: number, packet: Buffer, cb: readonly number[], repeat: number): { returned: number; durationNs: number };
  /** Several runs in one call; native/addon/object.cc describes the layout of `steps` and of the result. */
  testRunBatch(fds: readonly number[], packets: Buffer, steps: Buffer): Buffer;
  mapInfo(fd: number): MapInfo;
  /** Returns every entry of a hash, array or trie; for a per-CPU map the values of all CPUs, in sequence. */
  mapRead(fd: number): MapContents;
  /** In a per-CPU map every CPU gets the value. */
  mapWrite(fd: number, keys: Buffer, values: Buffer): void;
  /** Missing entries are skipped. */
  mapDelete(fd: number, keys: Buffer): void;
  mapGet(fd: number, key: Buffer): Buffer | null;
  /** Returns the values of keys that all exist, in sequence; for a per-CPU map those of all CPUs for each key. */
  mapGetMany(fd: number, keys: Buffer): Buffer;
  mapSet(fd: number, key: Buffer, value: Buffer): void;
  wordLoad(fd: number, offset: number): bigint;
  wordStore(fd: number, offset: number, value: bigint): void;
  /** Adds one, and returns the new value. */
  wordIncrement(fd: number, offset: number): bigint;
  /** Seconds by which the kernel's CLOCK_TAI is ahead of UTC. */
  taiOffset(): number;
  linkCreate(programFd: number, cgroupPath: string, hook: RootHook): number;
  linkInfo(fd: number): LinkInfo;
  /** Creates a link that runs the program at its tracepoint. */
  tracepointOpen(programFd: number): number;
  /** Creates a link that runs the iterator on every read; over the map, unless `mapFd` is -1. */
  iterCreate(programFd: number, mapFd: number): number;
  /** Runs the iterator once, on a thread of its own, and returns its output; the link must stay open until then. */
  iterRun(linkFd: number): Promise<Buffer>;
  /** Returns the output of one run of the iterator. */
  iterRead(linkFd: number): Buffer;
  /**
   * Runs a syscall program once for each record.
   * @returns the number of runs with a return value other than 0
   */
  runEach(fd: number, records: Buffer, size: number): number;
  /** Tries what an attachment to an interface is here: a link from Linux 6.6 on, before that a filter. */
  interfaceAttachment(): InterfaceAttachment;
  /**
   * Visits the interfaces of a network namespace, on a thread of its own.
   * @param inode the namespace must have; 0: any
   * @returns null if it is gone, or another one
   */
  namespaceVisit(path: string, inode: number, how: NamespaceVisit): Promise<VisitedNamespace | null>;
  /**
   * Returns the sockets that listen in a network namespace, without those of loopback addresses, with the ids of their
   * cgroups; null if the namespace is gone. Runs on a thread of its own.
   */
  listening(
    namespace: string,
  ): Promise<readonly { readonly protocol: number; readonly port: number; readonly cgroup: bigint }[] | null>;
  /** Removes the pins of interfaces that are gone. */
  interfaceSweep(folder: string): Promise<void>;
  linkUpdate(linkFd: number, programFd: number): void;
  linkDetach(fd: number): void;
  pin(fd: number, path: string): void;
  /** Returns -1 if there is no pin. */
  openPin(path: string): number;
  attached(cgroupPath: string, hook: Hook): number[];
  /** Returns null if there is no such folder. */
  cgroupId(path: string): bigint | null;
  /**
   * Looks a cgroup up without walking the hierarchy.
   * @returns its path; empty if it is longer than PATH_MAX; null if the cgroup was removed
   */
  cgroupById(root: string, id: bigint): string | null;
  /** Resolves when every program that was running has ended. */
  gracePeriod(): Promise<void>;
  /**
   * Calls with each batch of records, in sequence, one batch at a time: the next comes after `ringTaken`. It sleeps
   * while there is none, and does not keep the process alive.
   */
  ringOpen(mapFd: number, onBatch: (records: Buffer) => void): RingHandle;
  ringTaken(ring: RingHandle): void;
  /** No batch comes after this. */
  ringClose(ring: RingHandle): void;
  /**
   * Calls when an entry of a watched folder was made or removed, or when a network interface or an address of one changed, at
   * most once in 20 ms, however often that happens. Does not keep the process alive.
   */
  watchOpen(onChange: () => void): WatchHandle;
  /** Returns the watch's descriptor: the same for the same folder, another one if the folder was made again. */
  watchAdd(watch: WatchHandle, folder: string): number;
  watchRemove(watch: WatchHandle, descriptor: number): void;
  /** No call comes after this. */
  watchClose(watch: WatchHandle): void;
  /** Returns the nanoseconds from CLOCK_MONOTONIC to CLOCK_REALTIME. */
  realTimeOffset(): bigint;
  isBpffs(path: string): boolean;
  /** Returns a descriptor that holds the lock while it is open, or -1 if another process holds it. */
  lockFolder(path: string): number;
  mountBpffs(path: string): void;
  capabilities(): bigint;
  closeFd(fd: number): void;
  libbpfVersion(): string;
  /** Returns each kernel feature that the programs and maps rely on. */
  kernelFeatures(): readonly KernelFeature[];
}

/** Returns dist/native, beside dist/src (compiled) or beside the bundle's folder (dist/cli). */
export function defaultNativeDir(): string {
  const here = dirname(fileURLToPath(import.meta.url));
  const compiled = join(here, "../../../../native");
  const candidates = [compiled, join(here, "../native"), join(here, "../../native")];
  return candidates.find((folder) => existsSync(join(folder, "ztap.bpf.o"))) ?? compiled;
}

/**
 * Loads the addon.
 * @throws EnforcerError `unsupported` if the addon was not built or a library that it needs is missing.
 */
export function loadNative(nativeDir: string = defaultNativeDir()): Native {
  // A package for several machines has an addon for each.
  const own = join(nativeDir, `ztap-${process.arch}.node`);
  const file = existsSync(own) ? own : join(nativeDir, "ztap.node");
  try {
    // The one place where the addon's type is asserted: its functions are checked to exist.
    const addon: unknown = createRequire(import.meta.url)(file);
    if (!isNative(addon)) throw new Error("it lacks functions that this version of ztap needs");
    return addon;
  } catch (cause) {
    throw new EnforcerError(
      "unsupported",
      `Cannot load the eBPF addon ${file}: ${cause instanceof Error ? cause.message : String(cause)}. ` +
        `Build it with "make -C native", and install libbpf1.`,
      { cause },
    );
  }
}

function isNative(addon: unknown): addon is Native {
  const needed = [
    "loadObject",
    "lockFolder",
    "mapRead",
    "linkCreate",
    "iterCreate",
    "gracePeriod",
    "ringOpen",
    "watchOpen",
    "cgroupById",
    "interfaceAttachment",
    "listening",
    "closeFd",
    "libbpfVersion",
    "kernelFeatures",
  ];
  return (
    typeof addon === "object" &&
    addon !== null &&
    needed.every((name) => typeof Reflect.get(addon, name) === "function")
  );
}

/** An error of the addon. */
export interface NativeFailure extends Error {
  readonly code: string;
  readonly syscall: string;
  /** The whole log of libbpf and the verifier. */
  readonly log?: string;
}

export function isNativeFailure(error: unknown): error is NativeFailure {
  return error instanceof Error && typeof Reflect.get(error, "syscall") === "string" && "code" in error;
}

/** An EnforcerError that keeps the verifier's whole log for debugging; its last lines are in the message. */
export class KernelError extends EnforcerError {
  constructor(
    code: EnforcerErrorCode,
    message: string,
    readonly log: string | undefined,
    options?: ErrorOptions,
  ) {
    super(code, message, options);
  }
}

const LOG_LINES = 8;

/** Runs `act`; turns a failure of the kernel into an EnforcerError that names the action. */
export function kernel<T>(doing: string, act: () => T): T {
  try {
    return act();
  } catch (error) {
    throw asEnforcerError(doing, error);
  }
}

export function asEnforcerError(doing: string, error: unknown): unknown {
  if (!isNativeFailure(error)) return error;
  const lines = error.log?.trimEnd().split("\n").slice(-LOG_LINES).join("\n");
  const message = `${doing}: ${error.message}${lines === undefined ? "" : `\n${lines}`}`;
  return new KernelError(codeOf(error), message, error.log, { cause: error });
}

function codeOf(error: NativeFailure): EnforcerErrorCode {
  if (error.code === "EPERM" || error.code === "EACCES") {
    // The verifier answers EACCES for a program that it refuses, and then its log has the reason.
    return error.log?.includes("processed ") ? "verifier" : "not-permitted";
  }
  if (error.log?.includes("BEGIN PROG LOAD LOG")) return "verifier";
  if (error.code === "ENOSPC" || error.code === "E2BIG" || error.code === "ENOMEM") return "limit";
  if (error.code === "ENOSYS" || error.code === "EOPNOTSUPP" || error.code === "ENOTSUP") return "unsupported";
  return "kernel";
}

/** Of several failures of workloads, the first, and how many more there are. */
export function severalAsOne(failures: readonly unknown[]): unknown {
  const [first] = failures;
  const error = asEnforcerError("Attaching", first);
  if (failures.length === 1 || !(error instanceof EnforcerError)) return error;
  return new EnforcerError(error.code, `${error.message} (and ${failures.length - 1} more workloads)`, {
    cause: first,
  });
}
