/** Users of etcd that `cluster.yaml` no longer lists. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { Ztap } from "../cli/ztap.js";
import { whyNoEtcd } from "../etcd/server.js";
import { openStore } from "../etcd/stores.js";
import { HANG_MS } from "../wait.js";
import { BootstrappedCluster, type Written } from "./bootstrapped.js";

const settings = { skip: whyNoEtcd() ?? false, timeout: HANG_MS };
await t.test("they are reported, and deleted with --prune alone", settings, async (t) => {
  const cluster = new BootstrappedCluster(new Ztap(t), t);
  await cluster.writeFile();
  const { store }: Written = await cluster.bootstrap("--nodes", "web-1", "--operators", "ada");
  await cluster.start();
  const file = join(cluster.dir, "cluster.yaml");
  await cluster.bootstrap("--apply", "--nodes", "gone", "--operators", "bob");
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
  const read = (name: string) => readFileSync(join(cluster.dir, "nodes/gone", name));
  const tls = { ca: read("ca.crt"), cert: read("node.crt"), key: read("node.key") };
  const gone = openStore(t, store.replace(/^etcds:\/\/|\/.*$/g, "").split(","), { tls });
  await t.rejects(gone.readHead(), { code: "store-permission" });
});
