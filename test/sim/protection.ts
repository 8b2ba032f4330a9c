/**
 * What must hold of one machine, as a packet sees it, told without the follower's code:
 *  - it enforces one content, whole, and never one that was not committed;
 *  - it never goes back to an older revision, and a workload that was protected stays so;
 *  - its disk keeps only what was in force, and a start brings that back;
 *  - what is damaged or new is protected again within a bounded time, also while the store is away;
 *  - nothing is written where nothing differs, and a status says what is so.
 */
import type { Clause, Subject } from "../../src/model/ruleset.js";
import type { NodeStatus } from "../../src/model/status.js";
import type { EnforcementItem, ItemSet } from "../../src/interfaces/enforcer.js";
import { contentOfPort, type Content } from "./content.js";
import type { SimMachine } from "./machine.js";
import type { SimServer } from "./server.js";
import type { World } from "./world.js";

/** What was really committed. */
export interface Truth {
  readonly server: SimServer;
  readonly contents: readonly Content[];
}

/** The interval of 10 s with its jitter, and three questions to a store that does not answer: an agent has mended its machine by then. */
const HEALS_WITHIN_MS = 21_000;

export class Protection {
  /** The revision that is enforced at least: nothing older may come after it. */
  #level = 0;
  /** Workloads that a packet finds protected. */
  #protected: ReadonlySet<string> = new Set();
  /** Somebody wrote past the enforcer, and it is not mended yet. */
  #isTampered = false;
  /** Something happened to the machine since its agent last read it. */
  #isDisturbed = false;
  /** Since when something of the level's revision is missing; null where nothing is. */
  #lacksSince: number | null = null;

  constructor(
    private readonly world: World,
    private readonly machine: SimMachine,
    private readonly truth: Truth,
  ) {}

  rebooted(): void {
    this.#protected = new Set();
    this.#isTampered = false;
    this.#isDisturbed = true;
    this.#level = this.machine.disk.state?.revision.number ?? 0;
  }

  tampered(): void {
    this.#isTampered = true;
    this.#isDisturbed = true;
  }

  /** A workload has another cgroup, or none: it begins anew. */
  moved(workload: string): void {
    this.#protected = new Set([...this.#protected].filter((name) => name !== workload));
    this.#isDisturbed = true;
  }

  /** The agent reads the machine now. */
  observed(): void {
    this.#isDisturbed = false;
  }

  /** What is protected, and by which content; null for one that is none, or a mixture. */
  read(): ReadonlyMap<string, number | null> {
    const { items } = this.machine;
    const found = new Map<string, number | null>();
    for (const { key, workload } of items.values()) {
      if (workload === undefined || key !== `link/${workload}`) continue;
      const record = items.get(`subject/${workload}`);
      if (record === undefined) continue;
      const { ingress } = JSON.parse(record.value) as Subject;
      const contents = contentsOf(items.get(`profile/${ingress.profile ?? ""}`));
      found.set(workload, contents.length === 1 && ingress.mode === "enforce" ? (contents[0] ?? null) : null);
    }
    return found;
  }

  /** What is missing for the machine to enforce this content; null where it does. */
  lacks(content: number | null): string | null {
    const found = this.read();
    for (const workload of this.#workloadsOf(content)) {
      const is = found.get(workload);
      if (is === undefined && this.#canBeProtected(workload)) return `${workload} is open`;
      if (is !== undefined && is !== content) return `${workload} is under content ${is ?? "?"}`;
    }
    for (const workload of found.keys())
      if (!this.#workloadsOf(content).includes(workload)) return `${workload} is still protected`;
    return null;
  }

  /** After each write of an enforcer. */
  look(): void {
    const { disk, node } = this.machine;
    const found = this.read();
    const contents = [...new Set(found.values())];
    const [content = null] = contents;
    if (this.#isTampered) {
      if (contents.length !== 1 || this.lacks(content) !== null) return;
      this.#isTampered = false;
      this.#protected = new Set();
    }
    if (contents.length > 1) return this.world.fail(node, `enforces contents ${contents.join(" and ")} at once`);
    // Where nothing was protected, what the disk holds is more than nothing.
    if (this.#protected.size === 0) this.#level = Math.min(this.#level, disk.state?.revision.number ?? 0);
    if (contents.length === 1) this.#raise(content);
    for (const workload of this.#protected)
      if (!found.has(workload) && !this.#isReleased(workload, contents))
        this.world.fail(node, `${workload} lost its protection`);
    this.#protected = new Set(found.keys());
  }

  /** An enforcer begins to write. */
  checkNeeded(wanted: ItemSet): void {
    const { items, absent, node } = this.machine;
    const present = [...wanted.values()].filter(({ workload }) => !absent.has(workload ?? ""));
    if (present.length === items.size && present.every(({ key, value }) => items.get(key)?.value === value))
      this.world.fail(node, "is written to, and nothing differs");
  }

  /** An agent asks the store for the first time: its last good state is in force by then. */
  checkRestored(): void {
    const { disk, isFaulty, items, node } = this.machine;
    const number = disk.state?.revision.number;
    if (number === undefined || isFaulty || this.#isTampered || this.#isDisturbed) return;
    const content = this.#contentOf(number);
    const found = this.read();
    const open = this.#workloadsOf(content).filter(
      (workload) => !found.has(workload) && this.#canBeProtected(workload),
    );
    // Where programs are attached, what the kernel holds may be newer than the disk, and stays; unless it is the same.
    const isAttached = [...items.values()].some(({ type }) => type === "link");
    const isSame = found.size > 0 && [...found.values()].every((one) => one === content);
    if (open.length > 0 && (isSame || !isAttached))
      this.world.fail(node, `starts without its last good revision ${number}`);
  }

  /** A state is kept for a start without the store. */
  checkKept(revision: number): void {
    if (this.#isTampered || this.#isDisturbed) return;
    const lack = this.lacks(this.#contentOf(revision));
    if (lack !== null)
      this.world.fail(this.machine.node, `keeps revision ${revision} as its last good one, and ${lack}`);
  }

  /** @param unhinderedSince since when the agent runs and nothing keeps it from its work; null where something does */
  checkHealed(unhinderedSince: number | null): void {
    const { now } = this.world.time;
    const lack = this.#level === 0 ? null : this.lacks(this.#contentOf(this.#level));
    if (lack === null) this.#lacksSince = null;
    else this.#lacksSince ??= now;
    if (unhinderedSince === null || this.#lacksSince === null) return;
    const forMs = now - Math.max(this.#lacksSince, unhinderedSince);
    if (forMs > HEALS_WITHIN_MS)
      this.world.fail(this.machine.node, `is not mended for ${Math.round(forMs / 1000)} s: ${lack ?? ""}`);
  }

  checkStatus({ state, enforcedRevision, subjects }: NodeStatus): void {
    if (this.#isDisturbed) return;
    const { node } = this.machine;
    const found = this.read();
    for (const subject of subjects)
      if (subject.state === "Enforced" && !found.has(subject.workload))
        this.world.fail(node, `says that ${subject.workload} is enforced, and it is open`);
    if (state !== "InSync" || enforcedRevision === null) return;
    const lack = this.lacks(this.#contentOf(enforcedRevision));
    if (lack !== null) this.world.fail(node, `says that it enforces revision ${enforcedRevision}, and ${lack}`);
  }

  /** Whether the process that runs now could know what is enforced, without the store. */
  get isOnDisk(): boolean {
    return this.machine.disk.state?.revision.number === this.#level;
  }

  #canBeProtected(workload: string): boolean {
    return !this.machine.absent.has(workload) && !this.machine.refused.has(workload);
  }

  #contentOf(revision: number): number | null {
    return this.truth.server.committed[revision - 1]?.content ?? null;
  }

  #workloadsOf(content: number | null): readonly string[] {
    return (content === null ? undefined : this.truth.contents[content])?.workloads.get(this.machine.node) ?? [];
  }

  /** Whether the content in force has no such workload; where nothing is in force that tells, whether some later one has none. */
  #isReleased(workload: string, contents: readonly (number | null)[]): boolean {
    const possible =
      contents.length > 0 ? contents : this.truth.server.committed.slice(this.#level - 1).map(({ content }) => content);
    return possible.some((content) => !this.#workloadsOf(content).includes(workload));
  }

  #raise(content: number | null): void {
    const { committed } = this.truth.server;
    const { node } = this.machine;
    const revision = committed.findIndex((known, index) => index + 1 >= this.#level && known.content === content) + 1;
    if (revision > this.#level) this.world.note(node, `enforces revision ${revision}, content ${content ?? "?"}`);
    if (revision > 0) this.#level = revision;
    else if (committed.some((known) => known.content === content))
      this.world.fail(node, `went back from revision ${this.#level} to content ${content ?? "?"}`);
    else this.world.fail(node, `enforces content ${content ?? "?"}, which was never committed`);
  }
}

/** The contents that the rules of a profile are of. */
function contentsOf(profile: EnforcementItem | undefined): readonly (number | null)[] {
  const clauses = profile === undefined ? [] : (JSON.parse(profile.value) as readonly Clause[]);
  const contents = clauses.flatMap(({ ports }) =>
    ports === "any" ? [null] : ports.map(({ first }) => contentOfPort(first)),
  );
  return [...new Set(contents)];
}
