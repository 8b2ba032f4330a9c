import t from "tap";
import { openMemoryStore } from "../../src/adapters/memory/store.js";
import { systemClock } from "../../src/adapters/system/clock.js";
import type { ControlServer } from "../../src/model/management-access.js";
import { remoteEndpoint } from "../../src/adapters/git/endpoint.js";
import { controlEndpoints } from "../../src/settings/control-endpoints.js";
import { lockoutsOf } from "../../src/operations/change/lockout.js";
import { objectsOf, policy, workload } from "../builders/state.js";

const SERVERS: readonly ControlServer[] = [{ role: "store", port: 2379, cgroups: ["test/default-etcd"] }];
const STATE = objectsOf(
  `apiVersion: ztap/v1\nkind: Node\nmetadata: { name: n1 }\nspec: { address: "10.0.0.1:9470" }\n---\n` +
    `apiVersion: ztap/v1\nkind: Node\nmetadata: { name: n2 }\nspec: { address: "10.0.0.2:9470" }\n---\n` +
    workload("etcd@n1 10.0.0.1 app=etcd") +
    policy("p", "  podSelector: {}\n  ingress: [{ from: [{ ipBlock: { cidr: 10.0.0.1/32 } }] }]"),
);

t.test("a plan on any machine protects the servers that agents report", async (t) => {
  const store = openMemoryStore(systemClock);
  const reader = (servers: readonly ControlServer[]) => ({
    ownCgroup: () => null,
    sessions: async () => [],
    servers: async () => servers,
  });
  const deps = { store, managementAccess: reader([]), node: "laptop", boot: "b9" };
  t.same(await lockoutsOf(deps, STATE), [], "nobody is known to serve anything");
  await store.writeNodeStatus({
    node: "n1",
    boot: "b1",
    servers: SERVERS,
    backend: "ebpf",
    attemptedRevision: null,
    enforcedRevision: null,
    rulesetDigest: null,
    state: "InSync",
    message: null,
    drift: [],
    healed: 0,
    subjects: [],
    observedAt: "2026-01-01T00:00:00.000Z",
  });
  t.same(await lockoutsOf(deps, STATE), [], "a node that is not alive tells nothing any more");
  await store.heartbeat({ id: "n1", address: "n1:1", holder: "h1" }, 60_000);
  t.match(await lockoutsOf(deps, STATE), [/deny the agents of n2 their store, which is served there on port 2379/]);
  t.same(await lockoutsOf({ ...deps, managementAccess: null }, STATE), [], "it is allowed");
  const here = { ...deps, node: "n1", boot: "b1" };
  t.same(await lockoutsOf(here, STATE), [], "on the machine itself, what it sees counts");
  t.equal((await lockoutsOf({ ...here, managementAccess: reader(SERVERS) }, STATE)).length, 1);
});

t.test("control endpoints: the addresses of an agent's store and source", (t) => {
  const source = (url: string) => controlEndpoints({ source: { url } }, remoteEndpoint);
  const endpoints = ["10.0.0.1:2379", "[2001:db8::1]:2399"];
  t.same(controlEndpoints({ store: { kind: "etcd", tls: false, endpoints, prefix: "ztap/" } }, remoteEndpoint), [
    { role: "store", host: "10.0.0.1", port: 2379 },
    { role: "store", host: "2001:db8::1", port: 2399 },
  ]);
  t.same(source("https://user:secret@git.example.com/p.git"), [{ role: "source", host: "git.example.com", port: 443 }]);
  t.same(source("ssh://git@[2001:db8::2]:2222/p.git"), [{ role: "source", host: "2001:db8::2", port: 2222 }]);
  t.same(source("git@git.example.com:p.git"), [{ role: "source", host: "git.example.com", port: 22 }]);
  for (const local of ["/srv/p.git", "file:///srv/p.git", "./p:q"]) t.same(source(local), []);
  t.end();
});
