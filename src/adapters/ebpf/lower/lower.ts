/**
 * Lower: turns a ruleset into an image. Pure, deterministic, and limited by the capacity of the ABI.
 *
 * For each profile the prefixes of its clauses are walked from wide to narrow; the clauses that match inside a prefix
 * are its class. The clauses of a class then become port entries that do not overlap: the first clause gets the port. A
 * ruleset beyond the capacity is refused before anything is built.
 */
import type {
  Clause,
  IsolationMode,
  Profile,
  Rule,
  Ruleset,
  Subject,
  SubjectDirection,
} from "../../../model/ruleset.js";
import { workloadOf } from "../../../model/endpoints.js";
import { synIdentityOf } from "../../../model/syn-identity.js";
import { ABI } from "../kernel/abi.generated.js";
import { hexByte, parsePrefix, type Prefix } from "./prefix.js";
import { EVERY_PREFIX, type WalkedProfiles } from "./prefix-classes.js";
import { walkSenders } from "./sender-classes.js";
import type { Coverage } from "./coverage.js";
import { hashNumber, hashText, Ids } from "./ids.js";
import {
  CONTAINERS,
  isIsolatedHost,
  type Image,
  type ImageSubject,
  type ImageTemplate,
  type MapEntries,
} from "./image.js";
import { confinementOf } from "./confinement.js";
import { requireRoom } from "./capacity.js";
import { ChunkedMap } from "./chunked-map.js";
import { guardAddresses } from "./guarded-addresses.js";
import { listOwnAddresses, withBirths } from "./own-addresses.js";
import { portEntries } from "./port-entries.js";

/** @param taiOffset seconds by which the CLOCK_TAI of the kernel is ahead of UTC */
export function lower(ruleset: Ruleset, taiOffset = 0): Image {
  const walked = requireRoom(ruleset);
  const lowered = joinProfiles(ruleset.profiles, walked) ?? lowerTogether(ruleset.profiles, walked);
  const { ports, profiles, classes, rules, profileIds, identities } = lowered;
  const { subjects, templates } = lowerSubjects(ruleset, profileIds, taiOffset);
  const own = ownAddresses(ruleset, new Map([...templates, ...subjects]), profileIds);
  const addrs = new ChunkedMap([...lowered.addrs, own]);
  return {
    addrs,
    ports: new ChunkedMap(ports),
    identities: new ChunkedMap(identities),
    profiles,
    classes,
    rules,
    subjects,
    templates,
  };
}

/** The table entries of profiles. */
interface Lowered {
  readonly addrs: readonly MapEntries[];
  readonly ports: readonly MapEntries[];
  readonly identities: readonly MapEntries[];
  readonly profiles: ReadonlyMap<number, Profile>;
  readonly classes: Image["classes"];
  readonly rules: ReadonlyMap<number, Rule>;
  /** By key. */
  readonly profileIds: ReadonlyMap<string, number>;
}

function lowerTogether(all: readonly Profile[], walked: WalkedProfiles): Lowered {
  const build = new Build();
  const profileIds = new Map(all.map((profile) => [profile.key, build.addProfile(profile, walked)]));
  const { addrs, ports, identities, profiles, classes, rules } = build;
  return { addrs: [addrs], ports: [ports], identities: [identities], profiles, classes, rules, profileIds };
}

const loweredAlone = new WeakMap<Profile, Lowered>();

/** Lowers one profile. Profiles are immutable, so that each is lowered once. */
function lowerAlone(profile: Profile, walked: WalkedProfiles): Lowered {
  const lowered = loweredAlone.get(profile) ?? lowerTogether([profile], walked);
  loweredAlone.set(profile, lowered);
  return lowered;
}

/**
 * Returns the result of `lowerTogether`, from profiles that were lowered separately; null if two profiles use one id
 * for different things, which happens to two hashes in some hundred thousand.
 */
function joinProfiles(all: readonly Profile[], walked: WalkedProfiles): Lowered | null {
  const alone = all.map((profile) => lowerAlone(profile, walked));
  const [profiles, classes, rules] = [
    new ChunkedMap(alone.map((one) => one.profiles)),
    new ChunkedMap(alone.map((one) => one.classes)),
    new ChunkedMap(alone.map((one) => one.rules)),
  ];
  if (repeated(profiles).length > 0 || repeated(classes).length > 0) return null;
  // A rule of several profiles is one rule, and has one id.
  for (const id of repeated(rules)) {
    const keys = rules.chunks.flatMap((part) => part.get(id)?.key ?? []);
    if (new Set(keys).size > 1) return null;
  }
  return {
    addrs: alone.flatMap((one) => one.addrs),
    ports: alone.flatMap((one) => one.ports),
    identities: alone.flatMap((one) => one.identities),
    profiles,
    classes,
    rules,
    profileIds: new Map(alone.flatMap((one) => [...one.profileIds])),
  };
}

/**
 * Returns ids that occur in more than one chunk. Uses an array of numbers: some ten thousand of them are checked at
 * each change.
 */
function repeated<V>({ chunks: parts, size }: ChunkedMap<number, V>): readonly number[] {
  const ids = new Uint32Array(size);
  let at = 0;
  for (const part of parts) for (const id of part.keys()) ids[at++] = id;
  ids.sort();
  const found: number[] = [];
  for (at = 1; at < ids.length; at++) {
    const id = ids[at];
    if (id !== undefined && id === ids[at - 1]) found.push(id);
  }
  return found;
}

const MODES: Readonly<Record<IsolationMode, number>> = {
  open: ABI.MODE_OPEN,
  enforce: ABI.MODE_ENFORCE,
  audit: ABI.MODE_AUDIT,
};

function lowerSubjects(
  ruleset: Ruleset,
  profileIds: ReadonlyMap<string, number>,
  taiOffset: number,
): Pick<Image, "subjects" | "templates"> {
  const ids = new Ids(4);
  const idOf = (key: string): number => {
    const id = profileIds.get(key);
    if (id === undefined) throw new TypeError(`the ruleset has no profile ${key}`);
    return id;
  };
  const profileOf = ({ profile }: SubjectDirection): number => (profile === null ? 0 : idOf(profile));
  const profiles = new Map(ruleset.profiles.map((profile) => [profile.key, profile]));
  const lowerSubject = (subject: Subject, id: number): ImageSubject => {
    const record = {
      ingressProfile: profileOf(subject.ingress),
      egressProfile: profileOf(subject.egress),
      ingressMode: MODES[subject.ingress.mode],
      egressMode: MODES[subject.egress.mode],
      identityProfile: subject.identity === undefined ? 0 : idOf(subject.identity),
      // The host uses every address of the machine, also those that workloads declare.
      hasOwnSources: subject.isHost !== true,
      asksIdentity: profiles.get(subject.ingress.profile ?? "")?.clauses.some(({ senders }) => senders) === true,
      override:
        subject.override === undefined ? null : { ...subject.override, until: subject.override.until + taiOffset },
    };
    const identity = ruleset.hasSynIdentity === true ? synIdentityOf(workloadOf(subject.workload)) : 0;
    const confinement = subject.isHost === true ? 0 : confinementOf(subject, profiles);
    return { subject, id, record, confinement, identity, born: 0 };
  };
  const alone = new Map<string, ImageSubject>();
  for (const subject of ruleset.subjects) {
    // Every subject takes an id, so that a workload's id does not depend on whether another has a cgroup.
    const id = ids.take(hashText(subject.workload));
    if (subject.cgroup !== null || isIsolatedHost(subject)) alone.set(subject.workload, lowerSubject(subject, id));
  }
  // After the subjects, whose ids another version must find.
  const templates = new Map<string, ImageTemplate>();
  for (const { subject, pattern } of ruleset.births?.templates ?? [])
    templates.set(subject.workload, { ...lowerSubject(subject, ids.take(hashText(subject.workload))), pattern });
  if (ruleset.births?.closesContainers === true)
    templates.set(CONTAINERS, closedTemplate(ids.take(hashText(CONTAINERS)), profileIds));
  const born = ({ template }: Subject): number => templates.get(template ?? "")?.id ?? 0;
  const subjects = new Map(
    [...alone].map(([workload, one]) => [workload, { ...one, born: born(one.subject) }] as const),
  );
  return { subjects, templates };
}

/** Nothing is allowed by a profile without entries. */
function closedTemplate(id: number, profileIds: ReadonlyMap<string, number>): ImageTemplate {
  const taken = new Set(profileIds.values());
  let profile = MOST_PROFILE;
  while (taken.has(profile)) profile -= 4;
  const closed = { mode: "enforce", profile: null, policies: [] } as const;
  return {
    subject: { workload: CONTAINERS, cgroup: null, addresses: [], ingress: closed, egress: closed },
    id,
    record: {
      ingressProfile: profile,
      egressProfile: profile,
      ingressMode: ABI.MODE_ENFORCE,
      egressMode: ABI.MODE_ENFORCE,
      identityProfile: 0,
      hasOwnSources: false,
      asksIdentity: false,
      override: null,
    },
    // The runtime prepares the container in it, by sockets of any kind.
    confinement: 0,
    born: 0,
    identity: 0,
    pattern: null,
  };
}

function littleEndian(value: number): string {
  return hexByte(value) + hexByte(value >>> 8) + hexByte(value >>> 16) + hexByte(value >>> 24);
}

/** struct ztap_addr_key */
function addrKey(profileId: number, prefix: Prefix): string {
  const scope = profileId | (prefix.family === 6 ? 1 : 0);
  return littleEndian(ABI.ADDR_SCOPE_BITS + prefix.length) + littleEndian(scope) + prefix.address;
}

/** struct ztap_identity_key */
function identityKey(profileId: number, identity: number, { family, address }: Prefix): string {
  const number = family === 6 ? ABI.FAMILY_IPV6 : ABI.FAMILY_IPV4;
  const rest = littleEndian(profileId) + littleEndian(identity) + littleEndian(number) + address;
  return littleEndian(ABI.IDENTITY_BITS) + rest;
}

/** struct ztap_port_key */
function portKey(classId: number, protocol: number, port: number, bits: number): string {
  return littleEndian(bits) + littleEndian(classId) + "00" + hexByte(protocol) + hexByte(port >>> 8) + hexByte(port);
}

/** Returns an id that is no profile's: both are scopes of the address table. */
function takeGuard(ids: Ids, name: string, profileIds: ReadonlyMap<string, number>): number {
  const taken = new Set(profileIds.values());
  let id = ids.take(hashText(`guard ${name}`)) + PROFILE_BIT;
  while (taken.has(id)) id = ids.take(id) + PROFILE_BIT;
  return id;
}

/** The entry of one profile of a guard: its place in the list, as an IPv4 address. */
function guardKey(guard: number, at: number): string {
  const place = hexByte(at >>> 24) + hexByte(at >>> 16) + hexByte(at >>> 8) + hexByte(at);
  const address = place.padEnd(FULL_ADDRESS_DIGITS, "0");
  return addrKey(guard, { family: 4, address, length: IPV4_BITS });
}

/** Returns the entries of the node's declared addresses, and of the addresses that each workload may use as its own. */
function ownAddresses(
  ruleset: Ruleset,
  subjects: ReadonlyMap<string, ImageSubject>,
  profileIds: ReadonlyMap<string, number>,
): MapEntries {
  const table = new Map<string, number>();
  const guards = guardAddresses({ subjects: withBirths(ruleset) });
  const ids = new Ids(4);
  const known = new Map<string, number>();
  const all = withBirths(ruleset);
  for (const address of new Set(all.flatMap(({ addresses }) => addresses))) {
    const profiles = guards.get(address);
    const name = profiles?.join("|") ?? "";
    let guard = profiles === undefined ? ABI.DECLARED_ADDRESS : known.get(name);
    if (guard === undefined) {
      guard = takeGuard(ids, name, profileIds);
      known.set(name, guard);
      profiles?.forEach((key, at) => {
        const id = profileIds.get(key);
        if (id !== undefined) table.set(guardKey(guard ?? 0, at), id);
      });
    }
    table.set(addrKey(ABI.SCOPE_NODE, parsePrefix(address)), guard);
  }
  for (const [workload, { declared, hasUndeclared }] of listOwnAddresses(all)) {
    const id = subjects.get(workload)?.id;
    if (id === undefined) continue;
    // The longest prefix decides: a declared address needs no look-up in the scope of the node.
    for (const prefix of hasUndeclared ? EVERY_PREFIX : []) table.set(addrKey(id, prefix), ABI.ANY_ADDRESS);
    for (const address of declared) table.set(addrKey(id, parsePrefix(address)), ABI.SELF_ADDRESS);
  }
  return table;
}

/** The largest id of a profile. */
const MOST_PROFILE = 0xfffffffe;

/** Distinguishes a profile's scope from a subject's in the address table. */
const PROFILE_BIT = 2;

const FULL_ADDRESS_DIGITS = 32;
const IPV4_BITS = 32;

class Build {
  readonly addrs = new Map<string, number>();
  readonly ports = new Map<string, number>();
  readonly identities = new Map<string, number>();
  readonly profiles = new Map<number, Profile>();
  readonly classes = new Map<number, { profile: Profile; clauses: readonly number[] }>();
  readonly rules = new Map<number, Rule>();
  readonly #profileIds = new Ids(4);
  readonly #classIds = new Ids(1);
  readonly #ruleIds = new Ids(1, ABI.RULE_NONE);
  readonly #ruleIdByKey = new Map<string, number>();

  addProfile(profile: Profile, walked: WalkedProfiles): number {
    const id = this.#profileIds.take(hashText(profile.key)) + PROFILE_BIT;
    this.profiles.set(id, profile);
    const clauseHashes = hashClauses(profile);
    const classIds = new Map<string, number>();
    const classOf = (clauses: readonly number[], coverage: () => Coverage): number => {
      const key = clauses.join();
      const classId = classIds.get(key) ?? this.#addClass(profile, clauses, coverage(), clauseHashes, id);
      classIds.set(key, classId);
      return classId;
    };
    for (const { prefix, clauses, coverage } of walked.take(profile))
      this.addrs.set(addrKey(id, prefix), classOf(clauses, coverage));
    for (const { address, identity, clauses, coverage } of walkSenders(profile, { runs: 0 }))
      this.identities.set(identityKey(id, identity, address), classOf(clauses, coverage));
    return id;
  }

  #addClass(
    profile: Profile,
    clauses: readonly number[],
    coverage: Coverage,
    hashes: readonly number[],
    profileId: number,
  ): number {
    let hash = profileId;
    for (const clause of clauses) hash = hashNumber(hash, hashes[clause] ?? 0);
    const id = this.#classIds.take(hash);
    this.classes.set(id, { profile, clauses });
    for (const entry of portEntries(profile, coverage)) {
      const rule = entry.rule === null ? ABI.RULE_NONE : this.#ruleId(profile, entry.rule);
      const value = entry.isDenied ? (rule | ABI.RULE_DENIES) >>> 0 : rule;
      this.ports.set(portKey(id, entry.protocol, entry.port, entry.bits), value);
    }
    return id;
  }

  #ruleId(profile: Profile, index: number): number {
    const rule = profile.rules[index];
    if (rule === undefined) throw new TypeError(`profile ${profile.key} has no rule ${index}`);
    let id = this.#ruleIdByKey.get(rule.key);
    if (id === undefined) {
      id = this.#ruleIds.take(hashText(rule.key) & ~ABI.RULE_DENIES);
      this.#ruleIdByKey.set(rule.key, id);
      this.rules.set(id, rule);
    }
    return id;
  }
}

/**
 * Hashes the clauses. A clause is identified by its rule and its index among that rule's clauses, so that another rule
 * does not change it; a clause without a rule by its ports.
 */
function hashClauses(profile: Profile): readonly number[] {
  const seen = new Map<number | null, number>();
  return profile.clauses.map((clause) => {
    const nth = seen.get(clause.rule) ?? 0;
    seen.set(clause.rule, nth + 1);
    return hashText(clause.rule === null ? contentOf(clause) : `${profile.rules[clause.rule]?.key ?? ""}#${nth}`);
  });
}

function contentOf({ effect, ports }: Clause): string {
  return `${effect ?? "allow"} ${JSON.stringify(ports)}`;
}
