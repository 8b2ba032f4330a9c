/**
 * Lock-out: why a ruleset would cut what its machine is ruled through. Enforcement is on the workloads' own
 * cgroups, so only a workload whose cgroup holds the agent, or a session, can cut it.
 *
 * The agent's own traffic is never a workload's, whatever the policies say of it today: the next one would
 * have to come through it. A session is in danger where the ruleset denies its first packet: its connection ends
 * at the next one, or, where it is older than the enforcement and may pass for one that the workload made, it
 * could not be opened again.
 */
import type { Lifelines, Session } from "../model/lifeline.js";
import type { Ruleset, Subject } from "../model/ruleset.js";
import { createEvaluator, type Evaluator } from "./evaluate.js";

const TCP = 6;

/** One sentence for each lifeline that would be cut; none where the ruleset is safe. */
export function findLockouts(ruleset: Ruleset, { agent, sessions }: Lifelines): readonly string[] {
  const holding = ruleset.subjects.find(({ cgroup }) => agent !== null && holds(cgroup, agent));
  const own =
    holding === undefined
      ? []
      : [
          `workload ${holding.workload} has the cgroup ${holding.cgroup ?? ""}, in which the agent of node ${ruleset.node} itself runs (${agent ?? ""})`,
        ];
  // Preparing a ruleset for questions costs as much as a first answer; most machines have no session to ask about.
  let evaluator: Evaluator | undefined;
  const cut = sessions.flatMap((session) => {
    const denying = ruleset.subjects.find((subject) => {
      if (!session.cgroups.some((cgroup) => holds(subject.cgroup, cgroup))) return false;
      evaluator ??= createEvaluator(ruleset);
      return denies(evaluator, subject, session);
    });
    return denying === undefined
      ? []
      : [
          `workload ${denying.workload} has the cgroup ${denying.cgroup ?? ""}, and its ingress policies (${denying.ingress.policies.join(", ")}) deny the SSH session from ${session.peer} to port ${session.port}`,
        ];
  });
  return [...own, ...new Set(cut)];
}

/** Whether the cgroup is the other one, or around it. */
export function holds(cgroup: string | null, inner: string): boolean {
  return cgroup !== null && (cgroup === "" || inner === cgroup || inner.startsWith(`${cgroup}/`));
}

function denies(evaluator: Evaluator, { workload }: Subject, { peer, port }: Session): boolean {
  return evaluator({ workload, direction: "ingress", peer, protocol: TCP, port }).verdict === "Denied";
}
