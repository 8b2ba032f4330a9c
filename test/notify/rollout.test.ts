/** What receivers are told of a commit that is rolled out in waves. */
import t from "tap";
import type { ClusterNode, RolloutSummary } from "../../src/operations/cluster/membership.js";
import { reportCommit } from "../../src/reconcile/notify/report.js";
import { SOURCE } from "../contract/store-cluster.js";

const node = (id: string, released: number, enforced: number): ClusterNode => ({
  ...{ id, address: `${id}:1`, role: "follower", state: "healthy", declared: true, joinedAt: null, lastSeen: null },
  ...{ heartbeatAgeMs: 1, enforcedRevision: enforced, rulesetDigest: null, released, lag: released - enforced },
  ...{ shadow: null, wave: null, withheld: [], pending: [], message: null },
});

const told = (rollout: Partial<RolloutSummary> | null, nodes: readonly ClusterNode[]) =>
  reportCommit(
    Object({
      revision: 2,
      nodes,
      source: { ...SOURCE, state: "Synced", observedCommit: "c".repeat(40), diagnostics: [] },
      rollout: rollout === null ? null : { revision: 2, base: 1, wave: 1, waves: 3, message: null, ...rollout },
    }),
    [],
  );

t.test(
  "a commit is enforced everywhere only once it is released to all, and taken back where its rollout is",
  async (t) => {
    const waits = [node("n1", 2, 2), node("n2", 1, 1)];
    t.match(told({ state: "running" }, waits), {
      ...{ state: "accepted", description: "enforced on 1 of 2 nodes, in wave 1 of 3" },
      nodes: { enforced: 1, expected: 2 },
    });
    t.match(told({ state: "failed", message: "gate stalled: 1" }, [node("n1", 1, 1), node("n2", 1, 1)]), {
      state: "reverted",
      description: "its rollout failed in wave 1 of 3: gate stalled: 1",
    });
    const all = [node("n1", 2, 2), node("n2", 2, 2)];
    t.match(told({ state: "complete" }, all), { state: "enforced", description: "enforced on 2 of 2 nodes" });
    t.match(told(null, all), { state: "enforced" });
  },
);
