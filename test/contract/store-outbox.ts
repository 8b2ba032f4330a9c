/** What receivers are told, and requests for polls. */
import type { CommitDeliveries, CommitEvent, Outbox } from "../../src/model/outbox.js";
import { MOST_COMMITS, MOST_DIAGNOSTICS, MOST_RECEIVERS } from "../../src/model/outbox.js";
import type { StoreCase } from "./bench.js";
import { SOURCE, STATUS } from "./store-cluster.js";

const EVENT: CommitEvent = {
  id: "e1",
  commit: "d".repeat(40),
  state: "rejected",
  description: "rejected: 1 error",
  revision: null,
  nodes: null,
  diagnostics: SOURCE.diagnostics,
  source: { location: "/repo", ref: null, path: null },
  time: "2026-01-01T00:00:00.000Z",
};

const DELIVERIES: CommitDeliveries = {
  commit: EVENT.commit,
  last: { state: "accepted", description: "enforced on 1 of 3 nodes", time: EVENT.time },
  count: 1,
  pending: { event: EVENT, attempts: 2, notBefore: "2026-01-01T00:01:00.000Z", problem: "status 503" },
  failed: null,
};

const RECEIVER = { receiver: "github", target: "ab".repeat(32), commits: [DELIVERIES], delivered: 1, lost: 0 };
const OUTBOX: Outbox = { receivers: [RECEIVER] };

export const outboxCases: readonly StoreCase[] = [
  {
    title: "the outbox is the leader's alone to write, and the next leader reads what the one before wrote",
    async run(t, { store, time, open }) {
      const other = await open();
      t.equal(await store.readOutbox(), null);
      const { fence } = await store.campaign({ id: "n1", holder: "h1" }, time.ttlMs);
      if (fence === null) throw new Error("nobody else wanted to lead");
      t.equal(await store.writeOutbox(OUTBOX, fence), true);
      t.same(await other.readOutbox(), OUTBOX);
      await time.expire();
      const next = (await other.campaign({ id: "n2", holder: "h2" }, time.ttlMs)).fence;
      if (next === null) throw new Error("the first one's lease has run out");
      t.equal(await store.writeOutbox({ receivers: [] }, fence), false, "a leader whose term is over writes nothing");
      t.same(await other.readOutbox(), OUTBOX);
      const settled = { receivers: [{ ...RECEIVER, commits: [{ ...DELIVERIES, pending: null }], delivered: 2 }] };
      t.equal(await other.writeOutbox(settled, next), true);
      t.same(await store.readOutbox(), settled);
    },
  },
  {
    title: "the outbox is bounded: what could not be read back is not written, and what has not its shape is an error",
    async run(t, { store, time, damage }) {
      const { fence } = await store.campaign({ id: "n1", holder: "h1" }, time.ttlMs);
      if (fence === null) throw new Error("nobody else wanted to lead");
      const commits = Array.from({ length: MOST_COMMITS }, () => DELIVERIES);
      const full = { receivers: Array.from({ length: MOST_RECEIVERS }, () => ({ ...RECEIVER, commits })) };
      t.equal(await store.writeOutbox(full, fence), true);
      t.same(await store.readOutbox(), full);
      const manyDiagnostics = Array.from({ length: MOST_DIAGNOSTICS + 1 }, () => SOURCE.diagnostics[0]!);
      const pending = { ...DELIVERIES.pending!, event: { ...EVENT, diagnostics: manyDiagnostics } };
      for (const wrong of [
        { receivers: [...full.receivers, RECEIVER] },
        { receivers: [{ ...RECEIVER, commits: [...commits, DELIVERIES] }] },
        { receivers: [{ ...RECEIVER, commits: [{ ...DELIVERIES, pending }] }] },
      ])
        await t.rejects(store.writeOutbox(wrong, fence), { code: "object-damaged" });
      t.same(await store.readOutbox(), full);
      await damage("outbox", JSON.stringify({ receivers: [{ ...RECEIVER, target: "x" }] }));
      await t.rejects(store.readOutbox(), { code: "store-damaged" });
      const long = { ...EVENT, description: `line\nanother\u001b[8m ${"x".repeat(10_000)}` };
      const written = { ...DELIVERIES, pending: { ...DELIVERIES.pending!, event: long } };
      t.equal(await store.writeOutbox({ receivers: [{ ...RECEIVER, commits: [written] }] }, fence), true);
      t.match((await store.readOutbox())?.receivers[0]?.commits[0]?.pending?.event, {
        description: /^line another\ufffd\[8m x+ …$/,
      });
    },
  },
  {
    title: "a request for a poll wakes who watches for one, and nobody else; the outbox wakes nobody",
    async run(t, { store, time, open }) {
      const other = await open();
      const stop = new AbortController();
      const kindsOf = (kinds: readonly ("polls" | "status" | "head")[]) =>
        store.watch(stop.signal, kinds)[Symbol.asyncIterator]();
      const polls = kindsOf(["polls"]);
      const rest = kindsOf(["head", "status"]);
      await polls.next();
      await rest.next();
      const { fence } = await other.campaign({ id: "n1", holder: "h1" }, time.ttlMs);
      if (fence === null) throw new Error("nobody else wanted to lead");
      const [asked, changed] = [polls.next(), rest.next()];
      await other.writeOutbox(OUTBOX, fence);
      await other.requestPoll({ node: "n2", time: EVENT.time });
      t.same((await asked).value, { changed: "polls" });
      const again = polls.next();
      await other.requestPoll({ node: "n2", time: EVENT.time });
      t.same((await again).value, { changed: "polls" }, "also one that says the same");
      await other.writeNodeStatus(STATUS);
      t.same((await changed).value, { changed: "status" }, "the first that was heard of is what came after them");
      stop.abort();
    },
  },
];
