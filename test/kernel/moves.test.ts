/** Cgroups that go from one workload to another, that are removed and that are made again: what is forbidden stays so. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readdirSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import t from "tap";
import { HOOKS } from "../../src/adapters/ebpf/kernel/programs.js";
import { loadNative } from "../../src/adapters/ebpf/kernel/native.js";
import { DEFAULT_PIN_ROOT, nodeFolders } from "../../src/adapters/ebpf/kernel/paths.js";
import type { Ruleset } from "../../src/model/ruleset.js";
import { drift } from "./drift.js";
import { rulesetOf, type Isolation } from "./rulesets.js";
import { Sandbox, whyNot, type Actor } from "./sandbox.js";
import { waitUntil } from "../wait.js";

const reason = whyNot();
if (reason !== null) t.plan(0, `SKIP kernel tests: ${reason}`);
else {
  const PEER = "10.203.0.2";
  const sandbox = new Sandbox(t);
  const [inside, outside] = sandbox.network(["10.203.0.1/24"], [`${PEER}/24`]);
  const native = loadNative();
  const peer = await sandbox.actor({ namespace: outside });
  const { port } = await peer.call("tcpListen", { host: "0.0.0.0", port: 0 });
  const { port: forbidden } = await peer.call("udpBind", { host: "0.0.0.0", port: 0 });
  const allowed: Isolation = { allow: [{ peers: "any", ports: [`tcp/${String(port)}`] }] };
  const nothing: Isolation = { allow: [] };

  /** Sends what is forbidden, again and again. */
  const flood = async (actor: Actor, isSlow = true): Promise<number> => {
    const { id } = await actor.call("udpBind", { host: "0.0.0.0", port: 0 });
    const pace = isSlow ? { pauseMs: 1 } : {};
    return (await actor.call("udpFlood", { id, host: PEER, port: forbidden, ...pace })).id ?? -1;
  };
  const attached = (cgroup: string): readonly number[] =>
    HOOKS.map((hook) => native.attached(join(sandbox.cgroupRoot, cgroup), hook).length);
  const ONE_EACH = HOOKS.map(() => 1);
  const pinsOf = (node: string, workload: string): readonly string[] =>
    readdirSync(join(nodeFolders(DEFAULT_PIN_ROOT, node).links, workload)).sort();
  const inForce = [...HOOKS].sort();

  await t.test("a cgroup that passes to another workload never lacks programs", async (t) => {
    const node = sandbox.node("move");
    const [c1, c2] = [sandbox.cgroup("move-1"), sandbox.cgroup("move-2")];
    const before = rulesetOf(node, { "demo/a": { cgroup: c1, egress: nothing } });
    const after = rulesetOf(node, {
      "demo/a": { cgroup: c2, egress: nothing },
      "demo/z": { cgroup: c1, egress: allowed },
    });
    const enforcer = sandbox.enforcer(node);
    await enforcer.open();
    await enforcer.apply(before);
    const actor = await sandbox.actor({ cgroup: c1, namespace: inside });
    const id = await flood(actor, false);
    for (let round = 0; round < 5; round++) {
      for (const ruleset of [after, before]) {
        await actor.call("udpFlooded", { id, count: 10 });
        await enforcer.apply(ruleset);
        t.strictSame(await drift(enforcer, ruleset), []);
      }
    }
    t.match(await actor.call("udpStop", { id }), { passed: 0 });
    t.strictSame(attached(c1), ONE_EACH);
    t.strictSame(
      attached(c2),
      HOOKS.map(() => 0),
    );
  });

  await t.test("if the new owner's programs cannot be attached, the old owner's stay", async (t) => {
    const node = sandbox.node("refused");
    const [c1, c2] = [sandbox.cgroup("refused-1"), sandbox.cgroup("refused-2")];
    const before = rulesetOf(node, { "demo/a": { cgroup: c1, egress: nothing } });
    const after = rulesetOf(node, {
      "demo/a": { cgroup: c2, egress: allowed },
      "demo/z": { cgroup: c1, egress: allowed },
    });
    const enforcer = sandbox.enforcer(node);
    await enforcer.open();
    await enforcer.apply(before);
    const actor = await sandbox.actor({ cgroup: c1, namespace: inside });
    const id = await flood(actor);
    // A cgroup takes 64 programs for a hook; these have no storage, and let everything pass.
    const other = native.loadObject(join(process.cwd(), "dist/native/ztap.bpf.o"), "", ["ztap_sendmsg6"], []);
    const filling = Array.from({ length: 63 }, () =>
      native.linkCreate(other.programs["ztap_sendmsg6"] ?? -1, join(sandbox.cgroupRoot, c1), "sendmsg6"),
    );
    for (let round = 0; round < 2; round++) {
      await t.rejects(enforcer.apply(after), {
        code: "limit",
        message: /sendmsg6 program to the cgroup .* of demo\/z/,
      });
      await actor.call("udpFlooded", { id, count: 10 });
      t.strictSame(
        await drift(enforcer, after),
        HOOKS.slice(HOOKS.indexOf("sendmsg6"))
          .sort()
          .map((hook) => `${hook} program on demo/z is not attached`),
      );
      const observed = await enforcer.observe(after);
      t.match(observed.subjects, [
        { workload: "demo/a", state: "Enforced" },
        { workload: "demo/z", state: "Stalled", message: /egress program on demo\/z is not attached/ },
      ]);
      t.match(attached(c2), ONE_EACH, "who has nothing to do with it is enforced");
    }
    for (const fd of filling) native.closeFd(fd);
    await enforcer.apply(after);
    t.strictSame(await drift(enforcer, after), []);
    t.match(await actor.call("udpStop", { id }), { passed: 0 });
    t.strictSame(attached(c1), ONE_EACH, "and what was kept for it is gone");
    t.strictSame(pinsOf(node, "demo__a"), inForce);
  });

  await t.test("after a kill at any step of an exchange of two cgroups, the next run completes it", async (t) => {
    const node = sandbox.node("swap");
    const cgroups = [sandbox.cgroup("swap-1"), sandbox.cgroup("swap-2")] as const;
    const [c1, c2] = cgroups;
    let [from, to] = [
      rulesetOf(node, { "demo/a": { cgroup: c1, egress: nothing }, "demo/z": { cgroup: c2, egress: allowed } }),
      rulesetOf(node, { "demo/a": { cgroup: c2, egress: nothing }, "demo/z": { cgroup: c1, egress: allowed } }),
    ];
    const enforcer = sandbox.enforcer(node);
    await enforcer.open();
    await enforcer.apply(from);
    const actors = await Promise.all(cgroups.map((cgroup) => sandbox.actor({ cgroup, namespace: inside })));
    const ids = await Promise.all(actors.map((actor) => flood(actor)));
    const script = fileURLToPath(new URL("./mortal.js", import.meta.url));
    let step = 0;
    // One step in three: every kind of step is met.
    for (let killed = true; killed; step += 3) {
      await enforcer.close();
      const child = spawn(process.execPath, [script, String(step), JSON.stringify(to)], { stdio: "inherit" });
      const [, signal]: unknown[] = await once(child, "exit");
      killed = signal === "SIGKILL";
      await enforcer.open();
      await enforcer.apply(to);
      const left = await drift(enforcer, to);
      if (left.length > 0) t.fail(`after step ${step}: ${left.join("; ")}`);
      for (const cgroup of cgroups) t.strictSame(attached(cgroup), ONE_EACH, `after step ${step}`);
      for (const workload of ["demo__a", "demo__z"]) t.strictSame(pinsOf(node, workload), inForce);
      [from, to] = [to, from];
    }
    t.ok(step > 60, `${step} steps`);
    for (const [at, actor] of actors.entries()) t.match(await actor.call("udpStop", { id: ids[at] }), { passed: 0 });
  });

  const moveAway = (actor: Actor): void => {
    writeFileSync(join(sandbox.cgroupRoot, sandbox.cgroup("away"), "cgroup.procs"), String(actor.pid));
  };
  const storageOf = (node: string, cgroupId: bigint): Buffer | null => {
    const fd = native.openPin(join(nodeFolders(DEFAULT_PIN_ROOT, node).maps, "ztap_cgroup"));
    const key = Buffer.alloc(8);
    key.writeBigUInt64LE(cgroupId);
    const found = native.mapGet(fd, key);
    native.closeFd(fd);
    return found;
  };

  await t.test(
    "a cgroup whose folder was removed or made again: policies apply to its sockets as long as they live",
    async (t) => {
      const node = sandbox.node("again");
      const cgroup = sandbox.cgroup("again");
      const folder = join(sandbox.cgroupRoot, cgroup);
      const other = sandbox.cgroup("again-other");
      const ruleset = (egress: Isolation, more: Isolation): Ruleset =>
        rulesetOf(node, { "demo/web": { cgroup, egress }, "demo/other": { cgroup: other, egress: more } });
      const first = ruleset(allowed, nothing);
      const enforcer = sandbox.enforcer(node);
      await enforcer.open();
      await enforcer.apply(first);
      const web = await sandbox.actor({ cgroup, namespace: inside });
      const id = await flood(web);
      const { id: connection } = await web.call("tcpConnect", { host: PEER, port });
      const cgroupId = native.cgroupId(folder) ?? 0n;
      const record = storageOf(node, cgroupId);
      moveAway(web);
      rmdirSync(folder);

      const second = ruleset(allowed, allowed);
      for (const one of [first, second, second]) {
        await enforcer.apply(one);
        t.match((await enforcer.observe(one)).subjects, [{}, { workload: "demo/web", state: "Pending" }]);
        t.strictSame(await drift(enforcer, one), []);
        t.strictSame(pinsOf(node, "demo__web"), inForce, "its links are kept");
        t.strictSame(storageOf(node, cgroupId), record, "and what its cgroup was told");
      }
      await web.call("udpFlooded", { id, count: 10 });
      await web.call("tcpSend", { id: connection, text: "still" });
      t.match(await web.call("tcpWait", { id: connection, text: "still" }), { text: "still" });

      mkdirSync(folder);
      for (let round = 0; round < 2; round++) {
        await enforcer.apply(second);
        t.strictSame(await drift(enforcer, second), []);
        t.equal(pinsOf(node, "demo__web").length, 2 * HOOKS.length, "the old links stand beside the new ones");
        await web.call("udpFlooded", { id, count: 10 });
      }
      await web.call("tcpSend", { id: connection, text: "and still" });
      t.match(await web.call("tcpWait", { id: connection, text: "and still" }), { text: "stilland still" });
      // The next agent finds them as well.
      await enforcer.close();
      await enforcer.open();
      const third = ruleset(nothing, allowed);
      await enforcer.apply(third);
      t.strictSame(await drift(enforcer, third), []);
      await web.call("tcpSend", { id: connection, text: "late" });
      await web.call("udpFlooded", { id, count: 10 });
      t.match(
        await web.call("tcpReceived", { id: connection }),
        { text: "stilland still" },
        "a new policy binds them too",
      );
      t.match(await web.call("udpStop", { id }), { passed: 0 });

      // A refused FIN would keep the connection's socket for minutes.
      await enforcer.apply(second);
      await web.end();
      await waitUntil(
        async () => {
          await enforcer.observe(second);
          return pinsOf(node, "demo__web").length === HOOKS.length;
        },
        { what: "the end of the old pins" },
      );
      t.strictSame(pinsOf(node, "demo__web"), inForce);
      t.equal(storageOf(node, cgroupId), null, "the kernel has forgotten the old cgroup");
      t.strictSame(attached(cgroup), ONE_EACH);
    },
  );
}
