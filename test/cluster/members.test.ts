/** Members of etcd with several addresses: what their certificates and settings have, and members that run with them. */
import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { Ztap } from "../cli/ztap.js";
import { whyNoEtcd } from "../etcd/server.js";
import { openStore } from "../etcd/stores.js";
import { HANG_MS } from "../wait.js";
import { BootstrappedCluster } from "./bootstrapped.js";

t.test("each address of a member is in its certificates, and is listened on", async (t) => {
  const ztap = new Ztap(t);
  const dir = ztap.path("authority");
  const members = "m1=10.0.0.1+192.168.0.1+127.0.0.1,m2=etcd2.example.com+10.0.0.2,m3=10.0.0.3";
  t.match(await ztap.run(["cluster", "bootstrap", dir, "--members", members]), { code: 0 });
  const read = (path: string): string => readFileSync(join(dir, path), "utf8");
  t.match(read("cluster.yaml"), /address: 10\.0\.0\.1\n +otherAddresses:\n +- 192\.168\.0\.1\n +- 127\.0\.0\.1/);
  for (const name of ["member", "peer"]) {
    const { subjectAltName } = new X509Certificate(read(`members/m1/${name}.crt`));
    t.equal(subjectAltName, "DNS:m1, IP Address:10.0.0.1, IP Address:192.168.0.1, IP Address:127.0.0.1");
  }
  const settings = (name: string): readonly string[] => read(`members/${name}/etcd.env`).split("\n");
  for (const line of [
    "ETCD_LISTEN_CLIENT_URLS=https://10.0.0.1:2379,https://192.168.0.1:2379,https://127.0.0.1:2379",
    "ETCD_LISTEN_PEER_URLS=https://10.0.0.1:2380,https://192.168.0.1:2380",
    "ETCD_ADVERTISE_CLIENT_URLS=https://10.0.0.1:2379",
  ])
    t.ok(settings("m1").includes(line), line);
  for (const line of [
    "ETCD_LISTEN_CLIENT_URLS=https://10.0.0.2:2379",
    "ETCD_ADVERTISE_CLIENT_URLS=https://etcd2.example.com:2379",
  ])
    t.ok(settings("m2").includes(line), line);
  const again = await ztap.run(["cluster", "bootstrap", dir, "--members", members]);
  t.match(again, { code: 0, stdout: /^kept/m });
  t.match(await ztap.run(["cluster", "bootstrap", dir, "--members", "m1=10.0.0.1+192.168.0.9"]), {
    code: 64,
    stderr: /m1 has the address 10\.0\.0\.1\+192\.168\.0\.1\+127\.0\.0\.1 already/,
  });
});

t.test("an address has one form, and no zone, which is of one host alone", async (t) => {
  const ztap = new Ztap(t);
  const dir = ztap.path("authority");
  const run = (...flags: readonly string[]) => ztap.run(["cluster", "bootstrap", dir, ...flags]);
  t.match(await run("--members", "m1=fe80::1%eth0"), { code: 64, stderr: /fe80::1%eth0.*is neither an IP address/ });
  ztap.write("authority/cluster.yaml", "members:\n  m1: 10.0.0.1\n  m2: 10.0.0.1\n");
  t.match(await run(), { code: 64, stderr: /cluster\.yaml:3:7 10\.0\.0\.1:2379 is the address of m1 already/ });
  ztap.write("authority/cluster.yaml", "members:\n  m1: 10.0.0.1\n  m2: fe80::1%eth0\n");
  t.match(await run(), { code: 64, stderr: /cluster\.yaml:3:7 "fe80::1%eth0"/ });
  ztap.write("authority/cluster.yaml", 'members:\n  m1: { address: "fe80::1", listen: "fe80::1%eth0" }\n');
  t.match(await run(), { code: 64, stderr: /cluster\.yaml:2:7 .*fe80::1%eth0/ });
  ztap.write("authority/cluster.yaml", 'members:\n  m1: "::ffff:10.0.0.2"\n  m2: "2001:DB8:0::2"\nprefix: shop\n');
  t.match(await run(), { code: 0 });
  t.match(await run(), { code: 0, stdout: /^kept {5}[^]*/ });
  t.notMatch((await run()).stdout, /renewed/);
});

t.test("a prefix that etcdctl would take for a flag is refused", async (t) => {
  const ztap = new Ztap(t);
  for (const prefix of ["--x", "-"]) {
    ztap.write("authority/cluster.yaml", `members: { m1: 10.0.0.1 }\nprefix: ${JSON.stringify(prefix)}\n`);
    const refused = await ztap.run(["cluster", "bootstrap", ztap.path("authority")]);
    t.match(refused, { code: 64, stderr: /cluster\.yaml:2:9 .*prefix/ }, prefix);
  }
});

// Between addresses of loopback Linux connects from 127.0.0.1: a member's address as others see it is not the one it is called by.
const settings = { skip: whyNoEtcd() ?? false, timeout: HANG_MS };
await t.test("members that connect from another of their addresses run, and serve all of them", settings, async (t) => {
  const cluster = new BootstrappedCluster(new Ztap(t), t);
  await cluster.writeFile((index) => `address: 127.0.0.${index + 2}, otherAddresses: [127.0.0.1]`);
  const { store } = await cluster.bootstrap("--nodes", "n1");
  await cluster.start();
  t.same((await cluster.bootstrap("--apply")).unlisted, []);
  const read = (file: string) => readFileSync(join(cluster.dir, "nodes/n1", file));
  const tls = { ca: read("ca.crt"), cert: read("node.crt"), key: read("node.key") };
  for (const [index, port] of [...store.matchAll(/:([0-9]+)/g)].map(([, found]) => found).entries())
    for (const address of [`127.0.0.${index + 2}`, "127.0.0.1"])
      t.equal(await openStore(t, [`${address}:${port}`], { tls }).readHead(), null, `${address}:${port}`);
});
