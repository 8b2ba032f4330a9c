/** What `ztap setup` writes and proposes, without a machine. */
import t from "tap";
import { readManifests } from "../../src/manifest/read.js";
import { hasErrors } from "../../src/model/diagnostic.js";
import { configurationText, isReplaceable } from "../../src/operations/setup/configuration.js";
import { checkCertificateName, checkDeclaration, readDeclaration } from "../../src/operations/setup/node-check.js";
import { checkNamespace, proposeWorkloads } from "../../src/operations/setup/proposal.js";
import { readConfig } from "../../src/settings/config-file.js";
import { openMemoryStore } from "../../src/adapters/memory/store.js";
import { systemClock } from "../../src/adapters/system/clock.js";
import { commitOnHead } from "../contract/store-commits.js";
import { draft } from "../fakes/objects.js";

const found = (instances: Parameters<typeof proposeWorkloads>[0]["instances"], problems: readonly string[] = []) => ({
  os: "linux",
  addresses: ["10.0.0.1", "fd00::1"],
  instances,
  problems,
});
const unit = (name: string, ports: readonly number[] = [80], cgroup = `system.slice/${name}`) => ({
  workload: "found/units",
  instance: name,
  cgroup,
  addresses: [],
  ports: ports.map((port) => ({ protocol: "TCP" as const, port })),
});
const container = (name: string, cgroup = "machine.slice/x.scope") => ({
  ...unit(name, [], cgroup),
  workload: "found/containers",
});
const namesIn = (text: string) =>
  [...text.matchAll(/^kind: Workload\nmetadata:\n {2}name: (.*)$/gm)].map(([, name]) => name);
const isValid = (text: string): boolean =>
  !hasErrors(readManifests([{ path: "found.yaml", text, blobId: text }]).diagnostics);

t.test("a text that setup wrote is its own until one character of it changes", async (t) => {
  const text = configurationText({ node: "n1", store: "etcds://a:1/z", "etcd.ca": "/x: y", "source.url": "#odd" });
  const { values, diagnostics } = readConfig("c", text);
  t.same(diagnostics, []);
  t.match(values, { node: { text: "n1" }, "etcd.ca": { text: "/x: y" }, "source.url": { text: "#odd" } });
  t.ok(isReplaceable(text, values));
  t.notOk(isReplaceable(text.replace("n1", "n2"), values));
  t.notOk(isReplaceable(`${text}\n`, values));
  t.notOk(isReplaceable("node: n1\n", { node: { text: "n1", origin: "" } }));
});

t.test("each value is one value, whatever it is", async (t) => {
  for (const odd of [
    "main\nx",
    "a\n\n  b: c\n",
    "- x",
    "{",
    "'",
    '"',
    "# c",
    "a: b",
    " x ",
    "~",
    "007",
    "\u2028",
    "x".repeat(200),
  ]) {
    const values = { node: "n1", "source.url": "u", "source.branch": odd, "etcd.ca": odd } as const;
    const { values: read, diagnostics } = readConfig("c", configurationText(values));
    if (diagnostics.length > 0) continue;
    t.match(read, { node: { text: "n1" } });
    t.equal(read["source.branch"]?.text, odd);
    t.equal(read["etcd.ca"]?.text, odd);
  }
  t.equal(
    configurationText({ node: "n1", "source.url": "u", "source.branch": "b" }).split("\n").slice(2).join("\n"),
    [
      "# Name of this node, as the policy repository calls it.",
      "node: n1",
      "source:",
      "  # The policy repository. The node that leads commits what is merged there.",
      "  url: u",
      "  # Its branch.",
      "  branch: b",
      "",
    ].join("\n"),
  );
});

t.test("names that the repository does not accept become names that it does, each once", async (t) => {
  const odd = ["Shop_Web", "shop-web", "x".repeat(80), "-", "_._", "a:b", "a\\x2db"];
  const impossible = ["ä", "a: {b", "# c", "d\n---\ne", "*", "e?"];
  const { text } = proposeWorkloads(found([...odd, ...impossible].map((name) => container(name))), "n1", "default");
  t.ok(isValid(text), text);
  const names = namesIn(text);
  t.equal(new Set(names).size, odd.length);
  for (const name of ["workload", "workload-2", "shop-web", "shop-web-2", "a-b", "a-x2db"])
    t.ok(names.includes(name), name);
  t.match(text, /^# Not proposed, since no pattern can name them: .*ä/m);
});

t.test("management and what listens on nothing is not proposed, and named", async (t) => {
  const instances = [
    unit("ssh.service"),
    unit("ztap.service"),
    unit("user@1000.service"),
    unit("systemd-resolved.service"),
    unit("cron.service", []),
    unit("nginx.service"),
  ];
  const { text } = proposeWorkloads(found(instances, ["one\nproblem"]), "n1", "default");
  t.same(namesIn(text), ["nginx"]);
  t.match(text, /^# Not proposed, since they listen on no port for others: cron\.service$/m);
  t.match(text, /managed with them: ssh\.service, systemd-resolved\.service, user@1000\.service, ztap\.service$/m);
  t.match(text, /^# Not read: one.*problem$/m);
  t.ok(isValid(text));
});

t.test("a unit that holds a container is not proposed beside it; clients' ports are no servers'", async (t) => {
  const quadlet = unit("web.service", [80], "system.slice/web.service");
  const dns = {
    ...unit("dns.service"),
    ports: [
      { protocol: "UDP" as const, port: 53 },
      { protocol: "UDP" as const, port: 40_000 },
      { protocol: "TCP" as const, port: 40_000 },
    ],
  };
  const { text } = proposeWorkloads(
    found([quadlet, dns, container("web", "system.slice/web.service/libpod-1")]),
    "n1",
    "default",
  );
  t.same(namesIn(text), ["dns", "web"]);
  t.match(text, /systemdUnit: dns\.service\n {2}ports:\n {4}- port: 53\n {6}protocol: UDP\n {4}- port: 40000\n/);
  t.match(text, /container:\n {6}name: web\n/);
  t.notMatch(text, /systemdUnit: web\.service/);
});

t.test(
  "a namespace that the repository does not accept is refused; where nothing is proposed, that is said",
  async (t) => {
    for (const name of ["BAD NS", "", "a/b", "-a", "x".repeat(64), "a\nkind: Node"])
      t.throws(() => checkNamespace(name), {
        code: "usage",
        message: /--namespace: found .*wanted the name of a namespace/,
      });
    checkNamespace("shop-2");
    const noteOf = (...args: Parameters<typeof found>) => proposeWorkloads(found(...args), "n1", "default").note;
    t.match(noteOf([]), /no workload is proposed, only the Node: neither a service nor a container was found/);
    t.match(noteOf([unit("cron.service", [])]), /none of the services found here listens on a port/);
    t.match(noteOf([unit("ssh.service")], ["no addon"]), /not all could be read: no addon$/);
    t.equal(noteOf([unit("nginx.service")]), null);
  },
);

t.test("whether the policies declare this node", async (t) => {
  const store = openMemoryStore(systemClock);
  t.teardown(() => store.close());
  t.equal(await readDeclaration(store, "n1"), "no-revision");
  t.same(checkDeclaration("n1", true, "no-revision"), []);
  const commit = (text: string) =>
    commitOnHead(
      store,
      draft([...readManifests([{ path: "n.yaml", text, blobId: text }]).objects.values()].map(({ object }) => object)),
    );
  await commit("apiVersion: ztap/v1\nkind: Workload\nmetadata: {name: w}\nspec: {addresses: [192.0.2.1]}\n");
  t.equal(await readDeclaration(store, "any"), "declared", "policies of one machine");
  await commit(
    "apiVersion: ztap/v1\nkind: Node\nmetadata: {name: n1}\nspec: {addresses: [192.0.2.1]}\n---\n" +
      'apiVersion: ztap/v1\nkind: NodeGroup\nmetadata: {name: g}\nspec: {nodeNames: ["web-*"]}\n',
  );
  for (const [node, declaration] of [
    ["n1", "declared"],
    ["web-7", "declared"],
    ["db-1", "undeclared"],
  ] as const)
    t.equal(await readDeclaration(store, node), declaration, node);
  t.match(checkDeclaration("db-1", true, "undeclared"), [
    { name: "node", state: "warning", detail: /^db-1: no Node of this name is declared/, fix: /setup --node NAME/ },
  ]);
  t.match(checkDeclaration("db-1", false, "unknown"), [
    { state: "warning", detail: /^db-1 \(from the host name\): .* not known, since the store cannot be read/ },
  ]);
});

t.test("whether the certificate is for this node", async (t) => {
  const certificate = (commonName: string) => ({
    ...{ setting: "etcd.cert" as const, file: "/c/node.crt", commonName, expiresAt: "2027-01-01T00:00:00.000Z" },
  });
  t.match(checkCertificateName("n1", [certificate("n1")], null), [{ name: "node certificate", state: "ok" }]);
  t.match(checkCertificateName("n1", [certificate("n2")], null), [
    { state: "warning", detail: /node\.crt is for n2, and this node is n1/, fix: /setup --node n2.*cluster enroll/ },
  ]);
  t.match(checkCertificateName("n1", [certificate("")], null), [{ detail: /is for no name/, fix: /--node NAME/ }]);
  t.same(checkCertificateName("n1", [certificate("n2")], "n1"), [], "a user with a password");
  t.same(checkCertificateName("n1", [{ ...certificate("ca"), setting: "etcd.ca" }], null), []);
});
