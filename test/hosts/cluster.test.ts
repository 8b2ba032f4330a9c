/**
 * A cluster of hosts by the commands of docs/install.md: three Debians on a network of their own, each with a member of etcd and an
 * agent, bootstrapped with certificates and roles from a fourth machine; and a host that comes later, with a token.
 */
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import t from "tap";
import { Sandbox, whyNot } from "../kernel/sandbox.js";
import { fileOf, makePackages, whyNoPackages } from "../package/packages.js";
import { Root, whyNoRoot } from "../package/root.js";
import { HANG_MS, waitUntil } from "../wait.js";

const SYSTEM = "hosts";
const [ADMIN, ...HOSTS] = [9, 1, 2, 3, 4].map((at) => `10.78.0.${at}`);
const MEMBERS = HOSTS.slice(0, 3);
const STORE = `etcds://${MEMBERS.map((address) => `${address}:2379`).join()}/ztap`;
const DIR = "/root/shop";

/** Namespaces that reach each other, one for each address. */
function connectAll(sandbox: Sandbox, addresses: readonly string[]): readonly string[] {
  const pairs = addresses.map((address) => sandbox.network([`${address}/24`], []));
  const [, hub] = sandbox.network([], []);
  execFileSync("ip", ["-n", hub, "link", "add", "bridge", "type", "bridge"]);
  execFileSync("ip", ["-n", hub, "link", "set", "bridge", "up"]);
  for (const [at, [, outside]] of pairs.entries()) {
    execFileSync("ip", ["-n", outside, "link", "set", "eth0", "netns", hub, "name", `port${at}`]);
    execFileSync("ip", ["-n", hub, "link", "set", `port${at}`, "master", "bridge", "up"]);
  }
  return pairs.map(([inside]) => inside);
}

await t.test(
  "a cluster",
  { skip: whyNot() ?? whyNoRoot(SYSTEM) ?? whyNoPackages() ?? false, timeout: HANG_MS },
  async (t) => {
    const deb = fileOf(makePackages(t, ["--arch", "amd64", "--only", "deb"]), ".deb");
    const sandbox = new Sandbox(t);
    const [adminSpace = "", ...spaces] = connectAll(sandbox, [ADMIN ?? "", ...HOSTS]);
    const install = (root: Root, packages: string): void =>
      succeed(root, `apt-get install -y ${root.copy(deb)} ${packages}`);
    const succeed = (root: Root, script: string): void => void output(root, script);
    const output = (root: Root, script: string): string => {
      const { code, stdout, stderr } = root.run(script);
      if (code !== 0) throw new Error(`${script}: exit code ${String(code)}\n${stdout}${stderr}`);
      return stdout.trim();
    };
    const names = HOSTS.map((_, at) => `web-${at + 1}`);
    const workload = (name: string): string => sandbox.cgroupPathOf(name);

    const admin = await Root.open(t, SYSTEM, "admin", adminSpace);
    const hosts = await Promise.all(spaces.map((space, at) => Root.open(t, SYSTEM, names[at] ?? "", space)));
    install(admin, "etcd-client");
    const members = MEMBERS.map((address, at) => `m${at + 1}=${address}`).join();
    const three = names.slice(0, 3).join();
    succeed(
      admin,
      `ztap cluster bootstrap ${DIR} --members ${members} --nodes ${three} --leaders ${three} --operators ada`,
    );

    for (const [at, host] of hosts.slice(0, 3).entries()) {
      install(host, "etcd-server");
      const copy = (from: string, to: string): void => {
        mkdirSync(dirname(host.at(to)), { recursive: true });
        cpSync(admin.at(from), host.at(to), { recursive: true });
      };
      copy(`${DIR}/members/m${at + 1}`, "/root/ztap-member");
      copy(`${DIR}/nodes/web-${at + 1}`, "/etc/ztap/etcd");
      succeed(
        host,
        "cd /root; install -d -o etcd -m 700 /etc/etcd/ztap && install -o etcd -m 600 ztap-member/* /etc/etcd/ztap/; cp ztap-member/etcd.env /etc/default/etcd",
      );
      // Not su, which stays the parent of etcd: etcd would outlive it.
      const asEtcd = ["setpriv", "--reuid=etcd", "--regid=etcd", "--clear-groups"];
      host.start([...asEtcd, "sh", "-c", "set -a; . /etc/default/etcd; exec etcd"]);
    }
    // Members find each other in their own time.
    await waitUntil(() => admin.run(`ztap cluster bootstrap ${DIR} --apply`).code === 0, { what: "users and roles" });

    const start = (host: Root, at: number): void => {
      sandbox.cgroup(names[at] ?? "");
      succeed(host, `ztap setup --store ${STORE} --node web-${at + 1} --address ${HOSTS[at]}:9470 </dev/null`);
      host.start(["env", "ZTAP_LISTEN=off", "ztap", "agent"]);
    };
    for (const [at, host] of hosts.slice(0, 3).entries()) start(host, at);

    const policy = names
      .map(
        (name) =>
          `---\napiVersion: ztap/v1\nkind: Workload\nmetadata: { name: ${name}, labels: { app: web } }\n` +
          `spec: { nodeSelector: { matchLabels: { name: ${name} } }, process: { cgroup: ${workload(name)} } }\n`,
      )
      .join("");
    const groups = names
      .map(
        (name, at) =>
          `---\napiVersion: ztap/v1\nkind: Node\nmetadata: { name: ${name}, labels: { name: ${name} } }\nspec: { addresses: [${HOSTS[at]}] }\n`,
      )
      .join("");
    const closed =
      "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: { name: closed }\n" +
      "spec: { podSelector: { matchLabels: { app: web } }, policyTypes: [Egress], egress: [] }\n";
    mkdirSync(admin.at("/root/policies"));
    writeFileSync(admin.at("/root/policies/policy.yaml"), `${groups}${policy}${closed}`);
    const operator = `--store ${STORE}`;
    const files = "ca=ca.crt cert=operator.crt key=operator.key";
    const env = files
      .split(" ")
      .map((pair) => pair.split("="))
      .map(([name = "", file]) => `export ZTAP_ETCD_${name.toUpperCase()}=${DIR}/operators/ada/${file};`)
      .join(" ");
    // On a busy machine a member may answer later than ztap waits.
    const apply = `${env} cd /root/policies && ztap apply ${operator} --auto-approve`;
    await waitUntil(() => admin.run(apply).code === 0, { what: "the first revision" });

    const converge = (some: readonly string[]): Promise<unknown> =>
      waitUntil(
        () => {
          const { code, stdout } = admin.run(`${env} ztap cluster status ${operator} --json`);
          if (code !== 0) return false;
          const { revision, nodes } = JSON.parse(stdout) as {
            readonly revision: number;
            readonly nodes: readonly { readonly id: string; readonly enforcedRevision: number | null }[];
          };
          return some.every((name) => nodes.some((one) => one.id === name && one.enforcedRevision === revision));
        },
        { what: `${some.join(", ")} to enforce the head revision` },
      );
    await converge(names.slice(0, 3));
    const connect = (host: Root, name: string): string =>
      host.run(`echo $$ >${sandbox.cgroupRoot}/${workload(name)}/cgroup.procs; exec 2>&1; : >/dev/tcp/${ADMIN}/1`)
        .stdout;
    for (const [at, host] of hosts.slice(0, 3).entries())
      t.match(connect(host, names[at] ?? ""), /Operation not permitted/, `web-${at + 1} enforces it`);

    const token = output(admin, `ztap cluster token ${DIR} web-4 --address ${ADMIN}:9471`);
    const authority = admin.start(["ztap", "cluster", "authority", DIR, "--listen", `${ADMIN}:9471`]);
    const [fourth] = hosts.slice(3);
    if (fourth === undefined) throw new TypeError("there are four hosts");
    install(fourth, "");
    await waitUntil(() => fourth.run(`printf %s ${token} | ztap cluster enroll -`).code === 0, {
      what: "the certificate of web-4",
    });
    const again = fourth.run(`printf %s ${token} | ztap cluster enroll - --dir /root/another`);
    t.not(again.code, 0, "a token is good for one key");
    await authority.stop("SIGTERM");
    start(fourth, 3);
    await converge(names);
    t.match(connect(fourth, "web-4"), /Operation not permitted/, "web-4 enforces it");
  },
);
