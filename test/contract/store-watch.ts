/** Watching: the first event at once, no wake-up lost, changes coalesced, an end when asked for. */
import type { ChangeKind, Store, StoreEvent } from "../../src/interfaces/store.js";
import { draft, policy } from "../fakes/objects.js";
import type { StoreCase } from "./bench.js";
import { ENDPOINTS } from "./store-endpoints.js";
import { commitOnHead } from "./store-commits.js";

/** A watch with its end. Waiting for an event has no time-out of its own: the runner's ends a test that hangs. */
function watching(
  store: Store,
  kinds?: readonly ChangeKind[],
): {
  readonly next: () => Promise<StoreEvent["changed"] | "end">;
  readonly stop: () => void;
} {
  const controller = new AbortController();
  const events = store.watch(controller.signal, kinds)[Symbol.asyncIterator]();
  return {
    next: async () => {
      const result = await events.next();
      return result.done === true ? "end" : result.value.changed;
    },
    stop: () => controller.abort(),
  };
}

const STATUS = {
  node: "n1",
  backend: "none",
  attemptedRevision: 1,
  enforcedRevision: null,
  rulesetDigest: null,
  state: "Stalled",
  message: "not yet",
  drift: [],
  healed: 0,
  subjects: [],
  observedAt: "2026-01-01T00:00:00.000Z",
} as const;

export const watchCases: readonly StoreCase[] = [
  {
    title: "the first event comes at once, on an empty store too",
    async run(t, { store }) {
      const watch = watching(store);
      t.equal(await watch.next(), "head");
      watch.stop();
      t.equal(await watch.next(), "end");
      t.equal(await watch.next(), "end");
    },
  },
  {
    title: "a change by another handle wakes a watcher that sleeps, and says what kind it was",
    async run(t, { store, time: { ttlMs }, open }) {
      const other = await open();
      const watch = watching(store);
      await watch.next();
      const changes = [
        ["head", () => commitOnHead(other, draft([policy("web")]))],
        ["status", () => other.writeNodeStatus(STATUS)],
        ["overrides", () => other.changeOverrides(() => [])],
        ["endpoints", () => other.writeEndpoints({ ...ENDPOINTS, node: "n9" })],
        ["members", () => other.joinMember({ id: "n1", address: "a:1", joinedAt: "2026-01-01T00:00:00.000Z" })],
        ["members", () => other.heartbeat({ id: "n1", address: "a:1", holder: "h" }, ttlMs)],
        ["members", () => other.campaign({ id: "n1", holder: "h" }, ttlMs)],
        ["members", () => other.resign("h")],
        ["members", () => other.endHeartbeat("n1", "h")],

        ["members", () => other.leaveMember("n1")],
        ["head", () => commitOnHead(other, draft([policy("web", 2)]))],
      ] as const;
      for (const [kind, change] of changes) {
        const woken = watch.next();
        await change();
        t.equal(await woken, kind);
      }
      watch.stop();
    },
  },
  {
    title: "who watches some kinds of change is not woken by others",
    async run(t, { store, open }) {
      const other = await open();
      const watch = watching(store, ["head"]);
      t.equal(await watch.next(), "head");
      const woken = watch.next();
      await other.writeNodeStatus(STATUS);
      await other.joinMember({ id: "n1", address: "a:1", joinedAt: "2026-01-01T00:00:00.000Z" });
      await commitOnHead(other, draft([policy("web")]));
      t.equal(await woken, "head");
      watch.stop();
      t.equal(await watch.next(), "end");
    },
  },
  {
    title: "a change between two looks is not lost, and many changes may be one event",
    async run(t, { store, open }) {
      const other = await open();
      const watch = watching(store);
      await watch.next();
      for (let port = 1; port <= 20; port += 1) await commitOnHead(other, draft([policy("web", port)]));
      let events = 0;
      // As a follower does: read on every event, until what was read is the last change.
      for (let head = 0; head < 20; events += 1) {
        t.equal(await watch.next(), "head");
        head = (await store.readHead()) ?? 0;
      }
      t.ok(events <= 20, "never more events than changes");
      watch.stop();
    },
  },
  {
    title: "a watcher that reads on every event has seen the last change, however changes and reads fall together",
    async run(t, { store, open }) {
      const other = await open();
      const watch = watching(store);
      const last = 40;
      const follower = (async (): Promise<number> => {
        let head = 0;
        while (head < last && (await watch.next()) === "head") head = (await store.readHead()) ?? 0;
        return head;
      })();
      for (let port = 1; port <= last; port += 1) {
        await commitOnHead(other, draft([policy("web", port)]));
        if (port % 3 === 0) await new Promise((resolve) => void setImmediate(resolve));
      }
      t.equal(await follower, last);
      watch.stop();
    },
  },
  {
    title: "who commits while it watches reads what it wrote",
    async run(t, { store, open }) {
      const other = await open();
      const watch = watching(store, ["head"]);
      await watch.next();
      for (let head = 1; head <= 10; head += 2) {
        const woken = watch.next();
        await commitOnHead(other, draft([policy("web", head)]));
        await woken;
        await store.commit(draft([policy("web", head + 1)]), { expectHead: head, fence: null });
        t.equal(await store.readHead(), head + 1);
      }
      watch.stop();
    },
  },
  {
    title: "a renewed heartbeat and a lost race wake nobody",
    async run(t, { store, time, open }) {
      const other = await open();
      await other.heartbeat({ id: "n1", address: "a:1", holder: "h" }, time.ttlMs);
      await other.campaign({ id: "n1", holder: "h" }, time.ttlMs);
      const watch = watching(store);
      await watch.next();
      const woken = watch.next();
      await other.heartbeat({ id: "n1", address: "a:1", holder: "h" }, time.ttlMs);
      await other.campaign({ id: "n1", holder: "h" }, time.ttlMs);
      await other.campaign({ id: "n2", holder: "i" }, time.ttlMs);
      await other.commit(draft([]), { expectHead: 9, fence: null });
      await other.writeNodeStatus(STATUS);
      t.equal(await woken, "status", "the first that was heard of is what came after them");
      watch.stop();
    },
  },
  {
    title: "a watch ends when its signal aborts, at whatever moment, and when the store is closed",
    async run(t, { store, open }) {
      const early = watching(store);
      early.stop();
      t.equal(await early.next(), "end", "before it began");
      const asleep = watching(store);
      await asleep.next();
      const sleeping = asleep.next();
      asleep.stop();
      t.equal(await sleeping, "end", "while it slept");
      const other = await open();
      const closing = watching(other);
      await closing.next();
      const last = closing.next();
      await other.close();
      t.equal(await last, "end", "when its store was closed");
      for await (const event of store.watch(new AbortController().signal)) {
        t.same(event, { changed: "head" });
        break;
      }
    },
  },
];
