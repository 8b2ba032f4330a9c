/**
 * Takeover: from whatever other versions of the kernel tables enforce here, newer or older, without a gap.
 *
 * Programs of ours are put beside theirs and learn; what theirs know of living conversations is added; then the
 * enforcer switches its own ruleset on, and only when that is seen to be whole are the others taken off. Every program
 * on a cgroup must let a packet pass, so until then theirs refuse what they always refused. Killed at any step, a whole
 * ruleset is in force, and the next start of any version goes on from what it finds.
 */
import { EnforcerError, type EnforcementItem } from "../../../interfaces/enforcer.js";
import { ABI } from "../kernel/abi.generated.js";
import { cgroupPaths } from "../attach/cgroups.js";
import { importFrom } from "./migrate-flows.js";
import type { Image } from "../lower/image.js";
import { addItem, previousVersionItem, versionItem } from "../items.js";
import { HOOKS } from "../kernel/programs.js";
import type { Links } from "../attach/links.js";
import { closeObject, loadImporters } from "../kernel/load.js";
import type { Located, Present } from "../attach/locate.js";
import { OPEN_RECORD } from "../lower/image.js";
import { asEnforcerError, kernel, type Native } from "../kernel/native.js";
import type { NodeFolders } from "../kernel/paths.js";
import type { Link } from "../attach/pins.js";
import { LEARNING_SLOT } from "../maps/slot-shares.js";
import { isLearning, readStorage, writeStorage, type CgroupStorage } from "../maps/cgroup-storage.js";
import { linksOf, listOthers, retire, takeOff, type AbiVersion } from "./versions.js";

export interface TakeoverParts {
  readonly native: Native;
  readonly nativeDir: string;
  readonly folders: NodeFolders;
  readonly links: Links;
  /** The cgroups' storage. */
  readonly storageFd: number;
  readonly cgroupRoot: string;
}

export class Takeover {
  constructor(private readonly parts: TakeoverParts) {}

  others(): readonly AbiVersion[] {
    return listOthers(this.parts.folders.node);
  }

  /** What is there of other versions and should not be, as items that nobody wants. */
  observe(items: Map<string, EnforcementItem>, image: Image, located: Located): void {
    for (const version of this.others()) {
      const links = linksOf(this.parts.native, version);
      const kept = this.#onlyTheirs(image, located, links);
      for (const link of links) {
        if (link.cgroupId === 0n || kept.has(link)) continue;
        addItem(items, previousVersionItem(link.workload, link.pin, version.name, version.abi));
      }
      if (!version.isRetired) addItem(items, versionItem(version.name, version.abi));
    }
  }

  /** Lets go of retired versions whose last cgroups are gone now. */
  forgetGone(): void {
    for (const version of this.others())
      if (version.isRetired) takeOff(this.parts.native, version, ({ cgroupId }) => cgroupId !== 0n);
  }

  /**
   * Before the switch: ours stand beside theirs wherever theirs may be, and know what theirs know.
   * @returns flows for which there was no room
   * @throws what stands in the way; then theirs go on
   */
  async learn(located: Located): Promise<number> {
    const inForce = this.others().filter(({ isRetired }) => !isRetired);
    if (inForce.length === 0) return 0;
    const { native, nativeDir, folders } = this.parts;
    const importers = loadImporters(native, nativeDir, folders.maps);
    try {
      this.#attach(located);
      // From then on nothing is learned by theirs alone.
      await native.gracePeriod().catch((error: unknown) => {
        throw asEnforcerError("Waiting for running programs to end", error);
      });
      return inForce.reduce((dropped, version) => dropped + importFrom(native, importers, version), 0);
    } finally {
      closeObject(native, importers);
    }
  }

  /** After the switch, when ours is known to be whole: takes the others off. */
  finish(image: Image, located: Located): void {
    const { native } = this.parts;
    for (const version of this.others()) {
      const kept = this.#onlyTheirs(image, located, linksOf(native, version));
      const pins = new Set([...kept].map(pinKey));
      takeOff(native, version.isRetired ? version : retire(version), (link) => pins.has(pinKey(link)));
    }
  }

  /** Where nothing of ours is in force: programs that let everything pass and learn who asks. */
  #attach(located: Located): void {
    const { native, links, storageFd } = this.parts;
    const pinned = links.list();
    const attached = new Set([...pinned.values()].flat().map(({ cgroupId }) => cgroupId));
    for (const one of located.present) {
      const held = readStorage(native, storageFd, one.cgroupId);
      const isInForce = held !== null && held.subject !== 0 && !isLearning(held);
      if (isInForce && attached.has(one.cgroupId)) continue;
      try {
        this.#attachTo(one, pinned.get(one.workload) ?? [], held !== null);
      } catch (error) {
        // A cgroup that is gone by now needs nobody to take over.
        const id = kernel("Looking for the cgroup", () => native.cgroupId(`${one.path}/.`));
        if (id === one.cgroupId) throw error;
      }
    }
  }

  #attachTo(one: Present, pinned: readonly Link[], hasStorage: boolean): void {
    const { native, links, storageFd } = this.parts;
    const { cgroupId, id, level } = one;
    const [first, ...rest] = HOOKS;
    const sets = [OPEN_RECORD, OPEN_RECORD] as const;
    const storage: CgroupStorage = { cgroup: cgroupId, subject: id, level, share: LEARNING_SLOT, sets };
    // What an earlier time left there must not decide anything once a program is attached.
    if (hasStorage) writeStorage(native, storageFd, cgroupId, storage);
    if (first !== undefined) links.place(one, first, pinned);
    if (!hasStorage) writeStorage(native, storageFd, cgroupId, storage);
    for (const hook of rest) links.place(one, hook, pinned);
  }

  /** The attachments that nothing of ours can take the place of: their cgroups have no folder any more, and sockets live. */
  #onlyTheirs(image: Image, located: Located, links: readonly Link[]): ReadonlySet<Link> {
    const { native, cgroupRoot } = this.parts;
    const present = new Set(located.present.map(({ workload }) => workload));
    const places = new Set(located.present.map(({ cgroupId }) => cgroupId));
    const elsewhere = links.filter(
      ({ workload, cgroupId }) => cgroupId !== 0n && !places.has(cgroupId) && image.subjects.has(workload),
    );
    const paths = cgroupPaths(native, cgroupRoot, new Set(elsewhere.map(({ cgroupId }) => cgroupId)));
    return new Set(elsewhere.filter(({ workload, cgroupId }) => !present.has(workload) || !paths.has(cgroupId)));
  }
}

function pinKey({ workload, pin }: Link): string {
  return `${workload}/${pin}`;
}

/** Says of what went wrong that the others stay in force meanwhile. */
export function saying(others: readonly AbiVersion[], error: unknown): unknown {
  const versions = [...new Set(others.filter(({ isRetired }) => !isRetired).map(({ abi }) => abi))];
  if (versions.length === 0 || !(error instanceof EnforcerError)) return error;
  const message = `Version ${ABI.VERSION} of the kernel tables could not take over, and version ${versions.join(" and ")} stays in force: ${error.message}`;
  return new EnforcerError(error.code, message, { cause: error });
}
