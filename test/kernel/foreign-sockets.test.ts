/** Sockets of other cgroups, beyond their use: when they are closed, tolerated, or more than there is room for. */
import { spawn, spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import t, { type Test } from "tap";
import { ABI } from "../../src/adapters/ebpf/kernel/abi.generated.js";
import { loadNative } from "../../src/adapters/ebpf/kernel/native.js";
import { DEFAULT_PIN_ROOT, nodeFolders } from "../../src/adapters/ebpf/kernel/paths.js";
import { HANG_MS, waitUntil } from "../wait.js";
import { manage, tolerating } from "./managed.js";
import { rulesetOf, type Isolation } from "./rulesets.js";
import { Sandbox, whyNot } from "./sandbox.js";

const NOTHING: Isolation = { allow: [] };
const [OWN, PEER] = ["10.216.0.1", "10.216.0.2"];

/** In the manager's cgroup: makes a socket and a listener, moves to the service's, and runs a program that has both. */
const MAKE_MPTCP = `
  use Socket; $^F = 99; $| = 1;
  socket($out, PF_INET, SOCK_STREAM, 262) or do { print "$!\\n"; exit };
  socket($in, PF_INET, SOCK_STREAM, 262) && bind($in, pack_sockaddr_in(0, INADDR_ANY)) && listen($in, 8) or die;
  ($port) = unpack_sockaddr_in(getsockname($in));
  open($procs, ">&=", 9) && syswrite($procs, $$) or die;
  exec "perl", "-e", shift @ARGV, fileno($out), $port, @ARGV;`;
const USE_MPTCP = `
  use Socket; $| = 1; ($fd, $own, $host, $port) = @ARGV;
  open($out, "+<&=", $fd) or die;
  print "$own\\n";
  while (<STDIN>) {
    chomp;
    if ($_ ne "connect") { print defined syswrite($out, "$_\\n") ? "sent" : $!, "\\n"; next }
    if (!connect($out, pack_sockaddr_in($port, inet_aton($host)))) { print "$!\\n"; next }
    # Only a connection of MPTCP has this: SOL_MPTCP, MPTCP_INFO.
    print defined getsockopt($out, 284, 1) ? "connected by MPTCP" : "connected by TCP", "\\n";
  }`;
/** Prints the lines that come on one connection of MPTCP. */
const RECEIVE_MPTCP = `
  use Socket; $| = 1;
  socket($in, PF_INET, SOCK_STREAM, 262) && bind($in, pack_sockaddr_in(0, INADDR_ANY)) && listen($in, 8) or die;
  print((unpack_sockaddr_in(getsockname($in)))[0], "\\n");
  accept($one, $in) or die;
  print while <$one>;
  print "the end\\n";
  <STDIN>;`;

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

  await t.test("those of MPTCP, whose packets a socket of the kernel has", async (t) => {
    const probe = spawnSync("perl", ["-e", "use Socket; socket(S, PF_INET, SOCK_STREAM, 262) or die qq($!\\n)"]);
    if (probe.status !== 0) return void t.pass("MPTCP", { skip: probe.stderr.toString().trim() });
    /** Starts a program that prints a line for each step. */
    const run = (t: Test, script: string, ...args: readonly string[]) => {
      const child = spawn("sh", ["-c", script, "sh", ...args], { stdio: ["pipe", "pipe", "inherit"] });
      const ended = new Promise((resolve) => child.once("exit", resolve));
      t.teardown(async () => {
        child.kill("SIGKILL");
        await ended;
      });
      const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
      const line = async (): Promise<string> => String((await lines.next()).value);
      const answer = (text: string): Promise<string> => (child.stdin.write(`${text}\n`), line());
      return { line, answer };
    };
    const procs = (path: string): string => join(sandbox.cgroupRoot, path, "cgroup.procs");
    const act = async (t: Test, name: string, port: string) => {
      const { cgroup, manager, node, enforcer, refusals } = await scene(`mptcp-${name}`);
      const strict = rulesetOf(node, { "demo/web": { cgroup, ingress: NOTHING, egress: NOTHING } });
      const enter = `echo $$ > "$1" && exec 9> "$2" && exec ip netns exec "$3" perl -e "$4" "$5" "$6" "$7"`;
      await enforcer.apply(name === "connected" ? tolerating(strict, ["InheritedSockets"]) : strict);
      const args = [procs(manager), procs(cgroup), inside, MAKE_MPTCP, USE_MPTCP, PEER, port];
      const service = run(t, enter, ...args);
      return { ...service, own: Number(await service.line()), enforcer, strict, refusals };
    };

    await t.test("one that listens", async (t) => {
      const { own, refusals } = await act(t, "listens", "0");
      let isOpen = false;
      void peer.call("tcpConnect", { host: OWN, port: own }).then(() => (isOpen = true));
      await waitUntil(() => isOpen || refusals() > 0n, { what: "an attempt" });
      t.equal(isOpen, false);
    });
    for (const name of ["calls", "connected"] as const)
      await t.test(`one that ${name === "calls" ? "calls" : "is connected"}`, async (t) => {
        const receiver = run(t, `exec ip netns exec "$1" perl -e "$2"`, outside, RECEIVE_MPTCP);
        const { answer, enforcer, strict, refusals } = await act(t, name, await receiver.line());
        let isOut = false;
        if (name === "calls") void answer("connect").then(() => (isOut = true));
        else {
          t.equal(await answer("connect"), "connected by MPTCP");
          t.equal(await answer("early"), "sent");
          t.equal(await receiver.line(), "early");
          await enforcer.apply(strict);
          t.equal(refusals(), 0n);
          void receiver.line().then(() => (isOut = true));
          await answer("late");
        }
        await waitUntil(() => isOut || refusals() > 0n, { what: "an attempt" });
        t.equal(isOut, false);
      });
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
