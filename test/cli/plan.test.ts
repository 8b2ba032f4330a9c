import { existsSync, readFileSync, writeFileSync } from "node:fs";
import t from "tap";
import { Repository } from "../fakes/repository.js";
import { NODES, policy, Ztap } from "./ztap.js";

/** A repository with one workload and one policy on that port, in the folder `repo`. */
function makeRepository(ztap: Ztap, port = 80): Repository {
  const repo = new Repository(ztap.path("repo"));
  repo.write("n.yaml", NODES);
  repo.write("p.yaml", policy(port));
  repo.commit();
  return repo;
}

t.test("plan shows the changes, and exits with 2 only if asked to and if there are changes", async (t) => {
  const ztap = new Ztap(t);
  const repo = makeRepository(ztap);
  const first = await ztap.json(t, "plan", ["plan", "repo"]);
  t.match(first, { base: { revision: null }, source: { dirty: false }, summary: { create: 3, update: 0, delete: 0 } });
  t.match(first.changes[0], { action: "create", kind: "NetworkPolicy", namespace: "default", name: "p", before: null });
  t.equal((await ztap.run(["plan", "repo"])).code, 0);
  t.equal((await ztap.run(["plan", "repo", "--detailed-exitcode"])).code, 2);
  await ztap.json(t, "apply", ["apply", "repo", "--auto-approve"]);
  t.match(await ztap.run(["plan", "repo", "--detailed-exitcode"]), { code: 0, stdout: /No changes/ });
  repo.write("p.yaml", policy(81));
  t.match(await ztap.json(t, "plan", ["plan", "repo"]), {
    source: { dirty: true },
    summary: { create: 0, update: 1, delete: 0 },
    connectivity: { summary: { opened: 2, closed: 2 } },
  });
  t.match(await ztap.run(["plan", "repo", "--ref", "HEAD"]), { code: 0, stdout: /No changes/ });
  const bare = new Repository(ztap.path("bare.git"), { bare: true });
  repo.git("push", "--quiet", bare.path, "main");
  t.match(await ztap.run(["plan", `file://${bare.path}`]), { code: 0, stdout: /No changes/ });
  t.match(await ztap.run(["plan", bare.path, "--ref", "none"]), { code: 1, stderr: /no branch or tag "none"/ });
});

t.test("a saved plan is applied exactly as shown, or refused", async (t) => {
  const ztap = new Ztap(t);
  const repo = makeRepository(ztap);
  t.equal((await ztap.run(["plan", "repo", "--out", "a.plan"])).code, 0);
  repo.write("p.yaml", policy(99));
  const applied = await ztap.json(t, "apply", ["apply", "a.plan", "--auto-approve"]);
  t.match(applied, { revision: { number: 1 } });
  t.match(await ztap.run(["plan", "repo", "--ref", "HEAD"]), { stdout: /No changes/ }, "not what came later");
  const stale = await ztap.json(t, "error", ["apply", "a.plan", "--auto-approve"], { code: 1 });
  t.match(stale, { error: { code: "stale-plan", message: /head is revision 1/ } });
  await ztap.run(["plan", "repo", "--out", "b.plan"]);
  const whole = readFileSync(ztap.path("b.plan"), "utf8");
  for (const [name, text] of [
    ["cut", whole.slice(0, -20)],
    ["changed", whole.replace('"port":99', '"port":98')],
    ["empty", '{"ztapPlan":1,}'],
  ] as const) {
    writeFileSync(ztap.path("c.plan"), text);
    const refused = await ztap.json(t, "error", ["apply", "c.plan", "--auto-approve"], { code: 1 });
    t.match(refused, { error: { code: "plan-damaged" } }, name);
  }
  t.match(await ztap.json(t, "cluster-status", ["cluster", "status"]), { revision: 1 });
});

t.test("a summary counts the changes by kind and namespace", async (t) => {
  const ztap = new Ztap(t);
  makeRepository(ztap);
  const { code, stdout } = await ztap.run(["plan", "repo", "--summary"]);
  t.equal(code, 0);
  t.match(stdout, /Kind +Namespace +Create +Update +Delete\nNetworkPolicy +default +\+1 +- +-\nNode +- +\+1 +- +-\n/);
  t.match(stdout, /^Connections: \d+ to open, \d+ to close\.\nPlan: 3 to create/m);
  t.equal(stdout.split("\n").length, 8, "and nothing else");
  t.match(await ztap.run(["plan", "repo", "--summary", "--detailed-exitcode"]), { code: 2 });
  t.match(await ztap.run(["plan", "repo", "--summary", "--json"]), { code: 64 });
  const both = await ztap.json(t, "error", ["plan", "repo", "--format", "markdown"], { code: 64 });
  t.match(both, { error: { code: "usage", message: /--json does not go with --format markdown/ } });
});

t.test("apply asks on a terminal only, and only `yes` commits", async (t) => {
  const ztap = new Ztap(t);
  makeRepository(ztap);
  const without = await ztap.run(["apply", "repo"]);
  t.match(without, { code: 1, stderr: /no terminal for the question.*Nothing was changed/s });
  t.notOk(existsSync(ztap.store), "no store is made for nothing");
  t.equal((await ztap.onTerminal(["apply", "repo"], "no\n")).code, 1);
  t.match(await ztap.onTerminal(["apply", "repo"], "\u0003"), {
    code: 130,
    stdout: /is accepted: [^\n]*\n[^\n]*ztap: not applied: interrupted; nothing was changed/,
  });
  t.match(await ztap.json(t, "error", ["policy", "list"], { code: 1 }), { error: { code: "not-found" } });
  t.equal((await ztap.run(["apply", "none", "--auto-approve"])).code, 1);
  t.notOk(existsSync(ztap.store), "declined or failed");
  t.match(await ztap.onTerminal(["apply", "repo"], "yes\n"), { code: 0, stdout: /Committed.* revision 1/ });
});

t.test("invalid input leaves head unchanged, and every problem is shown with its position", async (t) => {
  const ztap = new Ztap(t);
  const repo = makeRepository(ztap);
  await ztap.run(["apply", "repo", "--auto-approve"]);
  repo.write("p.yaml", policy(80).replace("podSelector", "podSelektor") + "---\nkind: Nonsense\napiVersion: ztap/v1\n");
  for (const command of ["plan", "apply"]) {
    const { code, stderr } = await ztap.run([command, "repo", ...(command === "apply" ? ["--auto-approve"] : [])]);
    t.equal(code, 1);
    t.match(stderr, /p\.yaml:\d+:\d+ error ZT\d+ .*podSelektor/);
    t.match(stderr, /Nonsense/);
  }
  t.match(await ztap.json(t, "cluster-status", ["cluster", "status"]), { revision: 1 });
});

t.test("of two applies at once, one commits; the other fails with the reason or finds nothing to do", async (t) => {
  const ztap = new Ztap(t);
  makeRepository(ztap);
  const other = new Repository(ztap.path("other"));
  other.write("n.yaml", NODES);
  other.write("p.yaml", policy(8080));
  other.commit();
  const results = await Promise.all(["repo", "other"].map((dir) => ztap.run(["apply", dir, "--auto-approve"])));
  const committed = results.filter(({ stdout }) => stdout.includes("Committed revision"));
  const refused = results.filter(({ stderr }) => stderr.includes("plan again"));
  t.equal(committed.length + refused.length, 2);
  t.ok(committed.length > 0);
  const { revision } = await ztap.json(t, "cluster-status", ["cluster", "status"]);
  t.equal(revision, committed.length);
});

t.test("history keeps versions over delete and recreate; watch shows each once", async (t) => {
  const ztap = new Ztap(t);
  const repo = makeRepository(ztap);
  await ztap.run(["apply", "repo", "--auto-approve"]);
  const watch = ztap.start(["policy", "watch", "--json"]);
  await watch.says('"action":"current"');
  repo.remove("p.yaml");
  await ztap.run(["apply", "repo", "--auto-approve", "-m", "gone"]);
  repo.write("p.yaml", policy(80));
  await ztap.run(["apply", "repo", "--auto-approve"]);
  await watch.says('"action":"created"');
  const { code, stdout } = await watch.stop("SIGINT");
  t.equal(code, 0);
  const events = stdout
    .trim()
    .split("\n")
    .map((line): { action: string; version: number } => JSON.parse(line));
  t.same(
    events.map(({ action, version }) => `${action} ${version}`),
    ["current 1", "deleted 1", "created 2"],
  );
  const { versions } = await ztap.json(t, "policy-history", ["policy", "history", "p"]);
  t.same(
    versions.map(({ action, version }: { action: string; version: number }) => `${action} ${version}`),
    ["created 2", "deleted 1", "created 1"],
  );
  t.equal(versions[1].reason, "apply: gone");
  const { revisions } = await ztap.json(t, "revision-list", ["policy", "history"]);
  t.match(revisions, [
    { number: 3, changes: { create: 1, update: 0, delete: 0 } },
    { number: 2, reason: "apply: gone", changes: { create: 0, update: 0, delete: 1 } },
    { number: 1 },
  ]);
  t.match((await ztap.run(["policy", "history"])).stdout, /2 .*\+0 ~0 -1 +apply: gone/);
});

t.test("policy show exits with 3 only if asked to and if there is drift", async (t) => {
  const ztap = new Ztap(t);
  makeRepository(ztap);
  await ztap.run(["apply", "repo", "--auto-approve"]);
  const report = await ztap.json(t, "policy-show", ["policy", "show", "p"]);
  t.match(report, { policy: { version: 1, file: "p.yaml" }, nodes: [{ node: "n1", state: "Unknown" }], drift: true });
  t.equal((await ztap.run(["policy", "show", "p", "--detailed-exitcode"])).code, 3);
  t.match(await ztap.run(["policy", "show", "q"]), { code: 1, stderr: /no policy default\/q/ });
  await ztap.run(["apply", "repo", "--auto-approve", "-m", "a reason that takes a whole sentence to give"]);
  t.match(await ztap.run(["policy", "show", "pp"]), {
    code: 1,
    stderr: /no policy default\/pp .*did you mean default\/p\?/,
  });
  for (const args of [
    ["policy", "history", "p"],
    ["policy", "history"],
    ["policy", "list"],
    ["policy", "show", "p"],
  ]) {
    const { stdout } = await ztap.onTerminal(args, "", { NO_COLOR: "1" });
    const table = stdout.split(/\r?\n/).filter((line) => !line.startsWith("Git"));
    for (const line of table) t.ok(line.length <= 80, `${args.join(" ")}: ${line}`);
  }
});

t.test("a folder without objects deletes nothing unless a flag says so", async (t) => {
  const ztap = new Ztap(t);
  makeRepository(ztap);
  t.match(await ztap.run(["apply", "repo", "--auto-approve"]), { code: 0 });
  ztap.write("elsewhere/README.md", "not the repository");
  t.match(await ztap.run(["apply", "elsewhere", "--auto-approve"]), {
    code: 1,
    stderr: /elsewhere has no objects, so that this would delete all objects of the store.*--allow-empty/,
  });
  for (const args of [[], ["--detailed-exitcode"], ["--out", "empty.plan"]]) {
    const refused = await ztap.json(t, "error", ["plan", "elsewhere", ...args], { code: 1 });
    t.match(refused, { error: { code: "empty-source", message: /elsewhere has no objects.*--allow-empty/ } });
  }
  const comment = await ztap.run(["plan", "elsewhere", "--format", "markdown"]);
  t.match(comment, { code: 1, stdout: /\*\*No plan was made\*\*: .*has no objects/ });
  t.notOk(existsSync(ztap.path("empty.plan")));
  t.match(await ztap.json(t, "plan", ["plan", "elsewhere", "--allow-empty"]), { summary: { delete: 3 } });
  t.match(await ztap.run(["plan", "elsewhere", "--allow-empty", "--detailed-exitcode"]), { code: 2 });
  t.match(await ztap.run(["connectivity", "elsewhere"]), { code: 0, stdout: /no objects here/ });
  ztap.write("policies/p.yaml", policy(80));
  t.match(await ztap.run(["connectivity", "policies"]), { code: 0, stdout: /No Workload is declared/ });
  t.match(await ztap.run(["plan", "repo", "--detailed-exitcode"]), { code: 0 }, "nothing was changed");
  t.match(await ztap.run(["apply", "elsewhere", "--auto-approve", "--allow-empty"]), { code: 0 });
});

t.test("a repository inside the commit is never taken for the repository of the comparison", async (t) => {
  const ztap = new Ztap(t);
  const repo = new Repository(ztap.path("repo"));
  for (const [name, text] of [
    ["n.yaml", NODES],
    ["p.yaml", policy(80)],
  ] as const)
    repo.write(`policies/${name}`, text);
  repo.commit();
  const honest = repo.git("rev-parse", "HEAD").trim();
  // A repository as files: its own main is the state that is proposed.
  repo.write("policies/p.yaml", policy(81));
  for (const name of ["HEAD", "config"])
    repo.write(`policies/${name}`, readFileSync(ztap.path(`repo/.git/${name}`), "utf8"));
  repo.write("policies/objects/info/x", "");
  repo.write("policies/refs/heads/main", honest);
  repo.commit();
  // git itself would take the folder for a repository, and so it is asked nothing there.
  t.match(await ztap.run(["plan", "repo/policies", "--against", honest]), { code: 1, stdout: "" });
  t.match(await ztap.json(t, "plan", ["plan", "repo", "--against", honest]), {
    summary: { create: 0, update: 1, delete: 0 },
  });
});

t.test("a plan that removes a workload says that it is no longer enforced, in every format", async (t) => {
  const ztap = new Ztap(t);
  const repo = new Repository(ztap.path("repo"));
  const workloadOf = (name: string) =>
    `apiVersion: ztap/v1\nkind: Workload\nmetadata: { name: ${name}, labels: { app: web } }\nspec: { node: n1, cgroup: ${name}, addresses: [10.0.0.${name.length}] }\n`;
  repo.write("n.yaml", NODES);
  repo.write("p.yaml", policy(80));
  repo.write("old.yaml", workloadOf("retired"));
  repo.commit();
  await ztap.json(t, "apply", ["apply", "repo", "--auto-approve"]);
  repo.remove("old.yaml");
  const plan = await ztap.json(t, "plan", ["plan", "repo"]);
  t.same(plan.connectivity.unenforced, ["default/retired"]);
  t.match(plan.notices, [{ code: "unenforced", message: /no longer enforced: default\/retired/ }]);
  const text = await ztap.run(["plan", "repo"]);
  t.match(text, { stdout: /^No longer enforced: default\/retired$/m, stderr: /no longer enforced: default\/retired/ });
  t.match(await ztap.run(["plan", "repo", "--summary"]), { stdout: /^No longer enforced: 1 workload\.$/m });
  t.match(await ztap.run(["plan", "repo", "--format", "markdown"]), {
    stdout: /\*\*No longer enforced\*\*: .*\n\n- `default\/retired`\n/,
  });
  const applied = await ztap.json(t, "apply", ["apply", "repo", "--auto-approve"]);
  t.match(applied, { connectivity: { unenforced: ["default/retired"] }, notices: [{ code: "unenforced" }] });
});

t.test("plan and apply of a folder without objects fail, also with an empty store", async (t) => {
  const ztap = new Ztap(t);
  const repo = new Repository(ztap.path("repo"));
  repo.write("README.md", "nothing yet");
  repo.commit();
  for (const command of ["plan", "apply"] as const) {
    const refused = await ztap.json(t, "error", [command, "repo"], { code: 1 });
    t.match(refused, { error: { code: "empty-source", message: /repo has no objects.*nothing to plan or apply/ } });
    t.match(await ztap.run([command, "repo", "--allow-empty"]), { code: 0 });
  }
});
