/**
 * Limits of pf of macOS: the rules that it can express, and their number. Pure: the same result when a state is read,
 * on any machine, and on the node itself, which closes the workloads that are refused here.
 */
import { isIPv6 } from "node:net";
import type { Direction, PortRange, Profile, Ruleset, Subject } from "../../../model/ruleset.js";
import type { Capacity, Refusal, TableSize } from "../../../interfaces/enforcer.js";
import { icmpMatches } from "./port-ranges.js";

/** A load holds the old tables and the new ones at once, and pf has room for 200,000 entries (PFR_KENTRY_HIWAT). */
const MAX_ENTRIES = 100_000;
/** The same for tables, of which it has room for 1,000 (PFR_KTABLE_HIWAT). */
export const MAX_TABLES = 450;
/** pf evaluates the rules one after the other for each new connection. */
const MAX_RULES = 20_000;

export const PF_CAPACITY: Capacity = {
  limit: { addresses: MAX_ENTRIES, ports: MAX_RULES },
  words: { addresses: "table entries", ports: "rules" },
  holds: () => true,
  profile: countProfileRules,
  subjects: countSubjectRules,
  refuse: (ruleset) => [...listRefusals(ruleset), ...refuseTables(ruleset)],
};

/** Counts all potential tables, so that it counts slightly more than are created. */
function refuseTables({ subjects, profiles }: Ruleset): readonly Refusal[] {
  const peers = profiles.flatMap(({ clauses }) => clauses.map((clause) => clause.peers));
  const sets = new Set(peers.flatMap((list) => (list === "any" || list.length === 1 ? [] : [list.join()])));
  const own = subjects.filter((subject) => isIsolated(subject) && subject.addresses.length > 1);
  // A subject's tables: its addresses, those of IPv6, and the shared ones in either direction.
  const count = sets.size + 4 * own.length;
  const [first] = subjects.filter(isIsolated);
  if (count <= MAX_TABLES || first === undefined) return [];
  return [
    {
      workload: first.workload,
      message: `the policies of its node need ${count} tables of addresses, and ztap gives pf at most ${MAX_TABLES}`,
      fix: "let rules name the same peers, or spread the workloads over more nodes",
    },
  ];
}

/** Self traffic, neighbour discovery and the denial of all other packets, in both directions. */
const RULES_OF_A_SUBJECT = 16;

function countProfileRules({ clauses }: Profile): TableSize {
  let [addresses, ports] = [0, 0];
  for (const clause of clauses) {
    addresses += clause.peers === "any" ? 0 : clause.peers.length;
    for (const range of clause.ports === "any" ? [] : clause.ports)
      ports += range.protocol === "ICMP" ? 2 * icmpMatches(range).matches.length : 1;
    if (clause.ports === "any") ports += 1;
  }
  // A workload with a user has separate rules for TCP and UDP.
  return { addresses, ports: 3 * ports };
}

function countSubjectRules(subjects: readonly Subject[]): TableSize {
  const addresses = subjects.reduce((sum, subject) => sum + 2 * subject.addresses.length, 0);
  return { addresses, ports: RULES_OF_A_SUBJECT * subjects.length };
}

export function listRefusals(ruleset: Ruleset): readonly Refusal[] {
  const profiles = new Map(ruleset.profiles.map((profile) => [profile.key, profile]));
  const owners = Map.groupBy(
    ruleset.subjects.flatMap(({ workload, addresses }) => addresses.map((address) => ({ workload, address }))),
    ({ address }) => address,
  );
  return ruleset.subjects.flatMap((subject) => {
    const { workload } = subject;
    if (subject.identity !== undefined) return [{ workload, ...SHARED }];
    if (!isIsolated(subject)) return [];
    const own = refuseSubject(subject, owners).map((refusal) => ({ workload, ...refusal }));
    const rules = (["ingress", "egress"] as const).flatMap((direction: Direction) => {
      const profile = profiles.get(subject[direction].profile ?? "");
      return profile === undefined ? [] : refuseRules(profile).map((refusal) => ({ workload, ...refusal }));
    });
    return [...own, ...rules];
  });
}

/** The compiler asks nothing of destinations for a workload of a node that declares pf. */
const SHARED: Omit<Refusal, "workload"> = {
  message:
    "pf knows a workload by its address alone, and this one shares its address with workloads that others let in",
  fix: "give it an address of its own, or set enforcement: pf on its Node",
};

export function isIsolated({ ingress, egress }: Subject): boolean {
  return ingress.mode !== "open" || egress.mode !== "open";
}

type Reason = Omit<Refusal, "workload">;

function refuseSubject(
  { workload, addresses, user }: Subject,
  owners: ReadonlyMap<string, readonly { readonly workload: string }[]>,
): readonly Reason[] {
  if (addresses.length === 0) {
    return [
      {
        message: "pf identifies workloads by address, not by cgroup, and this workload has no address of its own",
        fix: "add spec.addresses; without an address, use an alias of the loopback device",
      },
    ];
  }
  if (user !== undefined && !/^(?!unknown$)[A-Za-z_][A-Za-z0-9._-]{0,30}$/.test(user))
    return [{ message: "its user is not a valid user name", fix: "write the user's name, as `id -un` prints it" }];
  return addresses.flatMap((address): readonly Reason[] => {
    const others = (owners.get(address) ?? []).filter((owner) => owner.workload !== workload);
    if (others.length > 0) {
      const names = others.map((owner) => owner.workload).join(", ");
      return [
        {
          message: `pf cannot distinguish this workload from ${names}: both have the address ${address}`,
          fix: "give each workload of the node addresses of its own",
        },
      ];
    }
    // The state in Git has no zone, but pf compares it.
    return isIPv6(address) && /^fe[89ab]/i.test(address)
      ? [
          {
            message: `pf needs the interface of the link-local address ${address}`,
            fix: "use an address that is not link-local",
          },
        ]
      : [];
  });
}

function refuseRules(profile: Profile): readonly Reason[] {
  const reasons = new Map<string, Reason>();
  for (const { rule: index, ports } of profile.clauses) {
    const rule = profile.rules[index ?? -1];
    if (rule === undefined || ports === "any") continue;
    for (const range of ports) {
      const message = refuseRange(range);
      if (message === null || reasons.has(rule.key)) continue;
      reasons.set(rule.key, { rule, ...message });
    }
  }
  return [...reasons.values()];
}

function refuseRange(range: PortRange): { readonly message: string; readonly fix: string } | null {
  const isWhole = range.first === 0 && range.last === 65535;
  if (range.protocol === "SCTP" && !isWhole) {
    return {
      message: "pf of macOS has no SCTP ports",
      fix: "allow SCTP without a port, or leave this rule to nodes with eBPF",
    };
  }
  if (range.protocol === "ICMP" && !icmpMatches(range).isExact) {
    return {
      message: "pf of macOS treats ICMP type or code 255 as any",
      fix: "leave out type or code 255, which no message has",
    };
  }
  return null;
}
