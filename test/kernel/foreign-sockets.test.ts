/** Sockets of other cgroups, beyond their use: when they are closed, tolerated, or more than there is room for. */
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { ABI } from "../../src/adapters/ebpf/kernel/abi.generated.js";
import { loadNative } from "../../src/adapters/ebpf/kernel/native.js";
import { DEFAULT_PIN_ROOT, nodeFolders } from "../../src/adapters/ebpf/kernel/paths.js";
import { HANG_MS, waitUntil } from "../wait.js";
import { manage, tolerating } from "./managed.js";
import { rulesetOf, type Isolation } from "./rulesets.js";
import { Sandbox, whyNot } from "./sandbox.js";

const NOTHING: Isolation = { allow: [] };
const [OWN, PEER] = ["10.216.0.1", "10.216.0.2"];

const reason = whyNot();
await t.test("foreign sockets", { skip: reason ?? false, timeout: HANG_MS }, async (t) => {
  const native = loadNative();
  const sandbox = new Sandbox(t);
  const [inside, outside] = sandbox.network([`${OWN}/24`], [`${PEER}/24`]);
  const peer = await sandbox.actor({ namespace: outside });

  /** Returns how many packets of foreign sockets the node's guards have refused. */
  const refusalsOn = (node: string): (() => bigint) => {
    const fd = native.openPin(join(nodeFolders(DEFAULT_PIN_ROOT, node).maps, "ztap_refusals"));
    t.teardown(() => native.closeFd(fd));
    const key = Buffer.alloc(4);
    key.writeUInt32LE(ABI.REFUSED_FOREIGN);
    return () => {
      const values = native.mapGetMany(fd, key);
      return Array.from({ length: values.length / 8 }, (_, cpu) => values.readBigUInt64LE(cpu * 8)).reduce(
        (sum, count) => sum + count,
        0n,
      );
    };
  };

  const scene = async (name: string) => {
    const [cgroup, manager, node] = [sandbox.cgroup(name), sandbox.cgroup(`${name}-manager`), sandbox.node(name)];
    const enforcer = sandbox.enforcer(node);
    await enforcer.open();
    const ruleset = rulesetOf(node, { "demo/web": { cgroup, ingress: NOTHING } });
    const tolerant = tolerating(ruleset, ["InheritedSockets"]);
    await enforcer.apply(ruleset);
    const start = () => manage(t, sandbox, { cgroup, manager, namespace: inside });
    return { cgroup, manager, node, enforcer, ruleset, tolerant, start, refusals: refusalsOn(node) };
  };

  /** Returns whether the connection has got this, or was closed. */
  const watch = (id: number | undefined, text: string): (() => boolean) => {
    let isOver = false;
    void peer.call("tcpWait", { id, text }).then(() => (isOver = true));
    return () => isOver;
  };

  await t.test("one that is refused stays refused when it is closed", async (t) => {
    const { enforcer, ruleset, tolerant, start, refusals } = await scene("closed");
    await enforcer.apply(tolerant);
    const service = await start();
    const { id } = await peer.call("tcpConnect", { host: OWN, port: service.inherited });
    t.match(await peer.call("tcpWait", { id, text: "inherited" }), { text: /inherited/u });
    await enforcer.apply(ruleset);
    const before = refusals();
    const hasLeft = watch(id, "late");
    await service.command("write late 1");
    await service.command("close");
    const closed = refusals();
    t.ok(closed > before, "refused while it was open");
    // What was not acknowledged is sent again, by a socket without a file.
    await waitUntil(() => hasLeft() || refusals() > closed, { what: "another attempt" });
    t.equal(hasLeft(), false, "nothing of it leaves, and not its end");
  });

  await t.test(
    "a listener that was refused passes no mark on: its connections end well once they are tolerated",
    async (t) => {
      const { enforcer, tolerant, start, refusals } = await scene("unmarked");
      const service = await start();
      const pending = peer.call("tcpConnect", { host: OWN, port: service.inherited });
      await waitUntil(() => refusals() > 0n, { what: "a refused connection" });
      await enforcer.apply(tolerant);
      const { id } = await pending;
      t.match(await peer.call("tcpWait", { id, text: "inherited" }), { text: /inherited/u });
      const before = refusals();
      const isClosed = watch(id, "never");
      // More than the peer takes before the socket is closed.
      await service.command(`write x ${16 * 1024 * 1024}`);
      await service.command("close");
      await waitUntil(() => isClosed() || refusals() > before, { what: "the end of the connection" });
      t.equal(refusals(), before);
      await waitUntil(isClosed, { what: "the end of the connection" });
    },
  );

  await t.test("those that are tolerated take no room of those that are refused", async (t) => {
    const { cgroup, manager, node, enforcer, start, refusals } = await scene("room");
    const other = sandbox.cgroup("room-tolerant");
    const both = rulesetOf(node, {
      "demo/web": { cgroup, ingress: NOTHING },
      "demo/other": { cgroup: other, ingress: NOTHING },
    });
    const ruleset = tolerating(both, ["InheritedSockets"], ["demo/other"]);
    await enforcer.apply(ruleset);
    const count = ABI.MAX_FOREIGN + 1_000;
    const script = `use Socket; $| = 1; for (1 .. ${count}) { socket($all[$_], PF_INET, SOCK_DGRAM, 0) or die "$!" } print "ready"; <STDIN>`;
    const enter = `ulimit -n ${count + 100} && echo $$ > "$1" && exec perl -e "$2"`;
    const procs = (path: string): string => join(sandbox.cgroupRoot, path, "cgroup.procs");
    const child = spawn("sh", ["-c", enter, "sh", procs(manager), script], { stdio: ["pipe", "pipe", "inherit"] });
    const ended = new Promise((resolve) => child.once("exit", resolve));
    t.teardown(async () => {
      child.stdin.end();
      await ended;
    });
    await new Promise((resolve) => child.stdout.once("data", resolve));
    writeFileSync(procs(other), String(child.pid));
    t.match((await enforcer.observe(ruleset)).escapes, [
      { workload: "demo/other", kind: "InheritedSockets", isTolerated: true },
    ]);
    const service = await start();
    void peer.call("tcpConnect", { host: OWN, port: service.inherited });
    await waitUntil(() => refusals() > 0n, { what: "a refused connection" });
    t.match((await enforcer.observe(ruleset)).escapes, [
      { workload: "demo/other", isTolerated: true },
      { workload: "demo/web", isTolerated: false },
    ]);
  });

  await t.test("a cgroup that is no workload's any more may have any socket", async (t) => {
    const { node, enforcer, start, refusals } = await scene("disowned");
    const elsewhere = sandbox.cgroup("disowned-elsewhere");
    const moved = rulesetOf(node, { "demo/web": { cgroup: elsewhere, ingress: NOTHING } });
    t.match((await enforcer.apply(moved)).subjects, [{ state: "Enforced" }]);
    const service = await start();
    const hasCome = peer.call("tcpConnect", { host: OWN, port: service.inherited });
    let isOpen = false;
    void hasCome.then(() => (isOpen = true));
    await waitUntil(() => isOpen || refusals() > 0n, { what: "an outcome" });
    t.equal(refusals(), 0n);
    const { id } = await hasCome;
    t.match(await peer.call("tcpWait", { id, text: "inherited" }), { text: /inherited/u });
    t.strictSame((await enforcer.observe(moved)).escapes, []);
  });
});
