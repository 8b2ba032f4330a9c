/**
 * Interfaces: the programs that judge what the host's own stack delivers and answers, at every network interface of this machine's
 * network namespace and of those that isolated workloads have; see docs/adr/0016-host-stack.md.
 *
 * Attachments only call the programs in a map. So a new build replaces them everywhere in one step, and an attachment that is left over
 * lets everything pass.
 */
import { rmSync, statSync } from "node:fs";
import type { EnforcementItem } from "../../../interfaces/enforcer.js";
import { makeFolder } from "../../system/folder.js";
import { interfaceItem } from "../items.js";
import { ABI, NAMESPACE } from "../kernel/abi.generated.js";
import { programOf, runIterator } from "../kernel/load.js";
import { asEnforcerError, type LoadedObject, type Native, type NamespaceVisit } from "../kernel/native.js";
import { FIND_NAMESPACES, HOST, INTERFACE } from "../kernel/programs.js";
import { hashText } from "../lower/ids.js";
import { hasDecider, placeDecider } from "./program-state.js";

export interface InterfaceParts {
  readonly native: Native;
  readonly object: LoadedObject;
  /** Folder of the pins. */
  readonly folder: string;
  readonly node: string;
}

/** The items of all interfaces that can be attached to, and those that are attached. */
export interface AttachedInterfaces {
  readonly wanted: readonly EnforcementItem[];
  readonly attached: readonly EnforcementItem[];
  /** What could not be attached to, or looked at, in words. */
  readonly problems: readonly string[];
}

const DECIDER = "ztap_decider_host";
const OWN_NAMESPACE = "/proc/self/ns/net";
/** Of the filters of all nodes and versions; each has its own handle. */
const FILTER_PRIORITY = 1;
/** Users make namespaces as they like: of one workload so many are looked at. */
const MOST_OF_USERS = 32;
const NOTHING: AttachedInterfaces = { wanted: [], attached: [], problems: [] };

interface Space {
  readonly path: string;
  readonly inode: number;
  /** A process in it; null for the agent's own. */
  readonly process: number | null;
}

export class Interfaces {
  readonly #parts: InterfaceParts;
  readonly #how: Omit<NamespaceVisit, "does">;

  constructor(parts: InterfaceParts) {
    this.#parts = parts;
    const { native, object, folder, node } = parts;
    const programs = [programOf(object, INTERFACE[0]), programOf(object, INTERFACE[1])] as const;
    const handle = hashText(`${node} ${ABI.VERSION}`) || 1;
    const isLink = native.interfaceAttachment() === "link";
    this.#how = { isLink, programs, folder, handle, priority: FILTER_PRIORITY };
  }

  /** Looks at every interface; attaches wherever a program is missing, if so told. */
  async visit(does: "look" | "attach"): Promise<AttachedInterfaces> {
    const { native, folder } = this.#parts;
    if (native.interfaceAttachment() === "none") return NOTHING;
    const isPlaced = (): boolean => HOST.every((program, slot) => hasDecider(this.#parts, DECIDER, program, slot));
    if (does === "attach") {
      if (!isPlaced()) HOST.forEach((program, slot) => placeDecider(this.#parts, DECIDER, program, slot));
      if (this.#how.isLink) {
        makeFolder(folder);
        await native.interfaceSweep(folder);
      }
    }
    return this.#visitAll(does, isPlaced());
  }

  async #visitAll(does: "look" | "attach", isPlaced: boolean): Promise<AttachedInterfaces> {
    const [wanted, attached, problems]: [EnforcementItem[], EnforcementItem[], string[]] = [[], [], []];
    for (const { path, inode, process } of await this.#spaces()) {
      try {
        const found = await this.#parts.native.namespaceVisit(path, inode, { ...this.#how, does });
        for (const { name, isAttached, problem } of found?.interfaces ?? []) {
          const item = interfaceItem(found?.inode ?? inode, name, process);
          // What cannot be mended is no drift: policy itself is enforced all the same.
          if (problem === "") wanted.push(item);
          else problems.push(`${item.label}: ${problem}`);
          if (problem === "" && isAttached && isPlaced) attached.push(item);
        }
      } catch (error) {
        problems.push(String(asEnforcerError("Attaching to network interfaces", error)));
      }
    }
    return { wanted, attached, problems };
  }

  /** Detaches everywhere. A filter in a namespace that has no isolated workload any more stays, and lets everything pass. */
  async detach(): Promise<void> {
    const { native, folder } = this.#parts;
    rmSync(folder, { recursive: true, force: true });
    if (native.interfaceAttachment() !== "filter") return;
    for (const { path, inode } of await this.#spaces())
      await native.namespaceVisit(path, inode, { ...this.#how, does: "detach" });
  }

  async #spaces(): Promise<readonly Space[]> {
    const { native, object } = this.#parts;
    const found = await runIterator(native, object, FIND_NAMESPACES, "Looking for network namespaces");
    const spaces = new Map<number, Space>();
    const ofUsers = new Map<number, number>();
    for (let at = 0; at + NAMESPACE.size <= found.length; at += NAMESPACE.size) {
      const inode = found.readUInt32LE(at + NAMESPACE.inode);
      const thread = found.readUInt32LE(at + NAMESPACE.thread);
      if (spaces.has(inode)) continue;
      if (found.readUInt32LE(at + NAMESPACE.isUsers) !== 0) {
        const subject = found.readUInt32LE(at + NAMESPACE.subject);
        const count = (ofUsers.get(subject) ?? 0) + 1;
        if (count > MOST_OF_USERS) continue;
        ofUsers.set(subject, count);
      }
      spaces.set(inode, { path: `/proc/${thread}/ns/net`, inode, process: thread });
    }
    // Last, and once: workloads mostly are in the agent's own.
    const own = { path: OWN_NAMESPACE, inode: statSync(OWN_NAMESPACE).ino, process: null };
    return [...[...spaces.values()].filter(({ inode }) => inode !== own.inode), own];
  }
}
