/** Overrides over real connections: in force at once, also for what is established, and ended by the kernel's clock without any process. */
import t from "tap";
import type { OverrideKind } from "../../src/model/override.js";
import type { Ruleset } from "../../src/model/ruleset.js";
import { rulesetOf, type Isolation } from "./rulesets.js";
import { Sandbox, whyNot } from "./sandbox.js";
import { pause, waitUntil } from "../wait.js";

const reason = whyNot();
/** Long enough for what the test does within. */
const SECONDS = process.env["ZTAP_EMULATED"] === "1" ? 60 : 6;

/** More than a packet needs to the other namespace and back. */
const ROUND_TRIP_MS = 300;

function overriding(ruleset: Ruleset, kind: OverrideKind, until: number): Ruleset {
  const subjects = ruleset.subjects.map((subject) => ({ ...subject, override: { kind, until } }));
  return { ...ruleset, subjects, digest: `${ruleset.digest} ${kind} ${until}` };
}

/** In whole seconds since 1970. */
const soon = (): number => Math.floor(Date.now() / 1000) + SECONDS;

if (reason !== null) t.plan(0, `SKIP kernel tests: ${reason}`);
else {
  const sandbox = new Sandbox(t);
  const [OWN, PEER] = ["10.210.0.1", "10.210.0.2"];
  const [inside, outside] = sandbox.network([`${OWN}/24`], [`${PEER}/24`]);

  const scene = async (name: string) => {
    const cgroup = sandbox.cgroup(name);
    const node = sandbox.node(name);
    const web = await sandbox.actor({ cgroup, namespace: inside });
    const peer = await sandbox.actor({ namespace: outside });
    const { port } = await peer.call("tcpListen", { host: PEER, port: 0 });
    const enforcer = sandbox.enforcer(node);
    await enforcer.open();
    const out = async () => (await web.call("tcpConnect", { host: PEER, port })).code ?? "connected";
    /** A connection to the echo server of the other host. */
    const begin = async () => {
      const { id } = await web.call("tcpConnect", { host: PEER, port });
      return {
        send: (text: string) => web.call("tcpSend", { id, text }),
        received: async () => String((await web.call("tcpReceived", { id })).text),
      };
    };
    return { cgroup, node, enforcer, out, begin };
  };

  await t.test("a quarantine cuts everything, and ends by itself", async (t) => {
    const { cgroup, node, enforcer, out, begin } = await scene("quarantine");
    const plain = rulesetOf(node, { "demo/web": { cgroup } });
    await enforcer.apply(plain);
    const established = await begin();
    await established.send("before ");
    await waitUntil(established.received, { is: (text) => text === "before ", what: "the echo" });
    const until = soon();
    const { subjects, difference } = await enforcer.apply(overriding(plain, "quarantine", until));
    t.match(subjects, [{ state: "Enforced" }]);
    t.strictSame(difference, { missing: [], extra: [], changed: [] });
    await established.send("after");
    t.equal(await out(), "EPERM");
    await pause(ROUND_TRIP_MS);
    t.equal(await established.received(), "before ", "also what is established is cut");
    await enforcer.close();
    await waitUntil(out, { is: (found) => found === "connected", what: "the end of the quarantine" });
    t.ok(Date.now() / 1000 >= until, "not before its time");
    await waitUntil(established.received, { is: (text) => text === "before after", what: "what TCP sends again" });
  });

  await t.test("break-glass opens everything, and what it opened ends with it", async (t) => {
    const { cgroup, node, enforcer, out, begin } = await scene("breakglass");
    const nothing: Isolation = { allow: [] };
    const closed = rulesetOf(node, { "demo/web": { cgroup, ingress: nothing, egress: nothing } });
    await enforcer.apply(closed);
    t.equal(await out(), "EPERM");
    const until = soon();
    await enforcer.apply(overriding(closed, "breakglass", until));
    const opened = await begin();
    await opened.send("within ");
    await waitUntil(opened.received, { is: (text) => text === "within ", what: "the echo" });
    await enforcer.close();
    await waitUntil(out, { is: (found) => found === "EPERM", what: "the end of break-glass" });
    t.ok(Date.now() / 1000 >= until, "not before its time");
    // The timer of the kernel is a millisecond later.
    await pause(ROUND_TRIP_MS);
    await opened.send("after");
    await pause(ROUND_TRIP_MS);
    t.equal(await opened.received(), "within ", "the connection is over as well");
  });

  await t.test("the end of an override ends no trial, and a trial ends no override", async (t) => {
    const { cgroup, node, enforcer, out } = await scene("both");
    const open = rulesetOf(node, { "demo/web": { cgroup } });
    const closed = rulesetOf(node, { "demo/web": { cgroup, egress: { allow: [] } } });
    const until = soon();
    await enforcer.apply(overriding(open, "breakglass", until));
    await enforcer.trials?.begin(
      overriding(closed, "breakglass", until),
      overriding(open, "breakglass", until),
      2 * SECONDS * 1000,
    );
    t.equal(await out(), "connected");
    await waitUntil(out, { is: (found) => found === "EPERM", what: "the end of break-glass" });
    t.equal(enforcer.trials?.hasReturned(), false, "on trial");
    await waitUntil(out, { is: (found) => found === "connected", what: "the way back" });
    t.equal(enforcer.trials?.hasReturned(), true);
    await enforcer.close();
  });
}
