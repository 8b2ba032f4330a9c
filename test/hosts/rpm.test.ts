/**
 * The life of the rpm, by rpm itself and with the scripts of the package, in a Debian 12: installed, enforced, upgraded by a package that
 * brings another configuration, erased. Whole hosts show the same with systemd. And such an upgrade by dpkg.
 */
import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { Sandbox, whyNot } from "../kernel/sandbox.js";
import { fileOf, makePackages, whyNoPackages } from "../package/packages.js";
import { Root, ROOT, whyNoRoot } from "../package/root.js";
import { HANG_MS, waitUntil } from "../wait.js";

const SYSTEM = "hosts";
/** What packages are made of; the rest of a checkout has nothing to do with them. */
const COPIED = ["bin", "dist/cli", "dist/man", "dist/completions", "docs", "examples", "native", "schemas", ".github"];
const FILES = ["package.json", "package-lock.json", "oclif.manifest.json", "LICENSE", "README.md", "CHANGELOG.md"];
const CONFIG = "/etc/ztap/config.yaml";

/** This checkout once more, with another configuration file in its packages. */
function checkoutWith(t: Test, config: string): string {
  const folder = mkdtempSync(join(tmpdir(), `ztap-checkout-${process.pid}-`));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  for (const path of [...COPIED, ...FILES, "dist/bundled.json"])
    cpSync(join(ROOT, path), join(folder, path), { recursive: true, preserveTimestamps: true });
  for (const path of ["node_modules", ".packaging"]) symlinkSync(join(ROOT, path), join(folder, path));
  writeFileSync(join(folder, "bin/package/templates/config.yaml"), config);
  return folder;
}

const skip = whyNot() ?? whyNoRoot(SYSTEM) ?? whyNoPackages() ?? false;
t.setTimeout(HANG_MS * 2);
// The time of the commit, which a copy without .git does not know.
process.env["SOURCE_DATE_EPOCH"] ??= execFileSync("git", ["-C", ROOT, "log", "-1", "--format=%ct"]).toString().trim();
const make = (release: string, checkout?: string): readonly string[] =>
  makePackages(t, ["--arch", "amd64", "--only", "deb,rpm", "--release", release], checkout);
const made =
  skip === false ? [make("1"), make("2", checkoutWith(t, "# Another version's configuration.\n#node: web-1\n"))] : [];

await t.test("dpkg keeps an edited configuration", { skip, timeout: HANG_MS }, async (t) => {
  const [first = "", second = ""] = made.map((files) => fileOf(files, ".deb"));
  const root = await Root.open(t, SYSTEM, `zt${process.pid}-dpkg`);
  const install = `apt-get install -y -o Dpkg::Options::=--force-confold`;
  t.match(root.run(`${install} ${root.copy(first)}; echo 'checkInterval: 5s' >> ${CONFIG}`), { code: 0 });
  t.not(root.run(`apt-get install -y ${root.copy(second)}`).code, 0, "nobody can be asked");
  t.match(root.run("ztap config show"), { code: 0, stdout: /5s/ }, "and the agent has its settings");
  t.match(root.run(`${install} ${root.copy(second)}; dpkg-query -W ztap`), { code: 0, stdout: /0\.1\.0-2/ });
  t.match(root.read(CONFIG), /web-1[^]*checkInterval: 5s/);
  t.match(root.read(`${CONFIG}.dpkg-dist`), /^# Another version's configuration/);
});

await t.test("the life of an rpm", { skip, timeout: HANG_MS }, async (t) => {
  const [first = "", second = ""] = made.map((files) => fileOf(files, ".rpm"));
  const node = `zt${process.pid}-rpm`;
  const root = await Root.open(t, SYSTEM, node);
  const sandbox = new Sandbox(t);
  const cgroup = sandbox.cgroup("rpm");
  const does = (script: string): string => {
    const { code, stdout, stderr } = root.run(script);
    t.equal(code, 0, `${script}: ${stdout}${stderr}`);
    return stdout + stderr;
  };
  // Debian's packages are not in rpm's database: what the package depends on is there all the same.
  const rpm = (args: string, file = ""): string => does(`rpm --nodeps ${args} ${file && root.copy(file)} 2>&1`);
  const connect = (): string =>
    root.run(`echo $$ > ${sandbox.cgroupRoot}/${cgroup}/cgroup.procs; exec 2>&1; : > /dev/tcp/127.0.0.1/1`).stdout;
  const [REFUSED, OPEN] = [/Operation not permitted/, /Connection refused/];
  const startAgent = async () => {
    const agent = root.start(["env", "ZTAP_LISTEN=off", "ztap", "agent"]);
    await agent.says("enforcing revision 1");
    return agent;
  };
  does("apt-get install -y rpm");

  t.match(rpm("-i", first), /installed, and nothing is enforced yet/);
  t.match(does("ztap doctor"), /This machine has everything that enforcement needs/);
  does("test -f /usr/lib/systemd/system/ztap.service && test -f /usr/lib/systemd/system/ztap-boot.service");
  t.equal(does("stat -c '%u %a' /var/cache/ztap"), "0 755\n");
  const policy =
    `{ apiVersion: ztap/v1, kind: Workload, metadata: { name: web }, spec: { node: ${node}, cgroup: ${cgroup} } }\n---\n` +
    `{ apiVersion: ztap/v1, kind: NetworkPolicy, metadata: { name: closed }, spec: { podSelector: {}, egress: [] } }\n`;
  does(`mkdir /srv/state && cd /srv/state && printf %s '${policy}' > all.yaml && ztap apply . --auto-approve`);
  t.match(connect(), OPEN, "nothing is enforced before the agent runs");
  let agent = await startAgent();
  t.match(connect(), REFUSED);

  await t.test("upgraded: the edited configuration stays, and the new one is beside it", async (t) => {
    does(`echo 'checkInterval: 5s' >> ${CONFIG}`);
    const said = rpm("-U", second);
    t.match(said, /still runs the former version: restart it/);
    t.match(said, /config\.yaml\.rpmnew/);
    t.match(connect(), REFUSED);
    t.match(root.read(CONFIG), /web-1[^]*checkInterval: 5s/);
    t.match(root.read(`${CONFIG}.rpmnew`), /^# Another version's configuration/);
    await agent.stop();
    t.match(connect(), REFUSED);
    agent = await startAgent();
    t.match(connect(), REFUSED);
    t.match(does("rpm -q ztap; ztap config show"), /ztap-0\.1\.0-2\.[^]*5s/);
  });

  await t.test("erased: the agent stops, enforcement and the edited configuration stay", async (t) => {
    const said = rpm("-e ztap");
    t.match(said, /still in force/);
    t.match(said, /ztap enforcement remove/);
    t.match(said, /config\.yaml\.rpmsave/);
    await waitUntil(() => agent.isOver, { what: "the end of the agent" });
    t.match(await agent.ended, { code: 0 }, "it was asked to stop, and did");
    t.match(connect(), REFUSED);
    t.match(root.read(`${CONFIG}.rpmsave`), /checkInterval: 5s/);
    does("test -d /var/lib/ztap && ! test -e /usr/lib/ztap && ! test -e /usr/bin/ztap && ! test -e /var/cache/ztap");
  });

  await t.test(
    "installed again, it goes on with the same state, and ends enforcement when it is told to",
    async (t) => {
      t.match(rpm("-i", first), /installed again[^]*still in force/);
      agent = await startAgent();
      t.match(connect(), REFUSED);
      await agent.stop();
      does("ztap enforcement remove --auto-approve");
      t.match(connect(), OPEN);
      t.notMatch(rpm("-e ztap"), /still in force/);
      t.match(connect(), OPEN);
    },
  );
});
