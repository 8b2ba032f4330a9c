/** The gates of a rollout, read from the statuses of the nodes. Pure. */
import { GATES, type GateName, type Rollout } from "../../model/rollout.js";
import { messageOf, nodeProgress, type NodeProgress, type RolloutNode } from "./nodes.js";

export interface GateReading {
  readonly gate: GateName;
  readonly limit: number;
  readonly value: number;
  /** The nodes that make up the value. */
  readonly nodes: readonly string[];
  /** A clause about the first of them. */
  readonly reason: string | null;
  readonly isExceeded: boolean;
}

const COUNTED: Readonly<Record<Exclude<GateName, "newDenials">, NodeProgress>> = {
  stalled: "stalled",
  drift: "drifted",
  unconfirmed: "reverted",
};

/** Returns the gates that the plan has. */
export function readGates(rollout: Rollout, nodes: readonly RolloutNode[]): readonly GateReading[] {
  return GATES.flatMap((gate): readonly GateReading[] => {
    const limit = rollout.plan.gates[gate];
    return limit === undefined ? [] : [gate === "newDenials" ? readDenials(rollout, nodes, limit) : countNodes(gate)];

    function countNodes(name: Exclude<GateName, "newDenials">): GateReading {
      const found = nodes.filter((node) => nodeProgress(rollout, node) === COUNTED[name]);
      const [first] = found;
      return {
        ...{ gate: name, limit: limit ?? 0, value: found.length, nodes: found.map(({ id }) => id) },
        reason: first === undefined ? null : `${first.id}: ${messageOf(first) ?? "it does not enforce the revision"}`,
        isExceeded: found.length > (limit ?? 0),
      };
    }
  });
}

/** Only nodes that wait compare: what a node has in force is denied for real. */
function readDenials(rollout: Rollout, nodes: readonly RolloutNode[], limit: number): GateReading {
  const found = nodes.flatMap((node) => {
    const shadow = nodeProgress(rollout, node) === "waiting" ? node.status?.shadow : undefined;
    return shadow?.commitId === rollout.commitId && shadow.newDenials > 0 ? [{ id: node.id, shadow }] : [];
  });
  const value = found.reduce((sum, { shadow }) => sum + shadow.newDenials, 0);
  const worst = found
    .flatMap(({ id, shadow }) => shadow.differences.map((difference) => ({ id, ...difference })))
    .filter(({ effect }) => effect === "denied")
    .sort((a, b) => b.count - a.count)[0];
  const where = worst?.file === null || worst === undefined ? "" : ` (${worst.file}:${worst.line ?? 1})`;
  const reason =
    worst === undefined
      ? (found[0]?.id ?? null)
      : `${worst.id}: ${worst.workload} ${worst.direction} ${worst.count} times${where}`;
  return {
    ...{ gate: "newDenials" as const, limit, value, nodes: found.map(({ id }) => id), reason },
    isExceeded: value > limit,
  };
}

export function describeGate({ gate, value, limit, reason }: GateReading): string {
  return `gate ${gate}: ${value}, at most ${limit} allowed${reason === null ? "" : `; ${reason}`}`;
}
