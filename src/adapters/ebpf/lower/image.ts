/**
 * Image: what a ruleset becomes in the kernel's tables, as plain maps. It is what `lower` computes,
 * what is read back, and what is compared.
 */
import type { Profile, Rule, Subject } from "../../../model/ruleset.js";

/** Keys as in the ABI, hexadecimal, to u32 values. */
export type Table = ReadonlyMap<string, number>;

/** `addrs`: (scope, address) → class. `ports`: (class, protocol, port) → rule. */
export interface Tables {
  readonly addrs: Table;
  readonly ports: Table;
}

export interface SubjectRecord {
  readonly ingressProfile: number;
  readonly egressProfile: number;
  readonly ingressMode: number;
  readonly egressMode: number;
}

export interface ImageSubject {
  readonly subject: Subject;
  readonly id: number;
  readonly record: SubjectRecord;
}

export interface Image extends Tables {
  /** By workload; only those with a cgroup. */
  readonly subjects: ReadonlyMap<string, ImageSubject>;
  /** What ids stand for, to name entries for people. */
  readonly profiles: ReadonlyMap<number, Profile>;
  readonly classes: ReadonlyMap<number, { readonly profile: Profile; readonly clauses: readonly number[] }>;
  readonly rules: ReadonlyMap<number, Rule>;
}
