/**
 * Takeover: takes over from other versions of the kernel tables that enforce here, newer or older, without a gap.
 *
 * Steps: attach ours beside the old programs (they learn), import the state of live connections, let the enforcer
 * switch its own ruleset on, verify it, and only then detach the old programs. A packet passes only if every program on
 * a cgroup lets it pass, so that the old ones keep denying until then. If the agent is killed at any step, a complete
 * ruleset is in force, and the next start of any version continues from there.
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
  /** Descriptor of the cgroups' storage. */
  readonly storageFd: number;
  readonly cgroupRoot: string;
}

export class Takeover {
  constructor(private readonly parts: TakeoverParts) {}

  others(): readonly AbiVersion[] {
    return listOthers(this.parts.folders.node);
  }

  /** Adds the left-overs of other versions as unwanted items. */
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

  /** Removes retired versions whose last cgroups are gone now. */
  forgetGone(): void {
    for (const version of this.others())
      if (version.isRetired) takeOff(this.parts.native, version, ({ cgroupId }) => cgroupId !== 0n);
  }

  /**
   * Before the switch: attaches ours beside theirs wherever theirs may be, and imports their state.
   * @returns the number of dropped flows
   * @throws the failure; then theirs stay in force
   */
  async learn(located: Located): Promise<number> {
    const inForce = this.others().filter(({ isRetired }) => !isRetired);
    if (inForce.length === 0) return 0;
    const { native, nativeDir, folders } = this.parts;
    const importers = loadImporters(native, nativeDir, folders.maps);
    try {
      this.#attach(located);
      // From now on, theirs learn nothing that ours do not.
      await native.gracePeriod().catch((error: unknown) => {
        throw asEnforcerError("Waiting for running programs to end", error);
      });
      return inForce.reduce((dropped, version) => dropped + importFrom(native, importers, version), 0);
    } finally {
      closeObject(native, importers);
    }
  }

  /** After the switch, when ours is verified: detaches the others. */
  finish(image: Image, located: Located): void {
    const { native } = this.parts;
    for (const version of this.others()) {
      const kept = this.#onlyTheirs(image, located, linksOf(native, version));
      const pins = new Set([...kept].map(pinKey));
      takeOff(native, version.isRetired ? version : retire(version), (link) => pins.has(pinKey(link)));
    }
  }

  /** Where none of our programs is in force: attaches programs that let everything pass and learn the initiators. */
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
        // A cgroup that is gone by now needs no takeover.
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
    const storage: CgroupStorage = {
      cgroup: cgroupId,
      subject: id,
      level,
      share: LEARNING_SLOT,
      areRolesKnown: false,
      isShared: false,
      born: 0,
      isHost: one.subject.isHost === true,
      sets,
    };
    // Storage from an earlier time must not decide anything once a program is attached.
    if (hasStorage) writeStorage(native, storageFd, cgroupId, storage);
    if (first !== undefined) links.place(one, first, pinned);
    if (!hasStorage) writeStorage(native, storageFd, cgroupId, storage);
    for (const hook of rest) links.place(one, hook, pinned);
  }

  /** Returns the attachments that ours cannot replace: their cgroups have no folder any more, but live sockets. */
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

/** Adds to an error that the other versions stay in force meanwhile. */
export function saying(others: readonly AbiVersion[], error: unknown): unknown {
  const versions = [...new Set(others.filter(({ isRetired }) => !isRetired).map(({ abi }) => abi))];
  if (versions.length === 0 || !(error instanceof EnforcerError)) return error;
  const message = `Version ${ABI.VERSION} of the kernel tables could not take over, and version ${versions.join(" and ")} stays in force: ${error.message}`;
  return new EnforcerError(error.code, message, { cause: error });
}
