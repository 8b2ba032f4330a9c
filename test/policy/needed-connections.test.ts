/** What a machine needs must be allowed by policy on the host itself; else the host keeps the policy that it had. */
import t from "tap";
import type { ManagementAccess, NeededConnection } from "../../src/model/management-access.js";
import type { Ruleset } from "../../src/model/ruleset.js";
import { listLockouts } from "../../src/policy/lockout.js";
import { makeSafe } from "../../src/policy/withhold.js";
import { rulesetOf, type Isolation, type WorkloadSpec } from "../kernel/rulesets.js";

const HOST = "demo/base@n1";
const SHUT: Isolation = { allow: [] };
const to = (peers: "any" | readonly string[], ...ports: readonly string[]): Isolation => ({
  allow: [{ peers, ports }],
});
const hostOf = (
  isolated: Pick<WorkloadSpec, "ingress" | "egress">,
  others: Readonly<Record<string, WorkloadSpec>> = {},
): Ruleset => rulesetOf("n1", { [HOST]: { cgroup: null, isHost: true, ...isolated }, ...others });
const need = (given: Partial<NeededConnection>): NeededConnection => ({
  purpose: "name resolution",
  direction: "egress",
  protocol: "UDP",
  port: 53,
  peers: ["192.0.2.53"],
  cgroups: [],
  ...given,
});
const access = (given: Partial<ManagementAccess>): ManagementAccess => ({
  agent: "ztap.service",
  sessions: [],
  servers: [],
  ...given,
});
const found = (ruleset: Ruleset, ...needs: readonly NeededConnection[]): readonly string[] =>
  listLockouts(ruleset, access({ needs }), []);

t.test("a connection that the machine needs is cut if no rule allows all of it", async (t) => {
  t.strictSame(found(hostOf({ egress: SHUT }), need({})), [
    `workload ${HOST} is the host, and its egress policies (${HOST}) deny name resolution; this opens it: egress: [{ to: [{ ipBlock: { cidr: "192.0.2.53/32" } }], ports: [{ protocol: UDP, port: 53 }] }]`,
  ]);
  for (const allowed of [to("any", "udp/53"), to(["192.0.2.0/24"], "udp"), to(["192.0.2.53/32"], "udp/1-100")])
    t.same(found(hostOf({ egress: allowed }), need({})), []);
  for (const other of [to("any", "tcp/53"), to("any", "udp/54"), to(["192.0.2.0/28"], "udp/53")])
    t.equal(found(hostOf({ egress: other }), need({})).length, 1);
  t.same(found(hostOf({ ingress: SHUT }), need({})), [], "egress is open");
  t.same(found(hostOf({ egress: { ...SHUT, mode: "audit" } }), need({})), [], "audit cuts nothing");
  t.same(found(hostOf({ egress: SHUT })), [], "it needs nothing");
  const two = need({ peers: ["192.0.2.53", "2001:db8::53"] });
  t.match(found(hostOf({ egress: to(["192.0.2.53/32"], "udp/53") }), two), [/cidr: "2001:db8::53\/128" } }\], ports/]);
  const linkLocal = need({ purpose: "DHCPv6", direction: "ingress", port: 546, peers: ["fe80::/10"] });
  t.same(found(hostOf({ ingress: to(["fe80::/10"], "udp/546") }), linkLocal), []);
  t.match(found(hostOf({ ingress: to(["fe80::/64"], "udp/546") }), linkLocal), [/ingress: \[{ from: .*fe80::\/10/]);
});

t.test("what is not known must be open to everything", async (t) => {
  const unknown = need({ purpose: "time", port: 123, peers: "unknown", reason: "no file names a server" });
  t.match(found(hostOf({ egress: to(["192.0.2.0/24"], "udp/123") }), unknown), [
    /deny time, of which is not known to where, since no file names a server; this opens it: .*cidr: "0\.0\.0\.0\/0"/,
  ]);
  for (const peers of ["any", ["0.0.0.0/0"]] as const)
    t.same(found(hostOf({ egress: to(peers, "udp/123") }), unknown), []);
});

t.test("new SSH sessions must be possible from somewhere", async (t) => {
  const ssh = need({ purpose: "new SSH sessions", direction: "ingress", protocol: "TCP", port: 22, peers: "some" });
  t.match(found(hostOf({ ingress: SHUT }), ssh), [/deny new SSH sessions; this opens it: ingress: \[{ ports: /]);
  t.equal(found(hostOf({ ingress: to([], "tcp/22") }), ssh).length, 1, "a rule without peers opens nothing");
  t.same(found(hostOf({ ingress: to(["192.0.2.7/32"], "tcp/22") }), ssh), []);
});

t.test("only what is the host's is decided by its policy", async (t) => {
  const web: WorkloadSpec = { cgroup: "web.service" };
  const ruleset = hostOf({ ingress: SHUT, egress: SHUT }, { "demo/web": web });
  const agents = need({ cgroups: null });
  t.equal(found(ruleset, agents).length, 1, "the agent's");
  t.equal(
    listLockouts(ruleset, access({ agent: null, needs: [agents] }), []).length,
    1,
    "an agent whose cgroup is not known",
  );
  t.same(found(ruleset, need({ cgroups: ["web.service/worker"] })), [], "another workload's");
  t.equal(found(ruleset, need({ cgroups: ["web.service", "other"] })).length, 1, "of both");
  t.same(found(ruleset, need({ servedBy: ["etcd.service"] })), [], "host to host");
  t.equal(found(ruleset, need({ servedBy: ["web.service"] })).length, 1, "host to workload");
  const session = { peer: "192.0.2.7", port: 22, cgroups: ["ssh.service", "user.slice/session-1.scope"] };
  const deny = [
    /^workload demo\/base@n1 is the host, and its ingress policies .* deny the SSH session from 192\.0\.2\.7/,
  ];
  t.match(listLockouts(ruleset, access({ sessions: [session] }), []), deny);
  t.match(
    listLockouts(ruleset, access({ sessions: [{ ...session, cgroups: [] }] }), []),
    deny,
    "its cgroup is not known",
  );
  t.same(listLockouts(ruleset, access({ sessions: [{ ...session, cgroups: ["web.service"] }] }), []), []);
  t.same(
    listLockouts(hostOf({}), access({ sessions: [session], needs: [agents] }), []),
    [],
    "no policy is on the host",
  );
});

t.test("a host that would be cut keeps what was in force, and the others follow", async (t) => {
  const web = (egress: Isolation): Readonly<Record<string, WorkloadSpec>> => ({
    "demo/web": { cgroup: "web", egress },
  });
  const wanted = hostOf({ egress: SHUT }, web(SHUT));
  const needs = [need({})];
  const none = makeSafe(wanted, rulesetOf("n1", {}), access({ needs }), []);
  t.match(none.workloads, [{ workload: HOST, policies: [HOST], keeps: [] }]);
  t.match(none.ruleset.subjects, [
    { workload: HOST, isHost: true, egress: { mode: "open" } },
    { workload: "demo/web", egress: { mode: "enforce" } },
  ]);
  const before = hostOf({ egress: to("any", "udp/53") }, web(to("any", "tcp")));
  const kept = makeSafe(wanted, before, access({ needs }), []);
  t.match(kept.workloads, [{ workload: HOST, keeps: [HOST] }]);
  t.match(
    kept.ruleset.subjects.find(({ isHost }) => isHost),
    { workload: HOST, egress: { mode: "enforce" } },
  );
  t.same(listLockouts(kept.ruleset, access({ needs }), []), [], "what stays allows it");
  t.same(makeSafe(before, before, access({ needs }), []).workloads, []);
});

t.test("a workload that is deleted stays as long as the host that would get its session is withheld", async (t) => {
  const ssh: Readonly<Record<string, WorkloadSpec>> = {
    "demo/ssh": { cgroup: "ssh.service", ingress: to("any", "tcp/22") },
  };
  const session = access({ sessions: [{ peer: "192.0.2.7", port: 22, cgroups: ["ssh.service"] }] });
  const [before, wanted] = [hostOf({ ingress: SHUT }, ssh), hostOf({ ingress: SHUT })];
  t.same(listLockouts(before, session, []), []);
  const safe = makeSafe(wanted, before, session, []);
  t.match(safe.workloads, [{ workload: HOST }], "the same policy decides about more than before");
  t.same(listLockouts(safe.ruleset, session, []), []);
  t.same(
    safe.ruleset.subjects.map(({ workload }) => workload),
    [HOST, "demo/ssh"],
  );
});
