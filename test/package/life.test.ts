/**
 * The life of the Debian package in empty systems: docs/install.md's commands lead from the package to an enforced policy; an upgrade
 * keeps the configuration and opens nothing; a removal leaves enforcement, and says so; purge leaves nothing.
 */
import { existsSync, mkdirSync, readFileSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import type { Test } from "tap";
import { findCgroupRoot } from "../../src/adapters/ebpf/kernel/paths.js";
import type { Running } from "../cli/ztap.js";
import { Prober } from "../kernel/prober.js";
import { Sandbox, whyNot } from "../kernel/sandbox.js";
import { HANG_MS, waitUntil } from "../wait.js";
import { fileOf, makePackages, makeRepository, supported, whyNoPackages } from "./packages.js";
import { Root, ROOT, whyNoRoot } from "./root.js";

/** The commands of a section of docs/install.md, one text a block. */
function commandsOf(section: string): readonly string[] {
  const text = readFileSync(join(ROOT, "docs/install.md"), "utf8");
  const [, body = ""] = text.split(`\n## ${section}\n`);
  const [own = ""] = body.split("\n## ");
  return [...own.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, block = ""]) => block);
}

/** A service's cgroup, as systemd would make it, with which the test ends. */
function makeService(t: Test, name: string): string {
  const folder = join(findCgroupRoot(), "system.slice", name);
  const isOurs = !existsSync(join(folder, ".."));
  mkdirSync(folder, { recursive: true });
  t.teardown(() => {
    rmdirSync(folder);
    if (isOurs) rmdirSync(join(folder, ".."));
  });
  return folder;
}

const reason = whyNot() ?? whyNoPackages();
await t.test("the life of a package", { skip: reason ?? false, timeout: HANG_MS }, async (t) => {
  const first = fileOf(makePackages(t, ["--arch", "amd64", "--only", "deb"]), ".deb");
  const second = fileOf(makePackages(t, ["--arch", "amd64", "--only", "deb", "--release", "2"]), ".deb");
  for (const release of supported("bookworm", "trixie"))
    await t.test(release, { skip: whyNoRoot(release) ?? false }, async (t) => live(t, release, first, second));
  await t.test("an upgrade under load", { skip: whyNoRoot("bookworm") ?? false }, async (t) =>
    upgradeUnderLoad(t, first, second),
  );
});

async function live(t: Test, release: string, first: string, second: string): Promise<void> {
  const host = `zt${process.pid}-${release}`;
  const service = `${host}.service`;
  const cgroup = makeService(t, service);
  const root = await Root.open(t, release, host);
  const succeeds = (script: string, message: string): string => {
    const result = root.run(script);
    t.match(result, { code: 0, signal: null }, `${message}: ${result.stdout}${result.stderr}`);
    return result.stdout + result.stderr;
  };
  /** What a process of the service is told about a connection that no policy allows. */
  const connect = (): string =>
    root.run(`echo $$ > '${cgroup}/cgroup.procs'; exec 2>&1; : > /dev/tcp/127.0.0.1/1`).stdout;
  const REFUSED = /Operation not permitted/;
  /** Nobody listens there: without enforcement the kernel says so. */
  const OPEN = /Connection refused/;
  let agent: Running | undefined;
  const startAgent = async (): Promise<Running> => {
    const started = root.start(["env", "ZTAP_LISTEN=off", "ztap", "agent"]);
    await started.says(/enforcing revision 1/);
    return started;
  };

  await t.test("from the package to an enforced policy", async (t) => {
    const [install = "", enable = "", look = ""] = commandsOf("One host");
    const file = root.copy(first);
    const script = install
      .replace("./ztap_0.1.0-1_amd64.deb", file)
      .replace("service=nginx.service ", `service=${service} `);
    t.ok(script.includes(file) && script.includes(`service=${service} `) && enable.includes("systemctl"), script);
    const said = succeeds(script, "install");
    t.match(said, /installed, and nothing is enforced yet/);
    t.match(said, /This machine has everything that enforcement needs/);
    t.match(connect(), OPEN, "nothing is enforced before the agent runs");
    agent = await startAgent();
    succeeds(look, "look");
    t.match(connect(), REFUSED);
    t.match(succeeds("ztap flows --verdict denied", "flows"), /127\.0\.0\.1/);
  });

  await t.test("an upgrade", async (t) => {
    succeeds("echo 'checkInterval: 5s' >> /etc/ztap/config.yaml", "an edited configuration");
    const said = succeeds(`dpkg -i ${root.copy(second)}`, "upgrade");
    t.match(said, /still runs the former version: restart it/);
    t.match(connect(), REFUSED);
    await agent?.stop();
    t.match(connect(), REFUSED);
    agent = await startAgent();
    t.match(connect(), REFUSED);
    t.match(succeeds("dpkg-query -W ztap; ztap config show", "the edited configuration counts"), /0\.1\.0-2[^]*5s/);
    t.match(succeeds("ztap policy show shop/web-to-db", "policy show"), /InSync/);
  });

  await t.test("removed: the agent stops, enforcement stays, and the message says how to end it", async (t) => {
    const said = succeeds("apt-get remove -y ztap", "remove");
    t.match(said, /still in force/);
    t.match(said, /apt-get purge ztap/);
    await waitUntil(() => agent?.isOver === true, { what: "the end of the agent" });
    t.match(await agent?.ended, { code: 0 }, "it was asked to stop, and did");
    t.match(connect(), REFUSED);
    succeeds("test -s /etc/ztap/config.yaml && test -d /var/lib/ztap && ! test -e /usr/lib/ztap", "files");
  });

  await t.test("installed again by apt from a signed repository, it goes on with the same state", async (t) => {
    const repository = root.copy(makeRepository(t, [first, second]));
    // apt reads the lists of this repository alone, and keeps the others.
    const own = `-o Dir::Etc::sourcelist=/etc/apt/ztap-test.list -o Dir::Etc::sourceparts=- -o APT::Get::List-Cleanup=0`;
    const source = `echo 'deb [signed-by=${repository}/key.gpg] file:${repository} ./' > /etc/apt/ztap-test.list`;
    succeeds(
      `cp ${repository}/InRelease /tmp/InRelease && sed -i 's/^Suite: test/Suite: else/' ${repository}/InRelease`,
      "forge",
    );
    t.not(root.run(`${source}; apt-get update --error-on=any ${own}`).code, 0, "changed after it was signed");
    succeeds(`cp /tmp/InRelease ${repository}/InRelease; apt-get update --error-on=any ${own}`, "update");
    t.match(
      succeeds(`apt-get install -y ${own} ztap; rm /etc/apt/ztap-test.list`, "install"),
      /Setting up ztap \(0\.1\.0-2\)/,
    );
    agent = await startAgent();
    t.match(succeeds("ztap policy show shop/web-to-db", "policy show"), /InSync/);
  });

  await t.test("purged: nothing is left", async (t) => {
    const said = succeeds("apt-get purge -y ztap", "purge");
    t.match(said, /enforcement is removed/);
    t.match(connect(), OPEN);
    const left = succeeds(
      "find / -xdev -iname '*ztap*' -not -path '/proc/*' -not -path '/tmp/*' -not -path '/srv/policies/*' -not -path /etc/ztap-test; ls /sys/fs/bpf",
      "look",
    );
    t.equal(
      left
        .trim()
        .replace(/^(maps|progs)\.debug$/gm, "")
        .trim(),
      "",
    );
  });
}

/** Ten thousand probes a second and more, of what is allowed and of what is forbidden, while dpkg and the agents come and go. */
async function upgradeUnderLoad(t: Test, first: string, second: string): Promise<void> {
  const [OWN, PEER] = ["10.214.0.1", "10.214.0.2"];
  const sandbox = new Sandbox(t);
  const [inside, outside] = sandbox.network([`${OWN}/24`], [`${PEER}/24`]);
  const cgroup = sandbox.cgroup("load");
  const host = `zt${process.pid}-load`;
  const root = await Root.open(t, "bookworm", host);
  const sink = await Prober.start(t, sandbox, { namespace: outside }, { host: OWN, allowed: 0, forbidden: 0 });
  const workload = await Prober.start(t, sandbox, { cgroup, namespace: inside }, { host: PEER, ...sink.ports });
  const outsider = await Prober.start(t, sandbox, { namespace: outside }, { host: OWN, ...workload.ports });
  const succeeds = (script: string): void => {
    const result = root.run(script);
    t.match(result, { code: 0 }, `${script}: ${result.stdout}${result.stderr}`);
  };
  const startAgent = async (): Promise<Running> => {
    const agent = root.start(["env", "ZTAP_LISTEN=off", "ztap", "agent"]);
    await agent.says("enforcing revision 1");
    return agent;
  };
  const policy =
    `{ apiVersion: ztap/v1, kind: Workload, metadata: { name: web }, spec: { node: ${host}, cgroup: ${cgroup}, addresses: ["${OWN}"] } }\n---\n` +
    `{ apiVersion: ztap/v1, kind: NetworkPolicy, metadata: { name: p }, spec: { podSelector: {},\n` +
    `  egress: [{ ports: [{ port: ${sink.ports.allowed}, protocol: UDP }] }], ingress: [{ ports: [{ port: ${workload.ports.allowed}, protocol: UDP }] }] } }\n`;
  succeeds(`apt-get install -y ${root.copy(first)}`);
  succeeds(`mkdir /srv/state && cd /srv/state && printf %s '${policy}' > all.yaml && ztap apply . --auto-approve`);
  let agent = await startAgent();

  const count = async () => ({
    workload: await workload.counters(),
    outsider: await outsider.counters(),
    sink: await sink.counters(),
  });
  const start = await count();
  let before = start;
  const check = async (during: string): Promise<void> => {
    await waitUntil(
      async () => (await workload.counters()).refused.forbidden > before.workload.refused.forbidden + 1000,
      {
        what: `${during}: a thousand refusals`,
      },
    );
    await waitUntil(async () => (await outsider.counters()).sent.allowed > before.outsider.sent.allowed + 1000, {
      what: `${during}: a thousand packets of the outsider`,
    });
    const now = await count();
    t.equal(now.workload.sent.forbidden, start.workload.sent.forbidden, `${during}: nothing forbidden left`);
    t.equal(now.sink.got.forbidden, start.sink.got.forbidden, `${during}: nothing forbidden arrived there`);
    t.equal(now.workload.got.forbidden, start.workload.got.forbidden, `${during}: nothing forbidden arrived here`);
    t.equal(now.workload.refused.allowed, start.workload.refused.allowed, `${during}: nothing allowed was refused`);
    t.equal(now.workload.dropped, start.workload.dropped, `${during}: nothing allowed was kept out`);
    t.ok(now.sink.got.allowed > before.sink.got.allowed, `${during}: what is allowed arrived there`);
    t.ok(now.workload.got.allowed > before.workload.got.allowed, `${during}: what is allowed arrived here`);
    before = now;
  };
  await check("the first version");
  succeeds(`dpkg -i ${root.copy(second)}`);
  await check("the package is replaced");
  await agent.stop();
  await check("no agent runs");
  agent = await startAgent();
  await check("the second version");
  succeeds("dpkg --remove ztap");
  t.match(await agent.ended, { code: 0 });
  await check("the package is removed");
}
