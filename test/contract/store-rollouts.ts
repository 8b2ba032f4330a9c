/** The rollout of head: begun and ended with a commit, compared and set, and read with head at once. */
import type { Rollout, RolloutPlan } from "../../src/model/rollout.js";
import type { CommitOutcome, RevisionDraft, Store } from "../../src/interfaces/store.js";
import { draft, policy } from "../fakes/objects.js";
import type { StoreCase } from "./bench.js";
import { commitOnHead } from "./store-commits.js";

export const PLAN: RolloutPlan = {
  waves: [
    { nodes: { matchLabels: { canary: "true" } }, max: "100%", soak: "60s" },
    { max: "50%", soak: "0s" },
  ],
  shadow: "60s",
  gates: { newDenials: 0, stalled: 0, unconfirmed: 0 },
  onFailure: "revert",
  freeze: [{ from: "Fri 16:00", to: "Mon 08:00", timezone: "Europe/Berlin" }],
};

/** A rollout as a commit begins it. */
function begun(number: number, commitId: string, changes: Partial<Rollout> = {}): Rollout {
  return {
    ...{ revision: number, commitId, base: number - 1, layers: [], state: "shadow", wave: -1, plan: PLAN },
    ...{ since: "2026-01-01T00:00:00.000Z", settledSince: null, term: null, message: null, by: null, waived: [] },
    ...{ serial: 1, ...changes },
  };
}

function rolledOut(port: number): RevisionDraft {
  const next = draft([policy("web", port)]);
  const rollout = (current: Rollout | null, number: number): Rollout =>
    begun(number, next.commitId, { base: current?.base ?? number - 1, layers: current?.layers ?? [] });
  return { ...next, rollout };
}

/** Two revisions, of which the second is rolled out. */
async function startRollout(store: Store): Promise<Rollout> {
  await commitOnHead(store, draft([policy("web", 1)]));
  await commitOnHead(store, rolledOut(2));
  const { rollout } = await store.readRelease();
  if (rollout === null) throw new Error("the second revision has no rollout");
  return rollout;
}

export const rolloutCases: readonly StoreCase[] = [
  {
    title: "a commit begins a rollout, goes on from the one before, or ends it; each handle reads it with head",
    async run(t, { store, open }) {
      t.same(await store.readRelease(), { head: null, rollout: null });
      const other = await open();
      const first = await startRollout(store);
      t.match(first, { revision: 2, base: 1, plan: PLAN });
      t.same(await other.readRelease(), { head: 2, rollout: first });
      const layers = [{ revision: 2, commitId: first.commitId, nodes: ["n1"] }];
      t.ok(await store.writeRollout({ ...first, layers, serial: 2 }, { expect: first, fence: null }));
      await commitOnHead(other, rolledOut(3));
      t.match(await store.readRelease(), { head: 3, rollout: { revision: 3, base: 1, layers } });
      await commitOnHead(store, draft([policy("web", 4)]));
      t.same(await other.readRelease(), { head: 4, rollout: null }, "such as an undo");
      await commitOnHead(other, { ...draft([policy("web", 5)]), rollout: () => null });
      t.same(await store.readRelease(), { head: 5, rollout: null });
    },
  },
  {
    title: "a commit that loses its race leaves the rollout as it is",
    async run(t, { store }) {
      const rollout = await startRollout(store);
      t.match(await store.commit(rolledOut(9), { expectHead: 1, fence: null }), { outcome: "stale-head" });
      t.match(await store.commit(draft([]), { expectHead: 1, fence: null }), { outcome: "stale-head" });
      t.same(await store.readRelease(), { head: 2, rollout });
    },
  },
  {
    title: "a rollout is written only over the one that was read, and one that is over is not brought back",
    async run(t, { store, open }) {
      const other = await open();
      const first = await startRollout(store);
      const paused: Rollout = { ...first, state: "paused", by: "ops@host", serial: 2 };
      t.equal(await store.writeRollout(paused, { expect: first, fence: null }), true);
      t.equal(await other.writeRollout({ ...first, wave: 0, serial: 2 }, { expect: first, fence: null }), false);
      t.same(await other.readRelease(), { head: 2, rollout: paused });
      await commitOnHead(store, draft([policy("web", 3)]));
      t.equal(await other.writeRollout({ ...paused, serial: 3 }, { expect: paused, fence: null }), false);
      t.same(await store.readRelease(), { head: 3, rollout: null });
    },
  },
  {
    title: "of many writers at once one wins, beside commits as well",
    async run(t, { store, open }) {
      const first = await startRollout(store);
      const handles = [store, ...(await Promise.all([open(), open(), open()]))];
      const writes = handles.map((handle, index) =>
        handle.writeRollout({ ...first, wave: index, serial: 2 }, { expect: first, fence: null }),
      );
      const commits = handles.map((handle) => handle.commit(rolledOut(7), { expectHead: 2, fence: null }));
      const [won, outcomes] = await Promise.all([Promise.all(writes), Promise.all(commits)]);
      const committed = outcomes.filter(({ outcome }: CommitOutcome) => outcome === "committed");
      t.equal(committed.length, 1);
      t.ok(won.filter(Boolean).length <= 1, "one write, or none where the commit came first");
      t.match(await store.readRelease(), { head: 3, rollout: { revision: 3, wave: -1, base: 1, serial: 1 } });
    },
  },
  {
    title: "a leader whose term is over writes no rollout",
    async run(t, { store, time }) {
      const first = await startRollout(store);
      const { fence } = await store.campaign({ id: "n1", holder: "h1" }, time.ttlMs);
      if (fence === null) throw new Error("nobody else wanted to lead");
      const second = { ...first, term: fence.term, serial: 2 };
      t.equal(await store.writeRollout(second, { expect: first, fence }), true);
      await time.expire();
      t.equal(await store.writeRollout({ ...second, serial: 3 }, { expect: second, fence }), false);
      const next = await store.campaign({ id: "n2", holder: "h2" }, time.ttlMs);
      t.equal(await store.writeRollout({ ...second, serial: 3 }, { expect: second, fence }), false);
      t.equal(await store.writeRollout({ ...second, serial: 3 }, { expect: second, fence: next.fence }), true);
    },
  },
  {
    title: "who reads the release on every event of head has seen the last rollout",
    async run(t, { store, open }) {
      const writer = await open();
      await commitOnHead(writer, draft([policy("web", 1)]));
      const stop = new AbortController();
      const events = store.watch(stop.signal, ["head"])[Symbol.asyncIterator]();
      const until = async (isSeen: (seen: Awaited<ReturnType<Store["readRelease"]>>) => boolean): Promise<void> => {
        for (;;) {
          const seen = await store.readRelease({ watched: true });
          // Read at once: a revision is never seen without its rollout.
          if (seen.head === 2) t.equal(seen.rollout?.revision, 2);
          if (isSeen(seen)) return;
          await events.next();
        }
      };
      await events.next();
      await until(({ head }) => head === 1);
      await commitOnHead(writer, rolledOut(2));
      await until(({ rollout }) => rollout?.revision === 2);
      const { rollout } = await writer.readRelease();
      if (rollout === null) throw new Error("there is a rollout");
      await writer.writeRollout({ ...rollout, wave: 0, serial: 2 }, { expect: rollout, fence: null });
      await until((seen) => seen.rollout?.wave === 0);
      await commitOnHead(writer, draft([policy("web", 3)]));
      await until((seen) => seen.head === 3 && seen.rollout === null);
      stop.abort();
    },
  },
  {
    title: "a prune keeps every revision that a node may have to enforce",
    async run(t, { store }) {
      const rollout = await startRollout(store);
      for (const port of [3, 4, 5]) await commitOnHead(store, rolledOut(port));
      const keep = { revisions: 1, newerThan: "2099-01-01T00:00:00.000Z" };
      await store.prune(keep);
      t.match(await store.readState(1), { revision: { number: 1 } });
      const { rollout: newest } = await store.readRelease();
      t.equal(newest?.base, rollout.base);
      await commitOnHead(store, draft([policy("web", 6)]));
      await store.prune(keep);
      await t.rejects(store.readState(1), { code: "revision-missing" });
      t.match(await store.readState(6), { revision: { number: 6 } });
    },
  },
  {
    title: "a damaged rollout is an error and never released, an older program's is none, and an undo goes over both",
    async run(t, { store, damage }) {
      const first = await startRollout(store);
      for (const wrong of [
        { base: 0 },
        { state: "done" },
        { layers: [{ nodes: [1] }] },
        { plan: null },
        { wave: -2 },
      ]) {
        await damage("rollout", JSON.stringify({ ...first, ...wrong }));
        await t.rejects(store.readRelease(), { code: "store-damaged" }, JSON.stringify(wrong));
        await t.rejects(store.commit(rolledOut(3), { expectHead: 2, fence: null }), { code: "store-damaged" });
      }
      t.equal(await commitOnHead(store, draft([policy("web", 3)])), 3);
      t.same(await store.readRelease(), { head: 3, rollout: null });
      await damage("rollout", JSON.stringify(first));
      t.same(await store.readRelease(), { head: 3, rollout: null }, "it is of revision 2");
      await commitOnHead(store, rolledOut(4));
      t.match(await store.readRelease(), { rollout: { revision: 4, base: 3 } });
    },
  },
  {
    title: "texts of a rollout are bounded, and of one line",
    async run(t, { store }) {
      const first = await startRollout(store);
      const long = `a\nb ${"x".repeat(100_000)}`;
      await store.writeRollout({ ...first, message: long, by: long, serial: 2 }, { expect: first, fence: null });
      const { rollout } = await store.readRelease();
      for (const text of [rollout?.message, rollout?.by]) t.match(text, /^a b x{100,4096}/);
    },
  },
];
