/** A ruleset on trial, over real connections: the kernel goes back by itself, as a whole, and without any process. */
import t from "tap";
import { rulesetOf, type Isolation } from "./rulesets.js";
import { Sandbox, whyNot } from "./sandbox.js";
import { waitUntil } from "../wait.js";

const reason = whyNot();
/** Long enough for what the test does within. */
const TRIAL_MS = process.env["ZTAP_EMULATED"] === "1" ? 60_000 : 10_000;
if (reason !== null) t.plan(0, `SKIP kernel tests: ${reason}`);
else {
  const sandbox = new Sandbox(t);
  const [OWN, PEER] = ["10.209.0.1", "10.209.0.2"];
  const [inside, outside] = sandbox.network([`${OWN}/24`], [`${PEER}/24`]);

  await t.test("what a trial cuts can connect again, and what it opens cannot, though nobody is there", async (t) => {
    const [webCgroup, jobCgroup] = [sandbox.cgroup("trial-web"), sandbox.cgroup("trial-job")];
    const node = sandbox.node("trial");
    const web = await sandbox.actor({ cgroup: webCgroup, namespace: inside });
    const job = await sandbox.actor({ cgroup: jobCgroup, namespace: inside });
    const peer = await sandbox.actor({ namespace: outside });
    const { port } = await peer.call("tcpListen", { host: PEER, port: 0 });
    const toPeer: Isolation = { allow: [{ peers: [`${PEER}/32`], ports: [`tcp/${port}`] }] };
    const nothing: Isolation = { allow: [] };
    const before = rulesetOf(node, {
      "demo/web": { cgroup: webCgroup, egress: toPeer },
      "demo/job": { cgroup: jobCgroup, egress: nothing },
    });
    const trial = rulesetOf(node, {
      "demo/web": { cgroup: webCgroup, egress: nothing },
      "demo/job": { cgroup: jobCgroup, egress: toPeer },
    });
    const connect = async (): Promise<readonly unknown[]> =>
      Promise.all(
        [web, job].map(async (one) => (await one.call("tcpConnect", { host: PEER, port })).code ?? "connected"),
      );
    const enforcer = sandbox.enforcer(node);
    await enforcer.open();
    await enforcer.apply(before);
    t.strictSame(await connect(), ["connected", "EPERM"]);

    await enforcer.trials?.begin(trial, before, TRIAL_MS);
    t.strictSame(await connect(), ["EPERM", "connected"]);
    await enforcer.close();
    await waitUntil(connect, { is: ([first]) => first === "connected", what: "the way back" });
    t.strictSame(await connect(), ["connected", "EPERM"], "as a whole");

    const next = sandbox.enforcer(node);
    await next.open();
    const { subjects, difference } = await next.observe(before);
    t.match(subjects, [{ state: "Enforced" }, { state: "Enforced" }]);
    t.strictSame(difference, { missing: [], extra: [], changed: [] });
    await next.close();
  });
}
