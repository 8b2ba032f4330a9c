/** What calls survive: lost answers, leases that ran out, silent networks, values that are too long, a full database. */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { fileURLToPath } from "node:url";
import t from "tap";
import type { Test } from "tap";
import { EtcdClient, type EtcdOptions } from "../../src/adapters/etcd/client.js";
import { grantLease, leaseAge, renewLease, revokeLease } from "../../src/adapters/etcd/leases.js";
import { systemClock } from "../../src/adapters/system/clock.js";
import type { Fence, Store } from "../../src/interfaces/store.js";
import { commitOnHead } from "../contract/store-commits.js";
import { runFromPage } from "../etcd/page.js";
import { withEtcd, whyNoEtcd, type EtcdCluster } from "../etcd/server.js";
import { newPrefix, openProxy, openStore, QUICK } from "../etcd/stores.js";
import { draft, namespace, policy } from "../fakes/objects.js";
import { HANG_MS, waitUntil, within } from "../wait.js";

const A = { id: "a", holder: "holder-of-a" };
const B = { id: "b", holder: "holder-of-b" };
const STATUS = {
  node: "n1",
  backend: "none",
  attemptedRevision: null,
  enforcedRevision: null,
  rulesetDigest: null,
  state: "Stalled",
  message: null,
  drift: [],
  healed: 0,
  subjects: [],
  observedAt: "2026-01-01T00:00:00.000Z",
} as const;

const commit = (store: Store, port: number): Promise<number> => commitOnHead(store, draft([policy("web", port)]));
const commitUnder = async (store: Store, fence: Fence, port: number): Promise<string> =>
  (await store.commit(draft([policy("web", port)]), { expectHead: await store.readHead(), fence })).outcome;
const options = (endpoint: string, changes: Partial<EtcdOptions> = {}): EtcdOptions => ({
  endpoints: [endpoint],
  prefix: newPrefix(),
  tls: null,
  auth: null,
  timeoutMs: 300,
  ...changes,
});

async function lostAnswers(t: Test, endpoint: string): Promise<void> {
  const prefix = newPrefix();
  const [sound, proxy] = [openStore(t, [endpoint], { prefix }), await openProxy(t, endpoint)];
  const store = openStore(t, [proxy.endpoint], { prefix });
  const cutOnce = async (isDone: () => Promise<boolean>): Promise<void> => {
    await waitUntil(isDone, { what: "its arrival at etcd" });
    proxy.cut();
  };

  await t.test("a commit whose reply was lost is found, and not made twice", async (t) => {
    await commit(store, 1);
    proxy.loseAnswersAfter(`${prefix}revisions/00000000000000000002`);
    const next = draft([policy("web", 2)]);
    const committing = store.commit(next, { expectHead: 1, fence: null });
    await cutOnce(async () => (await sound.readHead()) === 2);
    t.match(await committing, { outcome: "committed", revision: { number: 2, commitId: next.commitId } });
    t.ok(proxy.lost > 0, "an answer was lost");
    t.equal(await sound.readHead(), 2);
    t.equal(await sound.readPolicyVersion("default", "web"), 2);
  });

  await t.test("a campaign whose reply was lost finds its own key", async (t) => {
    proxy.loseAnswersAfter(A.holder);
    const campaign = store.campaign(A, 60_000);
    await cutOnce(async () => (await sound.readLeader()) === "a");
    const { fence } = await campaign;
    t.same(fence, await sound.readFence());
    t.equal(fence !== null && (await commitUnder(store, fence, 3)), "committed");
    await store.resign(A.holder);
  });

  await t.test("a heartbeat whose reply was lost belongs to the holder that claimed it", async (t) => {
    proxy.loseAnswersAfter("holder-of-heartbeat");
    const heartbeat = { id: "n1", address: "n1:1", holder: "holder-of-heartbeat" };
    const beating = store.heartbeat(heartbeat, 60_000);
    await cutOnce(async () => (await sound.listHeartbeats()).some(({ alive }) => alive));
    t.same(await beating, { held: null });
    t.same(await sound.heartbeat({ ...heartbeat, holder: "other" }, 60_000), { held: "holder-of-heartbeat" });
  });
}

async function leases(t: Test, endpoint: string): Promise<void> {
  const prefix = newPrefix();
  const [one, two] = [openStore(t, [endpoint], { prefix }), openStore(t, [endpoint], { prefix })];
  const isOver = () => waitUntil(async () => (await two.readLeader()) === null, { what: "the end of the lease" });
  await commit(one, 1);
  const first = (await one.campaign(A, 1000)).fence;
  if (first === null) throw new Error("nobody else campaigns");
  t.equal(await commitUnder(one, first, 2), "committed");
  await isOver();
  t.equal(await commitUnder(one, first, 3), "fenced", "the term ended with the lease");
  const second = (await one.campaign(A, 1000)).fence;
  if (second === null) throw new Error("nobody else campaigns");
  t.ok(second.term > first.term, "the same candidate has a new term");
  t.equal(await commitUnder(one, first, 3), "fenced", "and its old fence is no good");
  t.equal(await commitUnder(one, second, 3), "committed");
  await isOver();
  const { fence } = await two.campaign(B, 60_000);
  t.same(await one.campaign(A, 1000), { fence: null, leader: "b" });
  t.equal(await commitUnder(one, second, 4), "fenced");
  await two.resign(B.holder);
  // Whoever lost its lease is no candidate any more, until it campaigns again.
  t.equal(await two.readLeader(), null);
  t.equal(await one.readFence(), null);
  t.equal(fence !== null && (await commitUnder(two, fence, 4)), "fenced");
  t.equal(await two.readHead(), 3);
}

async function deadlines(t: Test, endpoint: string): Promise<void> {
  const proxy = await openProxy(t, endpoint);
  const client = new EtcdClient(options(proxy.endpoint), systemClock, 0);
  const late = new EtcdClient(options(proxy.endpoint), systemClock, 0);
  const asking = new EtcdClient(options(proxy.endpoint, { auth: { username: "a", password: "b" } }), systemClock, 0);
  t.teardown(() => [client, late, asking].forEach((one) => one.close()));
  const lease = await grantLease(client, 60_000);
  await renewLease(client, lease);
  proxy.silence();
  const calls: readonly (readonly [string, () => Promise<unknown>])[] = [
    ["get", () => client.get("head")],
    ["get, on a connection that is only being made", () => late.get("head")],
    ["get, asking for a token", () => asking.get("head")],
    ["list", () => client.list({ prefix: "members/" })],
    ["getMany", () => client.getMany(["a", "b"])],
    ["transact", () => client.transact([], [{ put: "a", bytes: Buffer.from("b") }])],
    ["revision", () => client.revision()],
    ["grantLease", () => grantLease(client, 1000)],
    ["renewLease", () => renewLease(client, lease)],
    ["leaseAge", () => leaseAge(client, lease)],
    ["revokeLease", () => revokeLease(client, lease)],
  ];
  await Promise.all(
    calls.map(([name, call]) =>
      t.rejects(within(call(), { what: name, timeoutMs: 30_000 }), { code: "store-unavailable" }, name),
    ),
  );
}

async function longValues(t: Test, { endpoints, ctl }: EtcdCluster): Promise<void> {
  const prefix = newPrefix();
  const [store, other] = [openStore(t, endpoints, { prefix }), openStore(t, endpoints, { prefix })];
  const keys = (below: string): readonly string[] =>
    ctl("get", "--prefix", "--keys-only", prefix + below)
      .split("\n")
      .filter((key) => key !== "");

  await t.test("an object of more than 2 MiB is stored in parts, and later calls work", async (t) => {
    const long = policy("long");
    const labels = { app: randomBytes(3_000_000).toString("base64") };
    const next = draft([{ ...long, metadata: { ...long.metadata, labels } }, policy("web")]);
    t.equal(await commitOnHead(store, next), 1);
    t.ok(keys("parts/objects/").length >= 4, "in parts");
    const { objects } = await other.readState(1);
    t.same(
      [...objects.values()].map(({ digest }) => digest),
      next.objects.map(({ digest }) => digest),
    );
    t.equal(await commit(other, 2), 2);
  });

  await t.test("the manifest of a revision with thousands of objects is stored in parts", async (t) => {
    const names = Array.from({ length: 20_000 }, (_, index) => namespace(`n${index}`));
    t.equal(await commitOnHead(store, draft([...names, policy("web", 3)])), 3);
    t.ok(keys("parts/revisions/").length >= 2, "in parts");
    t.equal((await other.readRevision(3))?.entries.length, 20_001);
    t.equal((await other.readState(3)).objects.size, 20_001);
    t.equal(await commit(other, 4), 4);
    t.same(await other.prune({ revisions: 1, newerThan: "2027-01-01T00:00:00.000Z" }), {
      revisions: 3,
      objects: 20_004,
    });
    t.same(keys("parts/"), [], "the parts went with them");
  });

  await t.test("a record that is too long is refused by name, and no other call fails", async (t) => {
    // Messages are bounded when they are written; a path is not.
    const path = randomBytes(3_000_000).toString("base64");
    for (let round = 1; round <= 4; round += 1) {
      const writes = [path, path.slice(0, 2_500_000)].map((text) =>
        t.rejects(store.writeNodeStatus({ ...STATUS, agentCgroup: text }), {
          code: "store-unavailable",
          message: /larger than etcd at .* accepts.*--max-request-bytes/,
        }),
      );
      await Promise.all(writes);
      t.equal(await store.readHead(), 4);
    }
  });
}

async function fullDatabase(t: Test, { endpoints }: EtcdCluster): Promise<void> {
  const store = openStore(t, endpoints);
  await commit(store, 1);
  const fill = async (): Promise<void> => {
    for (let round = 0; round < 100; round += 1)
      await store.writeNodeStatus({ ...STATUS, agentCgroup: randomBytes(500_000).toString("base64") });
  };
  await t.rejects(fill(), { code: "store-unavailable", message: /accepts no more data.*--quota-backend-bytes/ });
  t.equal(await store.readHead(), 1, "what is there is still read");
  await t.rejects(commit(store, 2), { code: "store-unavailable", message: /accepts no more data/ });
  runFromPage("reclaim", { ETCDCTL_ENDPOINTS: endpoints.join(",") }, tmpdir());
  t.equal(await commit(store, 2), 2, "and after what the message asks for, all is well");
}

async function endOfProcess(t: Test, endpoint: string): Promise<void> {
  const script = `
    import { openEtcdStore } from ${JSON.stringify(fileURLToPath(new URL("../../src/adapters/etcd/store.js", import.meta.url)))};
    import { systemClock } from ${JSON.stringify(fileURLToPath(new URL("../../src/adapters/system/clock.js", import.meta.url)))};
    const store = openEtcdStore(${JSON.stringify(options(endpoint, { timeoutMs: 5000 }))}, systemClock, 0);
    const events = store.watch(new AbortController().signal)[Symbol.asyncIterator]();
    await events.next();
    const waiting = events.next();
    await store.heartbeat({ id: "n", address: "n:1", holder: "h" }, 60000);
    await store.campaign({ id: "n", holder: "h" }, 60000);
    await waiting;
    await store.close();
    console.log("closed");
  `;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  t.teardown(() => child.kill("SIGKILL"));
  let said = "";
  child.stdout.on("data", (chunk: Buffer) => (said += chunk.toString()));
  const [code]: readonly unknown[] = await within(once(child, "close"), { what: "its end", timeoutMs: 60_000 });
  t.equal(code, 0);
  t.equal(said, "closed\n");
}

const settings = { skip: whyNoEtcd() ?? false, timeout: HANG_MS };
await t.test("calls", settings, (t) =>
  withEtcd({ flags: QUICK }, async (etcd) => {
    const [endpoint = ""] = etcd.endpoints;
    await t.test("lost replies", (t) => lostAnswers(t, endpoint));
    await t.test("an expired lease does not count as held", (t) => leases(t, endpoint));
    await t.test("each call has a deadline", (t) => deadlines(t, endpoint));
    await t.test("long values", (t) => longValues(t, etcd));
    await t.test("the process exits once its store is closed", (t) => endOfProcess(t, endpoint));
  }),
);
await t.test("a full database is reported with the fix, and works after the fix", settings, (t) =>
  withEtcd({ flags: [...QUICK, "--quota-backend-bytes=16777216"] }, (etcd) => fullDatabase(t, etcd)),
);
