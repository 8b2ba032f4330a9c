/** Target: what this node must enforce, compiled from one state of the store and the workloads found on the machine. */
import type { Ruleset } from "../model/ruleset.js";
import { refKey, type CommittedState, type ObjectSet, type Revision } from "../model/state.js";
import { RulesetCompiler } from "../policy/compile/compile.js";
import { undeclaredNode } from "./unenforced.js";
import { nameFlows, type FlowNames } from "../policy/flow-names.js";
import { clientsOf, type Client } from "../policy/lockout.js";
import { mixRulesets } from "../policy/withhold.js";
import type { Withholding } from "../model/withholding.js";
import type { LastGood } from "../interfaces/last-good.js";
import type { Enforcer } from "../interfaces/enforcer.js";
import type { Store } from "../interfaces/store.js";
import type { Logger } from "../interfaces/system.js";
import type { Telemetry } from "../interfaces/telemetry.js";

export interface Target {
  readonly revision: Revision;
  /** Digests of the discovered workloads: an equal set needs no compiling. */
  readonly discovered: string;
  readonly ruleset: Ruleset;
  readonly names: FlowNames;
  /** The names for another ruleset of the same state. */
  readonly namesOf: (ruleset: Ruleset) => FlowNames;
  readonly clients: readonly Client[];
  /** The backend that the state declares for this node; null if it does not declare the node. */
  readonly backend: "ebpf" | "pf" | null;
  /** See `undeclaredNode`. */
  readonly undeclared: string | null;
  /** The part of the revision that the ruleset leaves out; null if it is the whole revision. */
  readonly withholding: Withholding | null;
}

export interface TargetDeps {
  readonly store: Pick<Store, "readRevision" | "readState">;
  readonly enforcer: Pick<Enforcer, "lower">;
  readonly logger: Logger;
  readonly telemetry: Pick<Telemetry, "policyVersions">;
  /**
   * Finds workloads at run time, which are enforced beside those of head. If both have a workload of one name, the one
   * found counts.
   */
  readonly discover?: () => Promise<ObjectSet>;
}

export class TargetCompiler {
  readonly #compiler = new RulesetCompiler();
  #latest: Target | null = null;

  constructor(
    private readonly deps: TargetDeps,
    private readonly node: string,
  ) {}

  /** The target that was read last. */
  get latest(): Target | null {
    return this.#latest;
  }

  /**
   * Reads a revision, and compiles it unless it is the latest target already.
   * @returns the target, with its state if that was read
   * @throws StoreError; EnforcerError if the backend cannot enforce it
   */
  async read(revision: number): Promise<{ readonly target: Target; readonly state?: CommittedState }> {
    const { store, telemetry } = this.deps;
    const found = await this.#discover();
    const known = this.#latest;
    if (known?.revision.number === revision && known.discovered === digestsOf(found)) {
      // A store that was restored from a backup assigns the same numbers again, to other revisions.
      if ((await store.readRevision(revision))?.commitId === known.revision.commitId) return { target: known };
    }
    const state = await store.readState(revision);
    telemetry.policyVersions(policyVersions(state.revision));
    this.#latest = this.#compile(state, found);
    return { target: this.#latest, state };
  }

  /** Compiles a state that was in force. @throws EnforcerError if the backend cannot enforce it */
  async restore({ withholding, ...state }: LastGood): Promise<Target> {
    const target = this.#compile(state, await this.#discover());
    return withholding === undefined ? target : this.withhold(target, withholding);
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

  async #discover(): Promise<ObjectSet> {
    return (await this.deps.discover?.()) ?? new Map();
  }

  #compile({ revision, objects }: CommittedState, found: ObjectSet): Target {
    const { enforcer, logger } = this.deps;
    const all = new Map([...objects, ...found]);
    const ruleset = this.#compiler.compile(all, this.node);
    logger.debug(`compiled revision ${revision.number}`, { digest: ruleset.digest, subjects: ruleset.subjects.length });
    enforcer.lower(ruleset);
    const namesOf = nameFlows(all);
    return {
      revision,
      discovered: digestsOf(found),
      ruleset,
      names: namesOf(ruleset),
      namesOf,
      clients: clientsOf(all),
      backend: declaredBackend(all, this.node),
      undeclared: undeclaredNode(all, this.node),
      withholding: null,
    };
  }
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
