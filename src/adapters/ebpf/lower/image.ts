/**
 * Image: the table entries of a ruleset, as plain maps. `lower` computes it, the kernel's state is read back as one,
 * and the two are compared.
 */
import type { Profile, Rule, Subject } from "../../../model/ruleset.js";
import { ABI } from "../kernel/abi.generated.js";

/** Keys as in the ABI, hexadecimal, to u32 values. */
export type MapEntries = ReadonlyMap<string, number>;

/** `addrs`: (scope, address) → class. `ports`: (class, protocol, port) → rule. */
export interface RulesetMaps {
  readonly addrs: MapEntries;
  readonly ports: MapEntries;
}

export interface SubjectRecord {
  readonly ingressProfile: number;
  readonly egressProfile: number;
  readonly ingressMode: number;
  readonly egressMode: number;
  /** What it sends must come from its own addresses. */
  readonly hasOwnSources: boolean;
}

export interface ImageSubject {
  readonly subject: Subject;
  readonly id: number;
  readonly record: SubjectRecord;
  /** Bits of enum ztap_confinement. */
  readonly confinement: number;
}

export interface Image extends RulesetMaps {
  /** By workload; only those with a cgroup, and the host if it is isolated. */
  readonly subjects: ReadonlyMap<string, ImageSubject>;
  /** The profiles and classes of the ids, to name entries for people. */
  readonly profiles: ReadonlyMap<number, Profile>;
  readonly classes: ReadonlyMap<number, { readonly profile: Profile; readonly clauses: readonly number[] }>;
  readonly rules: ReadonlyMap<number, Rule>;
}

/** Without a policy, nothing is asked of the kernel for the host. */
export function isIsolatedHost({ isHost, ingress, egress }: Subject): boolean {
  return isHost === true && (ingress.mode !== "open" || egress.mode !== "open");
}

/** The record of a former subject until its programs are detached. */
export const OPEN_RECORD: SubjectRecord = {
  ingressProfile: 0,
  egressProfile: 0,
  ingressMode: ABI.MODE_OPEN,
  egressMode: ABI.MODE_OPEN,
  hasOwnSources: false,
};
