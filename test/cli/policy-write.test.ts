import { existsSync, readFileSync } from "node:fs";
import t from "tap";
import { createPolicySync, openStore } from "../../src/index.js";
import { MOST_BLOCKS, WIDE_SUBJECT, widePolicy } from "../builders/wide.js";
import { Repository } from "../fakes/repository.js";
import { AGENT, NODES, policy, schemaErrors, Ztap } from "./ztap.js";
import { waitUntil } from "../wait.js";

function makeRepository(ztap: Ztap): Repository {
  const repo = new Repository(ztap.path("repo"));
  repo.write("n.yaml", NODES);
  repo.write("p.yaml", policy(80));
  repo.commit();
  return repo;
}

const sync = (...args: readonly string[]) => ["policy", "sync", "p.yaml", "--name", "p", "--node", "n1", ...args];

t.test("sync and rollback without a leader raise the version, and print it", async (t) => {
  const ztap = new Ztap(t);
  for (const [port, version] of [
    [80, 1],
    [81, 2],
  ] as const) {
    ztap.write("p.yaml", policy(port));
    const written = await ztap.json(t, "policy-write", sync("-m", "by hand"));
    t.match(written, { changed: true, policy: { name: "p", version, sourceNode: "n1" } });
    t.match(written.revision, { number: version, reason: "sync: by hand", overGit: false });
  }
  t.match(await ztap.json(t, "policy-write", sync()), { changed: false, revision: null, policy: { version: 2 } });
  const back = await ztap.json(t, "policy-write", ["policy", "rollback", "p", "--to", "1", "--reason", "81 was wrong"]);
  t.match(back, { changed: true, policy: { version: 3 }, revision: { reason: "rollback to version 1: 81 was wrong" } });
  t.match(await ztap.run(["policy", "rollback", "p", "--to", "1"]), { code: 0, stdout: /No difference/ });
  t.match(await ztap.run(["policy", "rollback", "p", "--to", "7"]), { code: 1, stderr: /its last is 3/ });
  t.match(await ztap.run(["policy", "rollback", "p", "--to", "0"]), { code: 64 });
  const list = (await ztap.run(["policy", "list"])).stdout.split("\n");
  t.equal(list[0], "Name       Version  Source Node  Last Updated");
  t.match(list[1], /^default\/p {2}3 {8}\S+ +\d{4}-\d{2}-\d{2}T[\d:.]+Z$/);
});

t.test("problems of the file are shown, and nothing is written", async (t) => {
  const ztap = new Ztap(t);
  ztap.write("p.yaml", policy(80).replace("podSelector", "podSelektor"));
  const refused = await ztap.json(t, "error", sync(), { code: 1 });
  t.match(refused, { error: { code: "invalid-source", diagnostics: [{ file: "p.yaml", line: 5 }] } });
  t.match(await ztap.run(sync()), { stderr: /podSelektor/ });
  const input = policy(80);
  t.match(await ztap.run(["policy", "sync", "-", "--name", "p", "-n", "shop"], { input }), { stdout: /shop\/p/ });
  ztap.write("more.yaml", NODES);
  t.match(await ztap.run(["policy", "sync", ".", "--name", "p"]), { code: 64, stderr: /name one file/ });
  t.match(await ztap.run(["policy", "sync", "none.yaml", "--name", "p"]), { code: 1, stderr: /none\.yaml/ });
  t.match(await ztap.run(["policy", "sync", "p.yaml"]), { code: 64, stderr: /--name NAME is missing/ });
});

t.test("a write is accepted on the leader's node, even while its agent runs, and on no other node", async (t) => {
  const ztap = new Ztap(t);
  ztap.write("p.yaml", policy(80));
  const agent = ztap.start([...AGENT, "--node", "n1", "--address", "127.0.0.1:7001"]);
  await agent.says("leading");
  const refused = await ztap.json(t, "error", ["policy", "sync", "p.yaml", "--name", "p", "--node", "n2"], {
    code: 1,
  });
  t.match(refused, { error: { code: "not-leader", message: /n1 \(127\.0\.0\.1:7001\) does/ } });
  t.match(await ztap.json(t, "policy-write", sync()), { policy: { version: 1 } });
  t.match(await ztap.json(t, "cluster-status", ["cluster", "status"]), { leader: { id: "n1" } }, "which leads on");
  t.match(await agent.stop(), { code: 0 });
});

t.test("of several commands at once, each gets its own version, and none is lost", async (t) => {
  const ztap = new Ztap(t);
  const ports = [81, 82, 83, 84, 85];
  for (const port of ports) ztap.write(`${port}.yaml`, policy(port));
  const results = await Promise.all(
    ports.map((port) => ztap.run(["policy", "sync", `${port}.yaml`, "--name", "p", "--node", "n1"])),
  );
  t.same(
    results.map(({ code }) => code),
    ports.map(() => 0),
    results.map(({ stderr }) => stderr).join(""),
  );
  const { versions } = await ztap.json(t, "policy-history", ["policy", "history", "p"]);
  t.same(
    versions.map(({ version }: { version: number }) => version),
    [5, 4, 3, 2, 1],
  );
});

for (const selfHeal of [true, false]) {
  const title = selfHeal ? "is returned to Git's state" : "stays, and shows as drift from Git, without source.selfHeal";
  t.test(`what was written over Git ${title}`, async (t) => {
    const ztap = new Ztap(t);
    const repo = makeRepository(ztap);
    ztap.write("p.yaml", policy(443));
    const env = { ZTAP_SOURCE_SELF_HEAL: String(selfHeal) };
    const agent = ztap.start([...AGENT, "--node", "n1", "--source", repo.path], { env });
    const status = () => ztap.status(t);
    await agent.says("leading");
    await waitUntil(() => status(), { is: (seen) => seen.source?.state === "Synced", what: "the first commit" });
    t.match(await ztap.json(t, "error", sync(), { code: 1 }), { error: { code: "override-needed" } });
    const written = await ztap.json(t, "policy-write", sync("--override", "-m", "incident"));
    t.match(written, { revision: { number: 2, overGit: true } });
    await waitUntil(() => status(), {
      is: (seen) => seen.source.acceptedRevision === (selfHeal ? 3 : 1),
      what: "the leader's word",
    });
    if (selfHeal) {
      t.match(await ztap.json(t, "policy-list", ["policy", "list"]), { policies: [{ version: 3, git: "Synced" }] });
    } else {
      await waitUntil(() => status(), { is: (seen) => seen.source.state === "OutOfSync", what: "the leader's word" });
      t.match(await status(), { revision: 2, source: { message: /selfHeal is off/ } });
      t.match(await ztap.json(t, "policy-list", ["policy", "list"]), { policies: [{ version: 2, git: "OutOfSync" }] });
      t.match(await ztap.run(["policy", "list"]), { stdout: /Last Updated +Git\n.* OutOfSync/ });
      const shown = await ztap.json(t, "policy-show", ["policy", "show", "p", "--detailed-exitcode"], { code: 3 });
      t.match(shown, { git: { state: "OutOfSync", message: /committed over Git/ }, drift: true });
    }
    const { versions } = await ztap.json(t, "policy-history", ["policy", "history", "p"]);
    t.match(versions.at(selfHeal ? 1 : 0), { version: 2, reason: "sync: incident", author: /@/ });
    t.match(await agent.stop(), { code: 0 });
  });
}

t.test(
  "watch prints the policies in force, then every change, one JSON document per line; Ctrl-C ends it with 0",
  async (t) => {
    const ztap = new Ztap(t);
    ztap.write("p.yaml", policy(80));
    await ztap.run(sync());
    const watching = [ztap.start(["policy", "watch", "--json"]), ztap.start(["policy", "watch"])];
    for (const watch of watching) await watch.says("current");
    for (const port of [81, 82, 83]) {
      ztap.write("p.yaml", policy(port));
      t.match(await ztap.run(sync()), { code: 0 });
    }
    ztap.write("own/n.yaml", NODES);
    await ztap.run(["apply", "own", "--auto-approve", "--node", "n9"]);
    for (const watch of watching) await watch.says("deleted");
    const [json, text] = await Promise.all(watching.map((watch) => watch.stop("SIGINT")));
    t.match([json?.code, text?.code], [0, 0]);
    const events = (json?.stdout ?? "").trim().split("\n");
    for (const line of events) t.equal(schemaErrors("policy-event", JSON.parse(line)), "");
    t.match(
      events.map((line): unknown => JSON.parse(line)),
      [
        { action: "current", version: 1, revision: 1, sourceNode: "n1" },
        { action: "updated", version: 2, revision: 2 },
        { action: "updated", version: 3, revision: 3 },
        { action: "updated", version: 4, revision: 4 },
        { action: "deleted", version: 4, revision: 5, sourceNode: "n9" },
      ],
    );
    t.match(text?.stdout, /updated +default\/p +version 3 +revision 3 +n1\n/);
  },
);

t.test("a policy beyond a node's capacity is refused by sync, rollback and the programming interface", async (t) => {
  const ztap = new Ztap(t);
  const wide = ztap.write("wide.yaml", widePolicy("wide", MOST_BLOCKS + 1));
  const narrow = ztap.write("narrow.yaml", widePolicy("wide", 1));
  const store = await openStore(`file:${ztap.store}`);
  t.teardown(() => store.close());
  const policies = createPolicySync(store, { node: "n1" });
  t.match(
    await policies.syncPolicy(readFileSync(wide, "utf8"), { name: "wide" }),
    { version: 1 },
    "it selects nothing",
  );
  t.match(await ztap.run(["policy", "sync", narrow, "--name", "wide", "--node", "n1"]), { code: 0 });
  ztap.write("state/all.yaml", WIDE_SUBJECT + widePolicy("wide", 1));
  t.match(await ztap.run(["apply", "state", "--auto-approve"]), { code: 0 });
  const write = (...args: readonly string[]) => ztap.json(t, "error", ["policy", ...args, "--node", "n1"], { code: 1 });
  const refusal = {
    error: { code: "invalid-source", diagnostics: [{ code: "ZT4005", message: /node n1 need more/ }] },
  };
  t.match(await write("sync", wide, "--name", "wide"), refusal);
  t.match(await write("rollback", "demo/wide", "--to", "1"), refusal);
  const viaProgram = { code: "invalid-source", message: /ZT4005/ };
  await t.rejects(policies.syncPolicy(readFileSync(wide, "utf8"), { name: "wide" }), viaProgram);
  await t.rejects(policies.rollbackPolicy("wide", 1, { namespace: "demo" }), viaProgram);
  t.equal(await store.readHead(), 3);
});

t.test("a refused command creates no store", async (t) => {
  const ztap = new Ztap(t);
  ztap.write("p.yaml", policy(80).replace("podSelector", "podSelektor"));
  for (const args of [["policy", "rollback", "p", "--to", "1"], ["cluster", "leave", "n1"], sync()]) {
    t.match(await ztap.run(args), { code: 1 }, args.join(" "));
    t.notOk(existsSync(ztap.store), args.join(" "));
  }
});
