import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, chownSync, mkdirSync, readdirSync, rmdirSync, rmSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import t from "tap";
import { HOOKS } from "../../src/adapters/ebpf/kernel/programs.js";
import { ABI } from "../../src/adapters/ebpf/kernel/abi.generated.js";
import { inspectEnforcement } from "../../src/adapters/ebpf/inspect.js";
import { kernel, loadNative } from "../../src/adapters/ebpf/kernel/native.js";
import { BPFFS, DEFAULT_PIN_ROOT, nodeFolders } from "../../src/adapters/ebpf/kernel/paths.js";
import { removeNodes } from "../../src/adapters/ebpf/remove.js";
import type { Ruleset } from "../../src/model/ruleset.js";
import { EbpfEnforcer } from "../../src/adapters/ebpf/enforcer.js";
import { drift } from "./drift.js";
import { rulesetOf, type Isolation, type WorkloadSpec } from "./rulesets.js";
import { volume } from "../volume.js";
import { packets, quiet, Sandbox, whyNot, type Actor } from "./sandbox.js";
import { pause, waitUntil } from "../wait.js";

const reason = whyNot();
if (reason !== null) t.plan(0, `SKIP kernel tests: ${reason}`);
else {
  const OWN = "10.202.0.1";
  const PEER = "10.202.0.2";
  const sandbox = new Sandbox(t);
  const [inside, outside] = sandbox.network([`${OWN}/24`], [`${PEER}/24`]);
  const native = loadNative();
  const peer = await sandbox.actor({ namespace: outside });
  const { port } = await peer.call("tcpListen", { host: "0.0.0.0", port: 0 });
  const { port: port2 } = await peer.call("tcpListen", { host: "0.0.0.0", port: 0 });
  const tcp = (...ports: unknown[]): Isolation => ({
    allow: [{ peers: "any", ports: ports.map((one) => `tcp/${String(one)}`) }],
  });

  interface Scene {
    readonly node: string;
    readonly cgroup: string;
    readonly web: Actor;
    readonly enforcer: EbpfEnforcer;
    ruleset(spec: Omit<WorkloadSpec, "cgroup">): Ruleset;
  }
  const scene = async (name: string): Promise<Scene> => {
    const cgroup = sandbox.cgroup(name);
    const node = sandbox.node(name);
    const enforcer = sandbox.enforcer(node);
    await enforcer.open();
    const web = await sandbox.actor({ cgroup, namespace: inside });
    return { node, cgroup, web, enforcer, ruleset: (spec) => rulesetOf(node, { "demo/web": { cgroup, ...spec } }) };
  };
  /** "open", or the code of the error. */
  const probe = async (actor: Actor, to: unknown, host = PEER): Promise<string> => {
    const answer = await actor.call("tcpConnect", { host, port: to });
    return answer.code ?? "open";
  };
  await t.test("an established connection ends with the policy that allowed it; others stay", async (t) => {
    const { web, enforcer, ruleset } = await scene("switch");
    await enforcer.apply(ruleset({ egress: tcp(port, port2) }));
    const doomed = await web.call("tcpConnect", { host: PEER, port });
    const lasting = await web.call("tcpConnect", { host: PEER, port: port2 });
    const next = ruleset({ egress: tcp(port2) });
    await enforcer.apply(next);
    const before = packets(await enforcer.observe(next), "egress", "denied");
    await web.call("tcpSend", { id: doomed.id, text: "late" });
    await waitUntil(async () => packets(await enforcer.observe(next), "egress", "denied") > before, {
      what: "the refusal of what came late",
    });
    await web.call("tcpSend", { id: lasting.id, text: "on" });
    t.match(await web.call("tcpWait", { id: lasting.id, text: "on" }), { text: "on" }, "what is still allowed goes on");
    t.match(
      await web.call("tcpReceived", { id: doomed.id }),
      { text: /^$/ },
      "what was sent after the switch never arrived",
    );
  });

  await t.test("policies apply to connections older than the attachment", async (t) => {
    const { web, enforcer, ruleset } = await scene("older");
    const doomed = await web.call("tcpConnect", { host: PEER, port });
    const lasting = await web.call("tcpConnect", { host: PEER, port: port2 });
    const wanted = ruleset({ egress: tcp(port2), ingress: { allow: [] } });
    await enforcer.apply(wanted);
    await web.call("tcpSend", { id: doomed.id, text: "late" });
    await waitUntil(async () => packets(await enforcer.observe(wanted), "egress", "denied") > 0n, {
      what: "the refusal of what came late",
    });
    await web.call("tcpSend", { id: lasting.id, text: "on" });
    t.match(await web.call("tcpWait", { id: lasting.id, text: "on" }), { text: "on" });
    t.match(await web.call("tcpReceived", { id: doomed.id }), { text: /^$/ });
  });

  await t.test("a process outside every workload, a nested cgroup, audit, and release", async (t) => {
    const { web, enforcer, ruleset, cgroup, node } = await scene("scope");
    const free = await sandbox.actor({ cgroup: sandbox.cgroup("free"), namespace: inside });
    const child = await sandbox.actor({ cgroup: sandbox.cgroup("scope/child"), namespace: inside });
    await enforcer.apply(ruleset({ egress: { allow: [] } }));
    t.equal(await probe(web, port), "EPERM");
    t.equal(await probe(child, port), "EPERM", "a child cgroup is covered");
    t.equal(await probe(free, port), "open", "a process outside is untouched");
    const audit = ruleset({ egress: { mode: "audit", allow: [] } });
    await enforcer.apply(audit);
    t.equal(await probe(web, port), "open", "audit lets it pass");
    t.ok(packets(await enforcer.observe(audit), "egress", "audited") > 0n, "and counts it");
    await enforcer.apply(rulesetOf(node, {}));
    t.equal(await probe(web, port), "open", "a workload that is no subject any more is released");
    t.strictSame(native.attached(join(sandbox.cgroupRoot, cgroup), "ingress"), []);
    t.strictSame(await drift(enforcer, rulesetOf(node, {})), []);
  });

  await t.test("SIGKILL changes nothing, and the next enforcer adopts the pinned objects", async (t) => {
    const cgroup = sandbox.cgroup("kill");
    const node = sandbox.node("kill");
    const ruleset = rulesetOf(node, { "demo/web": { cgroup, egress: tcp(port) } });
    const web = await sandbox.actor({ cgroup, namespace: inside });
    const holder = spawn(
      process.execPath,
      [fileURLToPath(new URL("./holder.js", import.meta.url)), JSON.stringify(ruleset)],
      {
        stdio: ["ignore", "pipe", "inherit"],
      },
    );
    await once(holder.stdout, "data");
    const gone = once(holder, "exit");
    holder.kill("SIGKILL");
    await gone;
    t.equal(await probe(web, port), "open");
    t.equal(await probe(web, port2), "EPERM");
    const held = (): unknown => inspectEnforcement().find((one) => one.node === node)?.links;
    const before = held();
    const enforcer = sandbox.enforcer(node);
    await enforcer.open();
    t.strictSame(await drift(enforcer, ruleset), [], "it finds everything in place");
    await enforcer.apply(ruleset);
    t.strictSame(held(), before, "the same links and programs");
    t.equal(await probe(web, port2), "EPERM");
  });

  await t.test("after a kill within an apply, the old or the new ruleset is completely in force", async (t) => {
    const { web, enforcer, node, cgroup } = await scene("half");
    const extra = sandbox.cgroup("half-extra");
    const peers = (third: number): Isolation["allow"] =>
      Array.from({ length: 300 }, (_unused, at) => ({
        peers: [`10.9.${third}.${at % 250}/32`],
        ports: [`tcp/${at + 1}`],
      }));
    const old = rulesetOf(node, {
      "demo/web": { cgroup, egress: { allow: [...tcp(port).allow, ...peers(1)] } },
    });
    const next = rulesetOf(node, {
      "demo/extra": { cgroup: extra, egress: { allow: [] } },
      "demo/web": { cgroup, egress: { allow: [...tcp(port).allow, ...peers(2)] } },
    });
    await enforcer.apply(old);
    const ROUNDS = volume(8, 100, 3);
    const outcomes = new Set<string>();
    for (let round = 0; round < ROUNDS; round++) {
      // One writer at a time: the lock of the node's folder goes from hand to hand.
      await enforcer.close();
      const script = fileURLToPath(new URL("./holder.js", import.meta.url));
      const holder = spawn(process.execPath, [script, JSON.stringify(old), JSON.stringify(next)], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      for (let applied = 0; applied <= round; applied++) await once(holder.stdout, "data");
      const gone = once(holder, "exit");
      // Wherever it is by now; each round it has come another way.
      await pause(round * 3);
      holder.kill("SIGKILL");
      await gone;
      await enforcer.open();
      const standing = async (ruleset: Ruleset): Promise<boolean> =>
        (await drift(enforcer, ruleset)).every((one) => one.includes("demo/extra"));
      const which = (await standing(old)) ? "old" : (await standing(next)) ? "new" : "neither";
      outcomes.add(which);
      t.not(which, "neither", (await drift(enforcer, old)).slice(0, 3).join("; "));
      t.equal(await probe(web, port), "open");
      t.equal(await probe(web, port2), "EPERM");
      await enforcer.apply(old);
      t.strictSame(await drift(enforcer, old), [], "the next apply completes it");
    }
    t.comment([...outcomes].join(", "));
  });

  await t.test(
    "a second enforcer of the same node is refused while the first is open; a read-only one is not",
    async (t) => {
      const { enforcer, node, ruleset } = await scene("twice");
      const wanted = ruleset({ egress: tcp(port) });
      await enforcer.apply(wanted);
      const second = new EbpfEnforcer({ node, logger: quiet });
      await t.rejects(second.open(), { code: "busy" });
      const looking = new EbpfEnforcer({ node, logger: quiet, readOnly: true });
      await looking.open();
      t.strictSame(await drift(looking, wanted), []);
      await t.rejects(looking.apply(wanted), TypeError);
      await looking.close();
      await enforcer.close();
      await second.open();
      t.strictSame(await drift(second, wanted), [], "what stands is adopted");
      await second.close();
    },
  );

  await t.test("a cgroup that appears later, and one that is made again", async (t) => {
    const node = sandbox.node("late");
    const ruleset = rulesetOf(node, { "demo/web": { cgroup: sandbox.cgroupPathOf("late"), egress: tcp(port) } });
    const enforcer = sandbox.enforcer(node);
    await enforcer.open();
    await enforcer.apply(ruleset);
    t.match((await enforcer.observe(ruleset)).subjects, [{ workload: "demo/web", state: "Pending" }]);
    const cgroup = sandbox.cgroup("late");
    t.equal((await drift(enforcer, ruleset)).length, HOOKS.length + 1, "the links and the subject are missing");
    await enforcer.apply(ruleset);
    t.strictSame(await drift(enforcer, ruleset), []);
    const web = await sandbox.actor({ cgroup, namespace: inside });
    t.equal(await probe(web, port2), "EPERM");
    await web.end();
    const folder = join(sandbox.cgroupRoot, cgroup);
    rmdirSync(folder);
    mkdirSync(folder);
    const again = await sandbox.actor({ cgroup, namespace: inside });
    t.equal(
      (await drift(enforcer, ruleset)).length,
      HOOKS.length + 1,
      "the new cgroup under the old path is seen as bare",
    );
    await enforcer.apply(ruleset);
    t.strictSame(await drift(enforcer, ruleset), []);
    t.equal(await probe(again, port2), "EPERM");
  });

  /** False where the kernel refuses the act as invalid, as newer ones do with a program over another cgroup storage. */
  const succeeds = (act: () => void): boolean => {
    try {
      act();
      return true;
    } catch (error) {
      if (error instanceof Error && "errno" in error && Math.abs(Number(error.errno)) === constants.errno.EINVAL)
        return false;
      throw error;
    }
  };

  await t.test("damage is detected and healed, and never opens a workload", async (t) => {
    const { node, web, enforcer, ruleset, cgroup } = await scene("damage");
    const wanted = ruleset({ ingress: tcp(1, 2), egress: tcp(port) });
    await enforcer.apply(wanted);
    t.strictSame(await drift(enforcer, wanted), []);
    const { maps, links } = nodeFolders(DEFAULT_PIN_ROOT, node);
    const activeMap = (name: string): number => {
      const control = native.openPin(join(maps, "ztap_control"));
      const odd = native.wordLoad(control, 8) & 1n;
      native.closeFd(control);
      return native.openPin(join(maps, `ztap_${name}_${odd === 1n ? "b" : "a"}`));
    };
    const object = join(process.cwd(), "dist/native/ztap.bpf.o");
    const damage: Readonly<Record<string, () => void>> = {
      "an entry is deleted": () => {
        const fd = activeMap("ports");
        native.mapDelete(fd, native.mapRead(fd).keys.subarray(0, 12));
        native.closeFd(fd);
      },
      "an entry is changed": () => {
        const fd = activeMap("addrs");
        const { keys, values } = native.mapRead(fd);
        values.writeUInt32LE((values.readUInt32LE() ^ 1) >>> 0);
        native.mapWrite(fd, keys.subarray(0, 24), values.subarray(0, 4));
        native.closeFd(fd);
      },
      "an entry is added": () => {
        const fd = activeMap("ports");
        const { keys, values } = native.mapRead(fd);
        keys.writeUInt16BE(port2 ?? 0, 10);
        native.mapWrite(fd, keys.subarray(0, 12), values.subarray(0, 4));
        native.closeFd(fd);
      },
      "a link is detached": () => {
        const fd = native.openPin(join(links, "demo__web", "egress"));
        native.linkDetach(fd);
        native.closeFd(fd);
      },
      "a pin is removed": () => rmSync(join(links, "demo__web", "connect4")),
      "a map loses its pin": () => rmSync(join(maps, "ztap_addrs_a")),
      "a program of another build is attached": () => {
        // Over the same maps, so that it is replaced in place.
        const other = native.loadObject(object, maps, ["ztap_ingress"], ["ztap_test_subjects"]);
        const fd = native.openPin(join(links, "demo__web", "egress"));
        native.linkUpdate(fd, other.programs["ztap_ingress"] ?? -1);
        native.closeFd(fd);
      },
      "a program over other maps is attached": () => {
        const other = native.loadObject(object, "", ["ztap_egress"], ["ztap_test_subjects"]);
        const fd = native.openPin(join(links, "demo__web", "egress"));
        native.linkUpdate(fd, other.programs["ztap_egress"] ?? -1);
        native.closeFd(fd);
      },
      "the storage is wiped": () => {
        const key = Buffer.alloc(8);
        key.writeBigUInt64LE(native.cgroupId(join(sandbox.cgroupRoot, cgroup)) ?? 0n);
        const fd = native.openPin(join(maps, "ztap_cgroup"));
        native.mapSet(fd, key, Buffer.alloc(64));
        native.closeFd(fd);
      },
    };
    for (const [name, act] of Object.entries(damage)) {
      if (!succeeds(act)) {
        t.pass(`${name}: this kernel refuses it`);
        continue;
      }
      const seen = await drift(enforcer, wanted);
      t.equal(seen.length, 1, `${name}: ${seen.join("; ")}`);
      await enforcer.apply(wanted);
      t.strictSame(await drift(enforcer, wanted), [], "healed");
      await enforcer.apply(wanted);
      t.strictSame(await drift(enforcer, wanted), [], "and the other table set is sound as well");
      t.equal(await probe(web, port), "open");
      t.equal(await probe(web, port2), "EPERM");
    }
  });

  await t.test("two nodes on one machine, and remove", async (t) => {
    const one = await scene("one");
    const two = await scene("two");
    await one.enforcer.apply(one.ruleset({ egress: { allow: [] } }));
    await two.enforcer.apply(two.ruleset({ egress: { allow: [] } }));
    t.match(
      inspectEnforcement().filter((found) => [one.node, two.node].includes(found.node)),
      [
        { abi: ABI.VERSION, links: { length: HOOKS.length }, foreign: [] },
        { abi: ABI.VERSION, links: { length: HOOKS.length }, foreign: [] },
      ],
    );
    t.throws(() => removeNodes({ node: one.node }), { code: "busy" }, "its agent would put it back");
    t.equal(await probe(one.web, port), "EPERM");
    await one.enforcer.close();
    t.match(removeNodes({ node: one.node }), [{ node: one.node, workloads: ["demo/web"] }]);
    t.equal(await probe(one.web, port), "open");
    t.equal(await probe(two.web, port), "EPERM");
    t.notOk(readdirSync(DEFAULT_PIN_ROOT).includes(one.node));
    t.strictSame(removeNodes({ node: one.node }), []);
  });

  await t.test("a folder of pins that another user made or can write is refused", async (t) => {
    const root = join(BPFFS, `ztap-foreign-${process.pid}`);
    t.teardown(() => rmSync(root, { recursive: true, force: true }));
    for (const [mode, owner] of [
      [0o755, 65534],
      [0o777, 0],
    ] as const) {
      mkdirSync(root);
      chmodSync(root, mode);
      chownSync(root, owner, owner);
      const enforcer = new EbpfEnforcer({ node: "n", pinRoot: root, logger: quiet });
      await t.rejects(enforcer.open(), { code: "not-permitted", message: /not a folder of this user alone/ });
      t.strictSame(readdirSync(root), []);
      rmdirSync(root);
    }
    const elsewhere = new EbpfEnforcer({ node: "n", pinRoot: join(t.testdir({}), "pins"), logger: quiet });
    await t.rejects(elsewhere.open(), { code: "unsupported", message: /not on a BPF file system/ });
  });

  await t.test("a ruleset that cannot be enforced is reported with the reason", async (t) => {
    const { enforcer, node, cgroup } = await scene("stalled");
    const ruleset = rulesetOf(node, { "demo/a": { cgroup }, "demo/b": { cgroup }, "demo/c": { cgroup: null } });
    await enforcer.apply(ruleset);
    t.match((await enforcer.observe(ruleset)).subjects, [
      { workload: "demo/a", state: "Enforced" },
      { workload: "demo/b", state: "Stalled", message: /belongs to demo\/a/ },
      { workload: "demo/c", state: "Stalled", message: /no cgroup/ },
    ]);
    const control = native.openPin(join(nodeFolders(DEFAULT_PIN_ROOT, node).maps, "ztap_control"));
    const value = native.mapGet(control, Buffer.alloc(4)) ?? Buffer.alloc(16);
    value.writeUInt32LE(99);
    native.mapSet(control, Buffer.alloc(4), value);
    native.closeFd(control);
    await enforcer.close();
    await t.rejects(sandbox.enforcer(node).open(), { code: "abi-version" });
    const broken = new EbpfEnforcer({ node, logger: quiet, nativeDir: "/nonexistent" });
    await t.rejects(broken.open(), { code: "unsupported", message: /make -C native/ });
    const program = join(t.testdir({ "ztap.bpf.o": "no object" }), "ztap.bpf.o");
    t.throws(() => kernel("Loading", () => native.loadObject(program, "", [], [])), {
      code: "kernel",
      log: /ztap.bpf.o/,
    });
  });
}
