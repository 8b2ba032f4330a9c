/**
 * Compiles a desired state to the ruleset of one node. Pure: equal states give equal rulesets,
 * whatever the order of their objects.
 */
import { createHash } from "node:crypto";
import type { EgressRule, IngressRule, NetworkPolicy, ObjectPosition, Peer, Workload } from "../../model/objects.js";
import { digestOf, digestOfText } from "../../model/digest.js";
import type { ObjectSet } from "../../model/state.js";
import type {
  Clause,
  Direction,
  PortRange,
  Profile,
  Rule,
  Ruleset,
  Senders,
  Subject,
  SubjectDirection,
} from "../../model/ruleset.js";
import type { PortSpec, Resolved } from "./peers.js";
import { NetworkSetIndex } from "./network-sets.js";
import { WorkloadIndex } from "./workload-index.js";
import { PeerResolver, readPorts, resolveEgressNames, resolveNames } from "./peers.js";
import { IdentityProfiles } from "./identity.js";
import { hasSynIdentity, modeOf } from "./modes.js";
import { compileBirths, templateFinder } from "./births.js";
import type { SelectableWorkload } from "./select.js";

/** A rule whose parts that do not depend on its subject are resolved. */
interface PreparedRule {
  readonly rule: Rule;
  readonly peers: "any" | readonly string[];
  readonly unplaced: readonly string[];
  /** Ingress, where senders prove their identity: the peers apart, if workloads are among them. */
  readonly senders: Senders | null;
  readonly ports: PortSpec;
  /** Egress: the clauses that its port names stand for. */
  readonly named: readonly Resolved[];
}

/** One policy, prepared for one set of workloads. */
interface PreparedPolicy {
  readonly name: string;
  readonly policy: NetworkPolicy;
  readonly digest: string;
  readonly position: ObjectPosition | undefined;
  /** The workloads that it selects. */
  readonly subjects: readonly SelectableWorkload[];
  readonly rules: Map<Direction, readonly PreparedRule[]>;
}

/** A profile that does not depend on its subject, with the policies it was made of. */
interface SharedProfile {
  readonly policies: readonly PreparedPolicy[];
  readonly profile: Profile;
}

const DIRECTIONS = { ingress: "Ingress", egress: "Egress" } as const;

/**
 * Returns the ruleset of a node.
 * @param node the node whose workloads are the subjects; null for every workload of the state, also
 *   those without a node (for questions about the whole state, never for enforcement)
 */
export function compile(objects: ObjectSet, node: string | null): Ruleset {
  if (node !== null) return new RulesetCompiler().compile(objects, node);
  const known = wholes.get(objects) ?? new RulesetCompiler().compile(objects, null);
  wholes.set(objects, known);
  return known;
}

/**
 * Rulesets of whole states. A state is immutable, and several checks need the ruleset of all of it: capacity,
 * connectivity tests, connectivity.
 */
const wholes = new WeakMap<ObjectSet, Ruleset>();

/**
 * Compiles one state after another; each result equals that of `compile`. If workloads, namespaces and NetworkSets did not change
 * since the previous state, an unchanged policy is not compiled again, and its profile is the same object.
 */
export class RulesetCompiler {
  /** Digests of all objects except the policies, and the data derived from them. */
  #surroundings: string | null = null;
  #candidates = new WorkloadIndex(new Map());
  #sets = new NetworkSetIndex(new Map());
  #peers = new PeerResolver(this.#candidates, this.#sets);
  #policies: ReadonlyMap<string, PreparedPolicy> = new Map();
  #shared: ReadonlyMap<string, SharedProfile> = new Map();

  compile(objects: ObjectSet, node: string | null): Ruleset {
    this.#lookAround(objects);
    this.#policies = this.#readPolicies(objects);
    const { policies, shared } = { policies: this.#policies, shared: this.#shared };
    const identities = new IdentityProfiles(objects, this.#candidates, this.#sets, policies.values());
    const compilation = new Compilation(objects, this.#candidates, this.#peers, identities, { policies, shared });
    const own = this.#candidates.all.filter(({ workload }) => node === null || workload.spec.node === node);
    const births = compileBirths(own, { compileSubject: (candidate) => compilation.compileSubject(candidate) });
    const withTemplate = templateFinder(births);
    const subjects = own
      .filter(({ workload }) => workload.spec.isTemplate !== true)
      .map((candidate) => withTemplate(compilation.compileSubject(candidate)));
    this.#shared = compilation.shared;
    const profiles = [...compilation.profiles.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
    // A ruleset that is never enforced is never compared, and the digest of a whole state costs more than compiling it.
    const ruleset = {
      node: node ?? "",
      subjects,
      profiles,
      ...(births && { births }),
      ...(hasSynIdentity(objects) ? { hasSynIdentity: true as const } : {}),
    };
    return { ...ruleset, digest: node === null ? "" : digestRuleset(ruleset) };
  }

  #lookAround(objects: ObjectSet): void {
    let surroundings = "";
    for (const { object, digest } of objects.values())
      if (object.kind !== "NetworkPolicy") surroundings += `${digest};`;
    if (surroundings === this.#surroundings) return;
    this.#surroundings = surroundings;
    this.#candidates = new WorkloadIndex(objects);
    this.#sets = new NetworkSetIndex(objects);
    this.#peers = new PeerResolver(this.#candidates, this.#sets);
    this.#policies = new Map();
    this.#shared = new Map();
  }

  /** In the order of their names. */
  #readPolicies(objects: ObjectSet): ReadonlyMap<string, PreparedPolicy> {
    const policies: PreparedPolicy[] = [];
    for (const { object, digest, position } of objects.values()) {
      if (object.kind !== "NetworkPolicy") continue;
      const name = `${object.metadata.namespace}/${object.metadata.name}`;
      const known = this.#policies.get(name);
      const isKnown = known?.digest === digest && samePosition(known.position, position);
      policies.push(
        isKnown
          ? known
          : {
              name,
              policy: object,
              digest,
              position,
              subjects: this.#candidates.subjectsOf(object),
              rules: new Map(),
            },
      );
    }
    policies.sort((a, b) => (a.name < b.name ? -1 : 1));
    return new Map(policies.map((policy) => [policy.name, policy]));
  }
}

function samePosition(a: ObjectPosition | undefined, b: ObjectPosition | undefined): boolean {
  return a === b || JSON.stringify(a) === JSON.stringify(b);
}

/** Holds the memo tables of one compilation. */
class Compilation {
  readonly profiles = new Map<string, Profile>();
  readonly shared = new Map<string, SharedProfile>();
  readonly #asksSenders: boolean;
  /** The policies that select a workload, in the order of their names. */
  readonly #selecting = new Map<SelectableWorkload, PreparedPolicy[]>();
  readonly #sharedBefore: ReadonlyMap<string, SharedProfile>;

  constructor(
    private readonly objects: ObjectSet,
    private readonly candidates: WorkloadIndex,
    private readonly peers: PeerResolver,
    private readonly identities: IdentityProfiles,
    {
      policies,
      shared,
    }: {
      readonly policies: ReadonlyMap<string, PreparedPolicy>;
      readonly shared: ReadonlyMap<string, SharedProfile>;
    },
  ) {
    this.#asksSenders = hasSynIdentity(objects);
    this.#sharedBefore = shared;
    for (const policy of policies.values()) {
      for (const candidate of policy.subjects) {
        const list = this.#selecting.get(candidate);
        if (list === undefined) this.#selecting.set(candidate, [policy]);
        else list.push(policy);
      }
    }
  }

  compileSubject(candidate: SelectableWorkload): Subject {
    const selecting = this.#selecting.get(candidate) ?? [];
    const identity = this.identities.profileOf(candidate);
    if (identity !== undefined) this.profiles.set(identity.key, identity);
    return {
      workload: candidate.name,
      cgroup: candidate.workload.spec.cgroup ?? null,
      ...(isHost(candidate.workload) ? { isHost: true as const } : {}),
      addresses: candidate.workload.spec.addresses,
      ...(candidate.workload.spec.user === undefined ? {} : { user: candidate.workload.spec.user }),
      ...(candidate.workload.spec.tolerates === undefined ? {} : { tolerates: candidate.workload.spec.tolerates }),
      ingress: this.#compileDirection(candidate, selecting, "ingress"),
      egress: this.#compileDirection(candidate, selecting, "egress"),
      ...(identity === undefined ? {} : { identity: identity.key }),
    };
  }

  /** Enforced policies decide alone; policies in audit mode decide only if no enforced policy isolates. */
  #compileDirection(
    candidate: SelectableWorkload,
    selecting: readonly PreparedPolicy[],
    direction: Direction,
  ): SubjectDirection {
    const isolating = selecting.filter(({ policy }) => policy.spec.policyTypes.includes(DIRECTIONS[direction]));
    const enforced = isolating.filter(({ policy }) => modeOf(policy, direction, this.objects) === "enforce");
    const deciding = enforced.length > 0 ? enforced : isolating;
    if (deciding.length === 0) return { mode: "open", profile: null, policies: [] };
    return {
      mode: enforced.length > 0 ? "enforce" : "audit",
      profile: this.#profile(candidate, deciding, direction),
      policies: deciding.map(({ name }) => name),
    };
  }

  #profile(candidate: SelectableWorkload, policies: readonly PreparedPolicy[], direction: Direction): string {
    const name = `${direction}:${policies.map((policy) => policy.name).join(",")}`;
    const made = this.shared.get(name) ?? this.#sharedBefore.get(name);
    if (made !== undefined && made.policies.every((policy, index) => policy === policies[index])) {
      this.shared.set(name, made);
      this.profiles.set(name, made.profile);
      return name;
    }
    const prepared = policies.flatMap((policy) => this.#prepare(policy, direction));
    const own = direction === "ingress" ? prepared.map(({ ports }) => resolveNames(ports, candidate)) : [];
    const usesNames = direction === "ingress" && prepared.some(({ ports }) => ports.names.length > 0);
    const key = `${name}${usesNames ? `#${portSignature(own)}` : ""}`;
    if (!this.profiles.has(key)) {
      const clauses = prepared.flatMap((rule, index) => toClauses(rule, index, own[index] ?? []));
      const profile = { key, direction, rules: prepared.map(({ rule }) => rule), clauses };
      this.profiles.set(key, profile);
      if (!usesNames) this.shared.set(name, { policies, profile });
    }
    return key;
  }

  #prepare(prepared: PreparedPolicy, direction: Direction): readonly PreparedRule[] {
    const known = prepared.rules.get(direction);
    if (known !== undefined) return known;
    const { policy, position } = prepared;
    const { namespace, name } = policy.metadata;
    const lines = position?.rules?.[direction];
    const keys = ruleKeys(policy, direction);
    const rules = listRules(policy, direction).map(({ peers, ports: policyPorts }, index) => {
      const ports = readPorts(policyPorts);
      const line = lines?.[index];
      return {
        rule: {
          key: keys[index] ?? "",
          policy: { namespace, name },
          direction,
          index,
          ...(position === undefined ? {} : { file: position.file, line: line ?? position.line }),
        },
        ...this.peers.resolve(peers, namespace),
        senders: direction === "ingress" && this.#asksSenders ? this.peers.sendersOf(peers, namespace) : null,
        ports,
        named: direction === "egress" ? resolveEgressNames(ports, peers, namespace, this.candidates) : [],
      };
    });
    prepared.rules.set(direction, rules);
    return rules;
  }
}

function isHost({ spec }: Workload): boolean {
  return spec.process !== undefined && "host" in spec.process;
}

/**
 * Returns the keys of a policy's rules. A rule is identified by its content, so that its counter continues when another
 * rule is put before it in the list. Rules with equal content (the later ones decide nothing) are distinguished by
 * their order.
 */
function ruleKeys(policy: NetworkPolicy, direction: Direction): readonly string[] {
  const { namespace, name } = policy.metadata;
  const seen = new Map<string, number>();
  return listRules(policy, direction).map((rule) => {
    const content = digestOf(rule).slice(0, RULE_DIGITS);
    const nth = seen.get(content) ?? 0;
    seen.set(content, nth + 1);
    return `${namespace}/${name}/${direction}/${content}${nth === 0 ? "" : `.${nth}`}`;
  });
}

/** Hexadecimal; 64 bits distinguish the rules of one policy. */
const RULE_DIGITS = 16;

function listRules(
  policy: NetworkPolicy,
  direction: Direction,
): readonly { peers: readonly Peer[]; ports: IngressRule["ports"] }[] {
  return direction === "ingress"
    ? (policy.spec.ingress ?? []).map((rule: IngressRule) => ({ peers: rule.from ?? [], ports: rule.ports }))
    : (policy.spec.egress ?? []).map((rule: EgressRule) => ({ peers: rule.to ?? [], ports: rule.ports }));
}

/**
 * Returns the clauses of a rule. A rule whose peers or port names match nothing at present has no clause: it allows
 * nothing.
 */
function toClauses(prepared: PreparedRule, rule: number, own: readonly PortRange[]): readonly Clause[] {
  const { peers, unplaced, senders, ports } = prepared;
  const ranges = [...ports.ranges, ...own];
  const direct: readonly Resolved[] = ports.any
    ? [{ peers, unplaced, ports: "any" }]
    : ranges.length === 0
      ? []
      : [{ peers, unplaced, ports: ranges }];
  return [...direct, ...prepared.named]
    .filter((one) => one.peers.length > 0 || one.unplaced.length > 0)
    .map((one) => ({
      rule,
      peers: one.peers,
      ...(one.unplaced.length === 0 ? {} : { unplaced: one.unplaced }),
      ports: one.ports,
      ...(senders === null ? {} : { senders }),
    }));
}

function portSignature(own: readonly (readonly PortRange[])[]): string {
  return own.map((ranges) => ranges.map(({ protocol, first }) => `${protocol}${first}`).join("+")).join("/");
}

/**
 * Returns the digest of a ruleset: equal digests mean equal enforcement. File and line of a rule are left out: moving a
 * policy within a file does not change enforcement.
 */
export function digestRuleset({
  node,
  subjects,
  profiles,
  births,
  hasSynIdentity: isSyn,
}: Omit<Ruleset, "digest">): string {
  const rest = [...(births === undefined ? [] : [births]), ...(isSyn === true ? ["syn"] : [])];
  const hash = createHash("sha256").update(JSON.stringify([node, subjects, ...rest]));
  for (const profile of profiles) hash.update(digestProfile(profile));
  return hash.digest("hex");
}

const digests = new WeakMap<Profile, string>();

/** Returns the digest of a profile. Profiles are immutable, so that each is digested once. */
function digestProfile(profile: Profile): string {
  const { key, rules, clauses } = profile;
  const known = digests.get(profile);
  const digest = known ?? digestOfText(JSON.stringify([key, rules.map((rule) => rule.key), clauses]));
  if (known === undefined) digests.set(profile, digest);
  return digest;
}
