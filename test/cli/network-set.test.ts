/** NetworkSets on the command line: what opens and closes with them, and their names in every answer. */
import t from "tap";
import { Repository } from "../fakes/repository.js";
import { Ztap } from "./ztap.js";

const STATE = `apiVersion: ztap/v1
kind: Node
metadata: { name: n1 }
spec: { address: "192.0.2.10:9470" }
---
apiVersion: ztap/v1
kind: Workload
metadata: { name: web, labels: { app: web } }
spec: { node: n1, cgroup: test/web, addresses: [10.0.0.1], ports: [{ name: http, port: 80 }] }
---
apiVersion: ztap/v1
kind: NetworkSet
metadata: { name: partners, labels: { trust: some } }
spec:
  file: ../lists/partners.cidrs
  except: [203.0.113.128/25]
---
apiVersion: ztap/v1
kind: NetworkPolicy
metadata: { name: web }
spec:
  podSelector: { matchLabels: { app: web } }
  ingress: [{ from: { networkSetSelector: { matchLabels: { trust: some } } }, ports: [{ port: http }] }]
  egress: [{ to: { networkSet: partners }, ports: [{ port: 443 }] }]
`;
const LIST = "# Partners\n203.0.113.0/24\n198.51.100.0/24 # Example Ltd.\n192.0.2.0/25\n";

function makeRepository(ztap: Ztap): Repository {
  const repo = new Repository(ztap.path("repo"));
  repo.write("policies/state.yaml", STATE);
  repo.write("lists/partners.cidrs", LIST);
  repo.commit();
  return repo;
}

t.test("a changed file of CIDRs is a change of its set, with the connections that open and close", async (t) => {
  const ztap = new Ztap(t);
  const repo = makeRepository(ztap);
  await ztap.json(t, "apply", ["apply", "repo", "--auto-approve"]);
  t.match(await ztap.run(["plan", "repo", "--detailed-exitcode"]), { code: 0, stdout: /No changes/ });
  repo.write("lists/partners.cidrs", LIST.replace("198.51.100.0/24", "198.51.100.0/25").concat("100.64.0.0/10\n"));
  const plan = await ztap.json(t, "plan", ["plan", "repo"]);
  t.match(plan.changes, [{ action: "update", kind: "NetworkSet", namespace: null, name: "partners" }]);
  t.match(plan.connectivity, {
    summary: { opened: 2, closed: 2 },
    opened: [
      { from: "default/web", to: "100.64.0.0/10", causes: [{ kind: "NetworkSet", name: "partners" }, {}] },
      { from: "100.64.0.0/10", to: "default/web" },
    ],
    closed: [{ from: "default/web", to: "198.51.100.128/25" }, { from: "198.51.100.128/25" }],
  });
  const { stdout } = await ztap.run(["plan", "repo"]);
  t.match(stdout, /~ NetworkSet partners {2}policies\/state.yaml:11/);
  t.match(stdout, /\+ {3}- 100\.64\.0\.0\/10\n/);
  t.match(stdout, /- {3}- 198\.51\.100\.0\/24\n/);
  t.match(stdout, /- default\/web +→ 198\.51\.100\.128\/25 of NetworkSet partners +TCP 443 +NetworkSet partners \(/);
  repo.commit();
  const markdown = await ztap.run(["plan", "repo", "--format", "markdown"]);
  t.match(markdown.stdout, /by `NetworkSet partners \(policies\/state\.yaml:11\)/);
  const applied = await ztap.json(t, "apply", ["apply", "repo", "--ref", "HEAD", "--auto-approve"]);
  t.match(applied, { revision: { number: 2 } });
  const shown = await ztap.json(t, "policy-show", ["policy", "show", "web"]);
  t.same(shown.networkSets, [{ name: "partners", cidrs: 4 }]);
  t.match((await ztap.run(["policy", "show", "web"])).stdout, /NetworkSets +partners \(4 CIDRs\)/);
});

t.test("explain, connectivity and graph name the set", async (t) => {
  const ztap = new Ztap(t);
  makeRepository(ztap);
  const explain = (to: string) => ["explain", "repo", "--from", "default/web", "--to", to];
  const explained = await ztap.json(t, "explain", explain("203.0.113.5:443/TCP"));
  t.match(explained, { verdict: "Allowed", egress: { rules: [{ networkSets: ["partners"], index: 0 }] } });
  t.match((await ztap.run(explain("203.0.113.5:443/TCP"))).stdout, /web egress\[0\], by NetworkSet partners/);
  t.match(await ztap.json(t, "explain", explain("203.0.113.200:443/TCP")), { verdict: "Denied" }, "an exception");
  const { connections } = await ztap.json(t, "connectivity", ["connectivity", "repo"]);
  t.match(connections[0], { from: "default/web", to: "192.0.2.0/25", networkSets: ["partners"] });
  const { stdout } = await ztap.run(["connectivity", "repo"]);
  t.match(stdout, /default\/web +→ 203\.0\.113\.0\/25 +TCP 443 {2}\(NetworkSet partners\)/);
  const graph = await ztap.json(t, "graph", ["graph", "repo"]);
  t.match(
    graph.nodes.map(({ kind, text }: { kind: string; text: string }) => [kind, text]),
    [
      ["workloads", "web"],
      ["sources", "NetworkSet partners"],
      ["targets", "NetworkSet partners"],
    ],
  );
});

t.test("many blocks of one set are one line of connectivity's text, and all of its document", async (t) => {
  const ztap = new Ztap(t);
  const repo = makeRepository(ztap);
  const many = Array.from({ length: 300 }, (_, index) => `100.${index % 100}.${(index / 100) << 1}.0/24\n`).join("");
  repo.write("lists/partners.cidrs", many);
  const { stdout } = await ztap.run(["connectivity", "repo"]);
  t.match(stdout, /default\/web +→ 300 blocks of NetworkSet partners +TCP 443\n/);
  t.match(stdout, /300 blocks of NetworkSet partners +→ default\/web +TCP 80\n/);
  t.equal(stdout.trim().split("\n").length, 2);
  const { connections } = await ztap.json(t, "connectivity", ["connectivity", "repo"]);
  t.equal(connections.length, 600);
});

t.test("validate reads the file of a manifest that is named alone, and not what leads out", async (t) => {
  const ztap = new Ztap(t);
  const repo = makeRepository(ztap);
  t.match(await ztap.run(["validate", "repo/policies/state.yaml"]), { code: 0 });
  t.match(await ztap.run(["validate", "repo/policies"]), { code: 1, stdout: /ZT3027[^]*no regular file/ });
  repo.write("lists/partners.cidrs", `${LIST}203.0.113.1/24\n`);
  t.match(await ztap.run(["validate", "repo"]), { code: 1, stdout: /lists\/partners\.cidrs:5:1[^]*ZT3006/ });
});

t.test("a policy that names a set of the store is written without the set's file", async (t) => {
  const ztap = new Ztap(t);
  const repo = makeRepository(ztap);
  await ztap.json(t, "apply", ["apply", "repo", "--auto-approve"]);
  const [, web = ""] = /(apiVersion: ztap\/v1\nkind: NetworkPolicy[^]*)/.exec(STATE) ?? [];
  repo.write("web.yaml", web.replace("port: 443", "port: 8443"));
  await ztap.json(t, "policy-write", ["policy", "sync", "repo/web.yaml", "--name", "web"]);
  repo.write("web.yaml", web.replace("networkSet: partners", "networkSet: partner"));
  const refused = await ztap.run(["policy", "sync", "repo/web.yaml", "--name", "web"]);
  t.match(refused, { code: 1, stderr: /ZT4008[^]*did you mean partners/ });
  const back = await ztap.json(t, "policy-write", ["policy", "rollback", "web", "--to", "1"]);
  t.match(back, { policy: { version: 3 } });
});
