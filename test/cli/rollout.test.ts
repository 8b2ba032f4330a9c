import t from "tap";
import { Repository } from "../fakes/repository.js";
import { waitUntil } from "../wait.js";
import { AGENT, NODES, policy, Ztap } from "./ztap.js";

const undo = (...args: readonly string[]) => ["rollout", "undo", "-m", "incident 42", ...args];
const approved = (...args: readonly string[]) => undo("--auto-approve", ...args);

t.test("an undo restores the whole earlier state, and the leader leaves it until the source is resumed", async (t) => {
  const ztap = new Ztap(t);
  const repo = new Repository(ztap.path("repo"));
  repo.write("n.yaml", NODES);
  repo.write("p.yaml", policy(80));
  repo.commit("Let port 80 in");
  const agent = ztap.start([...AGENT, "--node", "n1", "--source", repo.path]);
  const status = () => ztap.status(t);
  const reaches = (revision: number) =>
    waitUntil(status, { is: (seen) => seen.revision === revision, what: `revision ${revision}` });
  await agent.says("committed revision 1");
  repo.write("p.yaml", policy(81));
  repo.write("q.yaml", policy(443).replace("name: p", "name: q"));
  repo.commit("A bad change");
  await reaches(2);

  const asked = await ztap.run(undo());
  t.match(asked, { code: 1, stderr: /no terminal/ });
  t.match(asked.stdout, /^Undo {5}revision 2 .*: A bad change\nRestore {2}revision 1 .*: Let port 80 in$/m);
  t.match(asked.stdout, /1 to update, 1 to delete \(against revision 2\)/);
  t.match(await status(), { revision: 2, suspension: null }, "nothing happens without the answer");

  const done = await ztap.json(t, "rollout-undo", approved());
  t.match(done, {
    restored: 1,
    undone: [{ number: 2, subject: "A bad change" }],
    summary: { create: 0, update: 1, delete: 1 },
    revision: { number: 3 },
    suspension: { reason: "undo of revision 2: incident 42", until: null },
  });
  repo.write("p.yaml", policy(82));
  repo.commit("Another change");
  await agent.says("the source is suspended");
  t.match(await status(), { revision: 3, suspension: { by: /@/ } });
  t.match(await ztap.run(["policy", "history"]), { stdout: /^3 .* undo to revision 1: incident 42/m });
  const { revisions } = await ztap.json(t, "revision-list", ["policy", "history"]);
  t.match(revisions, [{ number: 3, restores: 1 }, { subject: "A bad change", restores: null }, { number: 1 }]);
  t.match(await ztap.json(t, "policy-list", ["policy", "list"]), { policies: { length: 1 } });

  const again = await ztap.json(t, "error", approved(), { code: 64 });
  t.match(again, { error: { code: "usage", message: /is an undo already.*revision 1.*--to/ } });
  t.match(await ztap.json(t, "cluster-resume", ["rollout", "resume"]), { resumed: true });
  await reaches(4);
  t.match(await ztap.json(t, "policy-list", ["policy", "list"]), { policies: { length: 2 } });
  t.match(await agent.stop(), { code: 0 });
});

t.test("without a source, without a leader, further back, and to the state that is in force", async (t) => {
  const ztap = new Ztap(t);
  t.match(await ztap.json(t, "error", approved(), { code: 1 }), { error: { code: "not-found" } });
  for (const port of [80, 81, 82]) {
    ztap.write("state/p.yaml", policy(port));
    ztap.write("state/n.yaml", NODES);
    await ztap.run(["apply", "state", "--auto-approve"]);
  }
  t.match(await ztap.json(t, "error", approved("--to", "3"), { code: 64 }), { error: { message: /not before head/ } });
  t.match(await ztap.json(t, "rollout-undo", approved("--to", "1")), {
    restored: 1,
    undone: [{ number: 3 }, { number: 2 }],
    suspension: { reason: "undo of revisions 2 to 3: incident 42" },
  });
  t.match(await ztap.run(["rollout", "resume"]), { stdout: /Resumed/ });
  t.match(await ztap.run(approved("--to", "1")), {
    code: 0,
    stdout: /Nothing to restore.*\n.*The source is suspended/,
  });
  t.match(await ztap.json(t, "cluster-status", ["cluster", "status"]), { revision: 4, suspension: { until: null } });
});

t.test("earlier versions of a policy are shown, and compared", async (t) => {
  const ztap = new Ztap(t);
  for (const port of [80, 81]) {
    ztap.write("p.yaml", policy(port));
    await ztap.run(["policy", "sync", "p.yaml", "--name", "p", "--node", "n1", "-m", `port ${port}`]);
  }
  const shown = await ztap.json(t, "policy-version", ["policy", "show", "p", "--version", "1"]);
  t.match(shown, { version: { version: 1, revision: 1, reason: "sync: port 80" }, spec: { ingress: [{}] } });
  const text = await ztap.run(["policy", "show", "p", "--version", "1"]);
  t.match(text, { stdout: /^Policy +default\/p {2}version 1\nCommitted .*revision 1.*port 80\n[^]*port: 80/ });
  const diff = ["policy", "diff", "p", "1"];
  const compared = await ztap.run([...diff, "--detailed-exitcode"]);
  t.match(compared, {
    code: 2,
    stdout: /^--- .* version 1 .*\n\+\+\+ .* version 2 [^]*^- .*port: 80$[^]*^\+ .*port: 81$/m,
  });
  t.match(await ztap.json(t, "policy-diff", [...diff, "2"]), { differs: true, before: { version: { version: 1 } } });
  t.match(await ztap.run([...diff, "1", "--detailed-exitcode"]), { code: 0, stdout: /No difference/ });
  t.match(await ztap.run([...diff, "7"]), { code: 1, stderr: /never had a version 7; its last is 2/ });
  t.match(await ztap.run(["policy", "diff", "q", "1"]), { code: 1, stderr: /no policy default\/q/ });
  t.match(await ztap.run(["policy", "diff", "p", "none"]), { code: 64 });
});
