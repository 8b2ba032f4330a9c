/** `ztap plan --against`: another commit of the same repository in the store's place. */
import { existsSync } from "node:fs";
import t from "tap";
import type { Test } from "tap";
import { Repository } from "../fakes/repository.js";
import { NODES, policy, Ztap } from "./ztap.js";

/** `main` went on after `feature` had left it; the work tree is at `feature`. */
function makeBranches(t: Test) {
  const ztap = new Ztap(t);
  const repo = new Repository(ztap.path("repo"));
  repo.write("n.yaml", NODES);
  repo.write("p.yaml", policy(80));
  const fork = repo.commit("Base");
  repo.git("switch", "--quiet", "-c", "feature");
  repo.write("p.yaml", policy(81));
  repo.commit("Change a port");
  repo.git("switch", "--quiet", "main");
  repo.write("q.yaml", policy(443, "q"));
  const main = repo.commit("Another's");
  repo.git("switch", "--quiet", "feature");
  return { ztap, repo, fork, main };
}

t.test("the base is the merge base, or with --exact the ref itself; no store is read or created", async (t) => {
  const { ztap, repo, fork, main } = makeBranches(t);
  const plan = (...args: readonly string[]) => ztap.json(t, "plan", ["plan", "repo", ...args]);
  for (const ref of ["main", "main~1", fork, fork.slice(0, 10), "refs/heads/main"]) {
    t.match(
      await plan("--against", ref),
      {
        base: { revision: null, commit: fork },
        summary: { create: 0, update: 1, delete: 0 },
        connectivity: { summary: { opened: 2, closed: 2 } },
      },
      ref,
    );
  }
  const exact = { base: { commit: main }, summary: { create: 0, update: 1, delete: 1 } };
  t.match(await plan("--against", "main", "--exact"), exact, "what came to main since");
  repo.git("tag", "-a", "v1", "-m", "v1", "main~1");
  t.match(await plan("--against", "v1"), { base: { commit: fork } }, "an annotated tag");
  t.match(await plan("--ref", "main", "--against", "v1"), { summary: { create: 1, update: 0, delete: 0 } });
  repo.write("r.yaml", policy(22, "r"));
  t.match(
    await plan("--against", "main"),
    { source: { dirty: true }, summary: { create: 1, update: 1 } },
    "the work tree",
  );
  repo.remove("r.yaml");
  t.notOk(existsSync(ztap.store));
  const text = await ztap.run([
    "plan",
    "repo",
    "--against",
    "main",
    "--detailed-exitcode",
    "--store",
    "etcd://127.0.0.1:1",
  ]);
  t.match(text, { code: 2, stdout: new RegExp(`against commit ${fork.slice(0, 12)}`), stderr: "" });
  const same = await ztap.run(["plan", "repo", "--against", "HEAD", "--detailed-exitcode"]);
  t.match(same, { code: 0, stdout: /No changes: commit [0-9a-f]{12} already holds this state/ });
});

t.test(
  "the base may be a remote's branch or a URL; a folder missing in the base, and a single file, are compared",
  async (t) => {
    const { ztap, repo, fork } = makeBranches(t);
    const bare = new Repository(ztap.path("bare.git"), { bare: true });
    repo.git("push", "--quiet", bare.path, "main", "feature");
    repo.git("remote", "add", "origin", bare.path);
    t.match(await ztap.run(["plan", "repo", "--against", "origin/main"]), {
      code: 1,
      stderr: /"origin\/main".*fetched first/,
    });
    repo.git("fetch", "--quiet", "origin");
    const plan = (...args: readonly string[]) => ztap.json(t, "plan", ["plan", ...args]);
    t.match(await plan("repo", "--against", "origin/main"), { base: { commit: fork } });
    const url = `file://${bare.path}`;
    const remote = { base: { commit: fork }, summary: { create: 0, update: 1, delete: 0 } };
    t.match(await plan(url, "--ref", "feature", "--against", "main"), remote);
    t.match(await plan(url, "--ref", "feature", "--against", fork, "--exact"), remote);
    t.match(
      await plan("repo/p.yaml", "--against", "main"),
      { summary: { create: 0, update: 1, delete: 0 } },
      "one file",
    );
    repo.write("new/x.yaml", NODES);
    t.match(
      await plan("repo/new", "--against", "main"),
      { summary: { create: 2, update: 0, delete: 0 } },
      "a new folder",
    );
  },
);

t.test("an unusable base is reported, and a base that was read as a whole is used", async (t) => {
  const { ztap, repo } = makeBranches(t);
  repo.git("switch", "--quiet", "-c", "broken");
  repo.write("p.yaml", policy(81).replace("podSelector", "podSelektor"));
  repo.commit();
  repo.write("p.yaml", policy(82));
  repo.commit();
  const refused = await ztap.json(t, "error", ["plan", "repo", "--against", "HEAD~1"], { code: 1 });
  t.match(refused, {
    error: { code: "invalid-base", message: /HEAD~1 .*p\.yaml:5:\d+ ZT.*podSelektor.*last good commit/ },
  });
  repo.write(
    "t.yaml",
    "apiVersion: ztap/v1\nkind: ConnectivityTest\nmetadata: { name: never }\nspec: { deny: [{ to: { podSelector: {} } }] }\n",
  );
  repo.commit();
  repo.remove("t.yaml");
  repo.commit();
  const whole = await ztap.run(["plan", "repo", "--against", "HEAD~1"]);
  t.match(whole, { code: 0, stdout: /0 to create, 0 to update, 1 to delete/, stderr: /could all be read.*ZT4007/s });
  repo.git("switch", "--quiet", "--orphan", "other");
  repo.write("n.yaml", NODES);
  repo.commit();
  t.match(await ztap.run(["plan", "repo", "--against", "main"]), {
    code: 1,
    stderr: /no commit in common.*depth.*--exact/,
  });
  t.match(await ztap.run(["plan", "repo", "--against", "main", "--exact"]), { code: 0 });
  t.match(await ztap.run(["plan", "repo", "--against", "nowhere"]), { code: 1, stderr: /no commit "nowhere"/ });
  t.match(await ztap.run(["plan", "repo", "--against=--exec"]), { code: 1, stderr: /cannot be the name/ });
  ztap.write("plain/n.yaml", NODES);
  t.match(await ztap.run(["plan", "plain", "--against", "main"]), {
    code: 1,
    stderr: /plain is not in a Git work tree/,
  });
});

t.test(
  "such a plan cannot be saved; with --markdown a failure is reported as markdown too, for a comment",
  async (t) => {
    const { ztap, repo } = makeBranches(t);
    const out = await ztap.run(["plan", "repo", "--against", "main", "--out", "a.plan"]);
    t.match(out, { code: 64, stderr: /--out does not go with --against.*cannot be applied/ });
    t.notOk(existsSync(ztap.path("a.plan")));
    t.match(await ztap.run(["plan", "repo", "--exact"]), { code: 64 });
    const markdown = ["plan", "repo", "--against", "main", "--format", "markdown"];
    t.match(await ztap.run(markdown), {
      code: 0,
      stdout: /^<!-- ztap plan: repo -->\n.*\*\*2 connections to open, 2 to close/s,
    });
    repo.write("p.yaml", policy(81).replace("podSelector", "podSelektor"));
    const failed = await ztap.run(markdown);
    t.match(failed, {
      code: 1,
      stdout: /^<!-- ztap plan: repo -->\n.*\*\*No plan was made\*\*.*\n- `p\.yaml:5:3` ZT2003 unknown field: /s,
    });
    t.match(failed.stderr, /p\.yaml:5:\d+ error/);
  },
);
