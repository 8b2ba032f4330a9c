/**
 * What this node silently would not enforce: workloads without a cgroup, and a node that the state does not know. Told
 * to the log, the probes and telemetry; the store has it in the node's status.
 */
import { describeConflict, NodeDescriptions } from "../inventory/nodes.js";
import type { ObjectSet } from "../model/state.js";
import { listPending } from "../model/pending.js";
import type { SubjectStatus } from "../model/status.js";
import type { Clock, Logger } from "../interfaces/system.js";
import type { Telemetry } from "../interfaces/telemetry.js";

export interface UnenforcedDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly telemetry: Pick<Telemetry, "pending" | "undeclared">;
}

/** How often the log repeats that the node is not declared. */
const REPEAT_MS = 600_000;

/** The number of names in a sentence; the rest is counted. */
const SHOWN = 10;

export class UnenforcedWatch {
  #undeclared: { readonly reason: string; readonly at: number } | null = null;
  #pending: ReadonlyMap<string, string> = new Map();
  /** Workloads that this agent has seen: one that stops is no news of this kind (see `logMoves`), one that never was is. */
  #present: ReadonlySet<string> = new Set();

  constructor(private readonly deps: UnenforcedDeps) {}

  /** The pending workloads in words, one a line; empty if there are none. */
  get details(): readonly string[] {
    return [...this.#pending].map(([workload, reason]) => `pending: ${workload}: ${reason}`);
  }

  /** @param undeclared see `undeclaredNode` */
  note(undeclared: string | null, subjects: readonly SubjectStatus[]): void {
    const { clock, logger, telemetry } = this.deps;
    telemetry.undeclared(undeclared !== null);
    const now = clock.monotonic();
    if (undeclared === null) this.#undeclared = null;
    else if (this.#undeclared?.reason !== undeclared || now - this.#undeclared.at >= REPEAT_MS) {
      logger.warn(undeclared);
      this.#undeclared = { reason: undeclared, at: now };
    }
    const pending = new Map(listPending(subjects).map(({ workload, message }) => [workload, message]));
    telemetry.pending(pending.size);
    for (const [workload, reason] of pending)
      if (!this.#pending.has(workload) && !this.#present.has(workload))
        logger.warn(`workload ${workload} is pending, and not enforced: ${reason}`);
    this.#pending = pending;
    this.#present = new Set([
      ...[...this.#present].filter((workload) => pending.has(workload)),
      ...subjects.flatMap(({ workload, state }) => (state === "Pending" ? [] : [workload])),
    ]);
  }
}

/**
 * Says that the state does not know this node: most likely its agent has the wrong name. A state that declares no Node
 * knows those that its workloads name. Null if it knows it, or if it names no node at all.
 */
export function undeclaredNode(objects: ObjectSet, node: string): string | null {
  const nodes = new NodeDescriptions(objects);
  const [conflict] = nodes.match(node)?.conflicts ?? [];
  if (conflict !== undefined)
    return `node ${node} is refused: ${describeConflict(conflict)}; only workloads that name it as their node are enforced`;
  if (!nodes.isEmpty && nodes.match(node) !== undefined) return null;
  if (nodes.groups.length > 0)
    return `no Node and no NodeGroup describes node ${node}, so that nothing is enforced for it; start the agent with the right --node, or describe it`;
  const all = [...objects.values()].map(({ object }) => object);
  const declared = all.flatMap((object) => (object.kind === "Node" ? [object.metadata.name] : []));
  const workloads = all.flatMap((object) => (object.kind === "Workload" ? [object] : []));
  // Labels may be those of any node.
  if (declared.length === 0 && workloads.some(({ spec }) => spec.nodeSelector !== undefined)) return null;
  const named = workloads.flatMap(({ spec }) => spec.node ?? []);
  const known = [...new Set(declared.length > 0 ? declared : named)].sort();
  if (known.length === 0 || known.includes(node)) return null;
  const shown = known.slice(0, SHOWN).join(", ") + (known.length > SHOWN ? ", …" : "");
  return declared.length > 0
    ? `node ${node} is not declared, so that nothing is enforced for it; declared are: ${shown}; start the agent with the --node of one of them, or declare it`
    : `node ${node} is not declared, and no workload is on it, so that nothing is enforced for it; workloads are on: ${shown}; start the agent with the --node of one of them, or declare it`;
}
