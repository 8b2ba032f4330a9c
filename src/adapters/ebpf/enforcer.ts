/**
 * EbpfEnforcer: the Enforcer of Linux. It composes tables, storage and links in the one order that at no moment opens or
 * closes anything by mistake; see docs/adr/0002-dataplane.md.
 *
 * apply: fill the idle set and the idle halves of the cgroups' storage → switch with one store → attach new programs
 * beside the old ones → put them in place of the old → release what is no longer needed → read back. Killed before the
 * switch, the old ruleset stands as a whole; after it, the new one does for every workload that was enforced, and the
 * next apply completes it. If another version of the tables is in force, the same steps take over from it; see Takeover.
 */
import { compareItems } from "../../diff/drift.js";
import type { Ruleset } from "../../model/ruleset.js";
import {
  EnforcerError,
  type Enforcer,
  type EnforcementItem,
  type ItemSet,
  type NewbornCgroups,
  type Observation,
  type PeerKeyTable,
  type Shadow,
  type Trials,
} from "../../interfaces/enforcer.js";
import type { FlowSource } from "../../interfaces/flows.js";
import type { Logger } from "../../interfaces/system.js";
import { CONTROL } from "./kernel/abi.generated.js";
import { lockNode, requireReadable } from "./upgrade/node-lock.js";
import { Deadline } from "./maps/deadline.js";
import { Confinement } from "./maps/confinement.js";
import { memberOf, Members } from "./maps/members.js";
import { KernelPeerKeys } from "./maps/peer-keys.js";
import { KernelCounters } from "./maps/counters.js";
import { EventRing } from "./maps/event-ring.js";
import { LiveConnections } from "./maps/live-connections.js";
import { ShadowCounts } from "./maps/shadow-counts.js";
import { areFlowsExported, exportFlows } from "./upgrade/migrate-flows.js";
import { allSubjects, type Image } from "./lower/image.js";
import {
  addItem,
  addTableItems,
  confinementItem,
  controlItem,
  exportItem,
  identityItem,
  imageItems,
  isEnforced,
  isInterfaceItem,
  pinItem,
  securityItems,
} from "./items.js";
import { Links } from "./attach/links.js";
import { borrowObject, closeObject, FIRST_EPOCH, loadObject, mapOf, pinMaps, pinnedMaps } from "./kernel/load.js";
import type { Located } from "./attach/locate.js";
import { lower } from "./lower/lower.js";
import {
  defaultNativeDir,
  KernelError,
  loadNative,
  type LoadedObject,
  type Native,
  severalAsOne,
} from "./kernel/native.js";
import { DEFAULT_PIN_ROOT, findCgroupRoot, nodeFolders, requireCgroup2, type NodeFolders } from "./kernel/paths.js";
import { entriesOf } from "./attach/pins.js";
import { removeNodeFolder } from "./remove.js";
import { slotSharesOf, type SlotShares } from "./maps/slot-shares.js";
import { findEscapes, withEscapes } from "./attach/escapes.js";
import { ForeignSockets, type FindSessions } from "./attach/foreign-sockets.js";
import { Interfaces } from "./attach/interfaces.js";
import { Newborns } from "./attach/newborns.js";
import { findRootLevel } from "./attach/root-level.js";
import { Subjects, type Pinned } from "./attach/subjects.js";
import { saying, Takeover } from "./upgrade/takeover.js";
import { Expiries } from "./maps/expiries.js";
import { KernelShadow, shadowImage } from "./shadow.js";
import { KernelTrials } from "./trials.js";
import { TableSets, type SetIndex } from "./maps/table-sets.js";
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
  /** Default: there are none. */
  readonly findSessions?: FindSessions;
  /** How long a node's SYNs need no identity after its key became known. Default: half a minute. */
  readonly settleNs?: bigint;
  /** Allows only `lower` and `observe`: changes nothing, and works beside a running agent. */
  readonly readOnly?: boolean;
}

/** Of those that one message names. */
const MOST_PROBLEMS = 5;

const NO_SESSIONS: FindSessions = () => Promise.resolve(new Set());

/** What an open enforcer holds. */
interface Opened {
  readonly native: Native;
  readonly object: LoadedObject;
  readonly tables: TableSets;
  readonly trials: KernelTrials;
  readonly expiries: Expiries;
  readonly shadow: KernelShadow;
  readonly newborns: Newborns;
  readonly subjects: Subjects;
  readonly confinement: Confinement;
  readonly members: Members;
  readonly peerKeys: PeerKeyTable;
  readonly interfaces: Interfaces;
  readonly sockets: ForeignSockets;
  readonly counters: KernelCounters;
  readonly events: EventRing;
  readonly cgroups: CgroupWatch;
  readonly takeover: Takeover;
  readonly folders: NodeFolders;
  readonly cgroupRoot: string;
  /** Descriptor of the node's lock; -1 if this enforcer only reads. */
  readonly lock: number;
}

/** A ruleset in the set that is not in force. */
interface Prepared {
  readonly image: Image;
  readonly prepared: SetIndex;
  readonly shares: SlotShares;
  readonly located: Located;
  readonly pinned: Pinned;
}

/** A ruleset as the kernel holds it. */
interface Lowered {
  readonly image: Image;
  readonly items: ItemSet;
}

export class EbpfEnforcer implements Enforcer {
  readonly backend = "ebpf";
  readonly endsOverrides = true;
  readonly #options: EbpfOptions;
  readonly #lowered = new WeakMap<Ruleset, Lowered>();
  #opened: Opened | null = null;
  /** The image that this process switched to last. */
  #inForce: Image | null = null;
  /** How many newborn cgroups had found no room when it was last reported. */
  #dropped = 0n;
  /** The problems with interfaces that were reported last. */
  #unattached = "";

  constructor(options: EbpfOptions) {
    this.#options = options;
  }

  /** Null for reading only: the ring is the agent's. */
  get flowSource(): FlowSource | null {
    return this.#opened === null || this.#opened.lock < 0 ? null : this.#opened.events;
  }

  get trials(): Trials | null {
    return this.#opened === null || this.#opened.lock < 0 ? null : this.#opened.trials;
  }

  get shadow(): Shadow | null {
    return this.#opened === null || this.#opened.lock < 0 ? null : this.#opened.shadow;
  }

  get peerKeys(): PeerKeyTable | null {
    return this.#opened === null || this.#opened.lock < 0 ? null : this.#opened.peerKeys;
  }

  /** Null for reading only: others must not open anything. */
  get newborns(): NewbornCgroups | null {
    return this.#opened === null || this.#opened.lock < 0 ? null : this.#opened.newborns;
  }

  lower(ruleset: Ruleset): ItemSet {
    return this.#lower(ruleset).items;
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
      object = readOnly
        ? borrowObject(native, nativeDir, folders.maps)
        : loadObject(native, nativeDir, folders.maps, node);
      if (!readOnly) exportFlows(native, object, folders);
    } catch (error) {
      if (lock >= 0) native.closeFd(lock);
      if (error instanceof KernelError && error.log !== undefined)
        logger.debug("Output of libbpf and the verifier", { log: error.log });
      throw readOnly ? error : saying(listOthers(folders.node), error);
    }
    const links = new Links(native, object, folders.links);
    const storageFd = mapOf(object, "ztap_cgroup");
    const root = { path: cgroupRoot, level: findRootLevel(native, object, cgroupRoot) };
    const newborns = new Newborns({ native, object, folder: folders.births, cgroupRoot: root });
    const subjects = new Subjects(native, links, newborns, storageFd, root);
    const tables = new TableSets(native, object.maps);
    const events = new EventRing(native, object.maps);
    const trials = new KernelTrials(new Deadline(native, object), tables, {
      isInForce: (ruleset) => this.#inForce === this.#lower(ruleset).image,
      apply: (ruleset) => this.apply(ruleset),
      switchTo: (ruleset) => this.#put(ruleset),
      prepare: (before, inForce) => this.#prepare(before, inForce),
      observe: (ruleset) => this.observe(ruleset),
    });
    this.#opened = {
      native,
      object,
      tables,
      trials,
      shadow: new KernelShadow(new ShadowCounts(native, object), tables, new LiveConnections(native, object), events, {
        lower: (ruleset) => this.#lower(ruleset).image,
        isOnTrial: () => trials.isOnTrial(),
        prepare: (coming, inForce) => this.#prepareShadow(coming, inForce),
      }),
      expiries: new Expiries(native, object),
      newborns,
      subjects,
      interfaces: new Interfaces({ native, object, folder: folders.interfaces, node }),
      confinement: new Confinement(native, mapOf(object, "ztap_confined")),
      members: new Members(native, mapOf(object, "ztap_members")),
      peerKeys: new KernelPeerKeys(native, mapOf(object, "ztap_peers"), this.#options.settleNs),
      sockets: new ForeignSockets(native, object, this.#options.findSessions ?? NO_SESSIONS),
      counters: new KernelCounters(native, object.maps),
      events,
      cgroups: new CgroupWatch(native),
      cgroupRoot,
      takeover: new Takeover({ native, nativeDir, folders, links, storageFd, cgroupRoot }),
      folders,
      lock,
    };
    logger.debug("The eBPF dataplane is open", { pins: folders.node, cgroups: cgroupRoot });
  }

  async observe(ruleset: Ruleset): Promise<Observation> {
    const opened = this.#require();
    const { native, object, tables, trials, newborns, subjects, counters, events, cgroups, takeover, folders, lock } =
      opened;
    const { image } = this.#lower(ruleset);
    events.learn(image);
    if (lock >= 0) {
      subjects.forgetGone();
      takeover.forgetGone();
      // Counters of an earlier ruleset go once no program reads its tables.
      if (this.#inForce !== null && !trials.isRunning && tables.isSettled) counters.sweep(this.#inForce);
    }
    const located = subjects.locate(ruleset, image);
    cgroups.update(subjects.paths(ruleset));
    const active = tables.active();
    const items = new Map<string, EnforcementItem>();
    const control = native.mapGet(mapOf(object, "ztap_control"), Buffer.alloc(4));
    addItem(items, controlItem(control?.readUInt32LE(CONTROL.abi) ?? 0));
    for (const name of pinnedMaps(object, folders.maps)) addItem(items, pinItem(name));
    if (areFlowsExported(folders)) addItem(items, exportItem());
    const shares = slotSharesOf(image, counters.subjectSlots());
    subjects.observe(items, image, located, active, shares);
    newborns.observe(items, image, active, shares);
    this.#reportDropped(newborns.dropped());
    takeover.observe(items, image, located);
    const confined = opened.confinement.read(active);
    for (const [workload, { id }] of allSubjects(image)) {
      const bits = confined.get(id) ?? 0;
      if (bits !== 0) addItem(items, confinementItem(workload, bits));
    }
    const identities = opened.members.read();
    for (const [workload, subject] of allSubjects(image)) {
      const identity = identities.get(memberOf(subject));
      if (identity !== undefined) addItem(items, identityItem(workload, identity));
    }
    if (lock >= 0) await opened.sockets.scan(confined);
    const escapes = findEscapes(opened.cgroupRoot, confined, located, opened.sockets);
    const held = tables.read(active);
    addTableItems(items, "addr", held.addrs, image);
    addTableItems(items, "port", held.ports, image);
    addTableItems(items, "sender", held.identities, image);
    // The next apply writes only what differs in the other set: its record of that set is verified as well.
    tables.verify(active === 0 ? 1 : 0);
    const expected = await this.#expected(ruleset, items);
    const compared = compareItems(expected, items, located.statuses);
    return { ...compared, subjects: withEscapes(compared.subjects, escapes), escapes, ...counters.read(image) };
  }

  #reportDropped(dropped: bigint): void {
    if (dropped > this.#dropped) {
      const text = "New cgroups of workloads found no room in the kernel tables, and were closed until now";
      this.#options.logger.warn(text, { cgroups: String(dropped - this.#dropped) });
    }
    this.#dropped = dropped;
  }

  async apply(ruleset: Ruleset): Promise<Observation> {
    const { trials, lock } = this.#require();
    if (lock < 0) throw new TypeError("an enforcer that only reads cannot apply");
    // Before anything is written: the set that the kernel would return to is not whole from here on.
    trials.end();
    return this.#put(ruleset);
  }

  async #put(ruleset: Ruleset): Promise<Observation> {
    const { native, object, folders, takeover } = this.#require();
    pinMaps(native, object, folders.maps);
    if (!areFlowsExported(folders)) exportFlows(native, object, folders);
    const others = takeover.others();
    try {
      if (others.length > 0) await this.#takeOver(ruleset);
      else await this.#switchTo(ruleset);
      return await this.observe(ruleset);
    } catch (error) {
      throw saying(others, error);
    }
  }

  /**
   * Writes all that is not in force: the ruleset could be switched to.
   * @param of whose shares of slots its workloads get: both rulesets of a trial have the same ones
   */
  async #prepare(ruleset: Ruleset, of: Ruleset = ruleset): Promise<Prepared> {
    const { tables, newborns, subjects, counters, events, confinement } = this.#require();
    const image = this.#lower(ruleset).image;
    counters.prepare(image);
    events.learn(image);
    // Before they are in force, and with those that are: this process may be killed right after it.
    this.#require().expiries.set(this.#inForce === null ? [image] : [this.#inForce, image]);
    const prepared = await tables.prepare(image);
    const shares = slotSharesOf(this.#lower(of).image, counters.subjectSlots());
    confinement.prepare(image, prepared);
    newborns.prepare(image, prepared, shares);
    // As late as possible: a cgroup that appears after this is a newborn until the next apply.
    const located = subjects.locate(ruleset, image);
    const pinned = subjects.prepare(image, located, prepared, shares);
    return { image, prepared, shares, located, pinned };
  }

  /** Writes what a coming ruleset says of the workloads in force into the set that is not; nothing else of it. */
  async #prepareShadow(coming: Ruleset, inForce: Ruleset): Promise<SetIndex> {
    const { tables, newborns, subjects, counters } = this.#require();
    const image = shadowImage(this.#lower(coming).image, coming, inForce);
    const prepared = await tables.prepare(image);
    const shares = slotSharesOf(this.#lower(inForce).image, counters.subjectSlots());
    newborns.prepare(image, prepared, shares);
    subjects.prepare(image, subjects.locate(coming, image), prepared, shares);
    return prepared;
  }

  /** @returns the cgroups that the ruleset is enforced on */
  async #switchTo(ruleset: Ruleset): Promise<Located> {
    const { tables, newborns, subjects } = this.#require();
    const { image, prepared, shares, located, pinned } = await this.#prepare(ruleset);
    this.#require().members.write(image);
    tables.switch(prepared);
    this.#inForce = image;
    const failures = subjects.enforce(image, located, prepared, shares, pinned);
    newborns.finish(image);
    this.#require().confinement.finish(image);
    // Not between the switch and the attachments: a cgroup may pass from one workload to another.
    this.#require().expiries.set([image]);
    // After the switch: the kernel tells the namespaces of the workloads that are isolated now.
    if (!isEnforced(image)) await this.#require().interfaces.detach();
    else await this.#require().interfaces.visit("attach");
    await subjects.learnRoles(located);
    if (failures.length > 0) throw severalAsOne(failures);
    return located;
  }

  async #takeOver(ruleset: Ruleset): Promise<void> {
    const { subjects, takeover, tables } = this.#require();
    const image = this.#lower(ruleset).image;
    // Slow steps come first: while ours learn, they also record flows that the others refuse.
    await tables.prepare(image);
    const dropped = await takeover.learn(subjects.locate(ruleset, image));
    if (dropped > 0)
      this.#options.logger.warn(`${dropped} flows of another version of the kernel tables found no room in this one's`);
    const located = await this.#switchTo(ruleset);
    const lacking = await this.#lacking(ruleset, located);
    if (lacking !== undefined) throw new EnforcerError("kernel", `the ${lacking} is not as it was just written`);
    takeover.finish(image, located);
  }

  /** Returns the label of something that should be in force and is not; undefined if nothing is missing. */
  async #lacking(ruleset: Ruleset, located: Located): Promise<string | undefined> {
    const { missing, changed } = (await this.observe(ruleset)).difference;
    // Interfaces come at any time, and one that does not take a program must not keep the versions apart.
    // A cgroup that was removed meanwhile does not count.
    const now = this.#require().subjects.locate(ruleset, this.#lower(ruleset).image);
    const ids = new Set(now.present.map(({ cgroupId }) => cgroupId));
    const present = new Set(located.present.flatMap(({ workload, cgroupId }) => (ids.has(cgroupId) ? [workload] : [])));
    const lacking = [...missing, ...changed].map(({ wanted }) => wanted).filter((one) => !isInterfaceItem(one));
    return lacking.find(({ workload }) => workload === undefined || present.has(workload))?.label;
  }

  watch(signal: AbortSignal): AsyncIterable<void> {
    return this.#require().cgroups.events(signal);
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
    // Tables that enforce nothing would look as if they did.
    if (isIdle) removeNodeFolder(folders.node);
    if (lock >= 0) native.closeFd(lock);
  }

  /** Returns whether no workload is attached, by any version, and none was to be attached. */
  #enforcesNothing(epoch: bigint, { node }: NodeFolders): boolean {
    const isEmpty = this.#inForce === null ? epoch === FIRST_EPOCH : !isEnforced(this.#inForce);
    return isEmpty && listVersions(node).every(({ links }) => entriesOf(links).length === 0);
  }

  #require(): Opened {
    if (this.#opened === null) throw new TypeError("the enforcer is not open");
    return this.#opened;
  }

  /** Returns the items of the ruleset, and those that depend on the machine; adds what is attached of these to `items`. */
  async #expected(ruleset: Ruleset, items: Map<string, EnforcementItem>): Promise<ItemSet> {
    const { object, interfaces, lock } = this.#require();
    const lowered = this.#lower(ruleset);
    if (!isEnforced(lowered.image)) return lowered.items;
    const security = securityItems(lowered.image, object.programs);
    // Who only reads may be in another network namespace than the agent.
    if (lock < 0) return new Map([...lowered.items, ...security]);
    // Interfaces come and go without being drift: they are attached to when they are looked at.
    const isInForce = this.#inForce !== null && isEnforced(this.#inForce);
    const { wanted, attached, problems } = await interfaces.visit(isInForce ? "attach" : "look");
    for (const item of attached) addItem(items, item);
    this.#reportUnattached(problems);
    return new Map([...lowered.items, ...security, ...wanted.map((item) => [item.key, item] as const)]);
  }

  #reportUnattached(problems: readonly string[]): void {
    const text = problems.slice(0, MOST_PROBLEMS).join("; ");
    if (text !== "" && text !== this.#unattached)
      this.#options.logger.warn("ICMP errors, resets and echo replies are not judged at every interface", {
        problems: text,
        count: problems.length,
      });
    this.#unattached = text;
  }

  /** Rulesets are immutable: each is lowered once. */
  #lower(ruleset: Ruleset): Lowered {
    let lowered = this.#lowered.get(ruleset);
    if (lowered === undefined) {
      const image = lower(ruleset, this.#opened?.native.taiOffset());
      lowered = { image, items: imageItems(image) };
      this.#lowered.set(ruleset, lowered);
    }
    return lowered;
  }
}
