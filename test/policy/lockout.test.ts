import t from "tap";
import type { Lifelines } from "../../src/model/lifeline.js";
import { compile } from "../../src/policy/compile.js";
import { findLockouts } from "../../src/policy/lockout.js";
import { objectsOf, policy, workload } from "../builders/state.js";

/** Its cgroup is test/default-web. */
const WEB = workload("web@n1 10.0.0.1 app=web");
const allow = (...peers: readonly string[]) =>
  policy(
    "p",
    `  podSelector: {}\n  ingress:\n${peers.map((cidr) => `    - { from: [{ ipBlock: { cidr: "${cidr}" } }], ports: [{ port: 22 }] }\n`).join("")}    - { ports: [{ port: 80 }] }`,
  );
const found = (text: string, lines: Partial<Lifelines>): readonly string[] =>
  findLockouts(compile(objectsOf(text), "n1"), { agent: null, sessions: [], ...lines });
const session = (peer: string, ...cgroups: readonly string[]) => ({ sessions: [{ peer, port: 22, cgroups }] });

t.test("a session is cut where one of its cgroups is a workload's that does not let it in", async (t) => {
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

t.test("the agent is no workload's, also where no policy selects it yet", async (t) => {
  for (const agent of ["test/default-web", "test/default-web/ztap.service"])
    t.match(found(WEB, { agent }), [/^workload default\/web .* in which the agent of node n1 itself runs \(test/]);
  for (const agent of ["", "test", "test/default-web2", null]) t.same(found(WEB, { agent }), []);
});

t.test("sessions of one kind are named once, and every kind is", async (t) => {
  const one = { peer: "198.51.100.1", port: 22, cgroups: ["test/default-web"] };
  const lines = { agent: "test/default-web", sessions: [one, one, { ...one, port: 2222 }] };
  t.equal(found(WEB + allow("192.0.2.0/24"), lines).length, 3);
});
