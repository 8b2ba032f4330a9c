/** Telemetry as Prometheus metrics. Label values are limited to the policies and to fixed words. */
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from "prom-client";
import { EventLoopBlocks } from "./event-loop.js";
import { ROLLOUT_STATES } from "../../model/rollout.js";
import { TOLERATIONS } from "../../model/objects.js";
import { REFUSAL_REASONS } from "../../interfaces/enforcer.js";
import type { StoreHealth } from "../../model/status.js";
import type { Telemetry } from "../../interfaces/telemetry.js";

const LAG_SAMPLING_MS = 2 ** 31 - 1;
const LAG_STATISTICS = ["min", "max", "mean", "stddev", "p50", "p90", "p99"];

const BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

export function createTelemetry(): { readonly telemetry: Telemetry; readonly registry: Registry } {
  const registry = new Registry();
  // The event loop's lag histogram takes its samples with a timer; at prom-client's 10 ms it was most of the CPU time
  // of an idle agent.
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: LAG_SAMPLING_MS });
  for (const statistic of LAG_STATISTICS) registry.removeSingleMetric(`nodejs_eventloop_lag_${statistic}_seconds`);
  const blocks = new EventLoopBlocks();
  new Gauge({
    name: "ztap_event_loop_longest_block_seconds",
    help: "Longest time in the last five to ten minutes for which the agent could do nothing else.",
    registers: [registry],
    collect() {
      this.set(blocks.longestSeconds);
    },
  });
  const metrics = createMetrics(registry);
  startAtZero(metrics);
  return { registry, telemetry: { ...commitTelemetry(metrics), ...enforcementTelemetry(metrics) } };
}

function createMetrics(registry: Registry) {
  const registers = [registry];
  const gauge = (name: string, help: string) => new Gauge({ name, help, registers });
  const counter = (name: string, help: string) => new Counter({ name, help, registers });
  const histogram = (name: string, help: string) => new Histogram({ name, help, buckets: BUCKETS, registers });
  return {
    synced: counter("ztap_policies_synced_total", "Policies committed by this node, counted at every revision."),
    syncDuration: histogram("ztap_policy_sync_duration_seconds", "Time to commit a revision."),
    version: new Gauge({
      name: "ztap_policy_version_current",
      help: "Version of each policy in the head revision.",
      labelNames: ["namespace", "policy"],
      registers,
    }),
    enforcedTotal: counter(
      "ztap_policies_enforced_total",
      "Policies enforced on this node, counted at every change of its tables.",
    ),
    enforcementDuration: histogram("ztap_policy_enforcement_duration_seconds", "Time to make the node's tables match."),
    head: gauge("ztap_head_revision", "Number of the revision in force; 0 before the first."),
    enforced: gauge("ztap_enforced_revision", "Number of the revision that this node enforces; 0 before the first."),
    lag: gauge("ztap_revision_lag", "Revisions between head and the one that this node enforces."),
    ...createLeaderMetrics(registry),
    rejected: new Counter({
      name: "ztap_rejected_commits_total",
      help: "Commits of the source that were refused.",
      labelNames: ["reason"],
      registers,
    }),
    rewrites: counter(
      "ztap_source_rewrites_total",
      "Times that the source's tip was no descendant of the commit accepted last.",
    ),
    suspended: gauge(
      "ztap_source_suspended",
      "1 while this node leads and commits nothing, since the source is suspended.",
    ),
    sourceErrors: counter("ztap_source_errors_total", "Failed polls of the source."),
    storeErrors: counter("ztap_store_errors_total", "Failed operations on the store."),
    ...createStoreMetrics(registry),
    ...createWorkloadMetrics(registry),
    stalled: gauge("ztap_stalled", "1 while this node cannot make its tables match head."),
    drift: new Counter({
      name: "ztap_drift_items_total",
      help: "Differences found between ruleset and kernel.",
      labelNames: ["kind"],
      registers,
    }),
    heals: counter("ztap_healed_items_total", "Differences that were healed."),
    packets: new Counter({
      name: "ztap_packets_total",
      help: "Packets of workloads by direction and verdict.",
      labelNames: ["direction", "verdict"],
      registers,
    }),
    refusals: new Counter({
      name: "ztap_refusals_total",
      help: "Packets and calls that were refused for another reason than a policy's rules.",
      labelNames: ["reason"],
      registers,
    }),
    flowEvents: new Counter({
      name: "ztap_flow_events_total",
      help: "Eligible decisions: delivered to the agent, over their workload's rate limit, or lost because the agent was slow or not running.",
      labelNames: ["outcome"],
      registers,
    }),
  };
}

function createLeaderMetrics(registry: Registry) {
  const registers = [registry];
  return {
    leader: new Gauge({ name: "ztap_leader", help: "1 while this node leads.", registers }),
    elections: new Counter({ name: "ztap_elections_total", help: "Times that this node became leader.", registers }),
    rolloutState: new Gauge({
      name: "ztap_rollout_state",
      help: "1 for the state of the rollout of head, while this node leads; 0 for the others.",
      labelNames: ["state"],
      registers,
    }),
    rolloutWave: new Gauge({
      name: "ztap_rollout_wave",
      help: "Number of the newest released wave, while this node leads; 0 before the first.",
      registers,
    }),
    rolloutReleased: new Gauge({
      name: "ztap_rollout_released_nodes",
      help: "Nodes that the rollout has released so far, while this node leads; 0 once it is complete.",
      registers,
    }),
  };
}

function createWorkloadMetrics(registry: Registry) {
  const registers = [registry];
  return {
    discoveryProblems: new Gauge({
      name: "ztap_discovery_problems",
      help: "Parts of this machine that could not be searched for the processes of workloads.",
      registers,
    }),
    unidentifiedContainers: new Gauge({
      name: "ztap_unidentified_containers",
      help: "Newborn containers that are closed, since it is not known whose they are",
      registers,
    }),
    refusedEndpoints: new Gauge({
      name: "ztap_endpoints_refused",
      help: "Addresses and instances that nodes report and that do not count, as this node last read them.",
      registers,
    }),
    withheld: new Gauge({
      name: "ztap_withheld_workloads",
      help: "Workloads that keep an earlier policy, or have none, since head's would cut management access.",
      registers,
    }),
    overrides: new Gauge({
      name: "ztap_overrides",
      help: "Quarantines and break-glasses in force that hold over workloads of this node.",
      registers,
    }),
    pending: new Gauge({
      name: "ztap_workloads_pending",
      help: "Workloads of this node that do not exist yet (no such cgroup), so that nothing of them is enforced.",
      registers,
    }),
    undeclared: new Gauge({
      name: "ztap_node_undeclared",
      help: "1 while the state in force does not know this node, so that nothing is enforced on it.",
      registers,
    }),
    escapes: new Gauge({
      name: "ztap_escapes",
      help: "Isolated workloads of which processes act outside of their programs, by kind.",
      labelNames: ["kind", "tolerated"],
      registers,
    }),
  };
}

function createNotificationMetrics(registry: Registry) {
  const registers = [registry];
  return {
    deliveries: new Counter({
      name: "ztap_notifications_total",
      help: "Attempts of this node as leader to tell a receiver what became of a commit; lost: events that are not told any more.",
      labelNames: ["outcome"],
      registers,
    }),
    deliveriesPending: new Gauge({
      name: "ztap_notifications_pending",
      help: "Events that receivers are yet to be told, while this node leads.",
      registers,
    }),
    oldestDelivery: new Gauge({
      name: "ztap_notification_oldest_seconds",
      help: "Time for which the oldest of these events has waited.",
      registers,
    }),
    pollRequests: new Counter({
      name: "ztap_poll_requests_total",
      help: "Requests at the poll hook of this node: accepted, refused for their signature, or too many.",
      labelNames: ["outcome"],
      registers,
    }),
  };
}

function createStoreMetrics(registry: Registry) {
  const registers = [registry];
  const perServer = (name: string, help: string) => new Gauge({ name, help, labelNames: ["server"], registers });
  return {
    databaseSize: perServer("ztap_store_database_bytes", "Size of the database of a server of the store."),
    databaseQuota: perServer("ztap_store_quota_bytes", "Size at which a server of the store accepts no more data."),
    ...createNotificationMetrics(registry),
    certificateExpiry: new Gauge({
      name: "ztap_certificate_expiry_seconds",
      help: "Time until a certificate with which this agent reaches its store expires; negative once it has.",
      labelNames: ["certificate"],
      registers,
    }),
    storeAlarm: new Gauge({
      name: "ztap_store_alarm",
      help: "1 while the store reports this alarm; NOSPACE: it accepts no more data.",
      labelNames: ["alarm"],
      registers,
    }),
  };
}

const ALARMS = ["NOSPACE", "CORRUPT"] as const;
const DELIVERY_OUTCOMES = ["delivered", "failed", "lost"] as const;
const POLL_OUTCOMES = ["accepted", "refused", "limited"] as const;
const FLOW_OUTCOMES = ["delivered", "limited", "lost"] as const;

type Metrics = ReturnType<typeof createMetrics>;

/** Creates all series at the start: a series that appears with its first event hides that event from `rate()`. */
function startAtZero(metrics: Metrics): void {
  const {
    storeAlarm,
    rejected,
    drift,
    packets,
    refusals,
    flowEvents,
    escapes,
    deliveries,
    pollRequests,
    rolloutState,
  } = metrics;
  for (const outcome of DELIVERY_OUTCOMES) deliveries.inc({ outcome }, 0);
  for (const outcome of POLL_OUTCOMES) pollRequests.inc({ outcome }, 0);
  for (const reason of REFUSAL_REASONS) refusals.inc({ reason }, 0);
  for (const alarm of ALARMS) storeAlarm.set({ alarm }, 0);
  for (const state of ROLLOUT_STATES) rolloutState.set({ state }, 0);
  for (const kind of TOLERATIONS) for (const tolerated of ["true", "false"]) escapes.set({ kind, tolerated }, 0);
  for (const outcome of FLOW_OUTCOMES) flowEvents.inc({ outcome }, 0);
  for (const reason of ["invalid", "lockout", "held", "unverified", "too-large"]) rejected.inc({ reason }, 0);
  for (const kind of ["missing", "extra", "changed", "detached"]) drift.inc({ kind }, 0);
  for (const direction of ["ingress", "egress"]) {
    for (const verdict of ["allowed", "denied", "audited"]) packets.inc({ direction, verdict }, 0);
  }
}

/** The server that an agent asks may change: the series of the one before go. */
function setStoreHealth({ databaseSize, databaseQuota, storeAlarm }: Metrics, servers: readonly StoreHealth[]): void {
  databaseSize.reset();
  databaseQuota.reset();
  for (const { endpoint: server, databaseBytes, quotaBytes } of servers) {
    if (databaseBytes !== null) databaseSize.set({ server }, databaseBytes);
    if (quotaBytes !== null) databaseQuota.set({ server }, quotaBytes);
  }
  for (const alarm of ALARMS) storeAlarm.set({ alarm }, servers.some(({ alarms }) => alarms.includes(alarm)) ? 1 : 0);
}

function commitTelemetry(metrics: Metrics) {
  return {
    committed: ({ policies, durationMs }) => {
      metrics.synced.inc(policies);
      metrics.syncDuration.observe(durationMs / 1000);
    },
    rejected: ({ reason }) => metrics.rejected.inc({ reason }),
    rewritten: () => metrics.rewrites.inc(),
    suspended: (isSuspended) => metrics.suspended.set(isSuspended ? 1 : 0),
    sourceError: () => metrics.sourceErrors.inc(),
    storeError: () => metrics.storeErrors.inc(),
    storeHealth: (servers) => setStoreHealth(metrics, servers),
    certificates: (all) => {
      for (const { setting, secondsLeft } of all) metrics.certificateExpiry.set({ certificate: setting }, secondsLeft);
    },
    policyVersions: (versions) => {
      metrics.version.reset();
      for (const { namespace, name, version } of versions) metrics.version.set({ namespace, policy: name }, version);
    },
    delivered: () => metrics.deliveries.inc({ outcome: "delivered" }),
    deliveryFailed: () => metrics.deliveries.inc({ outcome: "failed" }),
    deliveriesLost: (events) => metrics.deliveries.inc({ outcome: "lost" }, events),
    deliveriesPending: ({ events, oldestMs }) => {
      metrics.deliveriesPending.set(events);
      metrics.oldestDelivery.set(oldestMs / 1000);
    },
    pollRequested: ({ outcome }) => metrics.pollRequests.inc({ outcome }),
    leader: (isLeader) => metrics.leader.set(isLeader ? 1 : 0),
    elected: () => metrics.elections.inc(),
    rollout: (rollout) => {
      for (const state of ROLLOUT_STATES) metrics.rolloutState.set({ state }, rollout?.state === state ? 1 : 0);
      metrics.rolloutWave.set(rollout === null ? 0 : rollout.wave + 1);
      metrics.rolloutReleased.set(rollout?.released ?? 0);
    },
  } satisfies Partial<Telemetry>;
}

function enforcementTelemetry(metrics: Metrics) {
  let head = 0;
  let enforcedRevision = 0;
  const packetsSince = countSince();
  const refusalsSince = countSince();
  const flowsSince = countSince();
  const update = () => {
    metrics.head.set(head);
    metrics.enforced.set(enforcedRevision);
    metrics.lag.set(Math.max(0, head - enforcedRevision));
  };
  return {
    head: (revision) => {
      head = revision ?? 0;
      update();
    },
    inForce: (revision) => {
      enforcedRevision = revision;
      update();
    },
    enforced: ({ policies, durationMs }) => {
      metrics.enforcedTotal.inc(policies);
      metrics.enforcementDuration.observe(durationMs / 1000);
    },
    escapes: (all) => {
      for (const kind of TOLERATIONS)
        for (const isTolerated of [true, false]) {
          const count = all.filter((one) => one.kind === kind && one.isTolerated === isTolerated).length;
          metrics.escapes.set({ kind, tolerated: String(isTolerated) }, count);
        }
    },
    withheld: (workloads) => metrics.withheld.set(workloads),
    overrides: (count) => metrics.overrides.set(count),
    discoveryProblems: (count) => metrics.discoveryProblems.set(count),
    unidentifiedContainers: (count) => metrics.unidentifiedContainers.set(count),
    refusedEndpoints: (count) => metrics.refusedEndpoints.set(count),
    pending: (workloads) => metrics.pending.set(workloads),
    undeclared: (isUndeclared) => metrics.undeclared.set(isUndeclared ? 1 : 0),
    stalled: (isStalled) => metrics.stalled.set(isStalled ? 1 : 0),
    drift: (kind, items) => metrics.drift.inc({ kind }, items),
    healed: (items) => metrics.heals.inc(items),
    refusals: (totals) => {
      for (const { reason, count } of totals) metrics.refusals.inc({ reason }, refusalsSince(reason, count));
    },
    packets: (totals) => {
      for (const { direction, verdict, packets } of totals)
        metrics.packets.inc({ direction, verdict }, packetsSince(`${direction}/${verdict}`, packets));
    },
    flows: (statistics) => {
      for (const outcome of FLOW_OUTCOMES)
        metrics.flowEvents.inc({ outcome }, flowsSince(outcome, statistics[outcome]));
    },
  } satisfies Partial<Telemetry>;
}

/**
 * Returns how much a kernel counter grew since the last call: it outlives the agent, and restarts when it is created
 * again.
 */
function countSince(): (name: string, total: bigint) => number {
  const seen = new Map<string, bigint>();
  return (name, total) => {
    const before = seen.get(name) ?? 0n;
    seen.set(name, total);
    return Number(total >= before ? total - before : total);
  };
}
