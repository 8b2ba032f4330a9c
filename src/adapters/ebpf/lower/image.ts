/**
 * Image: the table entries of a ruleset, as plain maps. `lower` computes it, the kernel's state is read back as one,
 * and the two are compared.
 */
import type { CgroupPattern, Profile, Rule, Subject } from "../../../model/ruleset.js";
import type { OverrideKind } from "../../../model/override.js";
import { ABI } from "../kernel/abi.generated.js";

/** Keys as in the ABI, hexadecimal, to u32 values. */
export type MapEntries = ReadonlyMap<string, number>;

/** `addrs`: (scope, address) → class. `ports`: (class, protocol, port) → rule. */
export interface RulesetMaps {
  readonly addrs: MapEntries;
  readonly ports: MapEntries;
  /** (ingress profile, identity, address) → class. */
  readonly identities: MapEntries;
}

export interface SubjectRecord {
  readonly ingressProfile: number;
  readonly egressProfile: number;
  readonly ingressMode: number;
  readonly egressMode: number;
  /** 0: none. */
  readonly identityProfile: number;
  /** What it sends must come from its own addresses. */
  readonly hasOwnSources: boolean;
  /** Its ingress policy asks who sends a SYN. */
  readonly asksIdentity: boolean;
  /** Holds over its policy, until a time in seconds of CLOCK_TAI; null: nothing does. */
  readonly override: { readonly kind: OverrideKind; readonly until: number } | null;
}

export interface ImageSubject {
  readonly subject: Subject;
  readonly id: number;
  readonly record: SubjectRecord;
  /** Bits of enum ztap_confinement. */
  readonly confinement: number;
  /** Of its Workload, in the SYNs that it sends; 0: it says nothing. */
  readonly identity: number;
  /** The id of its template; 0: none. */
  readonly born: number;
}

/** What newborn cgroups get that match a pattern; with null, those that look like containers. */
export interface ImageTemplate extends ImageSubject {
  readonly pattern: CgroupPattern | null;
}

export interface Image extends RulesetMaps {
  /** By workload; only those with a cgroup, and the host if it is isolated. */
  readonly subjects: ReadonlyMap<string, ImageSubject>;
  /** By workload; that of containers by CONTAINERS. */
  readonly templates: ReadonlyMap<string, ImageTemplate>;
  /** The profiles and classes of the ids, to name entries for people. */
  readonly profiles: ReadonlyMap<number, Profile>;
  readonly classes: ReadonlyMap<number, { readonly profile: Profile; readonly clauses: readonly number[] }>;
  readonly rules: ReadonlyMap<number, Rule>;
}

/** The name of the template of containers, which no workload has. */
export const CONTAINERS = "newborn containers";

/** Returns every subject that a program may meet, by workload. */
export function allSubjects({ subjects, templates }: Image): ReadonlyMap<string, ImageSubject> {
  return templates.size === 0 ? subjects : new Map<string, ImageSubject>([...templates, ...subjects]);
}

/** Without a policy, nothing is asked of the kernel for the host. */
export function isIsolatedHost({ isHost, ingress, egress, override }: Subject): boolean {
  const isOpen = override === undefined && ingress.mode === "open" && egress.mode === "open";
  return isHost === true && !isOpen;
}

/** The record of a former subject until its programs are detached. */
export const OPEN_RECORD: SubjectRecord = {
  ingressProfile: 0,
  egressProfile: 0,
  ingressMode: ABI.MODE_OPEN,
  egressMode: ABI.MODE_OPEN,
  identityProfile: 0,
  hasOwnSources: false,
  asksIdentity: false,
  override: null,
};
