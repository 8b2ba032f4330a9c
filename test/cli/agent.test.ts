import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import t from "tap";
import { Repository } from "../fakes/repository.js";
import { NODES, policy, Ztap, type Running } from "./ztap.js";
import { waitUntil } from "../wait.js";

/** The metrics that other people's dashboards rely on, with their types. */
const METRICS: Readonly<Record<string, string>> = {
  ztap_policies_synced_total: "counter",
  ztap_policy_sync_duration_seconds: "histogram",
  ztap_policy_version_current: "gauge",
  ztap_policies_enforced_total: "counter",
  ztap_policy_enforcement_duration_seconds: "histogram",
  ztap_head_revision: "gauge",
  ztap_enforced_revision: "gauge",
  ztap_revision_lag: "gauge",
  ztap_leader: "gauge",
  ztap_elections_total: "counter",
  ztap_rejected_commits_total: "counter",
  ztap_source_rewrites_total: "counter",
  ztap_source_suspended: "gauge",
  ztap_source_errors_total: "counter",
  ztap_store_errors_total: "counter",
  ztap_store_database_bytes: "gauge",
  ztap_store_quota_bytes: "gauge",
  ztap_store_alarm: "gauge",
  ztap_drift_items_total: "counter",
  ztap_healed_items_total: "counter",
  ztap_packets_total: "counter",
  ztap_refusals_total: "counter",
  ztap_flow_events_total: "counter",
  ztap_event_loop_longest_block_seconds: "gauge",
};

const QUICK = ["--source-interval", "50ms", "--check-interval", "200ms", "--backend", "none", "--node", "n1"];

function makeRepository(ztap: Ztap): Repository {
  const repo = new Repository(ztap.path("repo"));
  repo.write("n.yaml", NODES);
  repo.write("p.yaml", policy(80));
  repo.commit();
  return repo;
}

/** Starts an agent without enforcement, and gives the address of its HTTP endpoint. */
async function startAgent(ztap: Ztap, ...args: readonly string[]): Promise<{ agent: Running; url: string }> {
  const agent = ztap.start(["agent", ...QUICK, "--listen", "127.0.0.1:0", ...args]);
  await agent.says("agent started");
  const [, address = ""] = /"http":"([^"]+)"/.exec(agent.stderr) ?? [];
  return { agent, url: `http://${address}` };
}

const status = (ztap: Ztap, t: Tap) => ztap.status(t);
type Tap = Parameters<Ztap["json"]>[0];

t.test("an agent polls and commits, rejects an invalid commit, and continues once it is fixed", async (t) => {
  const ztap = new Ztap(t);
  const repo = makeRepository(ztap);
  const { agent, url } = await startAgent(ztap, "--source", repo.path);
  await waitUntil(() => status(ztap, t), { is: (seen) => seen.source?.state === "Synced", what: "the first commit" });
  t.match(await status(ztap, t), { revision: 1, leader: { id: "n1" }, source: { location: repo.path } });

  repo.write("p.yaml", policy(80).replace("podSelector", "podSelektor"));
  const bad = repo.commit();
  await waitUntil(() => status(ztap, t), { is: (seen) => seen.source.state === "Rejected", what: "the rejection" });
  const rejected = await status(ztap, t);
  t.match(rejected, { revision: 1, source: { observedCommit: bad } });
  t.match(rejected.source.diagnostics[0], { file: "p.yaml", line: 5, code: /^ZT/ });
  t.match((await ztap.run(["cluster", "status"])).stdout, /p\.yaml:5:\d+ ZT/);

  repo.write("p.yaml", policy(81));
  repo.commit();
  await waitUntil(() => status(ztap, t), { is: (seen) => seen.revision === 2, what: "the next good commit" });

  const metrics = await (await fetch(`${url}/metrics`)).text();
  for (const [name, type] of Object.entries(METRICS)) t.match(metrics, `# TYPE ${name} ${type}`);
  t.match(metrics, 'ztap_policy_version_current{namespace="default",policy="p"} 2');
  t.match(metrics, /ztap_rejected_commits_total\{reason="invalid"\} [1-9]/);
  t.equal((await fetch(`${url}/healthz`)).status, 200);
  const ready = await fetch(`${url}/readyz`);
  t.equal(ready.status, 503, "nothing is enforced");
  t.match(await ready.text(), /nothing is enforced/);
  t.equal((await fetch(`${url}/metrics`, { method: "POST" })).status, 405);
  t.equal((await fetch(`${url}/etc/passwd`)).status, 404);
  t.match(await agent.stop("SIGTERM"), { code: 0 });
  t.match((await status(ztap, t)).nodes[0], { id: "n1", state: "unhealthy", enforcedRevision: null });
});

t.test("one agent per node; the next agent takes over at once from a killed one", async (t) => {
  const ztap = new Ztap(t);
  makeRepository(ztap);
  await ztap.run(["apply", "repo", "--auto-approve"]);
  const { agent } = await startAgent(ztap);
  const second = await ztap.run(["agent", ...QUICK, "--listen", "off"]);
  t.match(second, { code: 1, stderr: /another agent already runs for node n1/ });
  t.notOk(agent.isOver);
  await agent.stop("SIGKILL");
  const { agent: next } = await startAgent(ztap);
  await waitUntil(() => status(ztap, t), {
    is: (seen) => seen.leader?.id === "n1",
    what: "leadership of the successor",
  });
  t.match(await next.stop("SIGINT"), { code: 0 });
});

t.test("an agent whose port is in use exits with a clear message, and keeps no lease", async (t) => {
  const ztap = new Ztap(t);
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  const { code, stderr } = await ztap.run(["agent", ...QUICK, "--listen", `127.0.0.1:${port}`]);
  t.equal(code, 1);
  t.match(stderr, new RegExp(`127\\.0\\.0\\.1:${port}`));
  const { agent } = await startAgent(ztap);
  await agent.stop();
});

t.test("an unreachable source is reported, and followed again once it is back", async (t) => {
  const ztap = new Ztap(t);
  const repo = makeRepository(ztap);
  const { agent } = await startAgent(ztap, "--source", repo.path);
  await waitUntil(() => status(ztap, t), { is: (seen) => seen.revision === 1, what: "the first commit" });
  repo.git("update-ref", "refs/heads/aside", "HEAD");
  repo.git("symbolic-ref", "HEAD", "refs/heads/none");
  await waitUntil(() => status(ztap, t), { is: (seen) => seen.source.state === "Unreachable", what: "the loss" });
  t.match(await status(ztap, t), { revision: 1, source: { message: /no commit on its default branch/ } });
  repo.git("symbolic-ref", "HEAD", "refs/heads/aside");
  await waitUntil(() => status(ztap, t), { is: (seen) => seen.source.state === "Synced", what: "the return" });
  t.match(await agent.stop(), { code: 0 });
});

t.test("an operator's apply over a polled source needs --override, and head returns to Git afterwards", async (t) => {
  const ztap = new Ztap(t);
  const repo = makeRepository(ztap);
  const { agent } = await startAgent(ztap, "--source", repo.path);
  await waitUntil(() => status(ztap, t), { is: (seen) => seen.revision === 1, what: "the first commit" });
  ztap.write("own/n.yaml", NODES);
  const refused = await ztap.json(t, "error", ["apply", "own", "--auto-approve"], { code: 1 });
  t.match(refused, { error: { code: "override-needed", message: /--override/ } });
  const { revision } = await ztap.json(t, "apply", ["apply", "own", "--auto-approve", "--override", "-m", "test"]);
  t.match(revision, { number: 2 });
  await waitUntil(() => status(ztap, t), { is: (seen) => seen.revision === 3, what: "Git's state again" });
  const { versions } = await ztap.json(t, "policy-history", ["policy", "history", "p"]);
  t.match(versions, [{ action: "created", reason: "source" }, { action: "deleted", reason: "apply: test" }, {}]);
  await agent.stop();
});

t.test("--once makes one run, and its exit code shows whether the node is in sync", async (t) => {
  const ztap = new Ztap(t);
  const repo = makeRepository(ztap);
  const once = await ztap.run(["agent", "--once", ...QUICK, "--source", repo.path, "--listen", "off"]);
  t.match(once, { code: 1, stderr: /nothing is enforced on this node/ });
  t.equal((await status(ztap, t)).revision, 1, "and leads where nobody else does");
  t.match(await status(ztap, t), { leader: null }, "what it claimed it gave back");
});
