/** Wiring of `ztap flows`: selects the agent of this machine, and interprets its answers. */
import type { FlowMessage, FlowQuery } from "../model/flow.js";
import { OperationError } from "../model/operation-error.js";
import type { Settings } from "../settings/settings.js";
import { EnforcerError } from "../interfaces/enforcer.js";

/**
 * Returns the node whose agent serves the flows: the one of the settings or, if they name none and no agent of the
 * machine's own name serves flows, the only one that does.
 * @throws OperationError `agent-away`, EnforcerError `not-permitted`
 */
export async function chooseFlowNode({ stateDir, node, isNodeNamed }: Settings): Promise<string> {
  const { listFlowNodes } = await import("../adapters/flows/client.js");
  const nodes = await listFlowNodes(stateDir).catch(explain(node));
  if (nodes.includes(node)) return node;
  const [only, ...others] = nodes;
  if (only !== undefined && others.length === 0 && !isNodeNamed) return only;
  const hint =
    only === undefined
      ? `no agent serves flows in ${stateDir}/flows; start one with \`ztap agent\`, or name its state folder with --state-dir`
      : `these nodes' agents do: ${nodes.join(", ")}; name one with --node`;
  throw new OperationError("agent-away", `no agent of node ${node} serves flows here; ${hint}`);
}

/**
 * Yields the verdicts of a node's agent; the agent has answered when this returns.
 * @throws OperationError `agent-away`, `not-found` for a workload that the node does not have, EnforcerError
 * `not-permitted`
 */
export async function followFlows(
  { stateDir }: Settings,
  node: string,
  query: FlowQuery,
  signal: AbortSignal,
): Promise<AsyncGenerator<FlowMessage>> {
  const { openFlows: open } = await import("../adapters/flows/client.js");
  return explained(await open(stateDir, node, query, signal).catch(explain(node)), node);
}

async function* explained(messages: AsyncGenerator<FlowMessage>, node: string): AsyncGenerator<FlowMessage> {
  const { FlowsRefused } = await import("../adapters/flows/client.js");
  try {
    yield* messages;
  } catch (cause) {
    if (!(cause instanceof FlowsRefused)) return explain(node)(cause);
    const { workload, meant } = cause.refusal;
    const hint = meant === null ? "`ztap enforcement show` lists those that it enforces" : `did you mean ${meant}?`;
    throw new OperationError("not-found", `there is no workload ${workload} on node ${node}; ${hint}`, { cause });
  }
}

function explain(node: string): (cause: unknown) => never {
  return (cause) => {
    const code = cause instanceof Error && cause.name === "FlowsUnavailable" && "code" in cause ? cause.code : null;
    if (code === null) throw cause;
    if (code === "not-permitted")
      throw new EnforcerError("not-permitted", "ztap flows needs root: only root may read the flows of an agent", {
        cause,
      });
    if (code === "foreign")
      throw new EnforcerError(
        "not-permitted",
        "the process that serves flows here may not belong to root or this user; start the agent with a --state-dir that only its user can write to",
        { cause },
      );
    throw new OperationError("agent-away", `the agent of node ${node} stopped; enforcement goes on without it`, {
      cause,
    });
  };
}
