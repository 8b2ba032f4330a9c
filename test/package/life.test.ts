/**
 * The life of the Debian package in empty systems: docs/install.md's commands lead from the package to an enforced policy; an upgrade
 * keeps the configuration and opens nothing, under ten thousand probes a second and more; a removal leaves enforcement, and says so;
 * purge leaves nothing.
 */
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import type { Test } from "tap";
import { findCgroupRoot } from "../../src/adapters/ebpf/kernel/paths.js";
import type { Running } from "../cli/ztap.js";
import { whyNot } from "../kernel/sandbox.js";
import { HANG_MS, waitUntil } from "../wait.js";
import { Load } from "./load.js";
import { fileOf, makePackages, makeRepository, supported, whyNoPackages } from "./packages.js";
import { Root, ROOT, whyNoRoot } from "./root.js";

const REFUSED = /Operation not permitted/;
/** Nobody listens there: without enforcement the kernel says so. */
const OPEN = /Connection refused/;

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

/** A host that a package is installed on, and its agent, which no systemd starts there. */
class Host {
  agent: Running | null = null;

  constructor(
    readonly root: Root,
    readonly service: string,
    private readonly cgroup: string,
  ) {}

  async startAgent(): Promise<void> {
    this.agent = this.root.start(["env", "ZTAP_LISTEN=off", "ztap", "agent"]);
    await this.agent.says(/enforcing revision 2/);
  }

  async stopAgent(): Promise<void> {
    await this.agent?.stop();
  }

  succeeds(t: Test, script: string, message: string): string {
    const result = this.root.run(script);
    t.match(result, { code: 0, signal: null }, `${message}: ${result.stdout}${result.stderr}`);
    return result.stdout + result.stderr;
  }

  /** What a process of the service is told about a connection that no policy allows. */
  connect(): string {
    return this.root.run(`echo $$ > '${this.cgroup}/cgroup.procs'; exec 2>&1; : > /dev/tcp/127.0.0.1/1`).stdout;
  }
}

const reason = whyNot() ?? whyNoPackages();
await t.test("the life of a package", { skip: reason ?? false, timeout: HANG_MS }, async (t) => {
  const made = makePackages(t, ["--arch", "amd64", "--only", "deb", "--release", "1,2"]);
  const debs: Debs = { first: fileOf(made, "-1_amd64.deb"), second: fileOf(made, "-2_amd64.deb") };
  for (const release of supported("bookworm", "trixie"))
    await t.test(release, { skip: whyNoRoot(release) ?? false }, async (t) => live(t, release, debs));
});

interface Debs {
  readonly first: string;
  readonly second: string;
}

async function live(t: Test, release: string, debs: Debs): Promise<void> {
  const name = `zt${process.pid}-${release}`;
  const service = `${name}.service`;
  const cgroup = makeService(t, service);
  const host = new Host(await Root.open(t, release, name), service, cgroup);
  await t.test("under probes that do not pause", async (t) => {
    const load = await Load.start(t, name);
    await t.test("from the package to an enforced policy", async (t) => {
      await install(t, host, debs.first, load);
      await load.begin();
      await load.check(t, "the first version");
    });
    await t.test("an upgrade", async (t) => upgrade(t, host, debs.second, load));
    await t.test("removed: the agent stops, enforcement stays, and the message says how to end it", async (t) => {
      await remove(t, host);
      await load.check(t, "the package is removed");
    });
  });
  await t.test("installed again by apt from a signed repository, it goes on with the same state", async (t) =>
    installAgain(t, host, debs),
  );
  await t.test("purged: nothing is left", async (t) => purge(t, host));
}

async function install(t: Test, host: Host, deb: string, load: Load): Promise<void> {
  const [install = "", enable = "", look = ""] = commandsOf("One host");
  const file = host.root.copy(deb);
  const script = install
    .replace("./ztap_0.1.0-1_amd64.deb", file)
    .replace("service=nginx.service ", `service=${host.service} `);
  t.ok(script.includes(file) && script.includes(host.service) && enable.includes("systemctl"), script);
  const from = performance.now();
  const said = host.succeeds(t, script, "install");
  const installed = performance.now();
  t.match(said, /installed, and nothing is enforced yet/);
  t.match(said, /This machine has everything that enforcement needs/);
  t.match(host.connect(), OPEN, "nothing is enforced before the agent runs");
  writeFileSync(host.root.at("/srv/policies/load.yaml"), load.policy);
  const commit = "git add -A && git -c user.name=root -c user.email=root@localhost commit -qm load";
  host.succeeds(t, `cd /srv/policies && ${commit} && ztap apply --auto-approve`, "the policy of the probes");
  const start = performance.now();
  await host.startAgent();
  host.succeeds(t, look, "look");
  const seconds = (installed - from + performance.now() - start) / 1000;
  t.comment(`${seconds.toFixed(1)} s from the package to an enforced policy: the commands of docs/install.md`);
  t.match(host.connect(), REFUSED);
  t.match(host.succeeds(t, "ztap flows --verdict denied", "flows"), /127\.0\.0\.1/);
}

async function upgrade(t: Test, host: Host, deb: string, load: Load): Promise<void> {
  host.succeeds(t, "echo 'checkInterval: 5s' >> /etc/ztap/config.yaml", "an edited configuration");
  const file = host.root.copy(deb);
  let said = "";
  const { seconds, rate } = await load.rateWhile(() => (said = host.succeeds(t, `dpkg -i ${file}`, "upgrade")));
  t.comment(`${Math.round(rate)} probes a second during dpkg -i, which took ${seconds.toFixed(1)} s`);
  t.match(said, /still runs the former version: restart it/);
  await load.check(t, "the package is replaced");
  t.match(host.connect(), REFUSED);
  await host.stopAgent();
  await load.check(t, "no agent runs");
  t.match(host.connect(), REFUSED);
  await host.startAgent();
  await load.check(t, "the second version");
  t.match(host.connect(), REFUSED);
  t.match(host.succeeds(t, "dpkg-query -W ztap; ztap config show", "the edited configuration"), /0\.1\.0-2[^]*5s/);
  t.match(host.succeeds(t, "ztap policy show shop/web-to-db", "policy show"), /InSync/);
}

async function remove(t: Test, host: Host): Promise<void> {
  const said = host.succeeds(t, "apt-get remove -y ztap", "remove");
  t.match(said, /still in force/);
  t.match(said, /apt-get purge ztap/);
  await waitUntil(() => host.agent?.isOver === true, { what: "the end of the agent" });
  t.match(await host.agent?.ended, { code: 0 }, "it was asked to stop, and did");
  t.match(host.connect(), REFUSED);
  host.succeeds(t, "test -s /etc/ztap/config.yaml && test -d /var/lib/ztap && ! test -e /usr/lib/ztap", "files");
}

async function installAgain(t: Test, host: Host, { first, second }: Debs): Promise<void> {
  const repository = host.root.copy(makeRepository(t, [first, second]));
  // apt reads the lists of this repository alone, and keeps the others.
  const own = `-o Dir::Etc::sourcelist=/etc/apt/ztap-test.list -o Dir::Etc::sourceparts=- -o APT::Get::List-Cleanup=0`;
  const source = `echo 'deb [signed-by=${repository}/key.gpg] file:${repository} ./' > /etc/apt/ztap-test.list`;
  const update = `apt-get update --error-on=any ${own}`;
  const forge = `cp ${repository}/InRelease /tmp/InRelease && sed -i 's/^Suite: test/Suite: else/' ${repository}/InRelease`;
  host.succeeds(t, forge, "forge");
  t.not(host.root.run(`${source}; ${update}`).code, 0, "changed after it was signed");
  host.succeeds(t, `cp /tmp/InRelease ${repository}/InRelease; ${update}`, "update");
  t.match(
    host.succeeds(t, `apt-get install -y ${own} ztap; rm /etc/apt/ztap-test.list`, "install"),
    /Setting up ztap \(0\.1\.0-2\)/,
  );
  await host.startAgent();
  t.match(host.succeeds(t, "ztap policy show shop/web-to-db", "policy show"), /InSync/);
}

async function purge(t: Test, host: Host): Promise<void> {
  const said = host.succeeds(t, "apt-get purge -y ztap", "purge");
  t.match(said, /enforcement is removed/);
  t.match(host.connect(), OPEN);
  const left = host.succeeds(
    t,
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
}
