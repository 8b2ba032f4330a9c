import t from "tap";
import type { ManagementAccess } from "../../src/model/management-access.js";
import { compile } from "../../src/policy/compile/compile.js";
import { clientsOf, listLockouts } from "../../src/policy/lockout.js";
import { objectsOf, policy, workload } from "../builders/state.js";

/** Its cgroup is test/default-web. */
const WEB = workload("web@n1 10.0.0.1 app=web");
const allow = (...peers: readonly string[]) =>
  policy(
    "p",
    `  podSelector: {}\n  ingress:\n${peers.map((cidr) => `    - { from: [{ ipBlock: { cidr: "${cidr}" } }], ports: [{ port: 22 }] }\n`).join("")}    - { ports: [{ port: 80 }] }`,
  );
const found = (text: string, lines: Partial<ManagementAccess>): readonly string[] => {
  const objects = objectsOf(text);
  const access = { agent: null, sessions: [], servers: [], ...lines };
  return listLockouts(compile(objects, "n1"), access, clientsOf(objects));
};
const session = (peer: string, ...cgroups: readonly string[]) => ({ sessions: [{ peer, port: 22, cgroups }] });

t.test("a session is cut if one of its cgroups belongs to a workload that refuses it", async (t) => {
  for (const cgroup of ["test/default-web", "test/default-web/a/b"]) {
    t.match(found(WEB + allow("192.0.2.0/24"), session("198.51.100.1", "user.slice", cgroup)), [
      /^workload default\/web has the cgroup test\/default-web, and its ingress policies \(default\/p\) deny the SSH session from 198\.51\.100\.1 to port 22$/,
    ]);
  }
  for (const cgroup of ["", "test", "test/default-webs", "other/default-web"])
    t.same(found(WEB + allow("192.0.2.0/24"), session("198.51.100.1", cgroup)), [], `${cgroup} is not of it`);
  t.same(found(WEB + allow("192.0.2.0/24"), session("192.0.2.7", "test/default-web")), [], "it is let in");
  t.same(found(WEB + allow("2001:db8::/32"), session("2001:db8::7", "test/default-web")), []);
  t.equal(found(WEB + allow("2001:db8::/32"), session("2001:db9::7", "test/default-web")).length, 1);
  t.same(found(WEB, session("192.0.2.7", "test/default-web")), [], "nothing isolates it");
  const audit = policy("p", "  podSelector: {}\n  mode: audit\n  ingress: []");
  t.same(found(WEB + audit, session("192.0.2.7", "test/default-web")), [], "audit cuts nothing");
});

t.test("a session is cut if its workload may not use its address", async (t) => {
  const ssh = (...addresses: readonly string[]) =>
    `apiVersion: ztap/v1\nkind: Workload\nmetadata: { name: ssh }\n` +
    `spec: { node: n1, cgroup: ssh.service, addresses: ${JSON.stringify(addresses)} }\n---\n`;
  const at = (address: string) => ({
    sessions: [{ peer: "192.0.2.7", address, port: 22, cgroups: ["ssh.service"] }],
  });
  t.match(found(ssh() + WEB, at("10.0.0.1")), [
    /^workload default\/ssh may not use the address 10\.0\.0\.1 of the SSH session from 192\.0\.2\.7 to port 22, since workload default\/web declares it$/,
  ]);
  t.match(found(ssh("10.0.0.3") + WEB, at("10.0.0.2")), [/since it declares others$/]);
  t.same(found(ssh() + WEB, at("10.0.0.2")), [], "nobody declares it");
  t.same(found(ssh("10.0.0.1") + WEB, at("10.0.0.1")), [], "both declare it");
  t.same(found(ssh("10.0.0.3") + WEB, at("127.0.0.1")), [], "everybody's");
  const audit = policy("p", "  podSelector: {}\n  mode: audit\n  egress: []");
  t.same(found(ssh() + WEB + audit, at("10.0.0.1")), [], "audit cuts nothing");
});

t.test("no workload may contain the agent, even if no policy selects it yet", async (t) => {
  for (const agent of ["test/default-web", "test/default-web/ztap.service"])
    t.match(found(WEB, { agent }), [/^workload default\/web .* in which the agent of node n1 itself runs \(test/]);
  for (const agent of ["", "test", "test/default-web2", null]) t.same(found(WEB, { agent }), []);
});

t.test("sessions of one kind are named once, and every kind is", async (t) => {
  const one = { peer: "198.51.100.1", port: 22, cgroups: ["test/default-web"] };
  const lines = { agent: "test/default-web", sessions: [one, one, { ...one, port: 2222 }] };
  t.equal(found(WEB + allow("192.0.2.0/24"), lines).length, 3);
});

t.test("the store's own workload must let in the agents of all nodes, from at least one address each", async (t) => {
  const node = (name: string, ...addresses: readonly string[]) =>
    `apiVersion: ztap/v1\nkind: Node\nmetadata: { name: ${name} }\nspec: { address: "${name}:9470", addresses: ${JSON.stringify(addresses)} }\n---\n`;
  const nodes = node("n1", "10.0.0.1") + node("n2", "10.0.0.2", "2001:db8::2") + node("n3", "10.0.0.3");
  const etcd = (...cgroups: readonly string[]) => ({ servers: [{ role: "store" as const, port: 22, cgroups }] });
  const state = nodes + WEB;
  t.match(found(state + allow("10.0.0.1/32", "2001:db8::2/128"), etcd("test/default-web/etcd")), [
    /^workload default\/web has the cgroup test\/default-web, and its ingress policies \(default\/p\) deny the agents of n3 their store, which is served there on port 22$/,
  ]);
  t.match(found(state + allow("10.0.0.1/32"), etcd("test/default-web")), [/the agents of n2, n3 their store/]);
  t.same(found(state + allow("10.0.0.0/24"), etcd("test/default-web")), []);
  t.same(
    found(state + allow("10.0.0.2/31", "127.0.0.1/32"), etcd("test/default-web")),
    [],
    "a machine's own comes over loopback",
  );
  t.same(found(state + allow("192.0.2.0/24"), etcd("system.slice/etcd.service")), [], "it is nobody's workload");
  t.same(found(WEB + allow("192.0.2.0/24"), etcd("test/default-web")), [], "no node is declared");
});
