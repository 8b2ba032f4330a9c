/**
 * A boot: the kernel is empty, and the store cannot be reached yet. `agent --once` puts the last enforced policy
 * back in force from the copy on disk, with the rights that the shipped unit leaves it.
 */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import t from "tap";
import { removeNodes } from "../../src/adapters/ebpf/remove.js";
import { Ztap, type Result } from "../cli/ztap.js";
import { Sandbox, whyNot } from "./sandbox.js";

const UNITS = ["ztap-boot.service", "ztap.service"] as const;
const unit = (ztap: Ztap, name: string): string => readFileSync(join(ztap.root, "examples/systemd", name), "utf8");

/** A port where nobody listens. */
async function closedPort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === "object" && address !== null ? address.port : 0;
}

const reason = whyNot();
t.test("before the network is up", { skip: reason ?? false }, async (t) => {
  const sandbox = new Sandbox(t);
  const ztap = new Ztap(t);
  const [inside, outside] = sandbox.network(["10.206.0.1/24"], ["10.206.0.2/24"]);
  const [node, cgroup] = [sandbox.node("boot"), sandbox.cgroup("boot")];
  const peer = await sandbox.actor({ namespace: outside });
  const ports = await Promise.all([1, 2].map(() => peer.call("tcpListen", { host: "0.0.0.0", port: 0 })));
  const [open, shut] = ports.map(({ port }) => port ?? 0);
  const web = await sandbox.actor({ cgroup, namespace: inside });
  const probe = async (): Promise<readonly (string | undefined)[]> => {
    const answers = [open, shut].map((port) => web.call("tcpConnect", { host: "10.206.0.2", port }));
    return (await Promise.all(answers)).map(({ code = "open" }) => code);
  };
  ztap.write(
    "state/all.yaml",
    `apiVersion: ztap/v1\nkind: Workload\nmetadata: { name: web, labels: { app: web } }\nspec: { node: ${node}, cgroup: ${cgroup}, addresses: ["10.206.0.1"] }\n---\n` +
      `apiVersion: ztap/v1\nkind: NetworkPolicy\nmetadata: { name: p }\nspec: { podSelector: {}, egress: [{ ports: [{ port: ${open} }] }] }\n`,
  );
  const env = { ZTAP_NODE: node, ZTAP_LISTEN: "off", ZTAP_ELECTION_TIMEOUT: "2s" };
  const away = { ...env, ZTAP_STORE: `etcd://127.0.0.1:${await closedPort()}/ztap` };
  const reboot = (): void => void removeNodes({ node });
  const [, capabilities = ""] = /^CapabilityBoundingSet=(.*)$/m.exec(unit(ztap, "ztap.service")) ?? [];
  const bounding = [
    "-all",
    ...capabilities
      .toLowerCase()
      .split(" ")
      .map((name) => name.replace("cap_", "+")),
  ].join();
  /** With the capabilities of the unit of the daemon, which may do less than that of the boot. */
  const once = (environment: Readonly<Record<string, string>>): Promise<Result> => {
    const command = [join(ztap.root, "bin/ztap"), "agent", "--once"];
    return ztap.spawn("setpriv", ["--bounding-set", bounding, "--no-new-privs", ...command], { env: environment })
      .ended;
  };

  const nothing = await once(away);
  t.match(nothing, {
    code: 1,
    stderr: /the store is unavailable, and this node's disk holds no last-good state to enforce/,
  });
  t.strictSame(await probe(), ["open", "open"]);

  t.match(await ztap.run(["apply", "state", "--auto-approve"], { env }), { code: 0 });
  const agent = ztap.start(["agent"], { env });
  await agent.says("enforcing revision 1");
  t.strictSame(await probe(), ["open", "EPERM"]);
  // The copy is written right after it says so.
  await agent.stop("SIGTERM");
  reboot();
  t.strictSame(await probe(), ["open", "open"], "a boot finds the kernel empty");
  const back = await once(away);
  t.match(back, { code: 0, stderr: /enforcing revision 1 from the copy on this node's disk/ }, back.stderr);
  t.match(back.stderr, /going on without the store/);
  t.strictSame(await probe(), ["open", "EPERM"]);

  reboot();
  const copy = ztap.path("state/nodes", `${node}.json.gz`);
  const whole = readFileSync(copy);
  ztap.write(`state/nodes/${node}.json.gz`, whole.subarray(0, whole.length - 20));
  t.match(await once(away), { code: 1, stderr: /last-good state is damaged and is not used/ });
  t.strictSame(await probe(), ["open", "open"], "what is not whole is not enforced");
  rmSync(copy);
  t.match(await once(env), { code: 0 }, "with the store there is no need of one");
  t.ok(existsSync(copy), "and it is kept again");
});

t.test("the units", async (t) => {
  const ztap = new Ztap(t);
  const [boot, daemon] = UNITS.map((name) => unit(ztap, name));
  for (const line of ["Type=oneshot", "DefaultDependencies=no", "Before=sysinit.target", "Before=network-pre.target"])
    t.ok(boot?.split("\n").includes(line), line);
  for (const line of ["Restart=always", "KillSignal=SIGTERM", "AssertPathIsMountPoint=/sys/fs/bpf"])
    t.ok(daemon?.split("\n").includes(line), line);
  for (const broken of [
    "ProtectControlGroups=",
    "ProtectKernelTunables=",
    "PrivateNetwork=",
    "MemoryDenyWriteExecute=",
  ])
    t.notOk(
      daemon?.split("\n").some((line) => line.startsWith(broken)),
      `${broken} would break enforcement`,
    );
  const commands = [boot, daemon].map((text) => /^ExecStart=\/usr\/local\/bin\/ztap (.*)$/m.exec(text ?? "")?.[1]);
  t.strictSame(commands, ["agent --once --config /etc/ztap/config.yaml", "agent --config /etc/ztap/config.yaml"]);
  if (!existsSync("/usr/bin/systemd-analyze")) return t.comment("without systemd-analyze their words are not checked");
  // It wants the programs that they start to be there.
  const files = UNITS.map((name) =>
    ztap.write(`units/${name}`, unit(ztap, name).replaceAll("/usr/local/bin/ztap", "/bin/true")),
  );
  t.equal(execFileSync("systemd-analyze", ["verify", "--man=no", ...files], { encoding: "utf8", stdio: "pipe" }), "");
});
