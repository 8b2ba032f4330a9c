/** Users of etcd that `cluster.yaml` no longer lists. */
import { readFileSync, writeFileSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import t from "tap";
import type { Test } from "tap";
import { Ztap } from "../cli/ztap.js";
import { etcdctl } from "../etcd/access.js";
import { whyNoEtcd } from "../etcd/server.js";
import { openStore } from "../etcd/stores.js";
import { HANG_MS } from "../wait.js";
import { BootstrappedCluster, type Written } from "./bootstrapped.js";

/** Runs etcdctl as root of the cluster. */
function asRoot({ dir }: BootstrappedCluster, store: string, script: string): string {
  const file = (name: string): string => join(dir, "operators/root", name);
  return etcdctl(
    {
      ETCDCTL_ENDPOINTS: store.replace(/^etcds:\/\/|\/[^/]*$/g, ""),
      ETCDCTL_CACERT: file("ca.crt"),
      ETCDCTL_CERT: file("operator.crt"),
      ETCDCTL_KEY: file("operator.key"),
    },
    script,
  );
}

const settings = { skip: whyNoEtcd() ?? false, timeout: HANG_MS };
await t.test("they are reported, and deleted with --prune alone", settings, async (t) => {
  const cluster = new BootstrappedCluster(new Ztap(t), t);
  await cluster.writeFile();
  const { store }: Written = await cluster.bootstrap("--nodes", "web-1", "--operators", "ada");
  await cluster.start();
  const file = join(cluster.dir, "cluster.yaml");
  await cluster.bootstrap("--apply", "--nodes", "gone", "--operators", "bob");
  const read = (name: string) => readFileSync(join(cluster.dir, "nodes/gone", name));
  const tls = { ca: read("ca.crt"), cert: read("node.crt"), key: read("node.key") };
  for (const name of ["gone", "bob"]) writeFileSync(file, cluster.read("cluster.yaml").replace(`  - ${name}\n`, ""));
  const kept: Written = await cluster.bootstrap("--apply");
  t.same([kept.applied, kept.unlisted], [[], ["bob", "gone"]]);
  t.match(await cluster.ztap.run(["cluster", "bootstrap", cluster.dir, "--apply"]), {
    stdout: /user gone is there still.*--prune/,
  });
  t.match(await cluster.ztap.run(["cluster", "bootstrap", cluster.dir, "--prune"]), { code: 64 });
  const pruned: Written = await cluster.bootstrap("--apply", "--prune");
  t.same(
    [pruned.applied, pruned.unlisted],
    [["user bob was deleted", "user gone was deleted", "role ztap-node-gone was deleted"], []],
  );
  const { applied, unlisted }: Written = await cluster.bootstrap("--apply");
  t.same([applied, unlisted], [[], []], "users and roles of the others stay");
  const gone = openStore(t, store.replace(/^etcds:\/\/|\/.*$/g, "").split(","), { tls });
  await t.rejects(gone.readHead(), { code: "store-permission" });
});

await t.test("nothing is deleted that another folder or person has made", settings, async (t) => {
  const cluster = new BootstrappedCluster(new Ztap(t), t);
  await cluster.writeFile();
  const { store }: Written = await cluster.bootstrap("--nodes", "web-1,gone,scripted", "--operators", "ada");
  await cluster.start();
  // The script of the roles makes users as well as --apply does.
  const script = cluster.read("roles.sh").replace("#!/bin/sh", "").replace("etcdctl auth enable", "");
  asRoot(cluster, store, script);
  asRoot(
    cluster,
    store,
    `etcdctl role add ztap-node-exporter
    etcdctl user add prometheus --no-password
    etcdctl user grant-role prometheus ztap-node-exporter
    etcdctl user add other-shop --no-password
    etcdctl user grant-role other-shop ztap-leader
    etcdctl user add backup --no-password
    etcdctl user grant-role backup ztap-node-gone`,
  );
  await cluster.bootstrap("--apply");
  const file = join(cluster.dir, "cluster.yaml");
  for (const name of ["gone", "scripted"])
    writeFileSync(file, cluster.read("cluster.yaml").replace(`  - ${name}\n`, ""));
  t.same((await cluster.bootstrap("--apply")).unlisted, ["gone", "scripted"]);
  const { applied }: Written = await cluster.bootstrap("--apply", "--prune");
  t.same(applied, ["user gone was deleted", "user scripted was deleted", "role ztap-node-scripted was deleted"]);
  const users = asRoot(cluster, store, "etcdctl user list; etcdctl user get backup; etcdctl user get prometheus");
  t.match(users, /^ada\nbackup\nother-shop\nprometheus\nroot\nweb-1\n/);
  t.match(users, /backup\nRoles: ztap-node-gone\n/);
  t.match(users, /prometheus\nRoles: ztap-node-exporter\n/);
});

await t.test("what changes in cluster.yaml while etcd is asked is applied as well", settings, async (t) => {
  const cluster = new BootstrappedCluster(new Ztap(t), t);
  // Members listen on 127.0.0.1, and all reach them through the proxies on 127.0.0.2.
  await cluster.writeFile(() => "address: 127.0.0.2, listen: 127.0.0.1");
  let onClient = (): void => undefined;
  for (const [, kind, port] of cluster.read("cluster.yaml").matchAll(/(client|peer)Port: ([0-9]+)/g))
    await proxyTo(t, Number(port), () => kind === "client" && onClient());
  await cluster.bootstrap("--nodes", "n1,n2,n3", "--leaders", "n1,n2");
  await cluster.start();
  await cluster.bootstrap("--apply");
  const file = join(cluster.dir, "cluster.yaml");
  const text = cluster.read("cluster.yaml");
  /** Changes the file after a run has read it. */
  const changeDuring = async (next: string, ...flags: readonly string[]): Promise<Written> => {
    onClient = () => {
      onClient = () => undefined;
      writeFileSync(file, next);
    };
    return cluster.bootstrap("--apply", ...flags);
  };
  const demoted = text.replace(/(leaders:\n {2}- n1\n) {2}- n2\n/, "$1");
  t.same((await changeDuring(demoted)).applied, ["user n2 no longer has the role ztap-leader"]);
  t.same((await cluster.bootstrap("--apply")).applied, []);

  const without = demoted.replace("  - n3\n", "");
  writeFileSync(file, without);
  t.same((await changeDuring(demoted, "--prune")).unlisted, []);
  t.same((await cluster.bootstrap("--apply")).applied, [], "a node that has just come back has its user");
});

/** Passes on what reaches a port of 127.0.0.2 to that of 127.0.0.1. */
async function proxyTo(t: Test, port: number, connected: () => void): Promise<void> {
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    connected();
    const behind = connect(port, "127.0.0.1");
    for (const [one, other] of [
      [socket, behind],
      [behind, socket],
    ] as const) {
      open.add(one.on("error", () => other.destroy()).on("close", () => other.destroy()));
      one.pipe(other);
    }
  });
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.2", resolve));
  t.teardown(() => {
    for (const socket of open) socket.destroy();
    server.close();
  });
}
