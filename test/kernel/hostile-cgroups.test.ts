/** What the owner of a delegated cgroup does in it affects that owner's workload alone. */
import { HOOKS } from "../../src/adapters/ebpf/kernel/programs.js";
import { loadNative, type Native } from "../../src/adapters/ebpf/kernel/native.js";
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { existsSync, mkdirSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { inspectEnforcement } from "../../src/adapters/ebpf/inspect.js";
import { HANG_MS, waitUntil } from "../wait.js";
import { drift } from "./drift.js";
import { rulesetOf, type Allow, type Isolation } from "./rulesets.js";
import { packets, Sandbox, whyNot, type Answer } from "./sandbox.js";

const PEER = "10.207.0.2";
/** Each longer than a quarter of NAME_MAX: twenty of them exceed PATH_MAX. */
const LONG = "x".repeat(250);
const DEEP = 20;
const STORM = 20_000;

const reason = whyNot();
await t.test("hostile cgroups", { skip: reason ?? false }, async (t) => {
  const sandbox = new Sandbox(t);
  const [inside, outside] = sandbox.network(["10.207.0.1/24"], [`${PEER}/24`]);
  const peer = await sandbox.actor({ namespace: outside });
  const { port } = await peer.call("tcpListen", { host: "0.0.0.0", port: 0 });
  const native = loadNative();

  /** Two workloads; the cgroup of one does not exist yet, and its owner may make and remove it. */
  const scene = async (name: string, egress: Isolation) => {
    const [cgroup, quiet] = [sandbox.cgroup(`${name}-delegated/web`), sandbox.cgroup(`${name}-quiet`)];
    const folder = join(sandbox.cgroupRoot, cgroup);
    rmdirSync(folder);
    const node = sandbox.node(name);
    const enforcer = sandbox.enforcer(node);
    await enforcer.open();
    const others = { "demo/quiet": { cgroup: quiet, egress: { allow: [] } } };
    const ruleset = rulesetOf(node, { ...others, "demo/churned": { cgroup, egress } });
    return { cgroup, folder, enforcer, ruleset, node, others };
  };
  const attachedTo = (folder: string): readonly number[] => HOOKS.flatMap((hook) => native.attached(folder, hook));

  await t.test("a subtree deeper than PATH_MAX stops no restarted service from being enforced", async (t) => {
    const node = sandbox.node("deep");
    const [cgroup, delegated] = [sandbox.cgroup("deep-web"), sandbox.cgroup("deep-delegated")];
    nest(join(sandbox.cgroupRoot, delegated));
    t.teardown(() => unnest(join(sandbox.cgroupRoot, delegated)));
    const ruleset = rulesetOf(node, {
      "demo/deep": { cgroup: delegated, egress: { allow: [] } },
      "demo/web": { cgroup, egress: { allow: [] } },
    });
    const enforcer = sandbox.enforcer(node);
    await enforcer.open();
    await enforcer.apply(ruleset);
    const old = await sandbox.actor({ cgroup, namespace: inside });
    // A socket that outlives the folder: its cgroup has to be looked for.
    await old.call("udpBind", { host: "0.0.0.0", port: 0 });
    writeFileSync(join(sandbox.cgroupRoot, "cgroup.procs"), String(old.pid));
    const folder = join(sandbox.cgroupRoot, cgroup);
    rmdirSync(folder);
    mkdirSync(folder);
    await enforcer.apply(ruleset);
    t.strictSame(await drift(enforcer, ruleset), []);
    const web = await sandbox.actor({ cgroup, namespace: inside });
    t.match(await web.call("tcpConnect", { host: PEER, port }), { code: "EPERM" });
    t.match(
      inspectEnforcement().filter((found) => found.node === node),
      [{ links: { length: 3 * HOOKS.length } }],
    );
    await web.end();
    await old.end();
  });

  await t.test("a storm of new cgroups wakes the agent at a bounded rate, and blocks nothing", async (t) => {
    const node = sandbox.node("storm");
    const delegated = sandbox.cgroup("storm-delegated");
    const ruleset = rulesetOf(node, {
      "demo/child": { cgroup: sandbox.cgroupPathOf("storm-delegated/child"), egress: { allow: [] } },
    });
    const enforcer = sandbox.enforcer(node);
    await enforcer.open();
    await enforcer.apply(ruleset);
    const stop = new AbortController();
    let wakeups = 0;
    let turns = 0;
    const watched = (async () => {
      const events = enforcer.watch(stop.signal)[Symbol.asyncIterator]();
      while ((await events.next()).done !== true) wakeups += 1;
    })();
    const turning = setInterval(() => (turns += 1), 1);
    const started = performance.now();
    const child = storm(join(sandbox.cgroupRoot, delegated));
    const code = await new Promise((resolve) => child.once("exit", resolve));
    const took = performance.now() - started;
    t.equal(code, 0);
    t.ok(wakeups >= 1);
    t.ok(wakeups <= took / 20 + 2, `${wakeups} wake-ups for ${2 * STORM} events in ${took} ms`);
    t.ok(turns > wakeups, "the loop turned meanwhile");
    clearInterval(turning);
    const before = wakeups;
    sandbox.cgroup("storm-delegated/child");
    await waitUntil(() => wakeups > before, { what: "the wake-up of a cgroup that is made after the storm" });
    stop.abort();
    await watched;
    await enforcer.apply(ruleset);
    t.strictSame(await drift(enforcer, ruleset), []);
  });

  await t.test("a cgroup that is made again while its programs are attached keeps what it was born with", async (t) => {
    const before: Allow = { peers: [PEER], ports: [`tcp/${port}`] };
    for (const hook of HOOKS) {
      const { cgroup, folder, enforcer, ruleset } = await scene(`again-${hook}`, { allow: [before] });
      await enforcer.apply(ruleset);
      mkdirSync(folder);
      let isAgain = false;
      const seen = new Set<number>();
      const undo = [
        wrap(native, "linkCreate", ([, path, at]) => {
          if (isAgain) seen.add(attachedTo(folder).length);
          if (isAgain || path !== folder || at !== hook) return;
          isAgain = true;
          rmdirSync(folder);
          mkdirSync(folder);
        }),
        // If the agent were killed after it, the attachment would stay.
        wrap(native, "pin", () => {
          if (isAgain) seen.add(attachedTo(folder).length);
        }),
      ];
      await enforcer.apply(ruleset).finally(() => undo.forEach((one) => one()));
      seen.add(attachedTo(folder).length);
      t.ok(isAgain, hook);
      t.strictSame([...seen], [0], `${hook}: without a record of it, nothing is attached to the new one`);
      const web = await sandbox.actor({ cgroup, namespace: inside });
      const other = await peer.call("tcpListen", { host: "0.0.0.0", port: 0 });
      const connect = (to: number | undefined): Promise<Answer> => web.call("tcpConnect", { host: PEER, port: to });
      const connected = connect(port);
      await waitUntil(async () => packets(await enforcer.observe(ruleset), "egress", "allowed") > 0n, {
        what: "the first packet",
      });
      t.type((await connected).id, "number", `${hook}: it sends what it may`);
      await enforcer.apply(ruleset);
      t.strictSame(await drift(enforcer, ruleset), [], `${hook}: and the next apply enforces it`);
      t.equal(attachedTo(folder).length, HOOKS.length);
      t.match(await connect(other.port), { code: "EPERM" });
      await web.end();
      rmdirSync(folder);
      await enforcer.close();
    }
  });

  await t.test("a cgroup that is removed during an apply makes it fail at no step", async (t) => {
    const moments = [
      ...HOOKS.map((hook) => ({ what: `before ${hook} is attached`, hook, write: 0 })),
      { what: "before its storage is written", hook: undefined, write: 1 },
      { what: "before its connections are said to have roles", hook: undefined, write: 2 },
    ];
    for (const [index, { what, hook, write }] of moments.entries()) {
      const { folder, enforcer, ruleset } = await scene(`removed-${index}`, { allow: [] });
      // It exists before anything of it is known, so that its connections have to be looked for.
      mkdirSync(folder);
      const churn = removeAtWrite(native, folder, write);
      const undo = wrap(native, "linkCreate", ([, path, at]) => {
        if (path === folder && at === hook) rmdirSync(folder);
      });
      const { subjects } = await enforcer.apply(ruleset).finally(() => [churn, undo].forEach((one) => one()));
      t.notOk(existsSync(folder), what);
      t.match(
        subjects.map(({ workload, state }) => [workload, state]),
        [
          ["demo/churned", "Pending"],
          ["demo/quiet", "Enforced"],
        ],
        what,
      );
      t.strictSame(await drift(enforcer, ruleset), [], what);
      mkdirSync(folder);
      await enforcer.apply(ruleset);
      t.strictSame(await drift(enforcer, ruleset), [], `${what}: the next one is enforced`);
      t.equal(attachedTo(folder).length, HOOKS.length);
      rmdirSync(folder);
      await enforcer.close();
    }
  });

  await t.test("nor does one of a workload that is released", async (t) => {
    const { folder, enforcer, ruleset, node, others } = await scene("released", { allow: [] });
    mkdirSync(folder);
    await enforcer.apply(ruleset);
    const undo = removeAtWrite(native, folder, 1);
    const released = rulesetOf(node, others);
    await enforcer.apply(released).finally(undo);
    t.notOk(existsSync(folder));
    t.strictSame(await drift(enforcer, released), []);
  });

  await t.test("the same errors at a cgroup that exists are errors", async (t) => {
    const { folder, enforcer, ruleset } = await scene("errors", { allow: [] });
    mkdirSync(folder);
    const fail = (): never => {
      throw Object.assign(new Error("No such file or directory"), { code: "ENOENT", syscall: "a call" });
    };
    const undo = wrap(native, "linkCreate", ([, path]) => (path === folder ? fail() : undefined));
    await t.rejects(enforcer.apply(ruleset).finally(undo), { code: "kernel", message: /No such file/ });
    await enforcer.apply(ruleset);
    t.strictSame(await drift(enforcer, ruleset), []);
    rmdirSync(folder);
  });
});

/** Removes the cgroup, and waits until the kernel has freed its storage, before a write of that storage. */
function removeAtWrite(native: Native, folder: string, write: number): () => void {
  const key = Buffer.alloc(8);
  key.writeBigUInt64LE(native.cgroupId(`${folder}/.`) ?? 0n);
  let writes = 0;
  return wrap(native, "mapSet", ([fd, written]) => {
    if (!written.equals(key) || ++writes !== write) return;
    rmdirSync(folder);
    const until = performance.now() + HANG_MS;
    while (native.mapGet(fd, key) !== null)
      if (performance.now() > until) throw new Error("the storage of a removed cgroup stays");
  });
}

/** Acts before each call of a function of the addon, until it is undone. */
function wrap<K extends keyof Native>(
  native: Native,
  name: K,
  before: (args: Parameters<Native[K]>) => void,
): () => void {
  const real: unknown = Reflect.get(native, name);
  if (!(real instanceof Function)) throw new TypeError(name);
  Reflect.set(native, name, (...args: Parameters<Native[K]>): unknown => {
    before(args);
    return Reflect.apply(real, native, args);
  });
  return () => Reflect.set(native, name, real);
}

/** Makes and removes a folder many times. */
function storm(folder: string): ChildProcess {
  const script = `for (1..${STORM}) { mkdir "${folder}/s$_" or die $!; rmdir "${folder}/s$_" or die $! }`;
  return spawn("perl", ["-e", script], { stdio: ["ignore", "ignore", "inherit"] });
}

/** Step by step: the whole path is longer than a system call takes. */
function nest(folder: string): void {
  execFileSync("perl", ["-e", `for (1..${DEEP}) { mkdir "${LONG}" or die; chdir "${LONG}" or die }`], { cwd: folder });
}

function unnest(folder: string): void {
  const script = `my $n = 0; $n++ while chdir "${LONG}"; while ($n--) { chdir ".." or die; rmdir "${LONG}" or die $! }`;
  execFileSync("perl", ["-e", script], { cwd: folder });
}
