/** Escapes: sockets of other cgroups in a workload, and workloads that can be left. */
import { spawn, spawnSync } from "node:child_process";
import { chownSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { EbpfEnforcer } from "../../src/adapters/ebpf/enforcer.js";
import type { Ruleset } from "../../src/model/ruleset.js";
import { HANG_MS, waitUntil } from "../wait.js";
import { manage, tolerating } from "./managed.js";
import { rulesetOf, type Isolation } from "./rulesets.js";
import { quiet, Sandbox, whyNot } from "./sandbox.js";

const NOTHING: Isolation = { allow: [] };

const reason = whyNot();
await t.test("escapes", { skip: reason ?? false, timeout: HANG_MS }, async (t) => {
  const [OWN, PEER] = ["10.214.0.1", "10.214.0.2"];
  const sandbox = new Sandbox(t);
  const [inside, outside] = sandbox.network([`${OWN}/24`], [`${PEER}/24`]);
  const peer = await sandbox.actor({ namespace: outside });

  const start = async (cgroup: string, manager: string): Promise<readonly [inherited: number, handed: number]> => {
    const { inherited, handed } = await manage(t, sandbox, { cgroup, manager, namespace: inside });
    return [inherited, handed];
  };

  const scene = async (name: string, spec: { ingress?: Isolation; egress?: Isolation }) => {
    const [cgroup, node] = [sandbox.cgroup(name), sandbox.node(name)];
    const enforcer = sandbox.enforcer(node);
    await enforcer.open();
    const ruleset = rulesetOf(node, { "demo/web": { cgroup, ...spec } });
    await enforcer.apply(ruleset);
    const manager = sandbox.cgroup(`${name}-manager`);
    const status = async (ruleset: Ruleset) => (await enforcer.observe(ruleset)).subjects[0];
    return { cgroup, enforcer, ruleset, manager, status };
  };
  const answers = async (port: number, text: string): Promise<void> => {
    const { id } = await peer.call("tcpConnect", { host: OWN, port });
    t.match(await peer.call("tcpWait", { id, text }), { text: new RegExp(text, "u") });
  };

  await t.test(
    "a service inherits the listener of its manager: refused, unless the workload tolerates it",
    async (t) => {
      const { cgroup, enforcer, ruleset, manager, status } = await scene("inherit", { ingress: NOTHING });
      const [port] = await start(cgroup, manager);
      const pending = peer.call("tcpConnect", { host: OWN, port });
      let isOpen = false;
      void pending.then(() => (isOpen = true));
      await waitUntil(async () => (await enforcer.observe(ruleset)).escapes.length > 0, { what: "the socket" });
      t.match(await status(ruleset), { state: "Stalled", message: /another cgroup.*InheritedSockets/u });
      t.match((await enforcer.observe(ruleset)).escapes, [{ kind: "InheritedSockets", isTolerated: false }]);
      t.equal(isOpen, false, "nobody comes in");

      const tolerant = tolerating(ruleset, ["InheritedSockets"]);
      await enforcer.apply(tolerant);
      const { id } = await pending;
      t.match(await peer.call("tcpWait", { id, text: "inherited" }), { text: /inherited/u }, "it is tolerated now");
      t.match(await status(tolerant), { state: "Enforced", message: /^tolerated: /u });
      await enforcer.apply(ruleset);
      await peer.call("tcpSend", { id, text: "late" });
      t.match(await status(ruleset), { state: "Stalled" });
    },
  );

  await t.test("it is refused from the first packet, also while no agent runs", async (t) => {
    const { cgroup, enforcer, manager } = await scene("agentless", { ingress: NOTHING });
    await enforcer.close();
    const [port, free] = await start(cgroup, manager);
    let isOpen = false;
    const pending = peer.call("tcpConnect", { host: OWN, port }).then(() => (isOpen = true));
    // Its own listener is not the service's: that connection is accepted after the refused one was tried.
    t.notOk((await peer.call("tcpConnect", { host: OWN, port: free })).code);
    t.equal(isOpen, false);
    void pending;
  });

  await t.test("a connection that a message hands over is found", async (t) => {
    const { cgroup, enforcer, ruleset, manager, status } = await scene("handed", { egress: NOTHING });
    const [, port] = await start(cgroup, manager);
    await waitUntil(async () => (await enforcer.observe(ruleset)).escapes.length === 1, { what: "the listener" });
    await answers(port, "handed");
    await waitUntil(async () => /\b2 sockets/u.test((await status(ruleset))?.message ?? ""), {
      what: "the connection",
    });
    t.match((await enforcer.observe(ruleset)).escapes, [{ kind: "InheritedSockets" }]);
  });

  await t.test("the connection of a management session is never refused", async (t) => {
    const [cgroup, node] = [sandbox.cgroup("session"), sandbox.node("session")];
    const sessions = new Set<number>();
    const enforcer = new EbpfEnforcer({ node, logger: quiet, findSessions: () => Promise.resolve(sessions) });
    await enforcer.open();
    t.teardown(() => enforcer.close());
    const open = rulesetOf(node, { "demo/web": { cgroup } });
    await enforcer.apply(open);
    const [, port] = await start(cgroup, sandbox.cgroup("session-manager"));
    const { id } = await peer.call("tcpConnect", { host: OWN, port });
    await peer.call("tcpWait", { id, text: "handed" });
    for (const pid of readFileSync(join(sandbox.cgroupRoot, cgroup, "cgroup.procs"), "utf8")
      .trim()
      .split("\n"))
      sessions.add(Number(pid));
    const shut = rulesetOf(node, { "demo/web": { cgroup, ingress: NOTHING, egress: NOTHING } });
    t.match((await enforcer.apply(shut)).escapes, []);
    await peer.call("tcpSend", { id, text: "goes on" });
    t.match(await peer.call("tcpWait", { id, text: "goes on" }), { text: /goes on/u });
    sessions.clear();
    t.match((await enforcer.observe(shut)).escapes, [{ kind: "InheritedSockets" }], "another one is");
  });

  await t.test("an open workload may have any socket", async (t) => {
    const { cgroup, enforcer, ruleset, manager } = await scene("open", {});
    const [port] = await start(cgroup, manager);
    await answers(port, "inherited");
    t.strictSame((await enforcer.observe(ruleset)).escapes, []);
  });

  await t.test("a workload that its user can leave is reported", async (t) => {
    const name = "left";
    const parent = sandbox.cgroup(name);
    const cgroup = sandbox.cgroup(`${name}/service`);
    const node = sandbox.node(name);
    const enforcer = sandbox.enforcer(node);
    await enforcer.open();
    const ruleset = rulesetOf(node, { "demo/web": { cgroup, egress: NOTHING } });
    t.match((await enforcer.apply(ruleset)).subjects, [{ state: "Enforced" }]);
    chownSync(join(sandbox.cgroupRoot, cgroup, "cgroup.procs"), 1234, 1234);
    t.match((await enforcer.observe(ruleset)).subjects, [{ state: "Enforced" }], "its own subtree may be its user's");
    chownSync(join(sandbox.cgroupRoot, parent, "cgroup.procs"), 1234, 1234);
    t.match((await enforcer.observe(ruleset)).subjects, [{ state: "Stalled", message: /user 1234 can move/u }]);
    const tolerant = tolerating(ruleset, ["DelegatedCgroup"]);
    t.match((await enforcer.apply(tolerant)).subjects, [{ state: "Enforced", message: /^tolerated: user 1234/u }]);
  });

  await t.test(
    "the owner of cgroup.threads alone moves no thread out of a workload; who can is reported",
    async (t) => {
      const name = "threads";
      const user = { uid: 1234, gid: 1234 };
      const parent = sandbox.cgroup(name);
      const [cgroup, other] = [`${parent}/service`, `${parent}/other`];
      const fileOf = (path: string, file: string): string => join(sandbox.cgroupRoot, path, file);
      for (const path of [cgroup, other]) {
        mkdirSync(join(sandbox.cgroupRoot, path));
        t.teardown(() => rmdirSync(join(sandbox.cgroupRoot, path)));
        writeFileSync(fileOf(path, "cgroup.type"), "threaded");
      }
      const child = spawn("cat", { ...user, stdio: ["pipe", "pipe", "inherit"] });
      const ended = new Promise((resolve) => child.once("exit", resolve));
      t.teardown(async () => {
        child.stdin.end();
        await ended;
        await waitUntil(() => readFileSync(fileOf(parent, "cgroup.threads"), "utf8").trim() === "", {
          what: "its end",
        });
      });
      const pid = String(child.pid);
      writeFileSync(fileOf(parent, "cgroup.procs"), pid);
      writeFileSync(fileOf(cgroup, "cgroup.threads"), pid);
      const place = (): string => readFileSync(`/proc/${pid}/cgroup`, "utf8");
      const move = (path: string): boolean => {
        const script = `echo "$1" > "$2"`;
        return spawnSync("sh", ["-c", script, "sh", pid, fileOf(path, "cgroup.threads")], user).status === 0;
      };

      const node = sandbox.node(name);
      const enforcer = sandbox.enforcer(node);
      await enforcer.open();
      const ruleset = rulesetOf(node, { "demo/web": { cgroup, egress: NOTHING } });
      for (const path of [parent, cgroup, other]) chownSync(fileOf(path, "cgroup.threads"), 1234, 1234);
      t.match((await enforcer.apply(ruleset)).subjects, [{ state: "Enforced" }]);
      t.strictSame([move(other), move(parent)], [false, false], "the kernel asks for cgroup.procs above both cgroups");
      t.match(place(), `/${cgroup}\n`);
      chownSync(fileOf(parent, "cgroup.procs"), 1234, 1234);
      t.match((await enforcer.observe(ruleset)).subjects, [{ state: "Stalled", message: /user 1234 can move/u }]);
      t.equal(move(other), true);
      t.match(place(), `/${other}\n`);
    },
  );
});
