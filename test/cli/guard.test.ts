/** What stops a bad commit of the source, and what an operator says to it, through the commands. */
import { existsSync, writeFileSync } from "node:fs";
import t from "tap";
import { Repository } from "../fakes/repository.js";
import { cannotRun, commitSigned, makeSshKey } from "../fakes/signing.js";
import { NODES, policy, Ztap } from "./ztap.js";
import { waitUntil } from "../wait.js";

const AGENT = ["agent", "--source-interval", "50ms", "--backend", "none", "--node", "n1", "--listen", "127.0.0.1:0"];
type Tap = Parameters<Ztap["json"]>[0];

const status = (ztap: Ztap, t: Tap) => ztap.status(t);
const named = (name: string) => policy(80).replace("name: p", `name: ${name}`);

function makeRepository(ztap: Ztap, ...policies: readonly string[]): Repository {
  const repo = new Repository(ztap.path("repo"));
  repo.write("n.yaml", NODES);
  for (const name of policies) repo.write(`${name}.yaml`, named(name));
  return repo;
}

t.test("a mass deletion is held, planned with a notice, and committed once that commit is approved", async (t) => {
  const ztap = new Ztap(t);
  const repo = makeRepository(ztap, "a", "b", "c");
  repo.commit();
  const agent = ztap.start([...AGENT, "--source", repo.path]);
  await waitUntil(() => status(ztap, t), { is: (seen) => seen.source?.state === "Synced", what: "the first commit" });
  repo.remove("b.yaml");
  repo.remove("c.yaml");
  const commit = repo.commit();
  await waitUntil(() => status(ztap, t), { is: (seen) => seen.source.state === "Held", what: "the hold" });
  t.match(await ztap.run(["cluster", "status"]), { stdout: /Held at .*\n +commit .* deletes 2 of 3 NetworkPolicies/ });
  const planned = await ztap.run(["plan", repo.path, "--json"]);
  t.match(JSON.parse(planned.stdout), { notices: [{ code: "mass-deletion", message: /deletes 2 of 3/ }] });
  t.match(planned.stderr, /notice: this deletes 2 of 3 NetworkPolicies/);
  const approve = (id: string, code = 0) =>
    ztap.json(t, code === 0 ? "cluster-approve" : "error", ["cluster", "approve", id, "-m", "clean-up"], { code });
  t.match(await approve(commit.slice(0, 12), 64), { error: { message: /not a full commit id/ } });
  t.match(await approve("f".repeat(40), 1), { error: { code: "not-found", message: /has not seen commit ffff/ } });
  t.match(await approve(commit), { approval: { commit, reason: "clean-up", by: /@/ } });
  await waitUntil(() => status(ztap, t), { is: (seen) => seen.source.state === "Synced", what: "the approved commit" });
  t.match(await status(ztap, t), { revision: 2, source: { acceptedCommit: commit } });
  t.match(await agent.stop(), { code: 0 });
});

t.test("no leader commits from a suspended source; an operator gets a notice and can still commit", async (t) => {
  const ztap = new Ztap(t);
  const repo = makeRepository(ztap, "p");
  repo.commit();
  const suspend = (...args: readonly string[]) => ["cluster", "suspend", "--reason", "incident 42", ...args];
  t.match(await ztap.run(suspend("--for", "soon")), { code: 64, stderr: /--for: found "soon", wanted a number/ });
  t.match(await ztap.run(["cluster", "suspend"]), { code: 64, stderr: /reason/ });
  t.match(await ztap.json(t, "error", suspend(), { code: 1 }), { error: { code: "not-found", message: /--store/ } });
  t.notOk(existsSync(ztap.store), "and no store is made of a name with a slip in it");
  t.match(await ztap.run(["apply", repo.path, "--auto-approve"]), { code: 0 });
  t.match(await ztap.json(t, "cluster-suspend", suspend("--for", "2h")), { suspension: { until: /Z$/, by: /@/ } });
  t.match(await ztap.json(t, "cluster-suspend", suspend()), { suspension: { reason: "incident 42", until: null } });
  const agent = ztap.start([...AGENT, "--source", repo.path]);
  await agent.says("the source is suspended");
  const [, url = ""] = /"http":"([^"]+)"/.exec(agent.stderr) ?? [];
  t.match(await (await fetch(`http://${url}/metrics`)).text(), "ztap_source_suspended 1");
  t.match(await status(ztap, t), { revision: 1, source: null, suspension: { reason: "incident 42" } });
  repo.write("p.yaml", policy(81));
  repo.commit();
  t.match(await ztap.run(["cluster", "status"]), { stdout: /Suspended: the source is suspended by .*: incident 42/ });
  const applied = await ztap.run(["apply", repo.path, "--auto-approve", "--json"]);
  t.match(JSON.parse(applied.stdout), { revision: { number: 2 }, notices: [{ code: "suspended" }] });
  t.match(applied.stderr, /notice: the source is suspended by .*: incident 42/);
  ztap.write("p.yaml", policy(443));
  const written = await ztap.run(["policy", "sync", "p.yaml", "--name", "p", "--node", "n1"]);
  t.match(written, { code: 0, stderr: /notice: the source is suspended/ });
  const shown = await ztap.json(t, "policy-show", ["policy", "show", "p"]);
  t.match(shown, { suspension: { reason: "incident 42" } });
  t.match(await ztap.run(["policy", "show", "p"]), { stdout: /^Suspended +the source is suspended/m });
  t.match(await ztap.json(t, "cluster-resume", ["cluster", "resume"]), { resumed: true });
  t.match(await ztap.json(t, "cluster-resume", ["cluster", "resume"]), { resumed: false, suspension: null });
  await waitUntil(() => status(ztap, t), { is: (seen) => seen.source?.state === "Synced", what: "Git's state" });
  t.match(await status(ztap, t), { revision: 4, suspension: null });
  t.match(await agent.stop(), { code: 0 });
});

t.test("the leader stops at an unsigned commit", { skip: cannotRun("ssh-keygen") }, async (t) => {
  const ztap = new Ztap(t);
  const repo = makeRepository(ztap, "p");
  const ada = makeSshKey(ztap.path("."), "ada");
  const signers = ztap.path("signers");
  writeFileSync(signers, ada.allowed());
  const first = commitSigned(repo, ada);
  ztap.write("config.yaml", `source:\n  url: ${repo.path}\n  verify:\n    sshSigners: ${signers}\n`);
  const config = ["--config", ztap.path("config.yaml")];
  const agent = ztap.start([...AGENT, ...config]);
  await waitUntil(() => status(ztap, t), { is: (seen) => seen.source?.state === "Synced", what: "the signed commit" });
  repo.write("p.yaml", policy(443));
  const bad = repo.commit("Not signed");
  await waitUntil(() => status(ztap, t), {
    is: (seen) => seen.source.state === "Rejected",
    what: "the unsigned commit",
  });
  t.match(await status(ztap, t), {
    revision: 1,
    source: { acceptedCommit: first, unverified: { commit: bad, problem: "it is not signed" } },
  });
  const text = new RegExp(`commit ${bad.slice(0, 12)} of Ada Lovelace .* is not accepted: it is not signed`);
  t.match(await ztap.run(["cluster", "status"]), { stdout: text });
  t.match(agent.stderr, text);
  t.match(await ztap.json(t, "error", ["cluster", "approve", bad], { code: 1 }), { error: { code: "unverified" } });
  const url = `file://${repo.path}`;
  for (const command of [["plan"], ["apply", "--auto-approve"]])
    t.match(await ztap.run([...command, url, ...config]), { code: 1, stderr: text }, command.join(" "));
  const folder = ["apply", repo.path, "--auto-approve"];
  t.match(await ztap.json(t, "error", folder, { code: 1 }), { error: { code: "override-needed" } }, "nor by a folder");
  commitSigned(repo, ada, "Signed, on top of it");
  await waitUntil(() => status(ztap, t), { is: (seen) => seen.source.observedCommit !== bad, what: "the next poll" });
  t.match(await status(ztap, t), { revision: 1, source: { state: "Rejected", unverified: { commit: bad } } });
  repo.git("reset", "--quiet", "--hard", first);
  repo.write("p.yaml", policy(444));
  const good = commitSigned(repo, ada);
  await waitUntil(() => status(ztap, t), {
    is: (seen) => seen.source.acceptedCommit === good,
    what: "the mended history",
  });
  t.equal((await status(ztap, t)).revision, 2);

  repo.git("reset", "--quiet", "--hard", first);
  await waitUntil(() => status(ztap, t), {
    is: (seen) => seen.source.state === "Held",
    what: "the branch that went back",
  });
  const held = { revision: 2, source: { acceptedCommit: good, observedCommit: first, rewrittenFrom: good } };
  t.match(await status(ztap, t), held, "signed once, and old");
  t.match(await ztap.run(["cluster", "status"]), { stdout: /History was rewritten: this commit is no descendant of/ });
  await ztap.json(t, "cluster-approve", ["cluster", "approve", first]);
  await waitUntil(() => status(ztap, t), {
    is: (seen) => seen.source.acceptedCommit === first,
    what: "the approved commit",
  });
  t.equal((await status(ztap, t)).revision, 3);
  t.match(await agent.stop(), { code: 0 });
});

t.test("a repository that vanishes is shown as Unreachable, and head stays", async (t) => {
  const ztap = new Ztap(t);
  const repo = makeRepository(ztap, "p");
  const commit = repo.commit();
  const agent = ztap.start([...AGENT, "--source", repo.path]);
  await waitUntil(() => status(ztap, t), { is: (seen) => seen.source?.state === "Synced", what: "the first commit" });
  repo.remove(".git");
  await waitUntil(() => status(ztap, t), {
    is: (seen) => seen.source.state === "Unreachable",
    what: "that it is gone",
  });
  t.match(await status(ztap, t), { revision: 1, source: { acceptedCommit: commit, message: /repo/ } });
  t.match(await ztap.run(["cluster", "status"]), { stdout: /Unreachable at/ });
  t.match(await agent.stop(), { code: 0 });
});
