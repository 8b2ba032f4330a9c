/**
 * Lower: ruleset → image. Pure, deterministic, and bounded by the limits of the ABI.
 *
 * For each profile the prefixes of its clauses are walked from wide to narrow; the clauses that
 * match inside a prefix are its class. A class's clauses then become port entries that do not
 * overlap: the clause that stands first has the port. What does not fit is refused before anything is built.
 */
import type { IsolationMode, Profile, Rule, Ruleset, SubjectDirection } from "../../model/ruleset.js";
import { ABI } from "./abi.generated.js";
import { hexByte, parsePrefix, type Prefix } from "./address.js";
import { EVERYWHERE, walkClasses } from "./classes.js";
import type { Coverage } from "./coverage.js";
import { hashNumber, hashText, Ids } from "./ids.js";
import type { Image, ImageSubject, SubjectRecord } from "./image.js";
import { requireRoom } from "./measure.js";
import { portEntries } from "./ports.js";

export function lower(ruleset: Ruleset): Image {
  requireRoom(ruleset);
  const build = new Build();
  const profileIds = new Map<string, number>();
  for (const profile of ruleset.profiles) profileIds.set(profile.key, build.addProfile(profile));
  const subjects = lowerSubjects(ruleset, profileIds);
  for (const { id, subject } of subjects.values()) build.addOwnAddresses(id, subject.addresses);
  const { addrs, ports, profiles, classes, rules } = build;
  return { addrs, ports, profiles, classes, rules, subjects };
}

const MODES: Readonly<Record<IsolationMode, number>> = {
  open: ABI.MODE_OPEN,
  enforce: ABI.MODE_ENFORCE,
  audit: ABI.MODE_AUDIT,
};

/** What a workload that is no subject any more holds until its programs are detached. */
export const OPEN_RECORD: SubjectRecord = {
  ingressProfile: 0,
  egressProfile: 0,
  ingressMode: ABI.MODE_OPEN,
  egressMode: ABI.MODE_OPEN,
};

function lowerSubjects(ruleset: Ruleset, profileIds: ReadonlyMap<string, number>): ReadonlyMap<string, ImageSubject> {
  const ids = new Ids(4);
  const profileOf = (direction: SubjectDirection): number => {
    if (direction.profile === null) return 0;
    const id = profileIds.get(direction.profile);
    if (id === undefined) throw new TypeError(`the ruleset has no profile ${direction.profile}`);
    return id;
  };
  const subjects = new Map<string, ImageSubject>();
  for (const subject of ruleset.subjects) {
    // Ids are taken for all, so that a workload's id does not depend on whether another has a cgroup.
    const id = ids.take(hashText(subject.workload));
    if (subject.cgroup === null) continue;
    const record = {
      ingressProfile: profileOf(subject.ingress),
      egressProfile: profileOf(subject.egress),
      ingressMode: MODES[subject.ingress.mode],
      egressMode: MODES[subject.egress.mode],
    };
    subjects.set(subject.workload, { subject, id, record });
  }
  return subjects;
}

function littleEndian(value: number): string {
  return hexByte(value) + hexByte(value >>> 8) + hexByte(value >>> 16) + hexByte(value >>> 24);
}

/** struct ztap_addr_key */
function addrKey(profileId: number, prefix: Prefix): string {
  const scope = profileId | (prefix.family === 6 ? 1 : 0);
  return littleEndian(ABI.ADDR_SCOPE_BITS + prefix.length) + littleEndian(scope) + prefix.address;
}

/** struct ztap_port_key */
function portKey(classId: number, protocol: number, port: number, bits: number): string {
  return littleEndian(bits) + littleEndian(classId) + "00" + hexByte(protocol) + hexByte(port >>> 8) + hexByte(port);
}

/** Tells a profile's scope from a subject's in the address table. */
const PROFILE_BIT = 2;

class Build {
  readonly addrs = new Map<string, number>();
  readonly ports = new Map<string, number>();
  readonly profiles = new Map<number, Profile>();
  readonly classes = new Map<number, { profile: Profile; clauses: readonly number[] }>();
  readonly rules = new Map<number, Rule>();
  readonly #profileIds = new Ids(4);
  readonly #classIds = new Ids(1);
  readonly #ruleIds = new Ids(1);
  readonly #ruleIdByKey = new Map<string, number>();

  addProfile(profile: Profile): number {
    const id = this.#profileIds.take(hashText(profile.key)) + PROFILE_BIT;
    this.profiles.set(id, profile);
    const clauseHashes = hashClauses(profile);
    const classIds = new Map<string, number>();
    for (const { prefix, clauses, coverage } of walkClasses(profile, { runs: 0 })) {
      const identity = clauses.join();
      const classId = classIds.get(identity) ?? this.#addClass(profile, clauses, coverage(), clauseHashes, id);
      classIds.set(identity, classId);
      this.addrs.set(addrKey(id, prefix), classId);
    }
    return id;
  }

  /** Undeclared addresses may be any: then a connect that is refused may have to be left to the packet program. */
  addOwnAddresses(subjectId: number, addresses: readonly string[]): void {
    const own = addresses.length === 0 ? EVERYWHERE : addresses.map(parsePrefix);
    for (const prefix of own) this.addrs.set(addrKey(subjectId, prefix), ABI.OWN_ADDRESS);
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
      this.ports.set(portKey(id, entry.protocol, entry.port, entry.bits), this.#ruleId(profile, entry.rule));
    }
    return id;
  }

  #ruleId(profile: Profile, index: number): number {
    const rule = profile.rules[index];
    if (rule === undefined) throw new TypeError(`profile ${profile.key} has no rule ${index}`);
    let id = this.#ruleIdByKey.get(rule.key);
    if (id === undefined) {
      id = this.#ruleIds.take(hashText(rule.key));
      this.#ruleIdByKey.set(rule.key, id);
      this.rules.set(id, rule);
    }
    return id;
  }
}

/** A clause's identity is its rule and its place among that rule's clauses, so that another rule does not change it. */
function hashClauses(profile: Profile): readonly number[] {
  const seen = new Map<number, number>();
  return profile.clauses.map((clause) => {
    const nth = seen.get(clause.rule) ?? 0;
    seen.set(clause.rule, nth + 1);
    return hashText(`${profile.rules[clause.rule]?.key ?? ""}#${nth}`);
  });
}
