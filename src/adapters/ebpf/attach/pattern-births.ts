/**
 * Pattern births: cgroups that only a pattern tells get a record at mkdir; see docs/adr/0019-newborn-patterns.md. What a pattern
 * names gets the policy of its workload; what looks like a container is closed until the agent knows whose it is.
 */
import type { EnforcementItem } from "../../../interfaces/enforcer.js";
import { addItem, patternItem, patternValue, subjectValue } from "../items.js";
import { ABI, ADOPTED, PATTERN_COUNT } from "../kernel/abi.generated.js";
import { kernel, type LoadedObject, type Native } from "../kernel/native.js";
import { mapOf, programOf } from "../kernel/load.js";
import { RELEASE, SET_PATTERNS } from "../kernel/programs.js";
import { OPEN_RECORD, type Image, type ImageTemplate } from "../lower/image.js";
import { sameStorage, withSet, type CgroupStorage } from "../maps/cgroup-storage.js";
import { NewbornPatterns, patternIdentity, type HeldPattern } from "../maps/newborn-patterns.js";
import { NO_SLOT, type SlotShares } from "../maps/slot-shares.js";
import type { SetIndex } from "../maps/table-sets.js";

/** A wanted pattern in the place that it has, or gets. */
interface Placed {
  readonly key: number;
  readonly node: number;
  readonly rank: number;
  readonly template: ImageTemplate;
}

export class PatternBirths {
  readonly #patterns: NewbornPatterns;

  constructor(
    private readonly native: Native,
    private readonly object: LoadedObject,
  ) {
    this.#patterns = new NewbornPatterns(native, {
      patterns: mapOf(object, "ztap_patterns"),
      parts: mapOf(object, "ztap_parts"),
      containers: mapOf(object, "ztap_containers"),
      living: mapOf(object, "ztap_living"),
    });
  }

  /** Returns the nodes that patterns have. */
  nodes(): readonly number[] {
    return this.#patterns.patterns().map(({ node }) => node);
  }

  /** Returns the node of newborn containers; null if they are not closed. */
  nodeOfContainers(): number | null {
    return this.#patterns.patterns().find(({ pattern }) => pattern === null)?.node ?? null;
  }

  /**
   * Before the switch: writes the patterns of the image, and the half that is not in force of each record. Patterns that are no
   * longer wanted stay until `finish`.
   * @param firstNode nodes from it on are free
   */
  prepare(image: Image, idle: SetIndex, shares: SlotShares, firstNode: number): void {
    const held = this.#patterns.patterns();
    const placed = place(image, held, firstNode);
    const before = new Map(held.map((one) => [one.key, one]));
    for (const { key, node, rank, template } of placed) {
      const known = before.get(key);
      const { id, record, pattern } = template;
      const fresh: CgroupStorage = {
        cgroup: 0n,
        subject: id,
        level: 0,
        share: NO_SLOT,
        areRolesKnown: true,
        isShared: true,
        isHost: false,
        born: 0,
        // In the half that is in force, nothing tells yet what it may: the tables of the next ruleset do.
        sets: [closed(record), closed(record)],
      };
      const base = known?.record.subject === id ? known.record : fresh;
      const next = {
        ...withSet(base, idle, record),
        share: shares.get(id) ?? NO_SLOT,
        areRolesKnown: true,
        isShared: true,
        isHost: false,
      };
      if (known?.rank !== rank || !sameStorage(known.record, next))
        this.#patterns.write({ key, node, rank, pattern, record: next });
    }
    const wanted = new Set(placed.map(({ key }) => key));
    for (const one of held.filter(({ key }) => !wanted.has(key)))
      this.#patterns.write({ ...one, record: { ...withSet(one.record, idle, OPEN_RECORD), share: NO_SLOT } });
    this.#count([...wanted, ...before.keys()]);
  }

  /** After the switch: takes away the patterns that are no longer wanted. */
  finish(image: Image): void {
    const held = this.#patterns.patterns();
    const wanted = new Set(place(image, held, 0).map(({ key }) => key));
    const gone = held.filter(({ key }) => !wanted.has(key));
    if (gone.length === 0) return;
    for (const one of gone) this.#patterns.delete(one);
    this.#count([...wanted]);
  }

  observe(items: Map<string, EnforcementItem>, image: Image, active: SetIndex, shares: SlotShares): void {
    const templates = [...image.templates];
    for (const { pattern, record, rank } of this.#patterns.patterns()) {
      const identity = patternIdentity(pattern);
      const found = templates.findIndex(
        ([, one]) => patternIdentity(one.pattern) === identity && one.id === record.subject,
      );
      const [workload, template] = templates[found] ?? [`unknown pattern ${identity}`, null];
      const isRight =
        template !== null &&
        rank === found &&
        record.areRolesKnown &&
        record.isShared &&
        record.share.slot === (shares.get(template.id) ?? NO_SLOT).slot;
      const value = subjectValue(record.subject, record.sets[active]) + (isRight ? "" : " misplaced");
      const one = template ?? { ...UNKNOWN, pattern };
      addItem(items, patternItem(workload, patternValue({ pattern }, value), one));
    }
  }

  /** Returns the IDs of the containers that are closed until they are identified, by cgroup id. */
  containers(): ReadonlyMap<bigint, string> {
    return this.#patterns.containers();
  }

  /** Opens a newborn cgroup that is no workload's, unless it was removed: sockets in it may live. */
  release(cgroupId: bigint): void {
    const record = Buffer.alloc(ADOPTED.size);
    record.writeBigUInt64LE(cgroupId, ADOPTED.cgroup);
    this.#run(RELEASE, record);
  }

  /** Tells the program at mkdir how many keys to look at. */
  #count(keys: readonly number[]): void {
    const numbers = keys.filter((key) => key !== ABI.PATTERN_CONTAINERS);
    const count = Buffer.alloc(PATTERN_COUNT.size);
    count.writeUInt32LE(Math.max(-1, ...numbers) + 1, PATTERN_COUNT.patterns);
    count.writeUInt32LE(keys.length > numbers.length ? 1 : 0, PATTERN_COUNT.containers);
    this.#run(SET_PATTERNS, count);
  }

  #run(program: string, record: Buffer): void {
    const { native, object } = this;
    kernel(`Running ${program}`, () => native.runEach(programOf(object, program), record, record.length));
  }
}

const OPEN_DIRECTION = { mode: "open", profile: null, policies: [] } as const;

const UNKNOWN: Omit<ImageTemplate, "pattern"> = {
  subject: { workload: "", cgroup: null, addresses: [], ingress: OPEN_DIRECTION, egress: OPEN_DIRECTION },
  id: 0,
  record: OPEN_RECORD,
  confinement: 0,
  born: 0,
  identity: 0,
};

/** Returns where each template of an image is: where its pattern is already, else at a free key, with a new node. */
function place(image: Image, held: readonly HeldPattern[], firstNode: number): readonly Placed[] {
  const known = new Map(held.map((one) => [`${patternIdentity(one.pattern)} ${one.record.subject}`, one]));
  const used = new Set(held.map(({ key }) => key));
  let [nextKey, nextNode] = [0, firstNode];
  const free = (pattern: ImageTemplate["pattern"]): number => {
    if (pattern === null) return ABI.PATTERN_CONTAINERS;
    while (used.has(nextKey)) nextKey += 1;
    used.add(nextKey);
    return nextKey;
  };
  return [...image.templates.values()].map((template, rank) => {
    const one = known.get(`${patternIdentity(template.pattern)} ${template.id}`);
    return { key: one?.key ?? free(template.pattern), node: one?.node ?? nextNode++, rank, template };
  });
}

/** A record that isolates, by a profile that has no entries yet. */
function closed(record: CgroupStorage["sets"][number]): CgroupStorage["sets"][number] {
  return { ...record, hasOwnSources: false };
}
