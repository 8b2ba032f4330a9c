/** From a cgroup on this machine to `ztap workload list`: a real agent, which enforces nothing. */
import { mkdirSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { findCgroupMount } from "../../src/adapters/system/cgroup-mount.js";
import { Ztap } from "./ztap.js";

const skip = process.geteuid?.() === 0 && findCgroupMount() !== null ? false : "needs root and cgroup v2";
const tag = `ztcli${process.pid}`;
const STATE = `apiVersion: ztap/v1
kind: NodeGroup
metadata: { name: all }
spec: { nodeNames: ["*"], addressRanges: [0.0.0.0/0] }
---
apiVersion: ztap/v1
kind: Workload
metadata: { name: worker, namespace: shop, labels: { app: worker } }
spec: { nodeSelector: {}, process: { systemdUnit: "${tag}@*.service" } }
---
apiVersion: ztap/v1
kind: Workload
metadata: { name: web, namespace: shop, labels: { app: web } }
spec: { nodeSelector: {}, process: { container: { name: "${tag}-*" } } }
---
apiVersion: ztap/v1
kind: NetworkPolicy
metadata: { name: worker, namespace: shop }
spec: { podSelector: { matchLabels: { app: worker } } }
`;

t.test("an agent reports the units of its machine, and says what it cannot ask", { skip }, async (t) => {
  const ztap = new Ztap(t);
  const slice = join(findCgroupMount()?.point ?? "", `${tag}.slice`);
  const folders = [slice, join(slice, `${tag}@1.service`), join(slice, `${tag}@2.service`)];
  for (const folder of folders) mkdirSync(folder);
  t.teardown(() => {
    for (const folder of folders.toReversed()) rmdirSync(folder);
  });
  ztap.write("state/s.yaml", STATE);
  t.match(await ztap.run(["apply", "state", "--auto-approve"]), { code: 0 });
  const missing = join(ztap.folder, "none.sock");
  const env = { ZTAP_CONTAINERS_DOCKER: missing, ZTAP_CONTAINERS_PODMAN: "off", ZTAP_CONTAINERS_CRI: "off" };
  const agent = await ztap.run(["agent", "--once", "--backend", "none", "--node", "n1", "--listen", "off"], { env });
  t.match(agent.stderr, /no container runtime is found: no Docker at .*none\.sock/);
  const listed = await ztap.run(["workload", "list"]);
  t.match(listed.stdout, new RegExp(`shop +worker +n1 +unit ${tag}@\\*\\.service +2 `));
  const shown = await ztap.run(["workload", "show", "shop/worker"]);
  t.match(shown.stdout, `shop/worker@n1/${tag}@1.service`);
  t.match(shown.stdout, `${tag}.slice/${tag}@2.service`);
});
