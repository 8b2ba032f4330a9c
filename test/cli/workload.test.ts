/** A repository of the form that names nodes by labels and processes by patterns, from the plan to the instances. */
import t from "tap";
import { openEmbeddedStore } from "../../src/adapters/embedded/store.js";
import { systemClock } from "../../src/adapters/system/clock.js";
import { ENDPOINTS } from "../contract/store-endpoints.js";
import { Ztap } from "./ztap.js";

const STATE = `apiVersion: ztap/v1
kind: NodeGroup
metadata: { name: web, labels: { role: web } }
spec: { nodeNames: ["web-*"], addressRanges: [10.20.0.0/16] }
---
apiVersion: ztap/v1
kind: Workload
metadata: { name: web, namespace: shop, labels: { app: web } }
spec: { nodeSelector: { matchLabels: { role: web } }, process: { systemdUnit: nginx.service } }
---
apiVersion: ztap/v1
kind: Workload
metadata: { name: db, namespace: shop, labels: { app: db } }
spec: { nodeSelector: { matchLabels: { role: web } }, process: { container: { name: "pg-*" } }, ports: [{ name: sql, port: 5432 }] }
---
apiVersion: ztap/v1
kind: NetworkPolicy
metadata: { name: db, namespace: shop }
spec:
  podSelector: { matchLabels: { app: db } }
  ingress: [{ from: { podSelector: { matchLabels: { app: web } } }, ports: [{ port: sql }] }]
---
apiVersion: ztap/v1
kind: ConnectivityTest
metadata: { name: db, namespace: shop }
spec:
  allow: [{ from: { podSelector: { matchLabels: { app: web } } }, to: { podSelector: { matchLabels: { app: db } } }, ports: [{ port: sql }] }]
  deny: [{ from: { ipBlock: { cidr: 0.0.0.0/0 } }, to: { podSelector: { matchLabels: { app: db } } } }]
`;

const NGINX = { workload: "shop/web", instance: "", cgroup: "system.slice/nginx.service", addresses: [], ports: [] };
const PG = {
  workload: "shop/db",
  instance: "pg-1",
  cgroup: "machine.slice/pg.scope",
  addresses: ["10.20.7.1"],
  ports: [],
};

t.test("patterns are planned, tested, reported and listed", async (t) => {
  const ztap = new Ztap(t);
  ztap.write("state/s.yaml", STATE);
  t.match(await ztap.run(["validate", "state"]), { code: 0 });
  t.match(await ztap.json(t, "plan", ["plan", "state"]), { instances: [{ workload: "shop/db", instances: [] }, {}] });
  const first = await ztap.run(["apply", "state", "--auto-approve"]);
  t.match(first.stdout, /Instances, as last reported:\n {4}shop\/db \(container pg-\*\): no node has reported any\n/);
  t.match(await ztap.run(["workload", "list"]), { stdout: /shop +web +none +unit nginx\.service +0 +0 +-\n/ });

  const store = await openEmbeddedStore({ path: ztap.store, access: "write" }, systemClock);
  await store.writeEndpoints({ ...ENDPOINTS, node: "web-1", addresses: ["10.20.0.1"], instances: [NGINX, PG] });
  await store.writeEndpoints({ ...ENDPOINTS, node: "evil", addresses: ["10.20.0.1"], instances: [NGINX] });
  await store.close();
  t.match(await ztap.json(t, "workload-list", ["workload", "list"]), {
    workloads: [
      { name: "db", nodes: ["web-1"] },
      { name: "web", nodes: ["web-1"], reportedAt: ENDPOINTS.at },
    ],
    refused: [{ node: "evil", what: "all that it reports", why: "no Node and no NodeGroup describes it" }],
  });
  t.match(await ztap.json(t, "workload-show", ["workload", "show", "shop/db"]), {
    instances: [{ name: "shop/db@web-1/pg-1", addresses: ["10.20.7.1"], state: "Unknown" }],
  });
  t.match(await ztap.json(t, "error", ["workload", "show", "dbb"], { code: 1 }), { error: { code: "not-found" } });

  ztap.write("state/s.yaml", STATE.replace("app: db } }\nspec: { node", "app: db, tier: data } }\nspec: { node"));
  const planned = await ztap.run(["plan", "state"]);
  t.match(planned.stdout, /shop\/db \(container pg-\*\): 1: shop\/db@web-1\/pg-1, as of \d+ d ago\n/);
  const comment = await ztap.run(["plan", "state", "--format", "markdown"]);
  t.match(
    comment.stdout,
    /#### Instances, as last reported\n\n- `shop\/db \(container pg-\\?\*\): 1: shop\/db@web-1\/pg-1/,
  );
  t.match(await ztap.json(t, "policy-show", ["policy", "show", "shop/db"]), {
    subjects: [{ workload: "shop/db@web-1/pg-1", node: "web-1" }],
  });
  t.match(await ztap.json(t, "explain", ["explain", "state", "--from", "shop/web", "--to", "shop/db:sql"]), {
    verdict: "Allowed",
  });
});

t.test("a test that a pattern breaks is refused with a packet", async (t) => {
  const ztap = new Ztap(t);
  ztap.write(
    "state/s.yaml",
    STATE.replace(
      "podSelector: { matchLabels: { app: web } } }, ports: [{ port: sql }] }]\n---",
      "ipBlock: { cidr: 10.20.0.0/17 } }, ports: [{ port: sql }] }]\n---",
    ),
  );
  const { code, stderr } = await ztap.run(["plan", "state"]);
  t.equal(code, 1);
  t.match(stderr, /ZT4007 .*shop\/web → shop\/db TCP 5432 is denied and must be allowed/);
});
