/** Records that nodes, leaders and operators write: what each field may hold, and how texts are written. */
import { MOST_SERVER_CGROUPS, MOST_SERVERS } from "../../src/model/management-access.js";
import { draft, policy } from "../fakes/objects.js";
import type { StoreCase } from "./bench.js";
import { SOURCE, STATUS, SUSPENSION } from "./store-cluster.js";

const DIFFERENCE = {
  ...{ effect: "denied" as const, direction: "ingress" as const, workload: "default/web", count: 3 },
  ...{ policy: "default/web", file: "web.yaml", line: 7 },
};
const SHADOW = {
  ...{ revision: 2, commitId: "c2", since: STATUS.observedAt, judged: 9, newDenials: 3, newAllows: 0 },
  differences: [DIFFERENCE],
};

export const recordCases: readonly StoreCase[] = [
  {
    title: "each field of a node's records is held to what it may be; the record is left out, and said to be damaged",
    async run(t, { store, damage, time: { ttlMs } }) {
      await store.writeNodeStatus({ ...STATUS, node: "n2" });
      await store.heartbeat({ id: "n2", address: "n2:1", holder: "h" }, ttlMs);
      const drift = { kind: "missing", detail: "entry 7" };
      const servers = (count: number, cgroups: number) =>
        Array.from({ length: count }, (_server, port) => ({
          ...{ role: "store" as const, port },
          cgroups: Array.from({ length: cgroups }, (_cgroup, at) => `w/${at}`),
        }));
      const trial = {
        unconfirmed: { revision: 2, until: STATUS.observedAt },
        reverted: { revision: 2, commitId: "c2", reason: "it is cut off", at: STATUS.observedAt },
        shadow: SHADOW,
      };
      const most = { ...STATUS, ...trial, servers: servers(MOST_SERVERS, MOST_SERVER_CGROUPS) };
      await store.writeNodeStatus(most);
      t.match(
        (await store.listNodeStatus()).find(({ node }) => node === "n1"),
        most,
        "as many servers as it may report",
      );
      for (const wrong of [
        { node: "n2" },
        { observedAt: "9999-99-99" },
        { observedAt: "2026-01-01T00:00:00.000Z\nn2  InSync" },
        { message: "x".repeat(1_000_000) },
        { backend: "e\u001b[8m" },
        { rulesetDigest: "\u202e" },
        { enforcedRevision: -1 },
        { enforcedRevision: 1.5 },
        { healed: 1e300 },
        { boot: "a b" },
        { drift: [{ ...drift, workload: "default/web\nx" }] },
        { drift: [{ ...drift, policies: ["no-namespace"] }] },
        { subjects: [{ workload: "a/b/c", state: "Enforced" }] },
        { servers: [{ role: "store", port: 65_536, cgroups: [] }] },
        { servers: servers(MOST_SERVERS + 1, 1) },
        { servers: servers(1, MOST_SERVER_CGROUPS + 1) },
        { reverted: { revision: 2, commitId: "a b", reason: "it is cut off", at: STATUS.observedAt } },
        { unconfirmed: { revision: 2, until: "soon" } },
        { shadow: { ...SHADOW, judged: -1 } },
        { shadow: { ...SHADOW, differences: Array.from({ length: 21 }, () => DIFFERENCE) } },
        { shadow: { ...SHADOW, differences: [{ ...DIFFERENCE, workload: "a\nb" }] } },
      ]) {
        await damage("status/n1", JSON.stringify({ ...STATUS, ...wrong }));
        t.same(
          (await store.listNodeStatus()).map(({ node }) => node),
          ["n2"],
          JSON.stringify(wrong).slice(0, 80),
        );
        t.match(await store.listDamaged(), [{ key: "status/n1", what: "status", node: "n1" }]);
      }
      const joinedAt = "2026-01-01T00:00:00.000Z";
      for (const wrong of [{ joinedAt: "yesterday" }, { address: "a:1\nx" }, { id: "n1\u001b" }]) {
        await damage("members/n1", JSON.stringify({ id: "n1", address: "a:1", joinedAt, ...wrong }));
        t.same(await store.listMembers(), []);
      }
      await damage(
        "live/n1",
        JSON.stringify({ id: "n1", address: "a:1", holder: "h h", renewedAt: 1e300, ttlMs: "x" }),
      );
      t.match(await store.listHeartbeats(), [{ id: "n2", alive: true }]);
      t.equal((await store.listHeartbeats()).length, 1);
      await damage("status/n\n1", JSON.stringify({ ...STATUS, node: "n\n1" }));
      t.same((await store.listDamaged()).map(({ key, node }) => [key, node]).sort(), [
        ["live/n1", "n1"],
        ["members/n1", "n1"],
        ["status/n 1", null],
        ["status/n1", "n1"],
      ]);
    },
  },
  {
    title: "a revision that could not be read back is not committed",
    async run(t, { store }) {
      const guard = { expectHead: null, fence: null };
      for (const wrong of [{ node: "Web_1" }, { time: "now" }, { commitId: "a b" }])
        await t.rejects(store.commit(draft([policy("web")], wrong), guard), { code: "object-damaged" });
      await t.rejects(store.commit(draft([policy("Web\nx")]), guard), { code: "object-damaged" });
      t.equal(await store.readHead(), null);
      t.match(await store.commit(draft([policy("web")]), guard), { outcome: "committed" });
    },
  },
  {
    title: "what is written for people is bounded, and of one line",
    async run(t, { store, time }) {
      const long = `line\nanother\u001b[8m ${"x".repeat(100_000)}`;
      await store.writeNodeStatus({
        ...STATUS,
        message: long,
        drift: [{ kind: "extra", detail: long }],
        subjects: [{ workload: "default/web", state: "Stalled", message: long }],
      });
      const [status] = await store.listNodeStatus();
      for (const text of [status?.message, status?.drift[0]?.detail, status?.subjects[0]?.message]) {
        t.match(text, /^line another\ufffd\[8m x+ …$/);
        t.equal(text?.length, 4096);
      }
      const { fence } = await store.campaign({ id: "n1", holder: "h1" }, time.ttlMs);
      if (fence === null) throw new Error("nobody else wanted to lead");
      const unverified = { commit: "d".repeat(40), author: long, problem: long };
      const [diagnostic] = SOURCE.diagnostics;
      const diagnostics = [{ ...diagnostic!, file: "a\nb.yaml", message: long }];
      await store.writeSourceStatus({ ...SOURCE, message: long, unverified, diagnostics }, fence);
      t.match(await store.readSourceStatus(), {
        message: /^line another/,
        unverified: { author: /^line another/, problem: /^line another/ },
        diagnostics: [{ file: "a b.yaml", message: /^line another/ }],
      });
      await store.writeSuspension({ ...SUSPENSION, by: "op\n@host", reason: long });
      t.match(await store.readSourceControl(), { suspension: { by: "op @host", reason: /^line another/ } });
      await store.writeSuspension(null);
      const written = draft([policy("web")], { author: "Ada\n", reason: long });
      t.match(await store.commit(written, { expectHead: null, fence: null }), { outcome: "committed" });
      t.match(await store.readRevision(1), { author: "Ada ", reason: /^line another/ });
    },
  },
];
