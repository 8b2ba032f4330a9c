/** What an agent announces on its node's disk before it applies it: when the next agent takes it up, and when it ends. */
import t from "tap";
import type { Session } from "../../src/model/management-access.js";
import { enforced, MIX, SECOND, SESSION, setUp, WHOLE_FIRST, WHOLE_SECOND } from "./withhold-setup.js";

t.test("what was announced is not applied if a session has come that it would cut", async (t) => {
  const { machine, lastGood, access, start, prepare } = setUp();
  await prepare();
  machine.failApply = "no memory for the table";
  const follower = start();
  await t.rejects(follower.reconcile(), /no memory/);
  machine.failApply = null;
  t.equal(lastGood.announced?.revision.number, 2);
  access.sessions = [SESSION, { ...SESSION, cgroups: ["test/default-web"], port: 80 }];
  const next = start();
  await next.loadLastGood();
  t.strictSame(enforced(machine), WHOLE_FIRST);
  await t.rejects(next.reconcile(), /for default\/db, .*for default\/web, /);
  t.strictSame(enforced(machine), [MIX[0], WHOLE_FIRST[2]], "both are withheld, and what was deleted is gone");
});

t.test(
  "what was announced where nothing is in force is not applied if a session has come that it would cut",
  async (t) => {
    const { store, machine, lastGood, access, commit, start } = setUp();
    await commit(SECOND);
    machine.failApply = "no memory for the table";
    await t.rejects(start().reconcile(), /no memory/);
    machine.failApply = null;
    t.equal(lastGood.announced?.revision.number, 1);
    access.sessions = [SESSION, { ...SESSION, cgroups: ["test/default-web"], port: 80 }];
    store.cutOff();
    await start().loadLastGood();
    t.strictSame(enforced(machine), []);
    access.sessions = [SESSION];
    await start().loadLastGood();
    t.strictSame(enforced(machine), [WHOLE_SECOND[1]]);
  },
);

/** A session that came later, and that the second revision would cut as well. */
const LATER: Session = { ...SESSION, cgroups: ["test/default-web"], port: 80 };

t.test("a machine whose enforcement was taken away is not taken for one that was rebooted", async (t) => {
  const { machine, lastGood, access, start, prepare } = setUp();
  await prepare();
  machine.failApply = "no memory for the table";
  await t.rejects(start().reconcile(), /no memory/);
  machine.failApply = null;
  t.match(lastGood.announced, { revision: { number: 2 }, boot: "boot-1" });
  machine.items.clear();
  access.sessions = [SESSION, LATER];
  await start().loadLastGood();
  t.strictSame(enforced(machine), WHOLE_FIRST, "what was announced would cut a session");
});

t.test("after a reboot, a session that came first does not keep off what was announced", async (t) => {
  for (const boot of ["boot-2", null]) {
    for (const isOlder of [false, true]) {
      const { machine, lastGood, access, commit, start } = setUp();
      await commit(SECOND);
      machine.failApply = "no memory for the table";
      await t.rejects(start().reconcile(), /no memory/);
      machine.failApply = null;
      if (isOlder && lastGood.announced !== null) {
        const { revision, objects, withholding } = lastGood.announced;
        lastGood.announced = { revision, objects, ...(withholding === undefined ? {} : { withholding }) };
      }
      access.sessions = [LATER];
      await start({}, boot).loadLastGood();
      t.strictSame(enforced(machine), [WHOLE_SECOND[1]], "also if one of the two boots is not known");
    }
  }
  const { machine, lastGood, access, start, prepare } = setUp();
  await prepare();
  machine.failApply = "no memory for the table";
  await t.rejects(start().reconcile(), /no memory/);
  machine.failApply = null;
  machine.items.clear();
  access.sessions = [LATER];
  await start({}, "boot-2").loadLastGood();
  t.strictSame(enforced(machine), MIX);
  t.notOk(lastGood.state !== null && "boot" in lastGood.state, "a state in force needs none");
});

t.test("an announcement of what never came into force ends when that which was kept is in force again", async (t) => {
  const { machine, lastGood, access, start, prepare } = setUp();
  await prepare();
  const follower = start();
  await t.rejects(follower.reconcile(), { code: "lockout" });
  t.match([lastGood.written.length, lastGood.announced], [2, null]);
  access.sessions = [];
  machine.failApply = "no memory for the table";
  await t.rejects(follower.reconcile(), /no memory/);
  machine.failApply = null;
  t.match(lastGood.announced, { revision: { number: 2 } }, "all of the revision");
  access.sessions = [SESSION];
  await t.rejects(follower.reconcile(), { code: "lockout" });
  t.strictSame(enforced(machine), MIX);
  t.equal(lastGood.announced, null);
  t.equal(lastGood.written.length, 2, "the disk has it already");
});
