/** The role of examples/ansible, applied over a real sshd to an empty Debian 12: what it leaves, and that a second run changes nothing. */
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import t from "tap";
import { freePorts } from "../etcd/server.js";
import { fileOf, makePackages, whyNoPackages } from "../package/packages.js";
import { Root, ROOT, whyNoRoot } from "../package/root.js";
import { HANG_MS, waitUntil } from "../wait.js";

const SYSTEM = "hosts";

function whyNotHere(): string | null {
  const isThere = spawnSync("ansible-playbook", ["--version"]).status === 0;
  return whyNoRoot(SYSTEM) ?? whyNoPackages() ?? (isThere ? null : "needs ansible-playbook (ansible-core)");
}

await t.test("the role of Ansible", { skip: whyNotHere() ?? false, timeout: HANG_MS }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), `ztap-ansible-${process.pid}-`));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const file = (name: string): string => join(folder, name);
  const deb = fileOf(makePackages(t, ["--arch", "amd64", "--only", "deb"]), ".deb");
  const root = await Root.open(t, SYSTEM, `zt${process.pid}-ansible`);

  execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", file("key")]);
  const key = readFileSync(file("key.pub"), "utf8");
  root.run(`mkdir -p /run/sshd /root/.ssh && chmod 700 /root/.ssh && echo '${key.trim()}' >/root/.ssh/authorized_keys`);
  const [port = 0] = await freePorts(1);
  const own = ["-o", "UsePAM=no", "-o", "ListenAddress=127.0.0.1", "-o", `Port=${port}`, "-o", "PidFile=none"];
  root.start(["/usr/sbin/sshd", "-D", "-e", ...own]);
  const ssh = ["-i", file("key"), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"];
  const login = [...ssh, "-p", String(port), "root@127.0.0.1", "true"];
  await waitUntil(() => spawnSync("ssh", login).status === 0, { what: "the server of ssh" });

  for (const name of ["ca.crt", "node.crt", "node.key"]) writeFileSync(file(name), `${name}\n`);
  const sum = createHash("sha256").update(readFileSync(deb)).digest("hex");
  const inventory = (checksum: string): string =>
    JSON.stringify({
      ztap: {
        vars: {
          ansible_user: "root",
          ansible_port: port,
          ansible_ssh_private_key_file: file("key"),
          ansible_ssh_common_args: ssh.slice(2).join(" "),
          ansible_python_interpreter: "/usr/bin/python3",
          ztap_version: JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")).version,
          ztap_source: dirname(deb),
          ztap_checksums: { [basename(deb)]: checksum },
          ztap_show_config: true,
          ztap_config: { node: "{{ inventory_hostname }}", logLevel: "warn" },
          ztap_certificates: { "/etc/ztap/etcd/ca.crt": file("ca.crt"), "/etc/ztap/etcd/node.key": file("node.key") },
        },
        hosts: { "web-1": { ansible_host: "127.0.0.1" } },
      },
    });
  const play = (
    checksum = sum,
    ...args: readonly string[]
  ): { readonly code: number | null; readonly text: string } => {
    // JSON is YAML.
    writeFileSync(file("hosts.yml"), inventory(checksum));
    writeFileSync(file("play.yml"), "- hosts: ztap\n  roles: [ztap]\n");
    const env = {
      ...process.env,
      ANSIBLE_ROLES_PATH: join(ROOT, "examples/ansible/roles"),
      ANSIBLE_LOCAL_TEMP: file("local"),
      ANSIBLE_HOME: file("home"),
      ANSIBLE_NOCOLOR: "1",
      LC_ALL: "C.UTF-8",
    };
    const command = ["-i", file("hosts.yml"), ...args, file("play.yml")];
    const { status, stdout, stderr } = spawnSync("ansible-playbook", command, { encoding: "utf8", env });
    return { code: status, text: `${stdout}${stderr}` };
  };
  const changes = (text: string): number => Number(/changed=(\d+)/.exec(text)?.[1] ?? Number.NaN);

  const wrong = play("0".repeat(64));
  t.not(wrong.code, 0, "a package that has another checksum is refused");
  t.match(wrong.text, /has the SHA-256 sum [0-9a-f]{64}, which is not that of ztap_checksums/);
  t.match(root.run("command -v ztap"), { code: 1 }, "and not installed");

  const early = play(sum, "--check", "--diff");
  t.equal(early.code, 0, `a check of an empty host: ${early.text}`);
  t.match(root.run("command -v ztap"), { code: 1 }, "changes nothing");

  const first = play();
  t.equal(first.code, 0, first.text);
  t.match(root.run("ztap version").stdout, /ztap/);
  t.match(root.run("ztap config show").stdout, /web-1/, "the settings are those of the inventory");
  t.match(root.run("stat -c '%a %U' /etc/ztap/etcd/node.key"), { stdout: "600 root\n" });
  const again = play();
  t.equal(again.code, 0, again.text);
  t.equal(changes(again.text), 0, "a second run changes nothing");
  root.run("echo '# by hand' >>/etc/ztap/config.yaml");
  const checked = play(sum, "--check", "--diff");
  t.equal(changes(checked.text), 1, "a check says what it would change");
  t.match(checked.text, /-# by hand/);
  t.match(root.read("/etc/ztap/config.yaml"), /by hand/, "and changes nothing");

  const syntax = ["--syntax-check", "-i", "inventory/hosts.yml", "site.yml"];
  const example = spawnSync("ansible-playbook", syntax, { cwd: join(ROOT, "examples/ansible"), encoding: "utf8" });
  t.equal(example.status, 0, example.stderr);
});
