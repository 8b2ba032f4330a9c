/** etcd's users and roles, as `ztap cluster bootstrap` makes them: what each may do, and what an agent does that may not lead. */
import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import type { Test } from "tap";
import { EtcdClient, type EtcdOptions } from "../../src/adapters/etcd/client.js";
import { renewLease } from "../../src/adapters/etcd/leases.js";
import { systemClock } from "../../src/adapters/system/clock.js";
import { runAgent } from "../../src/reconcile/agent.js";
import type { Store } from "../../src/interfaces/store.js";
import { ENDPOINTS } from "../contract/store-endpoints.js";
import { commitOnHead } from "../contract/store-commits.js";
import { etcdctl, makeUsers, withPasswords, writeCertificates } from "../etcd/access.js";
import { withEtcd, whyNoEtcd, type EtcdCluster } from "../etcd/server.js";
import { newPrefix, openStore, QUICK, startWatch } from "../etcd/stores.js";
import { recordTelemetry, silentLogger } from "../fakes/ambient.js";
import { agentDeps, agentOptions } from "../fakes/agent.js";
import { draft, policy } from "../fakes/objects.js";
import { HANG_MS, waitUntil, within } from "../wait.js";

type Identity = Pick<EtcdOptions, "tls" | "auth">;

const FORBIDDEN = { code: "store-permission", message: /permission denied.*roles/ };
const SUSPENSION = { by: "op@host", reason: "incident", since: "2026-01-01T00:00:00.000Z", until: null };
const NEXT = draft([policy("web", 9)]);
const statusOf = (node: string) => ({
  node,
  backend: "none",
  attemptedRevision: 1,
  enforcedRevision: 1,
  rulesetDigest: null,
  state: "InSync" as const,
  message: null,
  drift: [],
  healed: 0,
  subjects: [],
  observedAt: "2026-01-01T00:00:00.000Z",
});

async function whatEachMay(t: Test, { endpoints }: EtcdCluster, web1: Identity, web2: Identity): Promise<void> {
  const [node, leader] = [openStore(t, endpoints, web1), openStore(t, endpoints, web2)];

  await t.test("the node role writes the records of its own node, and nothing else", async (t) => {
    const heartbeat = { id: "web-1", address: "10.0.0.1:9470", holder: "h1" };
    t.same(await node.heartbeat(heartbeat, 60_000), { held: null });
    t.same(await node.heartbeat(heartbeat, 60_000), { held: null });
    await node.joinMember({ id: "web-1", address: "10.0.0.1:9470", joinedAt: "2026-01-01T00:00:00.000Z" });
    await node.writeNodeStatus(statusOf("web-1"));
    await t.rejects(node.writeNodeStatus(statusOf("web-2")), FORBIDDEN);
    await node.writeEndpoints({ ...ENDPOINTS, node: "web-1" });
    await t.rejects(node.writeEndpoints({ ...ENDPOINTS, node: "web-2" }), FORBIDDEN);
    await t.rejects(leader.writeEndpoints({ ...ENDPOINTS, node: "web-1" }), FORBIDDEN);
    t.match(await leader.listEndpoints(), [{ node: "web-1" }]);
    await t.rejects(node.heartbeat({ ...heartbeat, id: "web-2" }, 60_000), FORBIDDEN);
    await t.rejects(node.leaveMember("web-2"), FORBIDDEN);
    await t.rejects(node.campaign({ id: "web-1", holder: "h1" }, 60_000), FORBIDDEN);
    await t.rejects(node.commit(NEXT, { expectHead: null, fence: null }), FORBIDDEN);
    await t.rejects(node.writeSuspension(SUSPENSION), FORBIDDEN);
    await t.rejects(node.writeApproval({ ...SUSPENSION, commit: "a".repeat(40), time: SUSPENSION.since }), FORBIDDEN);
    t.match(
      await node.readHealth({ everyServer: true }),
      [{ databaseBytes: Number, quotaBytes: Number, alarms: [], problem: null }],
      "etcd shows its alarms and sizes to every user",
    );
    t.equal(await leader.readHead(), null);
    t.equal(await leader.readLeader(), null);
  });

  await t.test("a node cannot keep a dead leader in office by renewing its lease", async (t) => {
    const ttlMs = 60_000;
    let passedMs = 0;
    const clock = { ...systemClock, monotonic: () => systemClock.monotonic() + passedMs };
    const [dead, next] = [leader, openStore(t, endpoints, web2, clock)];
    const client = new EtcdClient(
      { endpoints, prefix: "ztap/", timeoutMs: 5000, tls: web1.tls ?? null, auth: web1.auth ?? null },
      systemClock,
      0,
    );
    t.teardown(() => client.close());
    const { fence } = await dead.campaign({ id: "a", holder: "h-a" }, ttlMs);
    const isLeader = async (): Promise<string | null> =>
      (await next.campaign({ id: "b", holder: "h-b" }, ttlMs)).leader;
    t.equal(await isLeader(), "a");
    for (let renewal = 0; renewal < 3; renewal++) {
      passedMs += 2 * ttlMs - 1000;
      t.equal((await dead.campaign({ id: "a", holder: "h-a" }, ttlMs)).fence?.term, fence?.term);
      t.equal(await isLeader(), "a", "a living leader stays");
    }
    passedMs += 2 * ttlMs - 1000;
    const lease = (await client.get("election"))?.lease ?? "";
    t.equal(await renewLease(client, lease), true, "a node renews the lease of a leader that is dead");
    t.equal(await isLeader(), "a", "not yet");
    passedMs += 2000;
    t.equal(await isLeader(), "b", "another one takes over");
    t.match(await dead.campaign({ id: "a", holder: "h-a" }, ttlMs), { fence: null, leader: "b" });
    await next.resign("h-b");
  });

  await t.test("the leader role campaigns and commits, and writes no record of another node", async (t) => {
    const next = await startWatch(t, node, ["head"]);
    const woken = next();
    const { fence } = await leader.campaign({ id: "web-2", holder: "h2" }, 60_000);
    t.same(await leader.readFence(), fence);
    t.match(await leader.commit(draft([policy("web")]), { expectHead: null, fence }), { outcome: "committed" });
    t.equal(await within(woken, { what: "the change" }), "head");
    t.equal((await node.readState(1)).objects.size, 1, "a node reads everything");
    t.equal((await node.listMembers()).length, 1);
    t.equal((await node.listHeartbeats()).length, 1);
    t.same(await node.campaign({ id: "web-1", holder: "h1" }, 60_000), { fence: null, leader: "web-2" });
    t.equal(await commitOnHead(leader, draft([])), 2, "a policy is deleted");
    t.equal(await leader.readPolicyVersion("default", "web"), 1);
    t.same(await leader.prune({ revisions: 1, newerThan: "2027-01-01T00:00:00.000Z" }), { revisions: 1, objects: 1 });
    await leader.writeApproval({ ...SUSPENSION, commit: "a".repeat(40), time: SUSPENSION.since });
    await leader.writeSuspension(SUSPENSION);
    t.match(await node.readSourceControl(), { suspension: SUSPENSION, approval: { by: "op@host" } });
    t.equal(await leader.writeSuspension(null), true);
    if (fence === null) throw new Error("web-2 leads");
    t.equal(await leader.writeOutbox({ receivers: [] }, fence), true);
    t.same(await node.readOutbox(), { receivers: [] });
    await t.rejects(node.writeOutbox({ receivers: [] }, fence), FORBIDDEN);
    await node.requestPoll({ node: "web-1", time: SUSPENSION.since });
    await t.rejects(node.resign("h2"), FORBIDDEN);
    await t.rejects(leader.writeNodeStatus(statusOf("web-1")), FORBIDDEN);
    await leader.resign("h2");
    await node.endHeartbeat("web-1", "h1");
  });
}

/** An agent with a node's role: nobody else leads, so that each of its beats is refused the candidature. */
async function agentOfNode(t: Test, store: Store, leader: Store): Promise<void> {
  const { telemetry, calls } = recordTelemetry();
  const said: string[] = [];
  const keep = (message: string): void => void said.push(message);
  const stop = new AbortController();
  t.teardown(() => stop.abort());
  const running = runAgent(
    agentDeps(store, { logger: { ...silentLogger, info: keep, warn: keep }, telemetry }),
    agentOptions({
      node: "web-1",
      address: "10.0.0.1:9470",
      checkInterval: "60s",
      heartbeatInterval: "20ms",
      sessionTtl: "5s",
    }),
    stop.signal,
  );
  const reported = async (): Promise<number | null> =>
    (await leader.listNodeStatus()).find(({ node }) => node === "web-1")?.attemptedRevision ?? null;
  await commitOnHead(leader, draft([policy("web", 3)]));
  const head = await leader.readHead();
  await waitUntil(async () => (await reported()) === head, { what: "the agent's report" });
  await waitUntil(() => calls.filter(([name]) => name === "leader").length > 5, { what: "many refusals" });
  t.equal(said.filter((message) => /may not lead, and follows/.test(message)).length, 1, "said once");
  t.same(
    said.filter((message) => /heartbeat failed/.test(message)),
    [],
  );
  await commitOnHead(leader, draft([policy("web", 4)]));
  await waitUntil(async () => (await reported()) === (head ?? 0) + 1, { what: "the next revision" });
  t.equal(await leader.readLeader(), null);
  stop.abort();
  await running;
}

const settings = { skip: whyNoEtcd() ?? false, timeout: HANG_MS };

await t.test("roles of users with passwords", settings, async (t) => {
  const folder = await mkdtemp(join(tmpdir(), `ztap-roles-${process.pid}-`));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  await withEtcd({ flags: QUICK }, async (etcd) => {
    const environment = { ETCDCTL_ENDPOINTS: etcd.endpoints.join(",") };
    makeUsers(environment, withPasswords);
    const as = (username: string, password = `of-${username}`): Identity => ({
      tls: null,
      auth: { username, password },
    });
    await whatEachMay(t, etcd, as("web-1"), as("web-2"));
    await t.test("an agent without the leader role follows and reports", (t) =>
      agentOfNode(t, openStore(t, etcd.endpoints, as("web-1")), openStore(t, etcd.endpoints, as("web-2"))),
    );
    await t.test("a client without credentials is refused everything", async (t) => {
      const refused = { code: "store-permission", message: /refused: .*(password|user name)/ };
      await t.rejects(openStore(t, etcd.endpoints, as("web-1", "wrong")).readHead(), refused);
      await t.rejects(openStore(t, etcd.endpoints, as("nobody")).readHead(), refused);
      await t.rejects(openStore(t, etcd.endpoints).readHead(), refused);
      await t.rejects(openStore(t, etcd.endpoints, { ...as("web-1"), prefix: "other/" }).readHead(), FORBIDDEN);
    });
    await t.test("a registrar joins and removes other nodes", async (t) => {
      const root = { ...environment, ETCDCTL_USER: "root:secret" };
      const registrar = openStore(t, etcd.endpoints, as("web-2"));
      const member = { id: "web-9", address: "10.0.0.9:9470", joinedAt: "2026-01-01T00:00:00.000Z" };
      await t.rejects(registrar.joinMember(member), FORBIDDEN);
      etcdctl(root, "etcdctl user grant-role web-2 ztap-registrar");
      await registrar.joinMember(member);
      t.equal(await registrar.leaveMember("web-9"), true);
    });
  });
});

await t.test("roles of users with certificates", settings, async (t) => {
  const folder = await mkdtemp(join(tmpdir(), `ztap-roles-${process.pid}-`));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const at = (name: string): string => join(folder, name);
  await mkdir(folder, { recursive: true });
  const users = ["web-1", "web-2", "root"].map((name) => ({ name }));
  await writeCertificates(folder, [{ name: "m1", hosts: ["m1", "127.0.0.1"] }, ...users]);
  const flags = [
    ...QUICK,
    `--cert-file=${at("m1.crt")}`,
    `--key-file=${at("m1.key")}`,
    `--trusted-ca-file=${at("ca.crt")}`,
    "--client-cert-auth",
  ];
  await withEtcd({ flags, scheme: "https" }, async (etcd) => {
    const environment = {
      ETCDCTL_ENDPOINTS: etcd.endpoints.map((endpoint) => `https://${endpoint}`).join(","),
      ETCDCTL_CACERT: at("ca.crt"),
      ETCDCTL_CERT: at("root.crt"),
      ETCDCTL_KEY: at("root.key"),
    };
    makeUsers(environment);
    const as = async (user: string): Promise<Identity> => {
      const [ca, cert, key] = await Promise.all(
        ["ca.crt", `${user}.crt`, `${user}.key`].map((name) => readFile(at(name))),
      );
      return { tls: { ca: ca ?? null, cert: cert ?? null, key: key ?? null }, auth: null };
    };
    await whatEachMay(t, etcd, await as("web-1"), await as("web-2"));
  });
});

await t.test("signed tokens from before a change of roles are renewed", settings, async (t) => {
  const folder = await mkdtemp(join(tmpdir(), `ztap-roles-${process.pid}-`));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const openssl = (...args: readonly string[]) => execFileSync("openssl", args, { cwd: folder, stdio: "ignore" });
  openssl("genrsa", "-out", "token.key", "2048");
  openssl("rsa", "-in", "token.key", "-pubout", "-out", "token.pub");
  const token = `--auth-token=jwt,pub-key=${folder}/token.pub,priv-key=${folder}/token.key,sign-method=RS256,ttl=2s`;
  await withEtcd({ flags: [...QUICK, token] }, async (etcd) => {
    const environment = { ETCDCTL_ENDPOINTS: etcd.endpoints.join(",") };
    makeUsers(environment, withPasswords);
    const auth = { username: "web-2", password: "of-web-2" };
    const store = openStore(t, etcd.endpoints, { auth });
    t.equal(await commitOnHead(store, draft([policy("web")])), 1);
    const { fence } = await store.campaign({ id: "web-2", holder: "h2" }, 60_000);
    const root = { ...environment, ETCDCTL_USER: "root:secret" };
    etcdctl(root, "etcdctl user grant-role web-2 ztap-registrar");
    t.equal(await store.readHead(), 1);
    t.same((await store.campaign({ id: "web-2", holder: "h2" }, 60_000)).fence, fence);
    t.equal(await commitOnHead(store, draft([policy("web", 2)])), 2);
  });
});

await t.test("stores with different prefixes do not see one another", settings, (t) =>
  withEtcd({ flags: QUICK }, async ({ endpoints }) => {
    const [one, two] = [newPrefix(), newPrefix()].map((prefix) => openStore(t, endpoints, { prefix }));
    if (one === undefined || two === undefined) throw new Error("two prefixes");
    const next = await startWatch(t, two);
    const woken = next();
    await commitOnHead(one, draft([policy("web")]));
    await one.joinMember({ id: "n1", address: "n1:1", joinedAt: "2026-01-01T00:00:00.000Z" });
    await one.campaign({ id: "n1", holder: "h" }, 60_000);
    await one.writeNodeStatus(statusOf("n1"));
    t.equal(await two.readHead(), null);
    t.same(await two.listMembers(), []);
    t.same(await two.listNodeStatus(), []);
    t.equal(await two.readLeader(), null);
    t.equal(await two.readPolicyVersion("default", "web"), 0);
    await two.writeNodeStatus(statusOf("n2"));
    t.equal(await woken, "status", "its own change is the first that it hears of");
    t.same(await two.prune({ revisions: 1, newerThan: "2027-01-01T00:00:00.000Z" }), { revisions: 0, objects: 0 });
    t.equal((await one.readState(1)).objects.size, 1);
  }),
);
