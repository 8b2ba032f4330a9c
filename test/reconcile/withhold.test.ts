/** A lock-out withholds the workload that would cut, and nothing else: through failures, kills and restarts. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { LastGoodFile, lastGoodPath } from "../../src/adapters/disk/last-good.js";
import { Follower } from "../../src/reconcile/follower.js";
import { objectsOf } from "../builders/state.js";
import { commitOnHead } from "../contract/store-commits.js";
import { silentLogger } from "../fakes/ambient.js";
import { decodeWithholding, encodeWithholding } from "../../src/store/withholding.js";
import { FakeEnforcer, FakeMachine } from "../fakes/enforcer.js";
import { draft } from "../fakes/objects.js";

import {
  enforced,
  FIRST,
  MIX,
  port,
  SECOND,
  SESSION,
  setUp,
  web,
  WHOLE_FIRST,
  WHOLE_SECOND,
} from "./withhold-setup.js";
t.test(
  "a policy that would cut is withheld from its workload, and changes and deletions of others follow",
  async (t) => {
    const { machine, lastGood, access, calls, commit, start, status } = setUp();
    const follower = start();
    await commit(FIRST);
    access.sessions = [];
    await follower.reconcile();
    t.strictSame(enforced(machine), WHOLE_FIRST);
    access.sessions = [SESSION];
    await commit(SECOND);
    for (let run = 0; run < 3; run += 1) {
      if (run === 2) machine.items.clear();
      await t.rejects(follower.reconcile(), { code: "lockout", message: /^not enforced for default\/db, since/ });
      t.strictSame(enforced(machine), MIX);
      const now = await status();
      t.match(now, {
        ...{ state: "Stalled", attemptedRevision: 2, enforcedRevision: 1 },
        message: /SSH session from 192\.0\.2\.9 to port 22 .*it keeps the policy that it had/,
        withheld: {
          revision: 2,
          workloads: [{ workload: "default/db", reason: /deny the SSH/, keeps: ["default/db"] }],
        },
        subjects: [
          { workload: "default/db", state: "Stalled", message: /SSH session/, place: "first" },
          { workload: "default/web", state: "Enforced" },
        ],
        drift: [],
      });
      t.equal(now?.healed, run < 2 ? 0 : 6, "damage of what is in force is healed");
    }
    t.equal(machine.applied, 3, "what is in force is not applied again");
    t.equal(lastGood.written.length, 2, "nor written to the disk again");
    t.strictSame(calls.filter(([name]) => name === "withheld").at(-1), ["withheld", 1]);

    access.sessions = [];
    await follower.reconcile();
    t.strictSame(enforced(machine), WHOLE_SECOND, "without a new commit");
    const now = await status();
    t.match(now, { state: "InSync", enforcedRevision: 2 });
    t.notOk(now !== undefined && "withheld" in now);
    t.strictSame(calls.filter(([name]) => name === "withheld").at(-1), ["withheld", 0]);
  },
);

t.test("the reason names file and line", async (t) => {
  const { store, access, commit, start, status } = setUp();
  access.sessions = [];
  await commit(FIRST);
  await start().reconcile();
  access.sessions = [SESSION];
  const second = objectsOf(SECOND);
  await commitOnHead(store, { ...draft([]), objects: [...second.values()] });
  const line = second.get("NetworkPolicy/default/db")?.position?.line ?? 0;
  await t.rejects(start().reconcile(), new RegExp(`\\(state\\.yaml:${line}\\)`));
  t.match((await status())?.withheld?.workloads, [{ workload: "default/db", file: "state.yaml", line }]);
});

t.test("however many sessions there are, the report stays short", async (t) => {
  const { access, commit, start, status } = setUp();
  access.sessions = Array.from({ length: 5000 }, (_, index) => ({ ...SESSION, port: index + 1 }));
  await commit(SECOND);
  await t.rejects(start().reconcile(), /to port 3; and 4997 more/);
  t.match((await status())?.withheld?.workloads, [{ reason: /to port 3; and 4997 more$/ }]);
});

t.test("an agent that is killed before it applies the mix goes on with it, with and without the store", async (t) => {
  for (const isStoreAway of [true, false]) {
    const { store, machine, lastGood, access, deps, commit, start, status } = setUp();
    access.sessions = [];
    await commit(FIRST);
    await start().reconcile();
    access.sessions = [SESSION];
    await commit(SECOND);
    const killed = new FakeEnforcer(machine, {
      pause: async (step) => {
        if (step === "prepared") throw new Error("killed");
      },
      deliver: (run) => run(),
    });
    await t.rejects(start({ ...deps, enforcer: killed }).reconcile(), /killed/);
    t.strictSame(enforced(machine), WHOLE_FIRST, "nothing was switched");
    t.match(lastGood.state?.revision.number, 1);
    t.match(lastGood.announced?.revision.number, 2, "the mix is on the disk first");
    if (isStoreAway) store.cutOff();
    const next = start();
    await next.loadLastGood();
    t.strictSame(enforced(machine), MIX);
    t.match([lastGood.state?.revision.number, lastGood.announced], [2, null]);
    t.equal(next.enforcedRevision, 1);
    if (isStoreAway) await t.rejects(next.reconcile(), { code: "store-unavailable" });
    else await t.rejects(next.reconcile(), { code: "lockout" });
    t.strictSame(enforced(machine), MIX);
    store.mend();
    await t.rejects(next.reconcile(), { code: "lockout" });
    t.match(await status(), { attemptedRevision: 2, enforcedRevision: 1, withheld: { revision: 2 } });
    t.equal(machine.applied, 3, "it was applied once, after the first revision and the attempt");
  }
});

t.test("a start without the store, after a reboot, restores the mix", async (t) => {
  const { store, lastGood, access, commit, start, followFirst } = setUp();
  const follower = await followFirst();
  access.sessions = [SESSION];
  await commit(SECOND);
  await t.rejects(follower.reconcile(), { code: "lockout" });
  t.strictSame(
    lastGood.written.map(({ revision, withholding }) => [revision.number, withholding === undefined]),
    [
      [1, true],
      [2, false],
    ],
  );
  const rebooted = new FakeMachine();
  store.cutOff();
  const next = start({ enforcer: new FakeEnforcer(rebooted) }, "boot-2");
  await next.loadLastGood();
  t.strictSame(enforced(rebooted), MIX);
  await t.rejects(next.reconcile(), { code: "store-unavailable" });
  t.strictSame(enforced(rebooted), MIX);
  store.mend();
  await t.rejects(next.reconcile(), { code: "lockout" });
  t.equal(rebooted.applied, 1);
  access.sessions = [];
  await next.reconcile();
  t.strictSame(enforced(rebooted), WHOLE_SECOND);
  t.match(lastGood.written.at(-1), { revision: { number: 2 } });
  t.equal(lastGood.written.at(-1)?.withholding, undefined, "the whole revision is kept on the disk");
});

t.test("the mix comes back from the file on disk, announced or kept", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), `ztap-withhold-${process.pid}-`));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const file = () => new LastGoodFile(lastGoodPath(folder, "n1"), silentLogger);
  const { store, machine, access, deps, commit } = setUp();
  const start = (on: FakeMachine) => new Follower({ ...deps, lastGood: file(), enforcer: new FakeEnforcer(on) }, "n1");
  access.sessions = [];
  await commit(FIRST);
  await start(machine).reconcile();
  access.sessions = [SESSION];
  await commit(SECOND);
  machine.failApply = "no memory for the table";
  await t.rejects(start(machine).reconcile(), /no memory/);
  machine.failApply = null;
  t.match([(await file().read())?.revision.number, (await file().readAnnounced())?.revision.number], [1, 2]);
  store.cutOff();
  await start(machine).loadLastGood();
  t.strictSame(enforced(machine), MIX);
  t.match([(await file().read())?.withholding?.workloads, await file().readAnnounced()], [[{}], null]);
  const rebooted = new FakeMachine();
  await start(rebooted).loadLastGood();
  const itemsOf = ({ items }: FakeMachine) => [...items].sort(([one], [other]) => (one < other ? -1 : 1));
  t.strictSame(itemsOf(rebooted), itemsOf(machine), "to the last item");
});

t.test("an agent that is killed as it ends a withholding does not fall back to it after a reboot", async (t) => {
  const { store, machine, access, deps, commit, start } = setUp();
  await commit(SECOND);
  await t.rejects(start().reconcile(), /it has no policy in force/);
  access.sessions = [];
  const killed = new FakeEnforcer(machine, {
    pause: async (step) => {
      if (step === "attached") throw new Error("killed");
    },
    deliver: (run) => run(),
  });
  const follower = start({ ...deps, enforcer: killed });
  await follower.loadLastGood();
  await t.rejects(follower.reconcile(), /killed/);
  t.strictSame(enforced(machine), WHOLE_SECOND);
  store.cutOff();
  const rebooted = new FakeMachine();
  await start({ enforcer: new FakeEnforcer(rebooted) }, "boot-2").loadLastGood();
  t.strictSame(enforced(rebooted), WHOLE_SECOND);
});

t.test("an agent that starts while the mix is in force goes on with it", async (t) => {
  const { machine, commit, start, prepare } = setUp();
  await prepare();
  await t.rejects(start().reconcile(), { code: "lockout" });
  await commit(SECOND.replace("443", "8443"));
  await t.rejects(start().reconcile(), /it keeps the policy that it had/);
  t.strictSame(enforced(machine), [MIX[0], `default/web ${port(8443)}`]);
});

t.test("an agent that does not know what is in force withholds the whole revision", async (t) => {
  const { machine, lastGood, access, commit, start, status, followFirst } = setUp();
  const follower = await followFirst();
  access.sessions = [SESSION];
  await commit(SECOND);
  lastGood.failure = "no space left on the disk";
  await t.rejects(follower.reconcile(), { code: "lockout" });
  t.strictSame(enforced(machine), MIX, "a full disk stops nothing");
  const stranger = start();
  await t.rejects(stranger.reconcile(), /nothing else of it is enforced either, since .* is not known/);
  t.strictSame(enforced(machine), MIX, "and nothing of it is changed");
  t.match(await status(), { state: "Stalled", enforcedRevision: null, message: /SSH session/ });
  access.sessions = [];
  await stranger.reconcile();
  t.strictSame(enforced(machine), WHOLE_SECOND);
});

t.test("what is kept is what was switched to, also if an attachment was lost meanwhile", async (t) => {
  const { machine, access, commit, status, followFirst } = setUp();
  const follower = await followFirst();
  await commit(SECOND);
  machine.written = () => machine.items.delete("link/default/web");
  await follower.reconcile();
  machine.written = () => undefined;
  t.match(await status(), { state: "Drifted" });
  access.sessions = [{ ...SESSION, cgroups: ["test/default-web"], port: 443 }];
  await commit(SECOND.replace("443", "8443"));
  await t.rejects(follower.reconcile(), { code: "lockout" });
  t.strictSame(enforced(machine), WHOLE_SECOND);
});

t.test("a node that enforced nothing attaches all but the workload that would cut", async (t) => {
  const { store, machine, access, commit, start, status } = setUp();
  await commit(SECOND);
  const follower = start();
  await t.rejects(follower.reconcile(), /it has no policy in force/);
  t.strictSame(enforced(machine), [WHOLE_SECOND[1]]);
  t.match(await status(), {
    ...{ state: "Stalled", enforcedRevision: null, attemptedRevision: 2 - 1 },
    withheld: { workloads: [{ workload: "default/db", keeps: [] }] },
    subjects: [{ workload: "default/db", state: "Stalled", message: /no policy in force/ }, { state: "Enforced" }],
  });
  t.ok(follower.isEnforcing);
  store.cutOff();
  const rebooted = new FakeMachine();
  const next = start({ enforcer: new FakeEnforcer(rebooted) }, "boot-2");
  await next.loadLastGood();
  t.strictSame(enforced(rebooted), [WHOLE_SECOND[1]]);
  t.ok(next.isEnforcing);
  access.sessions = [];
  store.mend();
  await next.reconcile();
  t.strictSame(enforced(rebooted), WHOLE_SECOND);
});

t.test("a workload with a new name keeps what its cgroup has", async (t) => {
  const { machine, access, commit, status, followFirst } = setUp();
  const follower = await followFirst();
  access.sessions = [SESSION];
  const named = SECOND.replaceAll("name: db,", "name: base,");
  await commit(named);
  await t.rejects(follower.reconcile(), /for default\/base, .*the policy of default\/db stays in force there/);
  t.strictSame(enforced(machine), MIX);
  t.match(await status(), {
    withheld: { workloads: [{ workload: "default/base", keeps: ["default/db"] }] },
    subjects: [
      { workload: "default/base", state: "Stalled" },
      { workload: "default/db", state: "Enforced" },
      { workload: "default/web", state: "Enforced" },
    ],
  });
  access.sessions = [];
  await follower.reconcile();
  t.strictSame(enforced(machine), ["default/base []", WHOLE_SECOND[1]]);
});

t.test("a mix that the backend cannot enforce leaves the last good ruleset, healed and with the reason", async (t) => {
  const { machine, access, deps, commit, start, status } = setUp();
  access.sessions = [];
  await commit(FIRST);
  const managementAccess = {
    ...deps.managementAccess,
    sessions: async () => {
      machine.failLower = access.sessions.length === 0 ? null : "it needs more entries than there are";
      return deps.managementAccess.sessions();
    },
  };
  const follower = start({ managementAccess });
  await follower.reconcile();
  access.sessions = [SESSION];
  await commit(SECOND);
  machine.items.delete("link/default/web");
  await t.rejects(follower.reconcile(), /nothing of it is enforced, since it needs more entries/);
  t.strictSame(enforced(machine), WHOLE_FIRST);
  t.ok(machine.items.has("link/default/web"));
  machine.failLower = null;
  t.match(await status(), { state: "Stalled", enforcedRevision: 1, attemptedRevision: 2, message: /SSH session/ });
});

t.test("a workload that holds the agent is withheld, unless it is in force or lock-outs are allowed", async (t) => {
  const { machine, access, deps, commit, start, status, followFirst } = setUp();
  const follower = await followFirst();
  access.agent = "test/default-web/agent";
  await commit(SECOND);
  await t.rejects(follower.reconcile(), /in which the agent of node n1 itself runs/);
  t.strictSame(enforced(machine), [WHOLE_SECOND[0], WHOLE_FIRST[2]]);
  await new Follower({ ...deps, managementAccess: null }, "n1").reconcile();
  t.strictSame(enforced(machine), WHOLE_SECOND);
  await commit(FIRST.replace(web(80), web(443)));
  await start().reconcile();
  t.match(await status(), { state: "InSync", enforcedRevision: 3 });
});

t.test("a withholding whose reasons name hundreds of policies can be read again", async (t) => {
  const reason = "demo/policy, ".repeat(10_000);
  const written = encodeWithholding({
    workloads: [{ workload: "demo/ssh", reason, keeps: [] }],
    kept: { subjects: [], profiles: [] },
    remaining: [reason],
    enforcedRevision: 1,
  });
  t.match(decodeWithholding(written, "node"), { workloads: [{ workload: "demo/ssh" }], enforcedRevision: 1 });
});
