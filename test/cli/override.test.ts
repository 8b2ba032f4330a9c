import t from "tap";
import { waitUntil } from "../wait.js";
import { AGENT, NODES, policy, Ztap } from "./ztap.js";

t.test("a quarantine reaches the agent at once, is shown everywhere, and is ended by hand", async (t) => {
  const ztap = new Ztap(t);
  ztap.write("state/n.yaml", NODES);
  ztap.write("state/p.yaml", policy(80));
  const quarantine = (...args: readonly string[]) => ["quarantine", "n1", "-m", "incident 42", ...args];
  t.match(await ztap.json(t, "error", quarantine("--for", "1h"), { code: 1 }), { error: { code: "not-found" } });
  t.match(await ztap.run(["apply", ztap.path("state"), "--auto-approve"]), { code: 0 });
  for (const [args, code] of [
    [quarantine("--for", "5s"), "usage"],
    [quarantine("--for", "169h"), "usage"],
    [["quarantine", "n1", "--for", "1h", "-m", " "], "usage"],
    [["override", "end", "nope"], "not-found"],
  ] as const)
    t.match(await ztap.json(t, "error", args, { code: code === "usage" ? 64 : 1 }), { error: { code } });
  t.match(await ztap.run(["quarantine", "n1x", "--for", "1h", "-m", "x"]), {
    code: 1,
    stderr: /has no node n1x.*n1\?/,
  });
  t.match(await ztap.run(["quarantine", "n1", "-m", "x"]), { code: 64, stderr: /--for TIME is missing/ });

  const agent = ztap.start([...AGENT, "--node", "n1"]);
  await agent.says("leading");
  const { override } = await ztap.json(t, "override", quarantine("--for", "1h"));
  t.match(override, { kind: "quarantine", target: { node: "n1" }, by: /@/, reason: "incident 42", until: /Z$/ });
  await agent.says("quarantine until");
  const list = async () => (await ztap.json(t, "override-list", ["override", "list"])).overrides;
  t.match(await list(), [{ id: override.id, state: "InForce" }]);
  t.match(await ztap.status(t), { overrides: [{ id: override.id }] });
  t.match(await ztap.run(["cluster", "status"]), {
    stdout: /^Override {2}quarantine of node n1 until .*: incident 42$/m,
  });
  const { override: glass } = await ztap.json(t, "override", ["breakglass", "--node", "n1", "--for", "1h", "-m", "43"]);
  t.match(await ztap.run(["override", "end", override.id]), { code: 0, stdout: /Ended/ });
  t.match(await ztap.json(t, "error", ["override", "end", override.id], { code: 1 }), { error: { code: "not-found" } });
  t.match(await list(), [
    { id: glass.id, state: "InForce" },
    { id: override.id, state: "Ended", ended: { by: /@/ } },
  ]);
  const status = () => ztap.status(t);
  await waitUntil(status, { is: ({ overrides }) => overrides.length === 1, what: "the end of the quarantine" });
  t.match(await agent.stop(), { code: 0 });
});
