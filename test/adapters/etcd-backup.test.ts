/** Backup and restore by the commands of docs/etcd.md, with an agent that lives through it. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { systemClock } from "../../src/adapters/system/clock.js";
import { Follower } from "../../src/reconcile/follower.js";
import { commitOnHead } from "../contract/store-commits.js";
import { runFromPage } from "../etcd/page.js";
import { withEtcd, whyNoEtcd } from "../etcd/server.js";
import { openStore, QUICK, startWatch } from "../etcd/stores.js";
import { objectsOf, workload } from "../builders/state.js";
import { recordTelemetry, silentLogger } from "../fakes/ambient.js";
import { FakeEnforcer, FakeMachine } from "../fakes/enforcer.js";
import { draft, policy } from "../fakes/objects.js";
import { HANG_MS, within } from "../wait.js";

await t.test("a restored store works", { skip: whyNoEtcd() ?? false, timeout: HANG_MS }, async (t) => {
  const folder = await mkdtemp(join(tmpdir(), `ztap-backup-${process.pid}-`));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  await withEtcd({ flags: QUICK }, async ({ endpoints, members }) => {
    const [member] = members;
    if (member === undefined) throw new Error("one member");
    const { name, dataDir, peer, peers } = member.options;
    const [store, watching] = [openStore(t, endpoints), openStore(t, endpoints)];
    const machine = new FakeMachine();
    const follower = new Follower(
      {
        store: watching,
        enforcer: new FakeEnforcer(machine),
        lastGood: null,
        managementAccess: null,
        clock: systemClock,
        logger: silentLogger,
        telemetry: recordTelemetry().telemetry,
      },
      "n1",
    );
    const [subject] = [...objectsOf(workload("web@n1 10.0.0.1 app=web")).values()].map(({ object }) => object);
    if (subject === undefined) throw new Error("one workload");
    const web = (port: number) => commitOnHead(store, draft([subject, policy("web", port)]));
    const followed = async () => {
      await follower.reconcile();
      return follower.enforcedRevision;
    };
    for (const port of [1, 2, 3]) await web(port);
    await store.joinMember({ id: "n1", address: "n1:1", joinedAt: "2026-01-01T00:00:00.000Z" });
    const environment = { ETCDCTL_ENDPOINTS: endpoints.join(","), SNAPSHOT: join(folder, "snapshot.db") };
    runFromPage("backup", environment, folder);
    t.equal(await web(4), 4);
    t.equal(await followed(), 4);
    t.equal(machine.applied, 1);
    const next = await startWatch(t, watching, ["head"]);
    const woken = next();

    await member.kill();
    await rm(dataDir, { recursive: true });
    const place = { MEMBER: name, DATA: dataDir, PEER: `http://${peer}`, CLUSTER: peers.join(","), TOKEN: "restored" };
    runFromPage("restore", { ...environment, ...place }, folder);
    await member.start();

    t.equal(await within(woken, { what: "to be told to look" }), "head");
    t.equal(await store.readHead(), 3, "head is what it was");
    t.same(await store.listMembers(), [{ id: "n1", address: "n1:1", joinedAt: "2026-01-01T00:00:00.000Z" }]);
    // Nobody looked while head was 3: the number that was in force before is another revision now.
    t.equal(await web(40), 4);
    t.equal(await store.readPolicyVersion("default", "web"), 4, "versions go on from the backup");
    t.equal(await followed(), 4);
    t.equal(machine.applied, 2, "and that one is enforced");
    t.equal(await web(5), 5, "and the next commit is one like any other");
    t.equal(await followed(), 5);
  });
});
