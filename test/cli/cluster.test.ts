import t from "tap";
import { NODES, Ztap } from "./ztap.js";
import { waitUntil } from "../wait.js";

const AGENT = ["--backend", "none", "--listen", "off", "--heartbeat-interval", "50ms", "--session-ttl", "1s"];

const row = async (ztap: Ztap, t: Parameters<Ztap["json"]>[0], id: string) => {
  const { nodes } = await ztap.json(t, "cluster-list", ["cluster", "list"]);
  return Object(nodes.find((node: { readonly id: string }) => node.id === id));
};

t.test("a node joins, becomes healthy, stays a member when it dies, and leaves no record when it leaves", async (t) => {
  const ztap = new Ztap(t);
  ztap.write("state/n.yaml", NODES);
  await ztap.run(["apply", "state", "--auto-approve"]);
  t.match(await row(ztap, t, "n1"), { state: "absent", role: "none", declared: true, heartbeatAgeMs: null });

  const joined = await ztap.json(t, "cluster-join", ["cluster", "join", "n2", "10.0.0.2:9470"]);
  t.match(joined, { id: "n2", address: "10.0.0.2:9470", changed: true, declared: false });
  t.match(await row(ztap, t, "n2"), { state: "unhealthy", declared: false, lastSeen: null });

  const agents = new Map(["n1", "n2"].map((id) => [id, ztap.start(["agent", "--node", id, ...AGENT])]));
  for (const id of agents.keys())
    await waitUntil(() => row(ztap, t, id), { is: (seen) => seen.state === "healthy", what: `${id} alive` });
  const { leader, nodes } = await ztap.json(t, "cluster-status", ["cluster", "status"]);
  t.same(
    nodes.map(({ id, role }: { id: string; role: string }) => [id, role === "leader"]),
    [
      ["n1", leader.id === "n1"],
      ["n2", leader.id === "n2"],
    ],
  );
  const alive = await ztap.json(t, "error", ["cluster", "leave", "n2"], { code: 1 });
  t.match(alive, { error: { code: "node-alive", message: /--force/ } });

  await agents.get("n2")?.stop("SIGKILL");
  await waitUntil(() => row(ztap, t, "n2"), { is: (seen) => seen.state === "unhealthy", what: "the death of n2" });
  const lagging = await ztap.json(t, "cluster-status", ["cluster", "status", "--lagging"]);
  t.match(lagging, { progress: { enforced: 0, expected: 2 }, nodes: { length: 2 } }, "their agents enforce nothing");
  t.match(await ztap.run(["cluster", "status", "--lagging"]), { stdout: /^Enforced {2}on 0 of 2 nodes$/m });
  t.match(await ztap.run(["cluster", "list"]), {
    stdout: /n2 .*unhealthy .*n2: the agent is not running, or .*an agent runs as node n1/s,
  });
  t.match(await ztap.run(["cluster", "list"]), { stdout: /n2: .*; the desired state declares no such Node/ });
  const narrow = await ztap.onTerminal(["cluster", "status"], "", { NO_COLOR: "1" });
  for (const line of narrow.stdout.split(/\r?\n/)) t.ok(line.length <= 80, line);
  t.match(narrow.stdout, /^n2: .*\r?\n {2}\S/m, "wrapped between words");
  t.match(await ztap.json(t, "cluster-leave", ["cluster", "leave", "n2"]), { id: "n2", wasAlive: false });
  t.same(await row(ztap, t, "n2"), {});
  const unknown = await ztap.json(t, "error", ["cluster", "leave", "n2"], { code: 1 });
  t.match(unknown, { error: { code: "not-found", message: /n1/ } });

  t.match(await ztap.run(["cluster", "leave", "n1", "--force"]), { code: 0, stdout: /agent still runs/ });
  await waitUntil(() => row(ztap, t, "n1"), {
    is: (seen) => seen.heartbeatAgeMs !== null,
    what: "its heartbeat, which goes on",
  });
  t.match(await row(ztap, t, "n1"), { state: "left", message: /restart it to join again/ });
  t.match(await agents.get("n1")?.stop(), { code: 0 });
});

t.test("an invalid node name or address is a usage error", async (t) => {
  const ztap = new Ztap(t);
  for (const args of [["N_1", "a:1"], ["n1", "nowhere"], ["n1"]])
    t.match(await ztap.run(["cluster", "join", ...args]), { code: 64 }, args.join(" "));
  t.match(await ztap.run(["cluster", "list"]), { code: 0, stdout: /No nodes/ });
});
