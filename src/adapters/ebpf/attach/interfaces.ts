/**
 * Interfaces: the program that judges packets before the host's own stack answers them, at the ingress of every network interface of
 * this machine's network namespace and of those that isolated workloads have; see docs/adr/0016-host-stack.md.
 *
 * Attachments only call the program in a map. So a new build replaces it everywhere in one step, and an attachment that is left over
 * lets everything pass.
 */
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { EnforcementItem } from "../../../interfaces/enforcer.js";
import { makeFolder } from "../../system/folder.js";
import { addItem, interfaceItem } from "../items.js";
import { ABI, NAMESPACE } from "../kernel/abi.generated.js";
import { programOf, runIterator } from "../kernel/load.js";
import { kernel, type LoadedObject, type Native } from "../kernel/native.js";
import { FIND_NAMESPACES, HOST, INTERFACE } from "../kernel/programs.js";
import { hashText } from "../lower/ids.js";
import { entriesOf, withPin } from "./pins.js";
import { compareProgram, hasDecider, placeDecider } from "./program-state.js";

export interface InterfaceParts {
  readonly native: Native;
  readonly object: LoadedObject;
  /** Folder of the pins. */
  readonly folder: string;
  readonly node: string;
}

const DOING = "Attaching to network interfaces";
const DECIDER = "ztap_decider_host";
const OWN_NAMESPACE = "/proc/self/ns/net";
/** Of the filters of all nodes and versions; each has its own handle. */
const FILTER_PRIORITY = 0x7a74;

/** An interface, in a namespace that is open. */
interface Place {
  readonly namespaceFd: number;
  readonly inode: number;
  readonly index: number;
  readonly name: string;
  /** A process in the namespace; null in the agent's own. */
  readonly process: number | null;
}

export class Interfaces {
  readonly #parts: InterfaceParts;
  /** Identifies the filters of this node and version. */
  readonly #handle: number;

  constructor(parts: InterfaceParts) {
    this.#parts = parts;
    this.#handle = hashText(`${parts.node} ${ABI.VERSION}`) || 1;
  }

  /** Attaches wherever the program is missing. What fails is missing in the next observation. */
  async attach(): Promise<readonly unknown[]> {
    const { native, folder } = this.#parts;
    const kind = native.interfaceAttachment();
    if (kind === "none") return [];
    const failures: unknown[] = [];
    await this.#visit((places) => {
      if (!hasDecider(this.#parts, DECIDER, HOST)) placeDecider(this.#parts, DECIDER, HOST);
      if (kind === "link") {
        makeFolder(folder);
        this.#forgetGone();
      }
      for (const place of places) {
        try {
          if (this.#isAttached(place)) continue;
          if (kind === "link") this.#link(place);
          else this.#filter(place);
        } catch (error) {
          failures.push(error);
        }
      }
    });
    return failures;
  }

  /** Adds the items of all interfaces to `expected`, and those of the attached ones to `items`. */
  async observe(expected: Map<string, EnforcementItem>, items: Map<string, EnforcementItem>): Promise<void> {
    if (this.#parts.native.interfaceAttachment() === "none") return;
    const isPlaced = hasDecider(this.#parts, DECIDER, HOST);
    await this.#visit((places) => {
      for (const place of places) {
        const item = interfaceItem(place.inode, place.name, place.process);
        addItem(expected, item);
        if (isPlaced && this.#isAttached(place)) addItem(items, item);
      }
    });
  }

  /** Detaches everywhere. A filter in a namespace that has no isolated workload any more stays, and lets everything pass. */
  async detach(): Promise<void> {
    const { native, folder } = this.#parts;
    rmSync(folder, { recursive: true, force: true });
    if (native.interfaceAttachment() !== "filter") return;
    await this.#visit((places) => {
      for (const { namespaceFd, index } of places)
        kernel(DOING, () => native.filterDetach(namespaceFd, index, this.#handle, FILTER_PRIORITY));
    });
  }

  /** Calls with every interface, while their namespaces are open: an open one would not end. */
  async #visit(act: (places: readonly Place[]) => void): Promise<void> {
    const { native, object } = this.#parts;
    const found = await runIterator(native, object, FIND_NAMESPACES, "Looking for network namespaces");
    const spaces = new Map<number, { readonly fd: number; readonly process: number | null }>();
    try {
      const own = kernel(DOING, () => native.namespaceOpen(OWN_NAMESPACE, 0));
      spaces.set(native.namespaceInode(own), { fd: own, process: null });
      for (let at = 0; at + NAMESPACE.size <= found.length; at += NAMESPACE.size) {
        const inode = found.readUInt32LE(at + NAMESPACE.inode);
        const pid = found.readUInt32LE(at + NAMESPACE.process);
        if (spaces.has(inode)) continue;
        const fd = kernel(DOING, () => native.namespaceOpen(`/proc/${pid}/ns/net`, inode));
        if (fd >= 0) spaces.set(inode, { fd, process: pid });
      }
      act(
        [...spaces].flatMap(([inode, { fd, process }]) =>
          kernel(DOING, () => native.interfaceList(fd)).map((one) => ({ ...one, namespaceFd: fd, inode, process })),
        ),
      );
    } finally {
      for (const { fd } of spaces.values()) native.closeFd(fd);
    }
  }

  #isAttached({ namespaceFd, inode, index }: Place): boolean {
    const { native, object } = this.#parts;
    const isOurs = (id: number): boolean =>
      compareProgram(native, object, id, programOf(object, INTERFACE)) === "attached";
    if (native.interfaceAttachment() === "filter") {
      const id = kernel(DOING, () => native.filterProgram(namespaceFd, index, this.#handle, FILTER_PRIORITY));
      return id !== 0 && isOurs(id);
    }
    return this.#readPin(
      pinOf(inode, index),
      (fd) => native.linkInterface(fd) === index && isOurs(native.linkInfo(fd).programId),
    );
  }

  #link({ namespaceFd, inode, index, name }: Place): void {
    const { native, object, folder } = this.#parts;
    const pin = join(folder, pinOf(inode, index));
    const link = kernel(`${DOING} (${name})`, () =>
      native.interfaceLink(namespaceFd, index, programOf(object, INTERFACE)),
    );
    if (link < 0) return;
    try {
      rmSync(pin, { force: true });
      kernel(DOING, () => native.pin(link, pin));
    } finally {
      native.closeFd(link);
    }
  }

  #filter({ namespaceFd, index, name }: Place): void {
    const { native, object } = this.#parts;
    kernel(`${DOING} (${name})`, () =>
      native.filterAttach(namespaceFd, index, this.#handle, FILTER_PRIORITY, programOf(object, INTERFACE)),
    );
  }

  /** Removes the pins of interfaces that are gone. */
  #forgetGone(): void {
    const { native, folder } = this.#parts;
    for (const pin of entriesOf(folder))
      if (!this.#readPin(pin, (fd) => native.linkInterface(fd) !== 0)) rmSync(join(folder, pin), { force: true });
  }

  #readPin(pin: string, look: (fd: number) => boolean): boolean {
    const { native, folder } = this.#parts;
    const path = join(folder, pin);
    if (!existsSync(path)) return false;
    let result = false;
    withPin(native, path, (fd) => {
      result = look(fd);
    });
    return result;
  }
}

function pinOf(inode: number, index: number): string {
  return `${inode}-${index}`;
}
