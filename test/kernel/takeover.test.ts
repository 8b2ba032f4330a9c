/** Taking over from another ABI version where more comes together: tighter policies, cgroups that come and go, failures, old pins. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readdirSync, renameSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { HOOKS } from "../../src/adapters/ebpf/kernel/programs.js";
import { ABI, EXPORTED_FLOW } from "../../src/adapters/ebpf/kernel/abi.generated.js";
import type { EbpfEnforcer } from "../../src/adapters/ebpf/enforcer.js";
import { inspectEnforcement } from "../../src/adapters/ebpf/inspect.js";
import { closeObject, loadImporters } from "../../src/adapters/ebpf/kernel/load.js";
import { defaultNativeDir, loadNative } from "../../src/adapters/ebpf/kernel/native.js";
import { DEFAULT_PIN_ROOT, nodeFolders } from "../../src/adapters/ebpf/kernel/paths.js";
import { removeNodes } from "../../src/adapters/ebpf/remove.js";
import type { Ruleset } from "../../src/model/ruleset.js";
import { drift } from "./drift.js";
import { buildOther } from "./other-build.js";
import { rulesetOf, type Isolation, type WorkloadSpec } from "./rulesets.js";
import { packets, quiet, Sandbox, whyNot, type Actor } from "./sandbox.js";
import { waitUntil } from "../wait.js";

const reason = whyNot();
if (reason !== null) t.plan(0, `SKIP kernel tests: ${reason}`);
else {
  const [OWN, PEER] = ["10.209.0.1", "10.209.0.2"];
  const sandbox = new Sandbox(t);
  const other = await buildOther(t);
  const native = loadNative();
  const [inside, outside] = sandbox.network([`${OWN}/24`], [`${PEER}/24`]);
  const peer = await sandbox.actor({ namespace: outside });
  const { port } = await peer.call("tcpListen", { host: "0.0.0.0", port: 0 });
  const { port: forbidden } = await peer.call("udpBind", { host: "0.0.0.0", port: 0 });
  const nothing: Isolation = { allow: [] };
  const everything: Isolation = { allow: [{ peers: "any", ports: "any" }] };
  const tcp: Isolation = { allow: [{ peers: "any", ports: ["tcp"] }] };

  const abisOf = (node: string): readonly (number | null)[] =>
    inspectEnforcement().flatMap((one) => (one.node === node ? [one.abi] : []));
  const attached = (cgroup: string): readonly number[] =>
    HOOKS.map((hook) => native.attached(join(sandbox.cgroupRoot, cgroup), hook).length);
  const each = (count: number): readonly number[] => HOOKS.map(() => count);
  const say = async (actor: Actor, id: number | undefined, text: string): Promise<string | undefined> => {
    await actor.call("tcpSend", { id, text });
    return (await actor.call("tcpWait", { id, text })).text;
  };
  /** Kills a start of the other build before that step. */
  const kill = async (step: number, ruleset: Ruleset): Promise<void> => {
    const args = [other.script("mortal.js"), String(step), JSON.stringify(ruleset)];
    const [, signal]: unknown[] = await once(spawn(process.execPath, args, { stdio: "inherit" }), "exit");
    t.equal(signal, "SIGKILL");
  };
  const scene = async (t: Test, name: string) => {
    const [node, cgroup] = [sandbox.node(name), sandbox.cgroup(name)];
    const enforcers = [sandbox.enforcer(node), other.enforcer({ node, logger: quiet })] as const;
    t.teardown(() => enforcers[1].close());
    const web = await sandbox.actor({ cgroup, namespace: inside });
    const ruleset = (spec: Omit<WorkloadSpec, "cgroup">): Ruleset =>
      rulesetOf(node, { "demo/web": { cgroup, ...spec } });
    return { node, cgroup, enforcers, web, ruleset };
  };

  await t.test("a full flow table is imported as far as there is room", async (t) => {
    const { node, enforcers, ruleset } = await scene(t, "full");
    const [enforcer] = enforcers;
    await enforcer.open();
    await enforcer.apply(ruleset({ egress: everything }));
    const importers = loadImporters(native, defaultNativeDir(), nodeFolders(DEFAULT_PIN_ROOT, node).maps);
    t.teardown(() => closeObject(native, importers));
    const given = (first: number, count: number): Buffer => {
      const flows = Buffer.alloc(count * EXPORTED_FLOW.size);
      for (let index = 0; index < count; index += 1) {
        const flow = flows.subarray(index * EXPORTED_FLOW.size);
        flow.writeUInt32LE(4, EXPORTED_FLOW.subject);
        flow[EXPORTED_FLOW.protocol] = 17;
        flow[EXPORTED_FLOW.family] = 2;
        flow.writeUInt32BE(0x0a000000 + first + index, EXPORTED_FLOW.remote);
        flow[EXPORTED_FLOW.asked + 1] = 1;
        flow.writeBigUInt64LE(process.hrtime.bigint(), EXPORTED_FLOW.seen + 8);
      }
      return flows;
    };
    const take = (flows: Buffer): number =>
      native.runEach(importers.programs["ztap_import_flow"] ?? -1, flows, EXPORTED_FLOW.size);
    const most = Math.ceil(ABI.MAX_FLOWS * 0.9);
    t.equal(take(given(0, most)), 0);
    t.equal(take(given(0, most)), 0, "what is known takes no second place");
    t.equal(take(given(most, ABI.MAX_FLOWS - most)), 0);
    t.equal(take(given(ABI.MAX_FLOWS, 10)), 10);
    await enforcer.close();
  });

  await t.test(
    "after an upgrade and a downgrade the initiator of a connection is known when a policy is tightened",
    async (t) => {
      const { web, ruleset, ...rest } = await scene(t, "roles");
      let enforcers: readonly [EbpfEnforcer, EbpfEnforcer] = rest.enforcers;
      const { port: served } = await web.call("tcpListen", { host: "0.0.0.0", port: 0 });
      for (const way of ["upwards", "downwards"]) {
        const [before, after] = enforcers;
        const first = ruleset({ ingress: tcp, egress: tcp });
        await before.open();
        await before.apply(first);
        const asked = await web.call("tcpConnect", { host: PEER, port });
        const accepted = await peer.call("tcpConnect", { host: OWN, port: served });
        t.equal(await say(web, asked.id, "a"), "a");
        t.equal(await say(peer, accepted.id, "a"), "a");
        await before.close();

        await after.open();
        await after.apply(first);
        t.equal(await say(web, asked.id, "b"), "ab");
        t.equal(await say(peer, accepted.id, "b"), "ab");
        const second = ruleset({ ingress: nothing, egress: everything });
        await after.apply(second);
        const refused = packets(await after.observe(second), "ingress", "denied");
        await peer.call("tcpSend", { id: accepted.id, text: "late" });
        await waitUntil(async () => packets(await after.observe(second), "ingress", "denied") > refused, {
          what: "the refusal of what came late",
        });
        t.match(await peer.call("tcpReceived", { id: accepted.id }), { text: "ab" }, `${way}: what came in is cut`);
        t.equal(await say(web, asked.id, "c"), "abc", `${way}: what went out is not`);
        await after.apply(first);
        await after.close();
        enforcers = [after, before];
      }
    },
  );

  await t.test("if the take-over fails, the other version stays in force, and the reason is reported", async (t) => {
    const { node, cgroup, enforcers, web, ruleset } = await scene(t, "refused");
    const [elder, newer] = enforcers;
    const wanted = ruleset({ egress: tcp });
    await elder.open();
    await elder.apply(wanted);
    await elder.close();
    const { id } = await web.call("udpBind", { host: "0.0.0.0", port: 0 });
    await web.call("udpFlood", { id, host: PEER, port: forbidden });
    // A cgroup takes 64 programs for a hook; these have no storage, and let everything pass.
    const filler = native.loadObject(join(process.cwd(), "dist/native/ztap.bpf.o"), "", ["ztap_sendmsg6"], []);
    const filling = Array.from({ length: 63 }, () =>
      native.linkCreate(filler.programs["ztap_sendmsg6"] ?? -1, join(sandbox.cgroupRoot, cgroup), "sendmsg6"),
    );
    await newer.open();
    const elders = (await drift(newer, rulesetOf(node, {}))).filter((one) =>
      one.includes(`ABI version ${ABI.VERSION}`),
    );
    t.equal(elders.length, HOOKS.length + 1, `the links and the version itself: ${elders.join("; ")}`);
    for (let round = 0; round < 2; round++) {
      const says = `Version ${other.abi} of the kernel tables could not take over, and version ${ABI.VERSION} stays in force`;
      await t.rejects(newer.apply(wanted), { code: "limit", message: new RegExp(says) });
      const observed = await newer.observe(wanted);
      const [subject] = observed.subjects;
      t.equal(subject?.state, "Stalled");
      await web.call("udpFlooded", { id: 0, count: 100 });
    }
    t.strictSame(abisOf(node), [ABI.VERSION, other.abi]);
    for (const fd of filling) native.closeFd(fd);
    await newer.apply(wanted);
    t.strictSame(await drift(newer, wanted), []);
    t.strictSame(abisOf(node), [other.abi]);
    t.strictSame(attached(cgroup), each(1));
    t.match(await web.call("udpStop", { id: 0 }), { passed: 0 });
    await newer.close();
  });

  await t.test("cgroups that appear, go and are made again during a take-over", async (t) => {
    const { node, cgroup, enforcers, web } = await scene(t, "comes");
    const [elder, newer] = enforcers;
    const [gone, again] = [sandbox.cgroup("goes"), sandbox.cgroup("again")];
    const spec = { egress: tcp };
    const wanted = rulesetOf(node, {
      "demo/again": { cgroup: again, ...spec },
      "demo/gone": { cgroup: gone, ...spec },
      "demo/late": { cgroup: sandbox.cgroupPathOf("comes-late"), ...spec },
      "demo/web": { cgroup, ...spec },
    });
    await elder.open();
    await elder.apply(wanted);
    await elder.close();
    const lasting = await sandbox.actor({ cgroup: again, namespace: inside });
    const { id: connection } = await lasting.call("tcpConnect", { host: PEER, port });
    const { id } = await lasting.call("udpBind", { host: "0.0.0.0", port: 0 });
    await lasting.call("udpFlood", { id, host: PEER, port: forbidden, pauseMs: 1 });
    const leave = (path: string): void => rmdirSync(join(sandbox.cgroupRoot, path));

    await kill(20, wanted);
    t.strictSame(abisOf(node), [ABI.VERSION, other.abi], "killed in the middle, both stand");
    leave(gone);
    const late = await sandbox.actor({ cgroup: sandbox.cgroup("comes-late"), namespace: inside });
    // Its sockets stay where they were made.
    writeFileSync(join(sandbox.cgroupRoot, sandbox.cgroup("away"), "cgroup.procs"), String(lasting.pid));
    leave(again);
    mkdirSync(join(sandbox.cgroupRoot, again));

    await newer.open();
    await newer.apply(wanted);
    t.strictSame(await drift(newer, wanted), []);
    for (const path of [cgroup, again, sandbox.cgroupPathOf("comes-late")]) t.strictSame(attached(path), each(1), path);
    t.strictSame(abisOf(node), [other.abi, ABI.VERSION], "what only the elder can hold, it holds");
    for (const actor of [web, late]) {
      const { id: socket } = await actor.call("udpBind", { host: "0.0.0.0", port: 0 });
      t.match(await actor.call("udpSend", { id: socket, host: PEER, port: forbidden, text: "x" }), { code: "EPERM" });
    }
    await lasting.call("udpFlooded", { id: 0, count: 10 });
    t.equal(await say(lasting, connection, "still"), "still");
    await newer.apply(wanted);
    t.strictSame(await drift(newer, wanted), [], "it is left alone");
    t.equal(await say(lasting, connection, "there"), "stillthere");
    t.match(await lasting.call("udpStop", { id: 0 }), { passed: 0 });
    await lasting.end();
    await waitUntil(
      async () => {
        await newer.observe(wanted);
        return abisOf(node).length === 1;
      },
      { what: "the end of the previous version" },
    );
    t.strictSame(abisOf(node), [other.abi], "it goes with the last socket");
    await newer.close();
  });

  await t.test(
    "a third build takes over after a second died within a take-over from a first; then the first again",
    async (t) => {
      const { node, cgroup, enforcers, web, ruleset } = await scene(t, "third");
      const third = await buildOther(t, 2);
      const newest = third.enforcer({ node, logger: quiet });
      t.teardown(() => newest.close());
      const wanted = ruleset({ egress: tcp });
      await enforcers[0].open();
      await enforcers[0].apply(wanted);
      await enforcers[0].close();
      const { id } = await web.call("udpBind", { host: "0.0.0.0", port: 0 });
      await web.call("udpFlood", { id, host: PEER, port: forbidden });
      const { id: connection } = await web.call("tcpConnect", { host: PEER, port });
      let said = "";
      for (const [enforcer, abi] of [
        [newest, third.abi],
        [enforcers[0], ABI.VERSION],
      ] as const) {
        await kill(20, wanted);
        t.equal(abisOf(node).length, 2);
        await enforcer.open();
        await enforcer.apply(wanted);
        t.strictSame(await drift(enforcer, wanted), []);
        t.strictSame(abisOf(node), [abi]);
        t.strictSame(attached(cgroup), each(1));
        await web.call("udpFlooded", { id: 0, count: 100 });
        said += `${abi};`;
        t.equal(await say(web, connection, `${abi};`), said);
        await enforcer.close();
      }
      t.match(await web.call("udpStop", { id: 0 }), { passed: 0 });
    },
  );

  await t.test("remove removes every version", async (t) => {
    const { node, cgroup, enforcers, ruleset } = await scene(t, "remove");
    const wanted = ruleset({ egress: tcp });
    await enforcers[0].open();
    await enforcers[0].apply(wanted);
    await enforcers[0].close();
    await kill(20, wanted);
    t.strictSame(abisOf(node), [ABI.VERSION, other.abi]);
    t.match(
      inspectEnforcement().flatMap((one) => (one.node === node ? [one.foreign] : [])),
      [[], []],
      "neither is a stranger to the other",
    );
    t.strictSame(removeNodes({ node }), [{ node, workloads: ["demo/web"] }]);
    t.strictSame(attached(cgroup), each(0));
    t.notOk(readdirSync(DEFAULT_PIN_ROOT).includes(node));
  });

  await t.test("pins of a build without version folders are adopted, and taken over", async (t) => {
    const { node, cgroup, enforcers, web, ruleset } = await scene(t, "flat");
    const [own, newer] = enforcers;
    const wanted = ruleset({ egress: tcp });
    const folders = nodeFolders(DEFAULT_PIN_ROOT, node);
    const flatten = (): void => {
      for (const name of ["maps", "links"] as const) renameSync(folders[name], join(folders.node, name));
      rmSync(join(folders.maps, ".."), { recursive: true });
    };
    await own.open();
    await own.apply(wanted);
    await own.close();
    flatten();
    const held = (): unknown => inspectEnforcement().find((one) => one.node === node);
    const before = held();
    t.match(before, { abi: ABI.VERSION, links: { length: HOOKS.length } }, "they are seen where they were");
    await own.open();
    const lacking = (await drift(own, wanted)).filter((line) => !line.includes("program for newborn cgroups"));
    t.strictSame(lacking, [], "nothing is missing but what such a build did not have");
    t.strictSame(held(), before, "the same links and tables");
    await own.close();

    flatten();
    const { id } = await web.call("tcpConnect", { host: PEER, port });
    await newer.open();
    await newer.apply(wanted);
    t.strictSame(await drift(newer, wanted), []);
    t.strictSame(abisOf(node), [other.abi]);
    t.strictSame(attached(cgroup), each(1));
    t.equal(await say(web, id, "still"), "still");
    await newer.close();
  });
}
