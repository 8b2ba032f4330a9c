/** Target: what this node must enforce, compiled from one state of the store and the workloads found on the machine. */
import type { NodeEndpoints } from "../model/endpoints.js";
import type { Override } from "../model/override.js";
import type { Ruleset } from "../model/ruleset.js";
import { refKey, type CommittedState, type ObjectSet, type Revision } from "../model/state.js";
import type { Resolution } from "../inventory/resolve.js";
import { listSharedAddresses, type SharedAddress } from "../inventory/shared-addresses.js";
import { RulesetCompiler } from "../policy/compile/compile.js";
import { undeclaredNode } from "./unenforced.js";
import { nameFlows, type FlowNames } from "../policy/flow-names.js";
import { clientsOf, type Client } from "../policy/lockout.js";
import { overridesOver, withOverrides } from "../policy/overrides.js";
import { mixRulesets } from "../policy/withhold.js";
import type { Withholding } from "../model/withholding.js";
import type { LastGood } from "../interfaces/last-good.js";
import type { Enforcer } from "../interfaces/enforcer.js";
import type { Store } from "../interfaces/store.js";
import type { Logger } from "../interfaces/system.js";
import type { Telemetry } from "../interfaces/telemetry.js";
import { NodeInventory, type PlacedState } from "./node-inventory.js";

export interface Target {
  readonly revision: Revision;
  /** Digests of the discovered workloads: an equal set needs no compiling. */
  readonly discovered: string;
  /** The instances that were compiled; equal keys need no compiling. */
  readonly placed: PlacedState;
  readonly ruleset: Ruleset;
  readonly names: FlowNames;
  /** The names for another ruleset of the same state. */
  readonly namesOf: (ruleset: Ruleset) => FlowNames;
  readonly clients: readonly Client[];
  /** The backend that the state declares for this node; null if it does not declare the node. */
  readonly backend: "ebpf" | "pf" | null;
  /** See `undeclaredNode`. */
  readonly undeclared: string | null;
  /** The overrides that it was compiled under; equal keys need no compiling. */
  readonly overrides: string;
  /** The ids of those that hold over a workload of this node. */
  readonly overriding: readonly string[];
  /** The part of the revision that the ruleset leaves out; null if it is the whole revision. */
  readonly withholding: Withholding | null;
}

/** Largest number of shared addresses, and of nodes of each, that the log names. */
const MOST_NAMED = 5;

export interface TargetDeps {
  readonly store: Pick<Store, "readRevision" | "readState" | "listEndpoints">;
  readonly enforcer: Pick<Enforcer, "lower" | "endsOverrides">;
  readonly logger: Logger;
  readonly telemetry: Pick<Telemetry, "policyVersions" | "refusedEndpoints">;
  /** What this node's own agent found last; null or absent: what the store has of it. */
  readonly ownEndpoints?: () => NodeEndpoints | null;
  /**
   * Finds workloads at run time, which are enforced beside those of head. If both have a workload of one name, the one
   * found counts.
   */
  readonly discover?: () => Promise<ObjectSet>;
  /** The overrides that are in force here now; absent: none. */
  readonly overrides?: () => readonly Override[];
}

export class TargetCompiler {
  readonly #compiler = new RulesetCompiler();
  #latest: Target | null = null;
  /** What the latest target was compiled from. */
  #state: CommittedState | null = null;
  #inventory: NodeInventory | null = null;
  #inventoryOf: CommittedState | null = null;
  #discovered = "";
  #placed: PlacedState | null = null;

  #loggedShared = "";

  constructor(
    private readonly deps: TargetDeps,
    private readonly node: string,
  ) {}

  /** The target that was read last. */
  get latest(): Target | null {
    return this.#latest;
  }

  /** The state that was placed last, with what nodes reported then; null before. */
  get placed(): PlacedState | null {
    return this.#placed;
  }

  /** The inventory of the state that was read last; null before. */
  get inventory(): NodeInventory | null {
    return this.#inventory;
  }

  /**
   * Reads a revision, and compiles it unless it is the latest target already.
   * @returns the target, with its state if that was read
   * @throws StoreError; EnforcerError if the backend cannot enforce it
   */
  async read(revision: number): Promise<{ readonly target: Target; readonly state?: CommittedState }> {
    const { store, telemetry } = this.deps;
    const found = await this.#discover();
    const isKnown = this.#latest?.revision.number === revision && this.#state?.revision.number === revision;
    // A store that was restored from a backup assigns the same numbers again, to other revisions.
    const commitId = isKnown ? (await store.readRevision(revision))?.commitId : undefined;
    const known = commitId !== undefined && commitId === this.#state?.revision.commitId ? this.#state : null;
    const state = known ?? (await store.readState(revision));
    if (known === null) telemetry.policyVersions(policyVersions(state.revision));
    const placed = this.#useInventory(state, found).place(await this.#readReports());
    this.#placed = placed;
    const isOther = this.#latest?.discovered !== this.#discovered || this.#latest.overrides !== this.#overrides();
    const latest = known === null || isOther ? null : this.#latest;
    if (latest?.placed === placed) return { target: latest };
    this.#state = state;
    const isSame = latest !== null && latest.placed.key === placed.key;
    this.#latest = isSame ? this.#rename(latest, placed) : this.#compile(state, placed);
    return known === null ? { target: this.#latest, state } : { target: this.#latest };
  }

  /**
   * Returns whether the instances that concern this node changed since the latest target was read. Cheap: what a watch of
   * endpoints brought is used.
   */
  async isOutdated(): Promise<boolean> {
    const [inventory, latest] = [this.#inventory, this.#latest];
    if (inventory === null || latest?.overrides !== this.#overrides()) return true;
    if (!inventory.needsReports) return false;
    this.#placed = inventory.place(await this.#readReports());
    return this.#placed.key !== latest.placed.key;
  }

  /** Compiles a state that was in force. @throws EnforcerError if the backend cannot enforce it */
  async restore({ withholding, endpoints = [], ...state }: LastGood): Promise<Target> {
    const inventory = this.#useInventory(state, await this.#discover());
    this.#placed = inventory.place(this.#withOwn(endpoints));
    const target = this.#compile(state, this.#placed);
    return withholding === undefined ? target : this.withhold(target, withholding);
  }

  /** The inventory of a state with the discovered workloads. */
  #useInventory(state: CommittedState, found: ObjectSet): NodeInventory {
    const discovered = digestsOf(found);
    if (this.#inventory === null || this.#inventoryOf !== state || this.#discovered !== discovered) {
      const objects = found.size === 0 ? state.objects : new Map([...state.objects, ...found]);
      this.#inventory = new NodeInventory(objects, this.node);
    }
    this.#inventoryOf = state;
    this.#discovered = discovered;
    return this.#inventory;
  }

  async #readReports(): Promise<readonly NodeEndpoints[]> {
    if (this.#inventory?.needsReports !== true) return [];
    return this.#withOwn(await this.deps.store.listEndpoints({ watched: true }));
  }

  #withOwn(reports: readonly NodeEndpoints[]): readonly NodeEndpoints[] {
    const own = this.deps.ownEndpoints?.() ?? null;
    return own === null ? reports : [...reports.filter(({ node }) => node !== this.node), own];
  }

  /**
   * Leaves a part of a target out.
   * @param known a target whose ruleset is reused if it is the same: it is lowered already
   * @throws EnforcerError if the backend cannot enforce it
   */
  withhold(target: Target, withholding: Withholding, known: Target | null = null): Target {
    const mixed = mixRulesets(target.ruleset, withholding);
    const isKnown = known?.ruleset.digest === mixed.digest && known.revision.commitId === target.revision.commitId;
    const ruleset = isKnown ? known.ruleset : mixed;
    if (!isKnown) this.deps.enforcer.lower(ruleset);
    return { ...target, ruleset, names: target.namesOf(ruleset), withholding };
  }

  /** Names the addresses that this node shares with others: once, for as long as they are the same. */
  #logShared(resolution: Resolution): void {
    const all = listSharedAddresses(this.#inventory?.objects ?? new Map(), resolution);
    const own = all.filter(({ nodes }) => nodes.includes(this.node)).slice(0, MOST_NAMED);
    const text = own.map(describeShared).join("; ");
    if (text !== "" && text !== this.#loggedShared) this.deps.logger.warn(text);
    this.#loggedShared = text;
  }

  async #discover(): Promise<ObjectSet> {
    return (await this.deps.discover?.()) ?? new Map();
  }

  #compile({ revision }: CommittedState, placed: PlacedState): Target {
    const { enforcer, logger } = this.deps;
    const overrides = this.deps.overrides?.() ?? [];
    const whole = this.#compiler.compile(placed.objects, this.node);
    const ruleset = withOverrides(whole, overrides, enforcer.endsOverrides === true);
    logger.debug(`compiled revision ${revision.number}`, { digest: ruleset.digest, subjects: ruleset.subjects.length });
    enforcer.lower(ruleset);
    const { objects } = placed;
    return {
      revision,
      discovered: this.#discovered,
      overrides: keyOf(overrides),
      overriding: overridesOver(ruleset, overrides),
      ruleset,
      ...this.#named(ruleset, placed),
      undeclared: this.#inventory === null ? null : undeclaredNode(this.#inventory.objects, this.node),
      backend: declaredBackend(objects, this.node),
      withholding: null,
    };
  }

  #overrides(): string {
    return keyOf(this.deps.overrides?.() ?? []);
  }

  /** The same ruleset, with the names and addresses of instances that do not concern it. */
  #rename(target: Target, placed: PlacedState): Target {
    return { ...target, ...this.#named(target.ruleset, placed) };
  }

  #named(ruleset: Ruleset, placed: PlacedState): Pick<Target, "placed" | "names" | "namesOf" | "clients"> {
    const namesOf = nameFlows(placed.objects);
    this.deps.telemetry.refusedEndpoints(placed.resolution.refusedCount);
    this.#logShared(placed.resolution);
    return { placed, namesOf, names: namesOf(ruleset), clients: clientsOf(placed.objects) };
  }
}

function keyOf(overrides: readonly Override[]): string {
  return overrides.map(({ id }) => id).join();
}

function describeShared({ address, nodes }: SharedAddress): string {
  return `address ${address} belongs to nodes ${nodes.slice(0, MOST_NAMED).join(", ")}${nodes.length > MOST_NAMED ? ", …" : ""}: policy cannot tell them apart`;
}

function digestsOf(found: ObjectSet): string {
  return [...found.values()].map(({ digest }) => digest).join();
}

function policyVersions({ entries }: Revision): Parameters<Telemetry["policyVersions"]>[0] {
  return entries.flatMap(({ kind, namespace, name, version }) =>
    kind === "NetworkPolicy" && namespace !== null && version !== undefined ? [{ namespace, name, version }] : [],
  );
}

function declaredBackend(objects: ObjectSet, node: string): "ebpf" | "pf" | null {
  const found = objects.get(refKey({ kind: "Node", namespace: null, name: node }))?.object;
  return found?.kind === "Node" ? (found.spec.enforcement ?? "ebpf") : null;
}
