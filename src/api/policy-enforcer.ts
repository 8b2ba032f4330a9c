/**
 * Enforcement for programs that are not agents: follows the policies of a store and makes this machine enforce them,
 * also for workloads that only the program knows. It uses the agent's follower, and its report of what runs here; heartbeat
 * and leadership are in `createElection`.
 */
import { hasErrors } from "../model/diagnostic.js";
import type { ObjectSet } from "../model/state.js";
import { OperationError } from "../model/operation-error.js";
import type { Enforcer } from "../interfaces/enforcer.js";
import type { Store } from "../interfaces/store.js";
import type { Clock, Logger, Random } from "../interfaces/system.js";
import type { Telemetry } from "../interfaces/telemetry.js";
import type { ProcessDiscovery } from "../interfaces/discovery.js";
import type { NodeEndpoints } from "../model/endpoints.js";
import type { ProcessPattern } from "../model/objects.js";
import { EndpointReporter, runReporter } from "../reconcile/endpoint-report.js";
import { Follower } from "../reconcile/follower.js";
import { Notifier } from "../interfaces/notifier.js";
import { forwardEvents, runLoop } from "../reconcile/loop.js";
import { openManagementAccess, systemClock, systemRandom } from "../wiring/host.js";
import { readBoundedManifests } from "../wiring/manifests.js";
import { createProcessDiscovery } from "./open.js";
import { quietLogger, quietTelemetry } from "./quiet.js";

/** A workload that no repository has, with its labels, addresses and processes. */
export interface DiscoveredWorkload {
  readonly name: string;
  /** Default `default`. */
  readonly namespace?: string;
  /** The labels that selectors match. */
  readonly labels: Readonly<Record<string, string>>;
  /** IPv4 and IPv6; none: with `process`, those that its instances are found to have. */
  readonly addresses?: readonly string[];
  /** Path below the cgroup v2 root, for a workload of this machine: its processes are enforced. */
  readonly cgroup?: string;
  /** In place of `cgroup`: each cgroup of this machine that matches is an instance, as of a Workload in a repository. */
  readonly process?: ProcessPattern;
  readonly ports?: readonly {
    readonly name?: string;
    readonly port: number;
    readonly protocol: "TCP" | "UDP" | "SCTP";
  }[];
}

export interface Discovery {
  /**
   * Returns all workloads, each time. An error, or a list that does not validate, leaves the last good ruleset in
   * force.
   */
  listWorkloads(): Promise<readonly DiscoveredWorkload[]>;
  /** Yields when the list should be read again; without it, the list is read at every check interval. */
  watch?(signal: AbortSignal): AsyncIterable<unknown>;
}

export interface PolicyEnforcerOptions {
  readonly node: string;
  readonly store: Store;
  /** From `createEnforcer`; `start` opens it and `stop` closes it. */
  readonly enforcer: Enforcer;
  /** Finds workloads in addition to those of the store. */
  readonly discovery?: Discovery;
  /** Finds the instances of workloads that are patterns; default: `createProcessDiscovery` of this machine. */
  readonly processes?: ProcessDiscovery;
  /** Lets a policy cut off this program, or SSH sessions in use; without it such a ruleset is not enforced. */
  readonly allowLockout?: boolean;
  /** How often the kernel is compared with the ruleset; default 10 s. */
  readonly checkIntervalMs?: number;
  readonly logger?: Logger;
  readonly telemetry?: Telemetry;
  readonly clock?: Clock;
  readonly random?: Random;
}

export interface PolicyEnforcer {
  /**
   * Opens the backend and follows the store; resolves after the first run, whether it succeeded or not.
   * @throws EnforcerError
   */
  start(): Promise<void>;
  /** Stops; enforcement stays in force. */
  stop(): Promise<void>;
  /** The revision that the machine was last found to enforce; null before the first. */
  readonly enforcedRevision: number | null;
  /** Null if the last run ended in sync; otherwise the reason why not. */
  readonly problem: string | null;
}

export function createPolicyEnforcer(options: PolicyEnforcerOptions): PolicyEnforcer {
  return new FollowingEnforcer(options);
}

class FollowingEnforcer implements PolicyEnforcer {
  readonly #follower: Follower;
  #stopping: AbortController | null = null;
  #loops: Promise<unknown> = Promise.resolve();
  #reporter: EndpointReporter | null = null;

  constructor(private readonly options: PolicyEnforcerOptions) {
    const { store, enforcer, discovery, node } = options;
    const { logger = quietLogger, telemetry = quietTelemetry, clock = systemClock } = options;
    const managementAccess = openManagementAccess({ allowLockout: options.allowLockout ?? false });
    const ownEndpoints = (): NodeEndpoints | null => this.#reporter?.own ?? null;
    const deps = { store, enforcer, lastGood: null, managementAccess, logger, telemetry, clock, ownEndpoints };
    const discover = discovery && (async () => toObjects(await discovery.listWorkloads(), node));
    this.#follower = new Follower(discover === undefined ? deps : { ...deps, discover }, node);
  }

  get enforcedRevision(): number | null {
    return this.#follower.enforcedRevision;
  }

  get problem(): string | null {
    return this.#follower.problem;
  }

  async start(): Promise<void> {
    if (this.#stopping !== null) return;
    const {
      store,
      enforcer,
      discovery,
      clock = systemClock,
      random = systemRandom,
      logger = quietLogger,
      telemetry = quietTelemetry,
      processes = await createProcessDiscovery({ logger }),
    } = this.options;
    await enforcer.open();
    this.#stopping = new AbortController();
    const loop = { clock, random, logger, signal: this.#stopping.signal };
    const notifier = new Notifier();
    const intervalMs = this.options.checkIntervalMs ?? 10_000;
    const watches = [
      (signal: AbortSignal) => store.watch(signal, ["head", "endpoints", "overrides"]),
      (signal: AbortSignal) => enforcer.watch(signal),
      ...(discovery?.watch === undefined ? [] : [discovery.watch.bind(discovery)]),
    ];
    const reporter = new EndpointReporter(
      { discovery: processes, store, clock, logger, telemetry, enforcer },
      this.options.node,
      (os) => this.#follower.inventory?.wanted(os) ?? null,
    );
    this.#reporter = reporter;
    const wake = { reporter: new Notifier(), follower: notifier };
    await new Promise<void>((resolve) => {
      const run = () => this.#reconcile(wake.reporter).finally(resolve);
      this.#loops = Promise.all([
        runLoop({ ...loop, name: "reconciliation", intervalMs, jitter: 0.1 }, notifier, run),
        runReporter(reporter, processes, wake, { ...loop, intervalMs }),
        ...watches.map((watch) => forwardEvents<unknown>(watch, () => [notifier], loop)),
      ]);
    });
  }

  async #reconcile(reporter: Notifier): Promise<void> {
    const before = this.#follower.inventory;
    try {
      await this.#follower.reconcile();
    } finally {
      // Another state may want other processes.
      if (this.#follower.inventory !== before) reporter.notify();
    }
  }

  async stop(): Promise<void> {
    if (this.#stopping === null) return;
    this.#stopping.abort();
    await this.#loops;
    this.#stopping = null;
    await this.options.enforcer.close();
  }
}

/**
 * Validates discovered workloads.
 * @throws OperationError `invalid-source`
 */
function toObjects(workloads: readonly DiscoveredWorkload[], node: string): ObjectSet {
  const files = workloads.map(
    ({ name, namespace = "default", labels, addresses, cgroup, process, ports = [] }, index) => {
      const isHere = cgroup !== undefined || process !== undefined;
      // An undefined field is none in JSON.
      const spec = { addresses: addresses ?? [], ports, cgroup, process, ...(isHere ? { node } : {}) };
      const text = JSON.stringify({
        apiVersion: "ztap/v1",
        kind: "Workload",
        metadata: { name, namespace, labels },
        spec,
      });
      return { path: `workload ${index + 1} (${namespace}/${name})`, text, blobId: text };
    },
  );
  const { objects, diagnostics } = readBoundedManifests(files);
  if (!hasErrors(diagnostics)) return objects;
  const problems = diagnostics
    .filter(({ severity }) => severity === "error")
    .map(({ file, message }) => `${file}: ${message}`);
  throw new OperationError("invalid-source", `the discovered workloads do not validate: ${problems.join("; ")}`);
}
