/** The poll hook on a real socket: signatures as Git hosts send them, and everything that is none. */
import { createHmac } from "node:crypto";
import { request, type OutgoingHttpHeaders } from "node:http";
import { connect } from "node:net";
import t, { type Test } from "tap";
import { MOST_BODY_BYTES, MOST_REQUESTS, servePollHook } from "../../src/adapters/poll-hook/server.js";
import { openMemoryStore } from "../../src/adapters/memory/store.js";
import { Notifier } from "../../src/interfaces/notifier.js";
import { StoreError } from "../../src/interfaces/store.js";
import { Election } from "../../src/reconcile/election.js";
import { PollRequests } from "../../src/reconcile/poll-requests.js";
import { silentLogger } from "../fakes/ambient.js";
import { ManualClock } from "../fakes/clock.js";
import { FaultyStore } from "../fakes/store.js";
import { waitUntil } from "../wait.js";

const SECRET = "a-secret-that-is-long-enough";
const PUSH = JSON.stringify({ ref: "refs/heads/main", commits: [{ message: "ü".repeat(5000) }] });

const sign = (body: string | Buffer, secret = SECRET): string =>
  createHmac("sha256", secret).update(body).digest("hex");

async function setUp(t: Test, readSecret: () => string = () => SECRET) {
  const clock = new ManualClock();
  const seen: string[] = [];
  const on = {
    accepted: () => void seen.push("accepted"),
    refused: () => void seen.push("refused"),
    limited: () => void seen.push("limited"),
  };
  const server = await servePollHook({ listen: { host: "127.0.0.1", port: 0 }, readSecret, clock, on });
  t.teardown(() => server.close());
  const port = Number(server.address.split(":")[1]);
  const post = (
    headers: OutgoingHttpHeaders,
    body: string | Buffer = PUSH,
    { path = "/poll", method = "POST", localAddress = "127.0.0.1" } = {},
  ): Promise<number> =>
    new Promise((resolve, reject) => {
      const call = request(
        { host: "127.0.0.1", port, path, method, localAddress, headers, agent: false },
        (response) => {
          response.resume();
          resolve(response.statusCode ?? 0);
        },
      );
      call.on("error", reject);
      call.end(body);
    });
  return { clock, seen, port, post };
}

t.test("GitHub, Gitea, Forgejo and GitLab are known by what they send", async (t) => {
  const { post, seen } = await setUp(t);
  const github = { "x-hub-signature-256": `sha256=${sign(PUSH)}`, "x-github-event": "push" };
  for (const headers of [
    github,
    { "x-gitea-signature": sign(PUSH), "x-gitea-event": "push" },
    { "x-forgejo-signature": sign(PUSH), "x-forgejo-event": "push" },
    { ...github, "x-gitea-signature": sign(PUSH), "x-gogs-signature": sign(PUSH) },
    { "x-gitlab-token": SECRET, "x-gitlab-event": "Push Hook" },
  ])
    t.equal(await post(headers), 202, JSON.stringify(headers));
  t.equal(await post({ "x-hub-signature-256": `sha256=${sign("")}` }, ""), 202, "a body may be empty");
  t.same([...new Set(seen)], ["accepted"]);
});

t.test("who does not know the secret has no effect", async (t) => {
  const { post, seen } = await setUp(t);
  const wrong = [
    {},
    { "x-hub-signature-256": sign(PUSH) },
    { "x-hub-signature-256": `sha256=${sign(PUSH, "another-secret-of-that-length")}` },
    { "x-hub-signature-256": `sha256=${sign(`${PUSH} `)}` },
    { "x-hub-signature-256": `sha256=${sign(PUSH).slice(1)}` },
    { "x-hub-signature-256": `sha256=${sign(PUSH).toUpperCase()}` },
    { "x-hub-signature": `sha1=${createHmac("sha1", SECRET).update(PUSH).digest("hex")}` },
    { "x-gitea-signature": `${sign(PUSH)}0` },
    { "x-gitea-signature": "" },
    { "x-gitlab-token": SECRET.slice(1) },
    { "x-gitlab-token": `${SECRET}x` },
    { "x-gitlab-token": "" },
    { authorization: `Bearer ${SECRET}` },
  ];
  for (const headers of wrong) t.equal(await post(headers), 401, JSON.stringify(headers));
  const right = { "x-hub-signature-256": `sha256=${sign(PUSH)}` };
  t.equal(await post(right, PUSH, { path: "/" }), 404);
  t.equal(await post(right, PUSH, { path: "/poll/x" }), 404);
  t.equal(await post(right, PUSH, { method: "PUT" }), 405);
  t.same(
    seen,
    wrong.map(() => "refused"),
  );
});

t.test(
  "a body as large as GitHub's largest is hashed as it comes; a larger one is refused, whatever it says",
  async (t) => {
    const { port, post, seen } = await setUp(t);
    const large = Buffer.alloc(MOST_BODY_BYTES, "x");
    t.equal(await post({ "x-hub-signature-256": `sha256=${sign(large)}` }, large), 202);
    const signature = `X-Hub-Signature-256: sha256=${sign(large)}`;
    for (const length of [`Content-Length: ${MOST_BODY_BYTES + 1}`, "Transfer-Encoding: chunked"]) {
      const socket = connect(port, "127.0.0.1");
      t.teardown(() => socket.destroy());
      let said = "";
      socket.on("data", (chunk: Buffer) => (said += chunk.toString()));
      socket.on("error", () => undefined);
      socket.write(`POST /poll HTTP/1.1\r\nHost: x\r\n${signature}\r\n${length}\r\n\r\n`);
      const chunk = `10000\r\n${"x".repeat(65_536)}\r\n`;
      const pour = (): void => {
        while (!socket.destroyed && socket.write(chunk));
        if (!socket.destroyed) socket.once("drain", pour);
      };
      if (length.startsWith("Transfer")) pour();
      await waitUntil(() => said.includes("\r\n\r\n") || socket.destroyed, { what: "an answer or the end" });
      t.notMatch(said, /^HTTP\/1\.1 202/);
      socket.destroy();
    }
    await waitUntil(() => seen.length === 3, { what: "both refusals" });
    t.same(seen, ["accepted", "refused", "refused"]);
  },
);

t.test("a body that comes too slowly is cut off, and keeps nobody else out", async (t) => {
  const { port, post, seen } = await setUp(t);
  const slow = Array.from({ length: 200 }, () => {
    const socket = connect(port, "127.0.0.1");
    t.teardown(() => socket.destroy());
    socket.on("error", () => undefined);
    socket.on("data", () => undefined);
    const signature = `X-Hub-Signature-256: sha256=${sign(PUSH)}`;
    socket.write(`POST /poll HTTP/1.1\r\nHost: x\r\n${signature}\r\nContent-Length: 100\r\n\r\nslow`);
    return socket;
  });
  await waitUntil(() => slow.filter(({ destroyed }) => destroyed).length > 100, { what: "evictions" });
  t.equal(await post({ "x-gitea-signature": sign(PUSH) }, PUSH, { localAddress: "127.0.0.3" }), 202);
  await waitUntil(() => slow.every(({ destroyed }) => destroyed), { what: "the end of all slow bodies" });
  t.equal(seen.filter((one) => one === "accepted").length, 1);
});

t.test("a flood of one address, signed or not, is cut off for a minute, and nobody else's requests are", async (t) => {
  const { clock, post, seen } = await setUp(t);
  const right = { "x-gitea-signature": sign(PUSH) };
  for (let count = 0; count < MOST_REQUESTS; count += 1) t.equal(await post(right), 202);
  t.equal(await post(right), 429, "a replay");
  t.equal(await post({}), 429);
  t.equal(await post(right, PUSH, { localAddress: "127.0.0.2" }), 202);
  clock.advance(60_000);
  t.equal(await post(right), 202);
  t.equal(seen.filter((one) => one === "limited").length, 2);
});

t.test("a secret that cannot be used lets nobody in, and its reason goes to nobody", async (t) => {
  const { post, seen } = await setUp(t, () => {
    throw new Error("others may read /etc/ztap/secret");
  });
  t.equal(await post({ "x-gitlab-token": "" }), 401);
  t.equal(await post({ "x-gitlab-token": "x" }), 500);
  t.same([...new Set(seen)], ["refused"]);
});

/** What comes of requests, with a clock that is moved. */
async function setUpRequests(t: Test, leads: boolean) {
  const clock = new ManualClock();
  const store = new FaultyStore(openMemoryStore(clock));
  const election = new Election(store, clock, { id: "n1", holder: "h1", ttlMs: 3_600_000 });
  if (leads) await election.campaign();
  let polls = 0;
  const poll = new Notifier();
  let written = 0;
  store.refuse = (call) => {
    if (call === "requestPoll") written += 1;
    return null;
  };
  const requests = new PollRequests({ store, election, clock, logger: silentLogger }, "n1", poll);
  const stop = new AbortController();
  const counting = (async () => {
    while (await poll.wait(stop.signal)) polls += 1;
  })();
  const running = requests.run(stop.signal);
  t.teardown(async () => {
    stop.abort();
    await Promise.all([running, counting]);
  });
  const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));
  const pass = async (ms: number): Promise<void> => {
    await turn();
    clock.advance(ms);
    await turn();
  };
  return { clock, store, requests, pass, polls: () => polls, written: () => written };
}

t.test("however many requests: one poll at once, one at the end, and none is forgotten", async (t) => {
  const { requests, pass, polls, written } = await setUpRequests(t, true);
  requests.asked.notify();
  await pass(0);
  t.equal(polls(), 1, "at once");
  for (let ms = 0; ms < 58_000; ms += 100) {
    requests.asked.notify();
    requests.announced.notify();
    await pass(100);
  }
  t.ok(polls() >= 12 && polls() <= 26, `${polls()} polls in a minute`);
  const before = polls();
  await pass(5_000);
  await pass(5_000);
  t.ok(polls() > before, "what came while it paused");
  await pass(60_000);
  t.ok(polls() <= before + 2, "and no more");
  t.equal(written(), 0, "the leader asks nobody");
});

t.test("who does not lead asks through the store, in moderation, until the store has it", async (t) => {
  const { store, requests, pass, polls, written } = await setUpRequests(t, false);
  let refused = 0;
  const { refuse } = store;
  store.refuse = (call) => {
    refuse(call);
    refused += 1;
    return refused <= 3 ? new StoreError("store-unavailable", "no route") : null;
  };
  requests.asked.notify();
  for (let second = 0; second < 60; second += 5) await pass(5_000);
  t.equal(written(), 4, "three in vain, and one that is heard");
  for (let ms = 0; ms < 60_000; ms += 500) {
    requests.asked.notify();
    await pass(500);
  }
  t.ok(written() <= 17, `${written()} writes in two minutes`);
  requests.announced.notify();
  await pass(10_000);
  t.equal(polls(), 0, "nor does it poll");
  const before = written();
  store.refuse = (call) => {
    refuse(call);
    return new StoreError("store-permission", "permission denied");
  };
  requests.asked.notify();
  for (let second = 0; second < 60; second += 5) await pass(5_000);
  t.equal(written(), before + 1, "what is not permitted is not tried again");
});
