/**
 * The agent: runs the loops of one process (heartbeat and leadership, leader, follower) until the signal aborts.
 * Stopping it leaves enforcement in force.
 */
import type { ProcessDiscovery } from "../interfaces/discovery.js";
import type { StoreCertificates } from "../interfaces/certificates.js";
import type { Source } from "../interfaces/source.js";
import type { LastGoodState } from "../interfaces/last-good.js";
import { EnforcerError, type Enforcer } from "../interfaces/enforcer.js";
import type { DeliveryTarget } from "../interfaces/delivery.js";
import type { FlowFeed } from "../interfaces/flows.js";
import type { NodeKey } from "../interfaces/node-key.js";
import type { Reachability } from "../interfaces/reachability.js";
import type { ManagementAccessReader } from "../interfaces/management-access.js";
import type { Store } from "../interfaces/store.js";
import { StoreError } from "../interfaces/store.js";
import { Notifier } from "../interfaces/notifier.js";
import type { Clock, Logger, Random } from "../interfaces/system.js";
import type { Telemetry } from "../interfaces/telemetry.js";
import type { ManifestReader } from "../manifest/read.js";
import { Follower } from "./follower.js";
import type { NodeInventory } from "./node-inventory.js";
import { Leader } from "./leader.js";
import { NodeLease } from "./node-lease.js";
import { RolloutEngine } from "./rollout.js";
import { Pruner } from "./pruner.js";
import { EndpointReporter, runReporter } from "./endpoint-report.js";
import { watchStore } from "./endpoint-watch.js";
import { PeerIdentities } from "./peer-identities.js";
import { forwardEvents, runLoop, type LoopOptions } from "./loop.js";
import { CertificateWatch } from "./certificates.js";
import { StoreHealthWatch } from "./store-health.js";
import { OperationError } from "../model/operation-error.js";
import type { Settings } from "../settings/settings.js";
import { ownLockouts } from "../operations/change/lockout.js";
import { FlowHub } from "./flow-hub.js";
import { Notifications } from "./notify/notifications.js";
import { PollRequests } from "./poll-requests.js";

export interface AgentDeps {
  readonly store: Store;
  /** The certificates with which the store is reached; null if it needs none. */
  readonly certificates: StoreCertificates | null;
  /** Null if this agent polls no source: it follows, and as leader commits nothing. */
  readonly source: Source | null;
  readonly enforcer: Enforcer;
  readonly lastGood: LastGoodState | null;
  readonly discovery: ProcessDiscovery;
  /** Opens this node's key pair. */
  readonly openNodeKey: () => NodeKey;
  /** See FollowerDeps. */
  readonly managementAccess: ManagementAccessReader | null;
  /** See FollowerDeps. */
  readonly reachability?: Reachability | null;
  readonly read: ManifestReader;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly telemetry: Telemetry;
  /** Returns whether the process that a holder ID names still runs on this machine; true if that is unknown. */
  readonly isProcessAlive: (holder: string) => boolean;
  /** Opens the agent's HTTP endpoint; null if it has none. */
  readonly serve: (probes: AgentProbes) => Promise<{ readonly address: string; close(): Promise<void> }> | null;
  /** Who is told, while this node leads, what became of the source's commits. */
  readonly targets: readonly DeliveryTarget[];
  /** Opens the endpoint at which Git hosts say that something was pushed; null if it has none. */
  readonly servePollHook: (asked: () => void) => Promise<{ readonly address: string; close(): Promise<void> } | null>;
  /** Serves the backend's decisions to readers on this machine. */
  readonly serveFlows: (feed: FlowFeed) => Promise<{ close(): Promise<void> }>;
}

/** Probes of the HTTP endpoint: null if all is well, else the reason. */
export interface AgentProbes {
  /** Checks that the loops still run. */
  health(): string | null;
  /** Checks that this node enforces head. */
  readiness(): string | null;
  /** Further facts for people, one a line; empty if there are none. */
  details(): readonly string[];
}

/** The settings of the loops, and the identity of this process. */
export interface AgentOptions extends Pick<
  Settings,
  "node" | "address" | "checkIntervalMs" | "source" | "election" | "history"
> {
  /** Names this process, so that a successor can find out whether it still runs. */
  readonly holder: string;
  /** This machine and its boot; null if unknown. */
  readonly boot: string | null;
}

/** Claims the node, runs each loop once, and releases the node. @throws if the node does not match head afterwards */
export async function reconcileOnce(deps: AgentDeps, options: AgentOptions): Promise<void> {
  const agent = new Agent(deps, options);
  try {
    await agent.restoreLastGood();
    if (!(await agent.acquireNodeLease())) return await agent.followAlone();
    if (deps.source !== null) {
      await agent.renewNodeLease();
      await agent.lead().catch((error: unknown) => deps.logger.warn("the source was not polled", { error }));
    }
    await agent.follow();
    await agent.reportEndpoints();
    if (agent.problem !== null) throw new OperationError("not-in-sync", agent.problem);
  } finally {
    await agent.release();
  }
}

/** Claims the node and runs the loops until the signal aborts. @throws OperationError `agent-running`, `agent-replaced` */
export async function runAgent(deps: AgentDeps, options: AgentOptions, signal: AbortSignal): Promise<void> {
  const agent = new Agent(deps, options);
  let server: Awaited<ReturnType<AgentDeps["serve"]>> = null;
  let pollHook: Awaited<ReturnType<AgentDeps["servePollHook"]>> = null;
  try {
    await agent.restoreLastGood();
    const isAlone = !(await agent.acquireNodeLease());
    server = await deps.serve(agent);
    pollHook = await deps.servePollHook(() => agent.requestPoll());
    deps.logger.info("agent started", {
      node: options.node,
      backend: deps.enforcer.backend,
      http: server?.address ?? "off",
      ...(pollHook === null ? {} : { pollHook: pollHook.address }),
    });
    if (isAlone)
      await agent.followAlone().catch((error: unknown) => deps.logger.warn("nothing new is enforced yet", { error }));
    await agent.run(signal);
    deps.logger.info("agent stopped; enforcement stays in force");
  } finally {
    await pollHook?.close();
    await server?.close();
    await agent.release();
  }
}

const NOTIFICATIONS_MS = 2_000;
const FLOWS_RETRY_MS = 10_000;
const CONFIRMATION_MS = 500;
const ROLLOUT_MS = 2_000;
const HEALTH_MS = 60_000;
const CERTIFICATES_MS = 10_000;

class Agent implements AgentProbes {
  readonly #lease: NodeLease;
  readonly #leader: Leader | null;
  readonly #follower: Follower;
  readonly #pruner: Pruner;
  readonly #rollouts: RolloutEngine;
  readonly #storeHealth: StoreHealthWatch;
  readonly #certificates: CertificateWatch;
  readonly #leaderNotifier = new Notifier();
  readonly #followerNotifier = new Notifier();
  readonly #rolloutNotifier = new Notifier();
  readonly #identities: PeerIdentities;
  readonly #notifications: Notifications;
  readonly #pollRequests: PollRequests;
  readonly #reporter: EndpointReporter;
  readonly #reporterNotifier = new Notifier();
  /** The inventory that the reporter was last notified of. */
  #inventory: NodeInventory | null = null;
  #lastFollowed: number;
  #lastError: string | null = null;

  constructor(
    private readonly deps: AgentDeps,
    private readonly options: AgentOptions,
  ) {
    const { store, clock, source, managementAccess } = deps;
    const { node } = options;
    this.#lease = new NodeLease(deps, options);
    // Sessions and servers elsewhere come and go, and each machine's own agent protects its own: no commit is refused for them.
    const withoutSessions = managementAccess && {
      ownCgroup: () => managementAccess.ownCgroup(),
      problem: () => managementAccess.problem(),
      servers: () => managementAccess.servers(),
      needs: () => Promise.resolve([]),
      sessions: () => Promise.resolve({ items: [], isComplete: true }),
    };
    const agent = managementAccess?.ownCgroup() ?? null;
    const lockouts = { store, node, agent, managementAccess: withoutSessions };
    this.#leader =
      source === null
        ? null
        : new Leader(
            {
              ...deps,
              source,
              election: this.#lease.election,
              lockoutsOf: (objects) => ownLockouts(lockouts, objects),
            },
            options,
          );
    const leading = { ...deps, election: this.#lease.election };
    this.#notifications = new Notifications(leading, deps.targets);
    this.#pollRequests = new PollRequests(leading, node, this.#leaderNotifier);
    this.#identities = new PeerIdentities(deps, node);
    this.#reporter = new EndpointReporter(
      deps,
      node,
      (os) => this.#follower.inventory?.wanted(os) ?? null,
      () => this.#identities.publicKey(this.#follower.inventory?.objects ?? null),
    );
    this.#follower = new Follower({ ...deps, ownEndpoints: () => this.#reporter.own }, node, options.boot);
    this.#storeHealth = new StoreHealthWatch(deps);
    this.#certificates = new CertificateWatch(deps);
    this.#pruner = new Pruner(deps, options.history);
    this.#rollouts = new RolloutEngine({ ...deps, election: this.#lease.election });
    this.#lastFollowed = clock.monotonic();
  }

  get problem(): string | null {
    return this.#follower.problem;
  }

  /**
   * Opens the enforcer and enforces the last-good state from this node's disk. Runs first, before anything that may
   * fail or take long: after a reboot the kernel enforces nothing.
   * @throws OperationError `agent-running` if another process of this machine enforces for this node
   */
  async restoreLastGood(): Promise<void> {
    try {
      await this.deps.enforcer.open();
    } catch (error) {
      if (!(error instanceof EnforcerError) || error.code !== "busy") throw error;
      throw new OperationError(
        "agent-running",
        `another agent already runs for node ${this.options.node}: ${error.message}`,
      );
    }
    await this.#follower.loadLastGood().catch((error: unknown) => {
      this.deps.logger.warn("the last-good state on this node's disk was not enforced", { error });
    });
    this.useIdentities({ areSettled: true });
  }

  /**
   * Starts without the store, on the last-good state. @throws OperationError `not-in-sync` if this node's disk holds
   * none
   */
  async followAlone(): Promise<void> {
    if (!this.#follower.isEnforcing)
      throw new OperationError(
        "not-in-sync",
        "the store is unavailable, and this node's disk holds no last-good state to enforce",
      );
  }

  /** Serves flow events to readers. Enforcement does not depend on it: a failure is logged and retried. */
  async serveFlowEvents(signal: AbortSignal): Promise<void> {
    const { enforcer, serveFlows, logger, clock } = this.deps;
    while (!signal.aborted && enforcer.flowSource !== null) {
      let server: Awaited<ReturnType<AgentDeps["serveFlows"]>> | null = null;
      try {
        const hub = new FlowHub(enforcer.flowSource, this.deps, this.options.node, {
          inForce: () => this.#follower.names,
          coming: () => this.#follower.comingNames,
        });
        server = await serveFlows(hub);
        await hub.run(signal);
      } catch (error) {
        logger.warn("flows cannot be served", { error });
      } finally {
        await server?.close();
      }
      await clock.sleep(FLOWS_RETRY_MS, signal);
    }
  }

  /** See NodeLease. */
  acquireNodeLease(): Promise<boolean> {
    return this.#lease.acquire(this.#follower.isEnforcing);
  }

  /** See NodeLease. A change of leadership wakes the source poll. */
  async renewNodeLease(): Promise<void> {
    if (await this.#lease.renew()) this.#leaderNotifier.notify();
  }

  /** Polls the source now, or lets the leader do it. */
  requestPoll(): void {
    this.#pollRequests.asked.notify();
  }

  async lead(): Promise<void> {
    try {
      await this.#leader?.reconcile();
      this.#notifications.notifier.notify();
      if (this.#lease.election.fence !== null) await this.#pruner.run();
    } catch (error) {
      if (error instanceof StoreError) this.deps.telemetry.storeError();
      throw error;
    }
  }

  async follow(): Promise<void> {
    try {
      await this.#follower.reconcile();
      this.#lastError = null;
    } catch (error) {
      this.#lastError = error instanceof Error ? error.message : String(error);
      throw error;
    } finally {
      this.#lastFollowed = this.deps.clock.monotonic();
      // A commit is what mostly made this run.
      if (this.#lease.election.fence !== null) this.#rolloutNotifier.notify();
      const { inventory } = this.#follower;
      // Another state may want other processes.
      if (inventory !== this.#inventory) this.#reporterNotifier.notify();
      this.#inventory = inventory;
      this.useIdentities();
    }
  }

  /** Nothing else depends on the keys of other nodes: a failure is logged, and tried again at the next check. */
  useIdentities(how: { readonly areSettled?: boolean } = {}): void {
    try {
      this.#identities.use(this.#follower.knownNodes, how);
    } catch (error) {
      this.deps.logger.warn("the keys of other nodes are not as they should be", { error });
    }
  }

  /** Reports what runs here once, and enforces it. Without the store it is enforced all the same. */
  async reportEndpoints(): Promise<void> {
    await this.#reporter.run().catch((error: unknown) => {
      this.deps.logger.warn("what runs on this node was not reported", { error });
    });
    if (await this.#follower.isOutdated()) await this.follow();
  }

  /** Tells receivers what became of commits, while this node leads. */
  async tell(loop: Omit<LoopOptions, "name" | "intervalMs" | "jitter">): Promise<void> {
    if (this.deps.targets.length === 0) return;
    const options = { ...loop, name: "notification", intervalMs: NOTIFICATIONS_MS, jitter: 0.1 };
    await runLoop(options, this.#notifications.notifier, () => this.#notifications.run());
    await this.#notifications.stop();
  }

  async run(signal: AbortSignal): Promise<void> {
    const stop = new AbortController();
    const stopped = stop.signal;
    const end = (): void => stop.abort(signal.reason);
    signal.addEventListener("abort", end);
    if (signal.aborted) end();
    const loop = { ...this.deps, signal: stopped };
    const { source, checkIntervalMs, election } = this.options;
    const failures: OperationError[] = [];
    const heartbeat = async () => {
      try {
        await this.renewNodeLease();
      } catch (error) {
        if (!(error instanceof OperationError)) throw error;
        failures.push(error);
        stop.abort();
      }
    };
    await Promise.all([
      runLoop(
        { ...loop, name: "heartbeat", intervalMs: election.heartbeatIntervalMs, jitter: 0.1 },
        new Notifier(),
        heartbeat,
      ),
      runLoop({ ...loop, name: "source poll", intervalMs: source.intervalMs, jitter: 0.1 }, this.#leaderNotifier, () =>
        this.lead(),
      ),
      runLoop(
        { ...loop, name: "reconciliation", intervalMs: checkIntervalMs, jitter: 0.1 },
        this.#followerNotifier,
        () => this.follow(),
      ),
      runLoop({ ...loop, name: "confirmation", intervalMs: CONFIRMATION_MS, jitter: 0 }, new Notifier(), async () => {
        if (await this.#follower.checkTrial()) this.#followerNotifier.notify();
      }),
      runLoop({ ...loop, name: "rollout", intervalMs: ROLLOUT_MS, jitter: 0.1 }, this.#rolloutNotifier, () =>
        this.#rollouts.run(),
      ),
      runLoop({ ...loop, name: "store health", intervalMs: HEALTH_MS, jitter: 0.1 }, new Notifier(), () =>
        this.#storeHealth.run(),
      ),
      runLoop({ ...loop, name: "certificates", intervalMs: CERTIFICATES_MS, jitter: 0.1 }, new Notifier(), () =>
        this.#certificates.run(),
      ),
      this.tell(loop),
      this.#pollRequests.run(stopped),
      watchStore(
        this.deps.store,
        this.#follower,
        { follower: this.#followerNotifier, polls: this.#pollRequests.announced },
        () => this.useIdentities(),
        { ...loop, intervalMs: checkIntervalMs },
      ),
      runReporter(
        this.#reporter,
        this.deps.discovery,
        { reporter: this.#reporterNotifier, follower: this.#followerNotifier },
        { ...loop, intervalMs: checkIntervalMs },
      ),
      forwardEvents(
        (watching) => this.deps.enforcer.watch(watching),
        () => [this.#followerNotifier],
        loop,
      ),
      this.serveFlowEvents(stopped),
    ]);
    signal.removeEventListener("abort", end);
    for (const failure of failures) throw failure;
  }

  health(): string | null {
    const idleMs = this.deps.clock.monotonic() - this.#lastFollowed;
    const boundMs = 3 * this.options.checkIntervalMs + 30_000;
    return idleMs > boundMs ? `the reconciliation loop has been silent for ${Math.round(idleMs / 1000)} s` : null;
  }

  readiness(): string | null {
    return (
      this.#lastError ?? this.#follower.problem ?? (!this.#follower.isEnforcing ? "nothing is enforced yet" : null)
    );
  }

  details(): readonly string[] {
    const { problem } = this.#identities;
    return [...this.#follower.details, ...(problem === null ? [] : [`this node cannot prove who sends: ${problem}`])];
  }

  /** Releases the leases and the enforcer. If the store is unreachable, the leases expire by themselves. */
  async release(): Promise<void> {
    await this.#lease.release();
    await this.deps.enforcer.close();
  }
}
