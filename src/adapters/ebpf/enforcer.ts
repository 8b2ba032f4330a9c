/**
 * EbpfEnforcer: the Enforcer of Linux. It composes tables, storage and links in the one order that
 * never opens and never shuts; see docs/adr/0002-dataplane.md.
 *
 * apply: fill the idle set and the idle halves of the cgroups' storage → switch with one store →
 * attach what is new beside what is there → put it in its place → release what is gone. Killed before the switch the old ruleset stands whole;
 * after it the new one does for every workload that was enforced, and the next apply completes it.
 * Where another version of the tables is in force, the same steps take over from it; see Takeover.
 */
import { diffKeyed } from "../../diff/keyed.js";
import type { Ruleset } from "../../model/ruleset.js";
import {
  EnforcerError,
  type Enforcer,
  type EnforcementItem,
  type ItemSet,
  type Observation,
} from "../../interfaces/enforcer.js";
import type { FlowSource } from "../../interfaces/flows.js";
import type { Logger } from "../../interfaces/system.js";
import { CONTROL } from "./kernel/abi.generated.js";
import { lockNode, requireReadable } from "./upgrade/node-lock.js";
import { KernelCounters } from "./maps/counters.js";
import { EventRing } from "./maps/event-ring.js";
import { areFlowsExported, exportFlows } from "./upgrade/migrate-flows.js";
import type { Image } from "./lower/image.js";
import { addItem, addTableItems, controlItem, exportItem, imageItems, pinItem } from "./items.js";
import { Links } from "./attach/links.js";
import { borrowObject, closeObject, FIRST_EPOCH, loadObject, pinMaps, pinnedMaps } from "./kernel/load.js";
import type { Located } from "./attach/locate.js";
import { lower } from "./lower/lower.js";
import {
  asEnforcerError,
  defaultNativeDir,
  KernelError,
  loadNative,
  type LoadedObject,
  type Native,
} from "./kernel/native.js";
import { DEFAULT_PIN_ROOT, findCgroupRoot, nodeFolders, requireCgroup2, type NodeFolders } from "./kernel/paths.js";
import { entriesOf } from "./attach/pins.js";
import { removeNodeFolder } from "./remove.js";
import { slotSharesOf } from "./maps/slot-shares.js";
import { Subjects } from "./attach/subjects.js";
import { saying, Takeover } from "./upgrade/takeover.js";
import { TableSets } from "./maps/table-sets.js";
import { listOthers, listVersions } from "./upgrade/versions.js";
import { CgroupWatch } from "./attach/cgroup-watch.js";

export interface EbpfOptions {
  /** The node whose rulesets these are; its pins stand apart from those of other nodes. */
  readonly node: string;
  readonly logger: Logger;
  /** Default: /sys/fs/bpf/ztap. Must be on a BPF file system. */
  readonly pinRoot?: string;
  /** Default: where cgroup v2 is mounted. */
  readonly cgroupRoot?: string;
  /** Holds ztap.node and ztap.bpf.o. */
  readonly nativeDir?: string;
  /** Only `lower` and `observe`: changes nothing, and does not mind an agent that runs. */
  readonly readOnly?: boolean;
}

/** What an open enforcer holds. */
interface Opened {
  readonly native: Native;
  readonly object: LoadedObject;
  readonly tables: TableSets;
  readonly subjects: Subjects;
  readonly counters: KernelCounters;
  readonly events: EventRing;
  readonly takeover: Takeover;
  readonly folders: NodeFolders;
  /** Holds the node's lock; -1 where this enforcer only looks. */
  readonly lock: number;
}

export class EbpfEnforcer implements Enforcer {
  readonly backend = "ebpf";
  readonly #options: EbpfOptions;
  readonly #images = new WeakMap<Ruleset, Image>();
  readonly #cgroups = new CgroupWatch();
  #opened: Opened | null = null;
  /** What this process switched to last. */
  #inForce: Image | null = null;

  constructor(options: EbpfOptions) {
    this.#options = options;
  }

  /** One that only looks leaves the ring to the agent. */
  get flowSource(): FlowSource | null {
    return this.#opened === null || this.#opened.lock < 0 ? null : this.#opened.events;
  }

  lower(ruleset: Ruleset): ItemSet {
    return imageItems(this.#image(ruleset));
  }

  async open(): Promise<void> {
    if (this.#opened !== null) throw new TypeError("the enforcer is open already");
    const {
      node,
      logger,
      pinRoot = DEFAULT_PIN_ROOT,
      nativeDir = defaultNativeDir(),
      readOnly = false,
    } = this.#options;
    const native = loadNative(nativeDir);
    const cgroupRoot = requireCgroup2(this.#options.cgroupRoot ?? findCgroupRoot());
    const folders = nodeFolders(pinRoot, node);
    const lock = readOnly ? -1 : lockNode(native, pinRoot, folders);
    let object: LoadedObject;
    try {
      if (readOnly) requireReadable(native, pinRoot, folders);
      object = (readOnly ? borrowObject : loadObject)(native, nativeDir, folders.maps);
      if (!readOnly) exportFlows(native, object, folders);
    } catch (error) {
      if (lock >= 0) native.closeFd(lock);
      if (error instanceof KernelError && error.log !== undefined)
        logger.debug("What libbpf and the verifier said", { log: error.log });
      throw readOnly ? error : saying(listOthers(folders.node), error);
    }
    const links = new Links(native, object, folders.links);
    const storageFd = mapOf(object, "ztap_cgroup");
    const subjects = new Subjects(native, links, storageFd, cgroupRoot);
    this.#opened = {
      native,
      object,
      tables: new TableSets(native, object.maps),
      subjects,
      counters: new KernelCounters(native, object.maps),
      events: new EventRing(native, object.maps),
      takeover: new Takeover({ native, nativeDir, folders, links, storageFd, cgroupRoot }),
      folders,
      lock,
    };
    logger.debug("The eBPF dataplane is open", { pins: folders.node, cgroups: cgroupRoot });
  }

  async observe(ruleset: Ruleset): Promise<Observation> {
    const { native, object, tables, subjects, counters, events, takeover, folders, lock } = this.#require();
    const image = this.#image(ruleset);
    events.learn(image);
    if (lock >= 0) {
      subjects.forgetGone();
      takeover.forgetGone();
      // Counters of an earlier ruleset go once no program reads its tables.
      if (this.#inForce !== null && tables.isSettled) counters.sweep(this.#inForce);
    }
    const located = subjects.locate(ruleset, image);
    this.#cgroups.update(subjects.paths(ruleset));
    const active = tables.active();
    const items = new Map<string, EnforcementItem>();
    const control = native.mapGet(mapOf(object, "ztap_control"), Buffer.alloc(4));
    addItem(items, controlItem(control?.readUInt32LE(CONTROL.abi) ?? 0));
    for (const name of pinnedMaps(object, folders.maps)) addItem(items, pinItem(name));
    if (areFlowsExported(folders)) addItem(items, exportItem());
    subjects.observe(items, image, located, active, slotSharesOf(image, counters.subjectSlots()));
    takeover.observe(items, image, located);
    const held = tables.read(active);
    addTableItems(items, "addr", held.addrs, image);
    addTableItems(items, "port", held.ports, image);
    // What the next apply would trust of the other set is looked at as well, so that it never builds on sand.
    tables.verify(active === 0 ? 1 : 0);
    return { items, subjects: located.statuses, ...counters.read(image) };
  }

  async apply(ruleset: Ruleset): Promise<void> {
    const { native, object, folders, takeover, lock } = this.#require();
    if (lock < 0) throw new TypeError("an enforcer that only looks cannot apply");
    pinMaps(native, object, folders.maps);
    if (!areFlowsExported(folders)) exportFlows(native, object, folders);
    const others = takeover.others();
    try {
      if (others.length > 0) await this.#takeOver(ruleset);
      else await this.#switchTo(ruleset);
    } catch (error) {
      throw saying(others, error);
    }
  }

  /** @returns the cgroups that the ruleset is enforced on */
  async #switchTo(ruleset: Ruleset): Promise<Located> {
    const { tables, subjects, counters, events } = this.#require();
    const image = this.#image(ruleset);
    counters.prepare(image);
    events.learn(image);
    const prepared = await tables.prepare(image);
    // Cgroups are looked for as late as possible; one that appears after this is Pending until the next apply.
    const located = subjects.locate(ruleset, image);
    const shares = slotSharesOf(image, counters.subjectSlots());
    const pinned = subjects.prepare(image, located, prepared, shares);
    tables.switch(prepared);
    this.#inForce = image;
    const failures = subjects.enforce(image, located, prepared, shares, pinned);
    if (failures.length > 0) throw severalAsOne(failures);
    return located;
  }

  async #takeOver(ruleset: Ruleset): Promise<void> {
    const { subjects, takeover, tables } = this.#require();
    const image = this.#image(ruleset);
    // What may take long comes first: while ours learn, they write flows of what the others refuse as well.
    await tables.prepare(image);
    const dropped = await takeover.learn(subjects.locate(ruleset, image));
    if (dropped > 0)
      this.#options.logger.warn(`${dropped} flows of another version of the kernel tables found no room in this one's`);
    const located = await this.#switchTo(ruleset);
    const lacking = await this.#lacking(ruleset, located);
    if (lacking !== undefined) throw new EnforcerError("kernel", `the ${lacking} is not what was just written`);
    takeover.finish(image, located);
  }

  /** What the kernel does not hold of the ruleset, of all that it can; undefined where it is whole. */
  async #lacking(ruleset: Ruleset, located: Located): Promise<string | undefined> {
    const { items } = await this.observe(ruleset);
    // A cgroup that went meanwhile is not held against it.
    const now = this.#require().subjects.locate(ruleset, this.#image(ruleset));
    const ids = new Set(now.present.map(({ cgroupId }) => cgroupId));
    const present = new Set(located.present.flatMap(({ workload, cgroupId }) => (ids.has(cgroupId) ? [workload] : [])));
    const { missing, changed } = diffKeyed(this.lower(ruleset), items, (a, b) => a.value === b.value);
    const lacking = [...missing, ...changed].map(({ wanted }) => wanted);
    return lacking.find(({ workload }) => workload === undefined || present.has(workload))?.label;
  }

  watch(signal: AbortSignal): AsyncIterable<void> {
    return this.#cgroups.events(signal);
  }

  async close(): Promise<void> {
    if (this.#opened === null) return;
    const { native, object, tables, folders, lock } = this.#opened;
    this.#opened = null;
    await tables
      .settled()
      .catch((error: unknown) => this.#options.logger.warn("Waiting for programs failed", { error: String(error) }));
    const isIdle = lock >= 0 && this.#enforcesNothing(tables.epoch(), folders);
    closeObject(native, object);
    // Tables by which nothing is enforced would look as if something were.
    if (isIdle) removeNodeFolder(folders.node);
    if (lock >= 0) native.closeFd(lock);
  }

  /** No workload is attached, of whatever version, and there is none to attach: nothing was put in force, or nothing of a workload. */
  #enforcesNothing(epoch: bigint, { node }: NodeFolders): boolean {
    const isEmpty = this.#inForce === null ? epoch === FIRST_EPOCH : this.#inForce.subjects.size === 0;
    return isEmpty && listVersions(node).every(({ links }) => entriesOf(links).length === 0);
  }

  #require(): Opened {
    if (this.#opened === null) throw new TypeError("the enforcer is not open");
    return this.#opened;
  }

  /** Rulesets are immutable: one is lowered once. */
  #image(ruleset: Ruleset): Image {
    let image = this.#images.get(ruleset);
    if (image === undefined) {
      image = lower(ruleset);
      this.#images.set(ruleset, image);
    }
    return image;
  }
}

function mapOf(object: LoadedObject, name: string): number {
  const fd = object.maps[name];
  if (fd === undefined) throw new TypeError(`the object has no map ${name}`);
  return fd;
}

function severalAsOne(failures: readonly unknown[]): unknown {
  const [first] = failures;
  const error = asEnforcerError("Attaching", first);
  if (failures.length === 1 || !(error instanceof EnforcerError)) return error;
  return new EnforcerError(error.code, `${error.message} (and ${failures.length - 1} more workloads)`, {
    cause: first,
  });
}
