/**
 * Reports what runs on this node: finds the processes of the workloads that should be here, and writes the node's record
 * where it changed. This node's own follower has the result at once, also without the store.
 */
import type { FoundProcesses, ProcessDiscovery, WantedProcesses } from "../interfaces/discovery.js";
import type { Enforcer, WaitingCgroup } from "../interfaces/enforcer.js";
import type { Notifier } from "../interfaces/notifier.js";
import type { Store } from "../interfaces/store.js";
import type { Clock, Logger } from "../interfaces/system.js";
import type { Telemetry } from "../interfaces/telemetry.js";
import {
  isReportedInstance,
  MOST_INSTANCES,
  MOST_NODE_ADDRESSES,
  type NodeEndpoints,
  type ReportedInstance,
} from "../model/endpoints.js";
import { printableLine } from "../model/printable.js";
import { forwardEvents, runLoop, type LoopOptions } from "./loop.js";

/** A record that stays as it is is written again after this time: its age says that the node still looks. */
const REFRESH_MS = 600_000;

export interface EndpointReporterDeps {
  readonly discovery: ProcessDiscovery;
  readonly store: Pick<Store, "listEndpoints" | "writeEndpoints">;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly telemetry: Pick<Telemetry, "discoveryProblems" | "unidentifiedContainers">;
  readonly enforcer: Pick<Enforcer, "newborns">;
}

export class EndpointReporter {
  #own: NodeEndpoints | null = null;
  #problems: readonly string[] = [];
  /** The containers that were closed at the last look, and those of them that the log names. */
  #closed: ReadonlySet<bigint> = new Set();
  readonly #told = new Set<bigint>();

  /**
   * @param wanted what is to be found on this node; null while no workload needs reports, or that is not known
   * @param publicKey what other nodes need to know this one by; null for nothing
   */
  constructor(
    private readonly deps: EndpointReporterDeps,
    private readonly node: string,
    private readonly wanted: (os: string) => readonly WantedProcesses[] | null,
    private readonly publicKey: () => string | null = () => null,
  ) {}

  /** What was found last; null before. */
  get own(): NodeEndpoints | null {
    return this.#own;
  }

  /**
   * Looks, and writes the record if the store has another one.
   * @param onFound is called before the record is written
   * @throws StoreError, or what discovery throws; what was found before stays
   */
  async run(onFound: () => void = () => undefined): Promise<void> {
    const { discovery, store, clock } = this.deps;
    // Before it is asked what is wanted: a pattern that let a cgroup wait is still, or again, wanted then.
    const waiting = this.deps.enforcer.newborns?.waiting() ?? [];
    const wanted = this.wanted(discovery.os);
    if (wanted === null) return;
    const containers = waiting.flatMap(({ container }) => container ?? []);
    const found = await discovery.discover(wanted, containers);
    this.#release(waiting, found);
    const { instances, addresses, problems } = fitRecord(found);
    this.#tell([...found.problems, ...problems]);
    const { node } = this;
    const publicKey = this.publicKey();
    const own = { node, at: new Date(clock.now()).toISOString(), os: found.os, addresses, instances };
    const now = publicKey === null ? own : { ...own, publicKey };
    if (this.#own === null || !isSame(this.#own, now)) {
      this.#own = now;
      onFound();
    }
    const stored = (await store.listEndpoints({ watched: true })).find((one) => one.node === node);
    const isFresh = stored !== undefined && clock.now() - Date.parse(stored.at) < REFRESH_MS;
    if (!isFresh || !isSame(stored, now)) await store.writeEndpoints(now);
  }

  /** Opens the newborn cgroups that are no workload's; all others stay closed until they are enforced by their own programs. */
  #release(waiting: readonly WaitingCgroup[], { instances, newborns, problems }: FoundProcesses): void {
    const { enforcer, telemetry, logger } = this.deps;
    const strangers = new Set(newborns?.strangers);
    const isStranger = ({ container }: WaitingCgroup): boolean =>
      container === null ? newborns?.isTreeRead === true : strangers.has(container);
    const kept = instances.map(({ cgroup }) => cgroup);
    enforcer.newborns?.release(waiting.filter(isStranger), kept);
    const closed = waiting.filter((one) => one.container !== null && !isStranger(one));
    telemetry.unidentifiedContainers(closed.length);
    // Every container is closed for a moment.
    const late = closed.filter(({ id }) => !this.#told.has(id) && (problems.length > 0 || this.#closed.has(id)));
    for (const { id, container } of late) {
      const why = problems.map((problem) => `: ${printableLine(problem)}`).join("");
      logger.warn(`a new container is closed until it is known whose it is${why}`, { container: container ?? "" });
      this.#told.add(id);
    }
    this.#closed = new Set(closed.map(({ id }) => id));
    for (const id of this.#told) if (!this.#closed.has(id)) this.#told.delete(id);
  }

  #tell(problems: readonly string[]): void {
    const { logger, telemetry } = this.deps;
    const lines = problems.map(printableLine);
    for (const line of lines) if (!this.#problems.includes(line)) logger.warn(line);
    if (lines.length === 0 && this.#problems.length > 0) logger.info("all processes of workloads can be found again");
    this.#problems = lines;
    telemetry.discoveryProblems(lines.length);
  }
}

/** Runs until the signal aborts. */
export async function runReporter(
  reporter: EndpointReporter,
  discovery: Pick<ProcessDiscovery, "watch">,
  wake: { readonly reporter: Notifier; readonly follower: Notifier },
  loop: Omit<LoopOptions, "name" | "jitter">,
): Promise<void> {
  await Promise.all([
    runLoop({ ...loop, name: "report of endpoints", jitter: 0.1 }, wake.reporter, () =>
      reporter.run(() => wake.follower.notify()),
    ),
    forwardEvents(
      (watching) => discovery.watch(watching),
      () => [wake.reporter],
      loop,
    ),
  ]);
}

function isSame(one: NodeEndpoints, other: NodeEndpoints): boolean {
  const key = ({ os, addresses, instances, publicKey }: NodeEndpoints): string =>
    JSON.stringify([os, addresses, instances, publicKey]);
  return key(one) === key(other);
}

/** Leaves out what a record cannot hold: one container with a strange name must not make all of it invalid. */
function fitRecord({ instances, addresses }: FoundProcesses): Omit<FoundProcesses, "os"> {
  const problems: string[] = [];
  const valid = instances.filter((one) => isReportedInstance(one));
  const known = new Set(valid);
  for (const { workload, instance, cgroup } of instances.filter((one) => !known.has(one)))
    problems.push(
      `${workload}: ${JSON.stringify(instance || cgroup)} cannot be reported: its name is no printable ASCII, or it has too many addresses`,
    );
  const fitting = shareRoom(valid);
  for (const [workload, count] of fitting.cut)
    problems.push(`${workload}: ${count} of its instances are not reported: a node reports at most ${MOST_INSTANCES}`);
  if (addresses.length > MOST_NODE_ADDRESSES)
    problems.push(`the node has ${addresses.length} addresses, and reports ${MOST_NODE_ADDRESSES} of them`);
  return { instances: fitting.kept, addresses: addresses.slice(0, MOST_NODE_ADDRESSES), problems };
}

/** Cuts the workloads with most instances, each to the same number: one that multiplies takes no room from others. */
function shareRoom(instances: readonly ReportedInstance[]): {
  readonly kept: readonly ReportedInstance[];
  readonly cut: readonly (readonly [string, number])[];
} {
  if (instances.length <= MOST_INSTANCES) return { kept: instances, cut: [] };
  const byWorkload = [...Map.groupBy(instances, ({ workload }) => workload)];
  let room = MOST_INSTANCES;
  let share = 0;
  for (const [index, [, own]] of byWorkload.toSorted(([, a], [, b]) => a.length - b.length).entries()) {
    share = Math.floor(room / (byWorkload.length - index));
    if (own.length > share) break;
    room -= own.length;
  }
  return {
    kept: byWorkload.flatMap(([, own]) => own.slice(0, share)),
    cut: byWorkload.flatMap(([workload, own]) => (own.length > share ? [[workload, own.length - share] as const] : [])),
  };
}
