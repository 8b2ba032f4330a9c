/**
 * Channels: what two isolated workloads of one network namespace could say to each other without an IP packet. Kernels that take
 * programs at their security functions refuse it; on the others, `ztap doctor` says so.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { checkKernel } from "../../src/adapters/ebpf/doctor.js";
import { defaultNativeDir, loadNative } from "../../src/adapters/ebpf/kernel/native.js";
import { HANG_MS } from "../wait.js";
import { drift } from "./drift.js";
import { AF, RawActor, SOCK } from "./raw-actor.js";
import { rulesetOf, type Isolation } from "./rulesets.js";
import { Sandbox, whyNot } from "./sandbox.js";

const NETLINK = { route: 0, userSock: 2 } as const;
const NOTHING: Isolation = { allow: [] };

/** Of each architecture: prctl(2), bpf(2). */
const CALLS: Partial<Record<NodeJS.Architecture, readonly [number, number]>> = { x64: [157, 321], arm64: [167, 280] };
const BPF_RAW_TRACEPOINT_OPEN = 17;

/**
 * Asks the addon in a process of its own.
 * @param refused a command of bpf(2) that seccomp refuses to the process
 */
function probeWithout(refused: number | null): string {
  const [prctl, bpf] = CALLS[process.arch] ?? [0, 0];
  // If the call is bpf(2) with this command: EPERM; otherwise it is allowed.
  const filter = `
    $filter = pack("(SCCL)6", 0x20,0,0,0, 0x15,0,3,${bpf}, 0x20,0,0,16, 0x15,0,1,${refused ?? -1}, 6,0,0,0x50001, 6,0,0,0x7fff0000);
    syscall(${prctl}, 22, 2, pack("S x6 P", 6, $filter)) == 0 or die "seccomp: $!";
    exec @ARGV or die;`;
  const ask =
    "const addon = { exports: {} }; process.dlopen(addon, process.argv[1]);" +
    "process.stdout.write(String(addon.exports.takesSecurityPrograms()));";
  const command = [process.execPath, "-e", ask, join(defaultNativeDir(), "ztap.node")];
  return refused === null
    ? execFileSync(command[0] ?? "", command.slice(1), { encoding: "utf8" })
    : execFileSync("perl", ["-e", filter, ...command], { encoding: "utf8" });
}

const reason = whyNot();
await t.test("channels", { skip: reason ?? false, timeout: HANG_MS }, async (t) => {
  const sandbox = new Sandbox(t);
  const folder = mkdtempSync(join(tmpdir(), "ztap-channels-"));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const [inside] = sandbox.network(["10.215.0.1/24"], ["10.215.0.2/24"]);
  const [one, two] = [sandbox.cgroup("one"), sandbox.cgroup("two")];
  const start = (cgroup?: string): Promise<RawActor> =>
    RawActor.start(t, sandbox, { namespace: inside, ...(cgroup === undefined ? {} : { cgroup }) });
  const [first, second, outsider] = [await start(one), await start(two), await start()];
  const node = sandbox.node();
  const enforcer = sandbox.enforcer(node);
  await enforcer.open();
  const shut = { ingress: NOTHING, egress: NOTHING };
  const isolate = async (spec: { ingress?: Isolation; egress?: Isolation }): Promise<void> => {
    const ruleset = rulesetOf(node, { "demo/one": { cgroup: one, ...spec }, "demo/two": { cgroup: two, ...shut } });
    await enforcer.apply(ruleset);
    t.strictSame(await drift(enforcer, ruleset), []);
  };
  const isRefusedHere = loadNative().takesSecurityPrograms();
  const check = checkKernel({}).find(({ name }) => name === "sockets of other families");
  t.equal(check?.state, isRefusedHere ? "ok" : "warning", "doctor says whether this kernel can refuse them");
  await t.test("a kernel that loads a program at a security function, and attaches none, takes none", async (t) => {
    t.equal(probeWithout(null), String(isRefusedHere));
    t.equal(probeWithout(BPF_RAW_TRACEPOINT_OPEN), "false");
  });

  /** The answer where a program refuses, or that of a kernel without it. */
  const refused = (otherwise: string | RegExp): string | RegExp => (isRefusedHere ? "EPERM" : otherwise);
  const opens = /^fd |^EAFNOSUPPORT$|^EPROTONOSUPPORT$/u;
  const socket = (actor: RawActor, family: number, type: number, protocol = 0): Promise<string> =>
    actor.command(`socket ${family} ${type} ${protocol}`);

  await t.test("sockets of other families", async (t) => {
    await isolate(shut);
    t.match(await socket(first, AF.netlink, SOCK.raw, NETLINK.userSock), refused(opens), "NETLINK_USERSOCK");
    t.match(await socket(first, AF.vsock, SOCK.stream), refused(opens), "AF_VSOCK");
    t.match(await socket(first, AF.packet, SOCK.raw), refused(opens), "AF_PACKET");
    t.match(await socket(first, AF.netlink, SOCK.raw, NETLINK.route), /^fd /u, "the kernel's own netlink");
    t.match(await socket(first, AF.alg, 5), opens, "the kernel's ciphers");
    t.match(await socket(outsider, AF.netlink, SOCK.raw, NETLINK.userSock), /^fd /u, "a process of no workload");
    await isolate({ egress: { mode: "audit", allow: [] } });
    t.match(await socket(first, AF.netlink, SOCK.raw, NETLINK.userSock), /^fd /u, "audit mode refuses nothing");
    await isolate({ egress: { allow: [{ peers: "any", ports: "any" }] } });
    t.match(await socket(first, AF.netlink, SOCK.raw, NETLINK.userSock), /^fd /u, "who may do everything");
  });

  for (const [name, type] of [
    ["stream", SOCK.stream],
    ["datagram", SOCK.datagram],
  ] as const) {
    await t.test(`Unix sockets: ${name}`, async (t) => {
      await isolate(shut);
      const listen = async (actor: RawActor, address: string): Promise<void> => {
        const fd = await actor.socket(AF.unix, type, 0);
        t.equal(await actor.command(`bind ${fd} ${address} 0`), "ok");
        if (type === SOCK.stream) t.equal(await actor.command(`listen ${fd}`), "ok");
      };
      const call = async (actor: RawActor, address: string): Promise<string> => {
        const fd = await actor.socket(AF.unix, type, 0);
        const answer = await actor.command(`connect ${fd} ${address} 0`);
        await actor.command(`close ${fd}`);
        return answer;
      };
      const [abstract, own, path] = [`unix:%ztap-${name}`, `unix:%ztap-own-${name}`, `unix:${folder}/${name}`];
      await listen(second, abstract);
      await listen(second, path);
      await listen(first, own);
      t.equal(await call(first, abstract), isRefusedHere ? "EPERM" : "ok", "an abstract address of another workload");
      t.equal(
        await call(outsider, abstract),
        isRefusedHere ? "EPERM" : "ok",
        "from outside to one that lets nobody in",
      );
      t.equal(await call(first, own), "ok", "its own");
      t.equal(await call(first, path), "ok", "a path is the file system's business");
    });
  }
});
