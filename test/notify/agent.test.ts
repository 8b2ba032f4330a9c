/** Real agents, a real repository, real servers: who is told what, and a push that is in force without waiting for a poll. */
import { createHmac } from "node:crypto";
import { chmodSync } from "node:fs";
import t, { type Test } from "tap";
import { Repository } from "../fakes/repository.js";
import { NODES, policy, Ztap, type Running } from "../cli/ztap.js";
import { waitUntil } from "../wait.js";
import { ReceiverServer, TOKEN } from "./receiver-server.js";

const SECRET = "the-secret-of-the-push-hook";
/** Nothing happens by itself. */
const SLOW = ["--source-interval", "1h", "--check-interval", "1h", "--backend", "none", "--listen", "off"];

function makeRepository(ztap: Ztap): Repository {
  const repo = new Repository(ztap.path("repo"));
  repo.write("n.yaml", NODES);
  repo.write("p.yaml", policy(80));
  repo.commit();
  return repo;
}

function writeSecret(ztap: Ztap, name: string, text: string): string {
  const path = ztap.write(name, `${text}\n`);
  chmodSync(path, 0o600);
  return path;
}

/** The address of the hook that an agent has said. */
async function hookOf(agent: Running): Promise<string> {
  await agent.says("agent started");
  const [, address] = /"pollHook":"([^"]+)"/.exec(agent.stderr) ?? [];
  if (address === undefined) throw new Error(agent.stderr);
  return `http://${address}/poll`;
}

async function announce(hook: string, secret = SECRET): Promise<number> {
  const body = JSON.stringify({ ref: "refs/heads/main" });
  const signature = createHmac("sha256", secret).update(body).digest("hex");
  const headers = { "x-hub-signature-256": `sha256=${signature}`, "content-type": "application/json" };
  return (await fetch(hook, { method: "POST", body, headers })).status;
}

async function headIs(ztap: Ztap, t: Test, revision: number): Promise<void> {
  await waitUntil(() => ztap.status(t), { is: (seen) => seen.revision === revision, what: `revision ${revision}` });
}

t.test("commits and their ends are told to every receiver, and a push is in force at once", async (t) => {
  const ztap = new Ztap(t);
  const repo = makeRepository(ztap);
  const first = repo.git("rev-parse", "HEAD");
  const [github, gitlab, gitea, webhook, slack] = await Promise.all(
    (["github", "gitlab", "gitea", "webhook", "slack"] as const).map((type) => ReceiverServer.start(t, type)),
  );
  if (!github || !gitlab || !gitea || !webhook || !slack) throw new Error("five servers");
  const token = writeSecret(ztap, "token", TOKEN);
  const secret = writeSecret(ztap, "secret", SECRET);
  const slackUrl = writeSecret(ztap, "slack-url", `${slack.url}/services/T000/B000/XXXX`);
  const config = ztap.write(
    "config.yaml",
    `pollHook: { listen: "127.0.0.1:0", secretFile: ${secret} }
notify:
  - { type: github, url: "${github.url}", repository: acme/policies, tokenFile: ${token} }
  - { type: gitlab, url: "${gitlab.url}/", repository: acme/policies, tokenFile: ${token} }
  - { type: gitea, url: "${gitea.url}", repository: acme/policies, tokenFile: ${token}, events: [rejected, stalled] }
  - { type: webhook, url: "${webhook.url}/hook", secretFile: ${token} }
  - { type: slack, urlFile: ${slackUrl}, events: [rejected] }
`,
  );
  const options = { env: { ZTAP_CONFIG: config } };
  gitea.answer = (response) => response.writeHead(503).end("busy");
  const agent = ztap.start(["agent", ...SLOW, "--node", "n1", "--source", repo.path, "--log-level", "debug"], options);
  const hook = await hookOf(agent);
  await headIs(ztap, t, 1);
  const told = (host: ReceiverServer, commit: string, state: string) =>
    waitUntil(
      () =>
        host.received.some(
          ({ path, json }) => json["state"] === state && (path.includes(commit) || json["commit"] === commit),
        ),
      {
        what: `${state} of ${commit}`,
      },
    );
  await told(github, first, "failure");
  await told(gitlab, first, "failed");
  await told(webhook, first, "stalled");
  const description = /^enforced on 0 of 1 node, 1 stalled: n1: .*--backend none/;
  t.match(github.received.at(-1)?.json, { context: "ztap", description });
  const waiting = await waitUntil(() => ztap.status(t, options), {
    is: (seen) => seen.receivers.some(({ problem }: { problem: string | null }) => problem !== null),
    what: "the receiver that is down",
  });
  t.match(
    waiting.receivers.find(({ receiver }: { receiver: string }) => receiver === "gitea"),
    { pending: 1, problem: "status 503: busy", delivered: 0 },
  );
  const text = await ztap.run(["cluster", "status"], options);
  t.match(text.stdout, /^Told +gitea: 1 event waits since .*: status 503: busy$/m);
  t.match(text.stdout, /^Told +github: everything$/m);
  gitea.answer = (response) => response.writeHead(201).end("{}");
  await told(gitea, first, "failure");

  repo.write("p.yaml", policy(81));
  const second = repo.commit();
  t.equal(await announce(hook, "not-the-secret-of-the-hook"), 401);
  t.equal(await announce(hook), 202);
  await headIs(ztap, t, 2);
  await told(github, second, "failure");

  repo.write("p.yaml", policy(82).replace("podSelector", "podSelektor"));
  const third = repo.commit();
  t.equal(await announce(hook), 202);
  await told(github, third, "failure");
  await waitUntil(() => slack.received.length === 1, { what: "the message" });
  t.match(
    slack.received[0]?.json["text"],
    new RegExp(`commit ${third.slice(0, 12)} is rejected: rejected: 1 error; p\\.yaml:5:`),
  );
  await told(webhook, third, "rejected");
  t.match(webhook.received.at(-1)?.json, { diagnostics: [{ file: "p.yaml", line: 5 }] });

  const all = [github, gitlab, gitea, webhook, slack].flatMap(({ received }) => received.flatMap(({ wrong }) => wrong));
  t.same(all, [], "every request keeps to what its receiver publishes");
  const shown = await ztap.run(["config", "show"], options);
  const { stderr } = await agent.stop();
  for (const hidden of [TOKEN, SECRET, "B000"])
    for (const output of [stderr, shown.stdout, text.stdout]) t.notOk(output.includes(hidden), "no secret is shown");
});

t.test("a node that does not lead passes a push on to the leader", async (t) => {
  const ztap = new Ztap(t);
  const repo = makeRepository(ztap);
  const secret = writeSecret(ztap, "secret", SECRET);
  const leader = ztap.start(["agent", ...SLOW, "--node", "n1", "--source", repo.path]);
  await headIs(ztap, t, 1);
  const env = {
    ZTAP_POLL_HOOK_LISTEN: "127.0.0.1:0",
    ZTAP_POLL_HOOK_SECRET_FILE: secret,
    ZTAP_STATE_DIR: ztap.path("n2"),
  };
  const other = ztap.start(["agent", ...SLOW, "--node", "n2", "--source", repo.path], { env });
  const hook = await hookOf(other);
  t.match(await ztap.status(t), { leader: { id: "n1" } });
  for (const [port, revision] of [
    [81, 2],
    [82, 3],
  ] as const) {
    repo.write("p.yaml", policy(port));
    repo.commit();
    t.equal(await announce(hook), 202);
    await headIs(ztap, t, revision);
  }
  await leader.stop();
  await other.stop();
});

t.test("an agent does not start with a hook that anybody could use, and says why", async (t) => {
  const ztap = new Ztap(t);
  const open = ztap.write("open", SECRET);
  chmodSync(open, 0o644);
  const start = (env: Record<string, string>) => ztap.run(["agent", ...SLOW, "--node", "n1"], { env });
  const listen = { ZTAP_POLL_HOOK_LISTEN: "127.0.0.1:0" };
  t.match(await start(listen), { code: 64, stderr: /pollHook\.secretFile .*wanted a file/ });
  t.match(await start({ ...listen, ZTAP_POLL_HOOK_SECRET_FILE: open }), { code: 64, stderr: /others may read/ });
  const short = writeSecret(ztap, "short", "short");
  t.match(await start({ ...listen, ZTAP_POLL_HOOK_SECRET_FILE: short }), { code: 64, stderr: /could be guessed/ });
  const notify = JSON.stringify([{ type: "slack", url: "https://hooks.slack.com/services/T/B/X" }]);
  t.match(await start({ ZTAP_NOTIFY: notify }), { code: 64, stderr: /receiver slack: urlFile, which slack needs/ });
  const config = ztap.write("c.yaml", "notify:\n  - { type: githup, repository: a/b, tokenFile: /t }\n");
  t.match(await start({ ZTAP_CONFIG: config }), { code: 64, stderr: /c\.yaml:2:\d+ ZT\d+ .*githup/ });
});
