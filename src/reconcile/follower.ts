/**
 * The follower's duty: read head, compile this node's ruleset, make the machine hold it, report.
 * It never learns anything from an event, only from reading, so one run is enough after any number
 * of missed ones. Whatever goes wrong before `apply` leaves the last good ruleset in force.
 */
import type { KeyedDiff } from "../diff/keyed.js";
import { isEmptyDiff } from "../diff/keyed.js";
import {
  confirmSubjects,
  diffEnforcement,
  lacksOnlyAttachments,
  listDrift,
  movedWorkloads,
  withoutRestarts,
} from "../diff/drift.js";
import type { ControlServer } from "../model/management-access.js";
import type { Ruleset } from "../model/ruleset.js";
import { refKey, type CommittedState, type ObjectSet, type Revision } from "../model/state.js";
import type { DriftKind, NodeStatus, SubjectStatus } from "../model/status.js";
import { compile, RulesetCompiler } from "../policy/compile/compile.js";
import { nameFlows, NO_NAMES, type FlowNames } from "../policy/flow-names.js";
import { clientsOf, findLockouts, type Client } from "../policy/lockout.js";
import type { LastGoodState } from "../interfaces/last-good.js";
import type { EnforcementItem, Enforcer, ItemSet, Observation } from "../interfaces/enforcer.js";
import { EnforcerError } from "../interfaces/enforcer.js";
import type { ManagementAccessReader } from "../interfaces/management-access.js";
import type { Store } from "../interfaces/store.js";
import { StoreError } from "../interfaces/store.js";
import type { Clock, Logger } from "../interfaces/system.js";
import type { Telemetry } from "../interfaces/telemetry.js";

export interface FollowerDeps {
  readonly store: Store;
  readonly enforcer: Enforcer;
  /** The last enforced state, for a start with the store away; null where none is kept. */
  readonly lastGood: LastGoodState | null;
  /** What no ruleset may cut; null where that is allowed, or nothing is enforced. */
  readonly managementAccess: ManagementAccessReader | null;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly telemetry: Telemetry;
  /** Workloads that are found at run time and stand beside those of head; of the same name, the one found counts. */
  readonly discover?: () => Promise<ObjectSet>;
}

interface Target {
  readonly revision: Revision;
  /** Digests of what was discovered: a set that is equal again needs no compiling. */
  readonly discovered: string;
  readonly ruleset: Ruleset;
  readonly items: ItemSet;
  readonly names: FlowNames;
  readonly clients: readonly Client[];
  /** What the state says enforces on this node; null where it does not declare the node. */
  readonly backend: "ebpf" | "pf" | null;
}

const NOTHING: ObjectSet = new Map();

function digestsOf(found: ObjectSet): string {
  return [...found.values()].map(({ digest }) => digest).join();
}

/** A ruleset that would cut the agent or a session in use: it is not enforced. */
export class LockoutError extends Error {
  override readonly name = "LockoutError";
  readonly code = "lockout";
}

/** How old a status may grow while nothing changes. */
const STATUS_REFRESH_MS = 60_000;

export class Follower {
  readonly #compiler = new RulesetCompiler();
  /** Head as it was last compiled. */
  #target: Target | null = null;
  /** What was last known to be in force: the machine is kept to it where head cannot be. */
  #good: Target | null = null;
  /** A state that is not known to be enforceable yet, and so is not kept as the last good one. */
  #unproven: CommittedState | null = null;
  #enforced: { readonly revision: number; readonly digest: string } | null = null;
  /** The workloads as they were when all of them was last in force, and which cgroups they had. */
  #seen: readonly SubjectStatus[] = [];
  #healed = 0;
  /** Stays in the status until there is something worse to say: an operator looks later than it happened. */
  #lastHeal: string | null = null;
  #problem: string | null = null;
  #servers: { readonly servers: readonly ControlServer[]; readonly at: number } | null = null;
  #reported: { readonly content: string; readonly at: number } | null = null;

  constructor(
    private readonly deps: FollowerDeps,
    private readonly node: string,
    /** See NodeStatus; null where the machine has no such name. */
    private readonly boot: string | null = null,
  ) {}

  /** The revision that this node is known to enforce; null before the first success. */
  get enforcedRevision(): number | null {
    return this.#enforces ? (this.#enforced?.revision ?? null) : null;
  }

  /** What verdicts are told with. */
  get names(): FlowNames {
    return (this.#good ?? this.#target)?.names ?? NO_NAMES;
  }

  /** Null where the last run ended in sync; else why it did not. */
  get problem(): string | null {
    return this.#problem;
  }

  /** One run. @throws after having reported Stalled, so that the runner tries again sooner */
  async reconcile(): Promise<void> {
    const { store, telemetry } = this.deps;
    let attempted: number | null = null;
    let target: Target | null = null;
    try {
      attempted = await store.readHead({ watched: true });
      telemetry.head(attempted);
      target = await this.#readTarget(attempted);
      if (target === null) return await this.#reportEmptyStore();
      await this.#enforce(target);
    } catch (error) {
      telemetry.stalled(true);
      if (error instanceof StoreError) telemetry.storeError();
      // Where head cannot be read, compiled or lowered, the machine is kept to the last good ruleset: damage
      // is healed, and a service that starts again is enforced. Where head could not be applied in full, what
      // of it could stays; going back and forth would help nobody.
      const isRefused = error instanceof LockoutError;
      if (target !== null && error instanceof EnforcerError) await this.#noteHeld(target);
      const failure = target === null || isRefused ? await this.#fallBack() : null;
      const subjects = error instanceof EnforcerError || isRefused ? await this.#subjectsInForce() : [];
      const message = [error, ...(failure === null ? [] : [failure])]
        .map((why) => (why instanceof Error ? why.message : String(why)))
        .join("; the last good ruleset could not be kept to: ");
      await this.#report({ attempted, state: "Stalled", message, drift: [], subjects });
      throw error;
    }
  }

  /** After an apply that failed: where it went as far as the switch, what was in force before is so no more. */
  async #noteHeld(target: Target): Promise<void> {
    try {
      const observed = await this.deps.enforcer.observe(target.ruleset);
      if (lacksOnlyAttachments(diffEnforcement(target.items, observed))) this.#good = target;
    } catch (error) {
      // The machine cannot be read either; why, the message says already.
      if (!(error instanceof EnforcerError)) throw error;
    }
  }

  /** What this run left: who is enforced, and who is not; of the last good state where it had to be gone back to. */
  async #subjectsInForce(): Promise<readonly SubjectStatus[]> {
    const target = this.#good ?? this.#target;
    if (target === null) return [];
    try {
      const observed = await this.deps.enforcer.observe(target.ruleset);
      return confirmSubjects(observed.subjects, diffEnforcement(target.items, observed));
    } catch (error) {
      // The machine cannot be read either; why, the message says already.
      if (error instanceof EnforcerError) return [];
      throw error;
    }
  }

  /** Why it failed, or null; it never hides what led to it. */
  async #fallBack(): Promise<unknown> {
    try {
      if (this.#good === null) await this.loadLastGood();
      else await this.#enforce(this.#good, { isFallback: true });
      return null;
    } catch (error) {
      return error;
    }
  }

  /**
   * Enforces the copy of the last good state: what a start has to go by while the store is away. A kernel that enforces
   * another ruleset already is left as it is: the copy may be the older of the two.
   */
  async loadLastGood(): Promise<void> {
    const state = (await this.deps.lastGood?.read()) ?? null;
    if (state === null) return;
    const target = this.#compile(state, (await this.deps.discover?.()) ?? NOTHING);
    const observed = await this.deps.enforcer.observe(target.ruleset);
    const isBare = !isEnforcing(observed.items, target.items);
    if (!isBare && !lacksOnlyAttachments(diffEnforcement(target.items, observed))) {
      this.deps.logger.debug("this kernel enforces another ruleset than the copy on this node's disk, which stays");
      return;
    }
    if (isBare && target.ruleset.subjects.length > 0)
      this.deps.logger.warn(`enforcing revision ${state.revision.number} from the copy on this node's disk`);
    await this.#enforce(target, { isFallback: true });
  }

  /** What an earlier agent enforced here, perhaps out of another store, is not taken away by an empty one. */
  async #reportEmptyStore(): Promise<void> {
    const { items } = await this.deps.enforcer.observe(compile(new Map(), this.node));
    const message = isEnforcing(items)
      ? "the store has no revision, but this kernel enforces an earlier one, which stays in force; is it the right store?"
      : "nothing was committed yet: nothing is enforced";
    await this.#report({ attempted: null, state: "Stalled", message, drift: [], subjects: [] });
  }

  async #readTarget(head: number | null): Promise<Target | null> {
    const { store } = this.deps;
    if (head === null) {
      if (this.#good === null) await this.loadLastGood();
      if (this.#good === null) return null;
      throw new StoreError(
        "revision-missing",
        `the store is empty, but revision ${this.#good.revision.number} was in force; it stays in force here`,
      );
    }
    const found = (await this.deps.discover?.()) ?? NOTHING;
    const known = this.#target;
    if (known?.revision.number === head && known.discovered === digestsOf(found)) {
      // A store that was restored from a backup gives the numbers after it again, to other revisions.
      if ((await store.readRevision(head))?.commitId === known.revision.commitId) return known;
    }
    const state = await store.readState(head);
    this.#target = this.#compile(state, found);
    this.#unproven = state;
    return this.#target;
  }

  /** @throws where the backend cannot express it */
  #compile({ revision, objects }: CommittedState, found: ObjectSet): Target {
    const { enforcer, logger } = this.deps;
    const all = new Map([...objects, ...found]);
    const ruleset = this.#compiler.compile(all, this.node);
    logger.debug(`compiled revision ${revision.number}`, { digest: ruleset.digest, subjects: ruleset.subjects.length });
    this.deps.telemetry.policyVersions(
      revision.entries.flatMap(({ kind, namespace, name, version }) =>
        kind === "NetworkPolicy" && namespace !== null && version !== undefined ? [{ namespace, name, version }] : [],
      ),
    );
    const names = nameFlows(all, ruleset);
    const clients = clientsOf(all);
    const items = enforcer.lower(ruleset);
    const backend = declaredBackend(all, this.node);
    return { revision, discovered: digestsOf(found), ruleset, items, names, clients, backend };
  }

  /** @param options as a fallback: what is reported then is why it came to that */
  async #enforce(target: Target, options: { readonly isFallback?: true } = {}): Promise<void> {
    const { enforcer, clock, telemetry } = this.deps;
    const { ruleset } = target;
    const before = await enforcer.observe(ruleset);
    const found = diffEnforcement(target.items, before);
    if (isEmptyDiff(found)) return await this.#settle(target, before, { left: found, healed: null, ...options });

    const isDrift = this.#enforced?.digest === ruleset.digest;
    // What is gone back to was in force: after a reboot, a session that came first must not keep all of it off.
    if (!isDrift && options.isFallback !== true) await this.#refuseLockout(target);
    // A service that was restarted has a new cgroup, with nothing attached: ordinary life, and nobody's doing.
    const drift = withoutRestarts(found, movedWorkloads(this.#seen, before.subjects));
    const isHealing = isDrift && !isEmptyDiff(drift);
    if (isHealing) await this.#reportDrift(target, drift, confirmSubjects(before.subjects, found));
    const started = clock.monotonic();
    await enforcer.apply(ruleset);
    const after = await enforcer.observe(ruleset);
    const left = diffEnforcement(target.items, after);
    const count = drift.missing.length + drift.changed.length + drift.extra.length;
    if (isEmptyDiff(left)) {
      const policies = new Set(
        ruleset.subjects.flatMap(({ ingress, egress }) => [...ingress.policies, ...egress.policies]),
      ).size;
      telemetry.enforced({ policies, durationMs: clock.monotonic() - started });
      if (isHealing) {
        this.#healed += count;
        telemetry.healed(count);
      }
    }
    const healed = isHealing ? `healed ${count} ${count === 1 ? "difference" : "differences"}` : null;
    await this.#settle(target, after, { left, healed, ...options });
  }

  /** What is in force already is not asked again: a session that it denies was opened around it. @throws LockoutError */
  async #refuseLockout({ ruleset, clients }: Target): Promise<void> {
    const { managementAccess } = this.deps;
    if (managementAccess === null || !this.#enforces) return;
    const [sessions, servers] = await Promise.all([managementAccess.sessions(), managementAccess.servers()]);
    const found = findLockouts(ruleset, { agent: managementAccess.ownCgroup(), sessions, servers }, clients);
    if (found.length === 0) return;
    throw new LockoutError(`not enforced, since it would lock out: ${found.join("; ")}; allowLockout lets it`);
  }

  async #settle(
    target: Target,
    observed: Observation,
    outcome: {
      readonly left: KeyedDiff<EnforcementItem>;
      readonly healed: string | null;
      readonly isFallback?: true;
    },
  ): Promise<void> {
    const { logger, telemetry } = this.deps;
    const { left, healed } = outcome;
    const drift = listDrift(left);
    const subjects = confirmSubjects(observed.subjects, left);
    telemetry.packets(observed.packets);
    if (drift.length === 0) {
      if (this.#enforced?.revision !== target.revision.number && this.#enforces) {
        logger.info(`enforcing revision ${target.revision.number}`, {
          digest: target.ruleset.digest,
          subjects: target.ruleset.subjects.length,
        });
      }
      this.#reportMoves(subjects);
      if (this.#enforces) telemetry.inForce(target.revision.number);
      this.#enforced = { revision: target.revision.number, digest: target.ruleset.digest };
      this.#good = target;
      await this.#keep(target);
      if (healed !== null) {
        this.#lastHeal = healed;
        logger.warn(healed);
      }
    }
    if (outcome.isFallback === true) return;
    if (!this.#enforces) return await this.#reportNothingEnforced(target, observed);
    const stalled = subjects.filter(({ state }) => state === "Stalled");
    const strange = undeclared(target.revision, this.node);
    if (strange.length > 0 && this.#problem?.includes(strange.join()) !== true) logger.warn(strange.join());
    const message = [
      ...strange,
      ...unexpected(target.backend, this.deps.enforcer.backend),
      ...stalled.map(({ workload, message: why }) => `${workload}: ${why ?? "cannot be enforced"}`),
    ].join("; ");
    await this.#report({
      attempted: target.revision.number,
      state: drift.length > 0 ? "Drifted" : message !== "" ? "Stalled" : "InSync",
      message: message === "" ? this.#lastHeal : message,
      drift,
      subjects,
    });
  }

  /** Cgroups come and go with what runs in them. Called where all of the ruleset is in force. */
  #reportMoves(subjects: readonly SubjectStatus[]): void {
    const { logger } = this.deps;
    const before = new Map(this.#seen.map(({ workload, place }) => [workload, place]));
    for (const workload of movedWorkloads(this.#seen, subjects))
      logger.info(`workload ${workload}: new cgroup attached`);
    for (const { workload, place } of subjects)
      if (place === undefined && before.get(workload) !== undefined)
        logger.info(`workload ${workload}: its cgroup is gone`);
    this.#seen = subjects;
  }

  /** A disk that is full is no reason to stop: the copy of an earlier revision is still there. */
  async #keep({ revision }: Target): Promise<void> {
    const { lastGood: copy, logger } = this.deps;
    const state = this.#unproven;
    if (copy === null || !this.#enforces || state?.revision.number !== revision.number) return;
    try {
      await copy.write(state);
      this.#unproven = null;
    } catch (error) {
      logger.warn("the copy for a start without the store could not be written", { error });
    }
  }

  /** Also where the node has no workload: no one may take silence for protection. */
  async #reportNothingEnforced(target: Target, { subjects }: Observation): Promise<void> {
    const message = "nothing is enforced on this node: its agent runs with --backend none";
    if (this.#problem !== message) this.deps.logger.warn(message, { revision: target.revision.number });
    await this.#report({ attempted: target.revision.number, state: "Stalled", message, drift: [], subjects });
  }

  get #enforces(): boolean {
    return this.deps.enforcer.backend !== "none";
  }

  async #reportDrift(
    target: Target,
    found: KeyedDiff<EnforcementItem>,
    subjects: readonly SubjectStatus[],
  ): Promise<void> {
    const drift = listDrift(found);
    const kinds: Record<DriftKind, number> = {
      missing: 0,
      extra: found.extra.length,
      changed: found.changed.length,
      detached: 0,
    };
    for (const { wanted } of found.missing) kinds[wanted.type === "link" ? "detached" : "missing"] += 1;
    for (const kind of ["missing", "extra", "changed", "detached"] as const) {
      if (kinds[kind] > 0) this.deps.telemetry.drift(kind, kinds[kind]);
    }
    this.deps.logger.warn("drift found", { drift });
    await this.#report({
      attempted: target.revision.number,
      state: "Drifted",
      message: null,
      drift,
      subjects,
    });
  }

  /** For whoever plans elsewhere. Looking through all processes is not for each run. */
  async #readServers(): Promise<readonly ControlServer[]> {
    const { managementAccess, clock } = this.deps;
    if (managementAccess === null || !this.#enforces) return [];
    const known = this.#servers;
    if (known !== null && clock.monotonic() - known.at < STATUS_REFRESH_MS) return known.servers;
    // It is for others to know; that it cannot be told is no reason to be silent about the rest.
    const servers = await managementAccess.servers().catch(() => []);
    this.#servers = { servers, at: clock.monotonic() };
    return servers;
  }

  /**
   * Writes the status where it says something new. A store that cannot be written to is no reason to
   * leave the machine as it is: the next run reports again.
   */
  async #report(
    content: Pick<NodeStatus, "state" | "message" | "drift" | "subjects"> & { readonly attempted: number | null },
  ): Promise<void> {
    const { clock, store, enforcer, telemetry, managementAccess } = this.deps;
    const agentCgroup = (this.#enforces ? managementAccess?.ownCgroup() : null) ?? null;
    const servers = await this.#readServers();
    telemetry.stalled(content.state === "Stalled");
    this.#problem = content.state === "InSync" ? null : (content.message ?? content.drift[0]?.detail ?? content.state);
    const { attempted, ...rest } = content;
    const status = {
      node: this.node,
      ...(this.boot === null ? {} : { boot: this.boot }),
      ...(agentCgroup === null ? {} : { agentCgroup }),
      ...(servers.length === 0 ? {} : { servers }),
      backend: enforcer.backend,
      attemptedRevision: attempted,
      enforcedRevision: this.enforcedRevision,
      rulesetDigest: this.#enforces ? (this.#enforced?.digest ?? null) : null,
      healed: this.#healed,
      ...rest,
    };
    const text = JSON.stringify(status);
    const isFresh = this.#reported !== null && clock.monotonic() - this.#reported.at < STATUS_REFRESH_MS;
    if (isFresh && this.#reported?.content === text) return;
    try {
      await store.writeNodeStatus({ ...status, observedAt: new Date(clock.now()).toISOString() });
      this.#reported = { content: text, at: clock.monotonic() };
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      telemetry.storeError();
      this.deps.logger.debug("the status could not be written", { error });
    }
  }
}

/** A state that declares nodes and not this one has no workload for it: most likely the agent has the wrong name. */
function undeclared({ entries }: Revision, node: string): readonly string[] {
  const declared = entries.filter(({ kind }) => kind === "Node").map(({ name }) => name);
  if (declared.length === 0 || declared.includes(node)) return [];
  const shown = declared.slice(0, 10).join(", ") + (declared.length > 10 ? ", …" : "");
  return [
    `node ${node} is not declared, so that nothing is enforced for it; declared are: ${shown}; start the agent with the --node of one of them, or declare it`,
  ];
}

function declaredBackend(objects: ObjectSet, node: string): "ebpf" | "pf" | null {
  const found = objects.get(refKey({ kind: "Node", namespace: null, name: node }))?.object;
  return found?.kind === "Node" ? (found.spec.enforcement ?? "ebpf") : null;
}

/** What the node's backend cannot say was then not refused when it was planned. */
function unexpected(declared: "ebpf" | "pf" | null, backend: string): readonly string[] {
  if (declared === null || declared === backend || (backend !== "ebpf" && backend !== "pf")) return [];
  return [`the Node says enforcement: ${declared}, and this agent enforces with ${backend}; correct the Node`];
}

/** Whether any workload is protected. Where a backend attaches to each of them, records alone protect nobody. */
function isEnforcing(items: ItemSet, wanted: ItemSet = new Map()): boolean {
  const isAttachment = ({ type, workload }: EnforcementItem): boolean => type === "link" && workload !== undefined;
  const attaches = [...wanted.values()].some(isAttachment);
  return [...items.values()].some((item) => (attaches ? isAttachment(item) : item.workload !== undefined));
}
