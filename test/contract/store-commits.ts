/** Revisions: whole or not at all, one lineage, versions that never start again, nothing damaged is returned. */
import type { Test } from "tap";
import { refKey } from "../../src/model/state.js";
import type { CommitOutcome, Fence, RevisionDraft, Store } from "../../src/interfaces/store.js";
import { draft, namespace, policy, stateObject } from "../fakes/objects.js";
import type { StoreCase } from "./bench.js";

const REVISION_1 = "revisions/00000000000000000001";

/** Commits on whatever is head, and returns the number. */
export async function commitOnHead(store: Store, next: RevisionDraft): Promise<number> {
  const result = await store.commit(next, { expectHead: await store.readHead(), fence: null });
  if (result.outcome !== "committed") throw new Error(`not committed: ${result.outcome}`);
  return result.revision.number;
}

async function versionOf(store: Store, name: string): Promise<readonly unknown[]> {
  const revision = await store.readRevision((await store.readHead()) ?? 0);
  const entry = revision?.entries.find((entry) => entry.kind === "NetworkPolicy" && entry.name === name);
  return entry === undefined ? [] : [entry.version, entry.updatedAt, entry.sourceNode];
}

const reading: readonly StoreCase[] = [
  {
    title: "an empty store has no head, no revision, no version, no status, no leader",
    async run(t, { store }) {
      t.equal(await store.readHead(), null);
      t.equal(await store.readRevision(1), null);
      t.same(await store.listRevisions({ limit: 10 }), []);
      t.equal(await store.readPolicyVersion("default", "web"), 0);
      t.same(await store.listMembers(), []);
      t.same(await store.listHeartbeats(), []);
      t.same(await store.listNodeStatus(), []);
      t.equal(await store.readSourceStatus(), null);
      t.equal(await store.readLeader(), null);
      await t.rejects(store.readState(1), { code: "revision-missing" });
    },
  },
  {
    title: "what was committed is read back the same, by every handle, in the order of the keys",
    async run(t, { store, open }) {
      const next = draft([policy("web", 80), namespace("shop"), policy("db", 5432, "shop")]);
      const result = await store.commit(next, { expectHead: null, fence: null });
      const other = await open();
      t.equal(await other.readHead(), 1);
      const { revision, objects } = await other.readState(1);
      t.match(result, { outcome: "committed", revision: { number: 1, parent: null } });
      t.same(result, { outcome: "committed", revision });
      const { commitId, source, time, node, author, reason } = next;
      t.match(revision, { commitId, source, time, node, author, reason });
      const keys = ["Namespace//shop", "NetworkPolicy/default/web", "NetworkPolicy/shop/db"];
      t.same([...objects.keys()], keys);
      t.same(revision.entries.map(refKey), keys);
      t.same(new Map(objects), new Map(next.objects.map((object) => [refKey(object.ref), object])));
      t.same(await other.readRevision(1), revision);
    },
  },
  {
    title: "a state without objects is a state",
    async run(t, { store }) {
      t.equal(await commitOnHead(store, draft([policy("web")])), 1);
      t.equal(await commitOnHead(store, draft([])), 2);
      t.equal((await store.readState(2)).objects.size, 0);
      t.equal((await store.readState(1)).objects.size, 1);
    },
  },
  {
    title: "revisions are listed newest first, page by page",
    async run(t, { store }) {
      for (let port = 1; port <= 5; port += 1) await commitOnHead(store, draft([policy("web", port)]));
      const numbers = async (options: { limit: number; before?: number }): Promise<number[]> =>
        (await store.listRevisions(options)).map(({ number }) => number);
      t.same(await numbers({ limit: 2 }), [5, 4]);
      t.same(await numbers({ limit: 2, before: 4 }), [3, 2]);
      t.same(await numbers({ limit: 10, before: 2 }), [1]);
      t.same(await numbers({ limit: 10, before: 1 }), []);
      t.same(await numbers({ limit: 10, before: 99 }), [5, 4, 3, 2, 1]);
    },
  },
];

const versions: readonly StoreCase[] = [
  {
    title: "a policy's version rises exactly when its content changes, and keeps who and when until then",
    async run(t, { store }) {
      const at = (time: string, node: string) => ({ time, node });
      await commitOnHead(store, draft([policy("web", 80), policy("db", 1)], at("2026-01-01T00:00:00.000Z", "a")));
      t.same(await versionOf(store, "web"), [1, "2026-01-01T00:00:00.000Z", "a"]);
      await commitOnHead(store, draft([policy("web", 80), policy("db", 2)], at("2026-01-02T00:00:00.000Z", "b")));
      t.same(await versionOf(store, "web"), [1, "2026-01-01T00:00:00.000Z", "a"]);
      t.same(await versionOf(store, "db"), [2, "2026-01-02T00:00:00.000Z", "b"]);
      t.equal(await store.readPolicyVersion("default", "db"), 2);
      t.equal(await store.readPolicyVersion("default", "web"), 1);
    },
  },
  {
    title: "versions never start again: not after a deletion, not for the same content, not by another handle",
    async run(t, { store, open }) {
      await commitOnHead(store, draft([policy("web", 80)]));
      await commitOnHead(store, draft([policy("web", 81)]));
      await commitOnHead(store, draft([]));
      t.equal(await store.readPolicyVersion("default", "web"), 2, "the number outlives the policy");
      await commitOnHead(await open(), draft([policy("web", 81)]));
      t.same((await versionOf(store, "web"))[0], 3);
      await commitOnHead(store, draft([policy("web", 81), policy("web", 81, "other")]));
      t.equal(await store.readPolicyVersion("other", "web"), 1, "each namespace counts for itself");
      t.equal(await store.readPolicyVersion("default", "web"), 3);
    },
  },
  {
    title: "a rollback is a new revision and a new version with the old content",
    async run(t, { store }) {
      await commitOnHead(store, draft([policy("web", 80)]));
      await commitOnHead(store, draft([policy("web", 81)]));
      const { objects } = await store.readState(1);
      const back = draft([], { objects: [...objects.values()], reason: "rollback to 1" });
      t.equal(await commitOnHead(store, back), 3);
      t.same((await versionOf(store, "web"))[0], 3);
      t.same([...(await store.readState(3)).objects.values()], [...objects.values()]);
    },
  },
];

const races: readonly StoreCase[] = [
  {
    title: "a commit on a head that is not head any more changes nothing and says so",
    async run(t, { store }) {
      t.same(await store.commit(draft([policy("web")]), { expectHead: 1, fence: null }), {
        outcome: "stale-head",
        head: null,
      });
      await commitOnHead(store, draft([policy("web", 1)]));
      await commitOnHead(store, draft([policy("web", 2)]));
      for (const expectHead of [null, 1, 3]) {
        const late = draft([policy("web", 3), policy("new")]);
        t.same(await store.commit(late, { expectHead, fence: null }), { outcome: "stale-head", head: 2 });
      }
      t.equal(await store.readHead(), 2);
      t.equal(await store.readPolicyVersion("default", "web"), 2);
      t.equal(await store.readPolicyVersion("default", "new"), 0);
      t.equal(await store.readRevision(3), null);
    },
  },
  {
    title: "a draft that was committed although the answer was lost is found, not committed twice",
    async run(t, { store, open }) {
      const next = draft([policy("web")]);
      const first = await store.commit(next, { expectHead: null, fence: null });
      const other = await open();
      t.same(await other.commit(next, { expectHead: null, fence: null }), first);
      await commitOnHead(store, draft([policy("web", 2)]));
      t.same(await other.commit(next, { expectHead: null, fence: null }), first, "also when others went on from it");
      t.equal(await store.readHead(), 2);
    },
  },
  {
    title: "concurrent committers: no number twice, none left out, one lineage, every acknowledged draft in it",
    async run(t, { store, open }) {
      const handles = [store, await open(), await open(), await open()];
      const perWriter = 12;
      const acknowledged = (
        await Promise.all(handles.map((handle, writer) => commitMany(handle, writer, perWriter)))
      ).flat();
      const total = handles.length * perWriter;
      t.equal(await store.readHead(), total);
      t.same(
        acknowledged.map(({ number }) => number).sort((a, b) => a - b),
        Array.from({ length: total }, (_, index) => index + 1),
      );
      const revisions = await store.listRevisions({ limit: total + 1 });
      t.same(
        revisions.map(({ parent }) => parent),
        [...Array.from({ length: total - 1 }, (_, index) => total - 1 - index), null],
      );
      const ids = new Map(revisions.map(({ number, commitId }) => [number, commitId]));
      for (const { number, commitId } of acknowledged) t.equal(ids.get(number), commitId);
      t.equal(await store.readPolicyVersion("default", "web"), total, "each commit changed the policy once");
    },
  },
  {
    title: "a fence holds for its own term only",
    async run(t, { store, time, open }) {
      const other = await open();
      const { fence } = await store.campaign({ id: "a", holder: "a1" }, time.ttlMs);
      if (fence === null) throw new Error("nobody else wanted to lead");
      const write = (
        handle: Store,
        port: number,
        expectHead: number | null,
        by: Fence | null = fence,
      ): Promise<CommitOutcome> => handle.commit(draft([policy("web", port)]), { expectHead, fence: by });
      t.match(await write(store, 1, null), { outcome: "committed" });
      await time.expire();
      t.same(await write(store, 2, 1), { outcome: "fenced", leader: null }, "the lease ran out");
      const next = await other.campaign({ id: "b", holder: "b1" }, time.ttlMs);
      if (next.fence === null) throw new Error("nobody leads any more");
      t.ok(next.fence.term > fence.term);
      t.same(await write(store, 2, 1), { outcome: "fenced", leader: "b" });
      t.same(await write(store, 2, 7), { outcome: "fenced", leader: "b" }, "who does not lead is told that first");
      t.same(
        await write(store, 2, 1, { leader: "a", term: next.fence.term }),
        { outcome: "fenced", leader: "b" },
        "a term is its leader's",
      );
      t.match(await write(other, 2, 1, next.fence), { outcome: "committed" });
      t.match(await write(store, 3, 2, null), { outcome: "committed" }, "an operator leads nothing and needs no fence");
    },
  },
];

async function commitMany(
  store: Store,
  writer: number,
  count: number,
): Promise<readonly { number: number; commitId: string }[]> {
  const acknowledged: { number: number; commitId: string }[] = [];
  for (let port = 1; acknowledged.length < count; port += 1) {
    const next = draft([policy("web", writer * 1000 + port)], { commitId: `${writer}/${port}` });
    const result = await store.commit(next, { expectHead: await store.readHead(), fence: null });
    if (result.outcome === "committed") acknowledged.push({ number: result.revision.number, commitId: next.commitId });
  }
  return acknowledged;
}

const damage: readonly StoreCase[] = [
  {
    title: "a damaged or missing object is an error that names it, and never data",
    async run(t, { store, damage }) {
      const web = stateObject(policy("web"));
      const db = stateObject(policy("db"));
      await commitOnHead(store, draft([web.object, db.object]));
      await damage(`objects/${web.digest}`, JSON.stringify(policy("web", 81)));
      await t.rejects(store.readState(1), { code: "object-damaged", message: /NetworkPolicy\/default\/web/ });
      await damage(`objects/${web.digest}`, "not json");
      await t.rejects(store.readState(1), { code: "object-damaged" });
      await damage(`objects/${web.digest}`, null);
      await t.rejects(store.readState(1), { code: "object-missing", message: /NetworkPolicy\/default\/web/ });
      t.equal((await store.readRevision(1))?.number, 1, "the manifest alone can still be read");
    },
  },
  {
    title: "committing a damaged object's content again mends it",
    async run(t, { store, damage }) {
      const web = stateObject(policy("web"));
      await commitOnHead(store, draft([web.object]));
      await damage(`objects/${web.digest}`, "{}");
      await commitOnHead(store, draft([web.object]));
      t.equal((await store.readState(2)).objects.size, 1);
      t.equal((await store.readState(1)).objects.size, 1);
    },
  },
  {
    title: "a damaged manifest is an error, and so is a head that is no number",
    async run(t, { store, damage }) {
      await commitOnHead(store, draft([policy("web")]));
      const text = JSON.stringify(await store.readRevision(1));
      for (const value of [text, `${"0".repeat(64)}\n${text}`, "", "{"]) {
        await damage(REVISION_1, value);
        await t.rejects(store.readRevision(1), { code: "store-damaged" });
        await t.rejects(store.readState(1), { code: "store-damaged" });
        await t.rejects(store.commit(draft([]), { expectHead: 1, fence: null }), { code: "store-damaged" });
      }
      await damage("head", "one");
      await t.rejects(store.readHead(), { code: "store-damaged" });
    },
  },
  {
    title: "an object that is not what its digest or its name says is refused before anything is written",
    async run(t, { store }) {
      const web = stateObject(policy("web"));
      const wrong = [
        [{ ...web, digest: "0".repeat(64) }],
        [{ ...web, ref: { ...web.ref, name: "other" } }],
        [web, web],
      ];
      for (const objects of wrong) {
        await t.rejects(store.commit(draft([], { objects }), { expectHead: null, fence: null }), {
          code: "object-damaged",
        });
      }
      t.equal(await store.readHead(), null);
      t.equal(await store.readPolicyVersion("default", "web"), 0);
    },
  },
];

const pruning: readonly StoreCase[] = [
  {
    title: "prune removes what is beyond both bounds, and never head",
    async run(t, { store }) {
      for (let day = 1; day <= 6; day += 1) {
        await commitOnHead(store, draft([policy("web", day)], { time: `2026-01-0${day}T00:00:00.000Z` }));
      }
      const numbers = async (): Promise<number[]> =>
        (await store.listRevisions({ limit: 10 })).map(({ number }) => number);
      t.same(await store.prune({ revisions: 6, newerThan: "2027-01-01T00:00:00.000Z" }), { revisions: 0, objects: 0 });
      t.same(await store.prune({ revisions: 1, newerThan: "2026-01-01T00:00:00.000Z" }), { revisions: 0, objects: 0 });
      t.same(await store.prune({ revisions: 1, newerThan: "2026-01-03T00:00:00.000Z" }), { revisions: 2, objects: 2 });
      t.same(await numbers(), [6, 5, 4, 3], "the newer bound kept these");
      t.same(await store.prune({ revisions: 3, newerThan: "2027-01-01T00:00:00.000Z" }), { revisions: 1, objects: 1 });
      t.same(await numbers(), [6, 5, 4]);
      t.same(await store.prune({ revisions: 0, newerThan: "2027-01-01T00:00:00.000Z" }), { revisions: 2, objects: 2 });
      t.same(await numbers(), [6]);
      t.equal((await store.readState(6)).objects.size, 1);
      await t.rejects(store.readState(5), { code: "revision-missing" });
      t.equal(await commitOnHead(store, draft([policy("web", 7)])), 7, "numbers go on");
      t.equal(await store.readPolicyVersion("default", "web"), 7, "and versions");
    },
  },
  {
    title: "prune keeps each object that any kept revision names",
    async run(t, { store }) {
      const [kept, gone] = [policy("kept"), policy("gone")];
      await commitOnHead(store, draft([kept, gone]));
      await commitOnHead(store, draft([gone]));
      await commitOnHead(store, draft([]));
      await commitOnHead(store, draft([kept]));
      await commitOnHead(store, draft([]));
      const pruned = await store.prune({ revisions: 3, newerThan: "2027-01-01T00:00:00.000Z" });
      t.same(pruned, { revisions: 2, objects: 1 });
      t.same([...(await store.readState(4)).objects.keys()], ["NetworkPolicy/default/kept"]);
    },
  },
  {
    title: "prune beside writers and readers breaks neither",
    async run(t, { store, open }) {
      const [writer, reader] = [await open(), await open()];
      const writing = commitMany(writer, 0, 30);
      const done = new AbortController();
      const reading = (async (): Promise<void> => {
        while (!done.signal.aborted) await readHeadState(t, reader);
      })();
      for (let round = 0; round < 10; round += 1)
        await store.prune({ revisions: 2, newerThan: "2027-01-01T00:00:00.000Z" });
      await writing;
      done.abort();
      await reading;
      await store.prune({ revisions: 2, newerThan: "2027-01-01T00:00:00.000Z" });
      t.same(
        (await store.listRevisions({ limit: 99 })).map(({ number }) => number),
        [30, 29],
      );
      t.equal((await store.readState(29)).objects.size, 1);
    },
  },
];

/** Reads head as a follower does: a revision that was pruned in between is no longer head, and is looked up again. */
async function readHeadState(t: Test, store: Store): Promise<void> {
  const head = await store.readHead();
  if (head === null) return new Promise((resolve) => void setImmediate(resolve));
  try {
    const { revision, objects } = await store.readState(head);
    if (revision.entries.length !== objects.size) t.fail(`revision ${head} was read in part`);
  } catch (error) {
    if ((await store.readHead()) === head) t.fail(`head ${head} could not be read: ${String(error)}`);
  }
  return new Promise((resolve) => void setImmediate(resolve));
}

export const commitCases: readonly StoreCase[] = [...reading, ...versions, ...races, ...damage, ...pruning];
