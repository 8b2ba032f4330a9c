/** `ztap cluster bootstrap`: the files that it writes, and three real members of etcd that run with them. */
import { spawnSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { connect, type TLSSocket } from "node:tls";
import t from "tap";
import type { Test } from "tap";
import { etcdProgram } from "../../examples/cluster/etcd.js";
import { openEtcdStore } from "../../src/adapters/etcd/store.js";
import { replaceFile } from "../../src/adapters/system/atomic-file.js";
import { CertificateFiles } from "../../src/adapters/system/certificate-files.js";
import { systemClock } from "../../src/adapters/system/clock.js";
import { NODES, Ztap, type Running } from "../cli/ztap.js";
import { commitOnHead } from "../contract/store-commits.js";
import { whyNoEtcd } from "../etcd/server.js";
import { openStore } from "../etcd/stores.js";
import { draft, policy } from "../fakes/objects.js";
import { HANG_MS, waitUntil, within } from "../wait.js";
import { BootstrappedCluster, changedIn, type Written } from "./bootstrapped.js";

const DAY_MS = 24 * 3_600_000;
const endpointsIn = (store: string): readonly string[] =>
  store
    .replace(/^etcds:\/\//, "")
    .replace(/\/.*/, "")
    .split(",");

async function newCluster(t: Test): Promise<BootstrappedCluster> {
  const cluster = new BootstrappedCluster(new Ztap(t), t);
  await cluster.writeFile();
  return cluster;
}

t.test("the files of a cluster", async (t) => {
  const cluster = await newCluster(t);
  const first: Written = await cluster.bootstrap("--nodes", "web-1,web-2", "--leaders", "web-1", "--operators", "ada");
  t.match(cluster.read("cluster.yaml"), /^# made by hand\nmembers:/, "comments stay");
  t.same(new Set(changedIn(first).map(({ outcome }) => outcome)), new Set(["made", "renewed"]));

  await t.test("nobody else may read them, and each certificate is for its name and use alone", async (t) => {
    const { files } = first;
    const keys = files
      .map(({ path }) => path.replace(/\.crt$/, ".key"))
      .filter((path) => /\.key$/.test(path) && !/ca\.key$/.test(path));
    for (const path of [...files.map(({ path }) => path), ...keys, "authority/ca.key"])
      t.equal(statSync(join(cluster.dir, path)).mode & 0o777, path === "cluster.yaml" ? 0o600 : 0o600, path);
    const certificate = (path: string) => new X509Certificate(cluster.read(path));
    const [ca, peerCa] = [certificate("authority/ca.crt"), certificate("authority/peer-ca.crt")];
    t.equal(ca.ca, true);
    const node = certificate("nodes/web-1/node.crt");
    t.match(node, { subject: "CN=web-1", ca: false, keyUsage: ["1.3.6.1.5.5.7.3.2"], subjectAltName: undefined });
    t.ok(node.verify(ca.publicKey) && !node.verify(peerCa.publicKey));
    const member = certificate("members/m1/member.crt");
    t.match(member, {
      subject: "CN=m1",
      keyUsage: ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"],
      subjectAltName: "DNS:m1, IP Address:127.0.0.1",
    });
    t.ok(certificate("members/m1/peer.crt").verify(peerCa.publicKey));
    const verified = spawnSync(
      "openssl",
      [
        "verify",
        "-x509_strict",
        "-purpose",
        "sslclient",
        "-CAfile",
        "authority/ca.crt",
        "nodes/web-1/node.crt",
        "operators/root/operator.crt",
      ],
      { cwd: cluster.dir, encoding: "utf8" },
    );
    t.equal(verified.status, 0, verified.stderr);
  });

  await t.test("another run changes nothing", async (t) => {
    t.same(changedIn(await cluster.bootstrap()), []);
  });

  await t.test("what is missing or of no use is made again, for the same keys", async (t) => {
    const keyBefore = cluster.read("nodes/web-1/node.key");
    rmSync(join(cluster.dir, "nodes/web-1/node.crt"));
    rmSync(join(cluster.dir, "members/m2"), { recursive: true });
    const half = cluster.read("members/m1/member.crt").slice(0, 300);
    writeFileSync(join(cluster.dir, "members/m1/member.crt"), half);
    writeFileSync(join(cluster.dir, "nodes/web-2/node.key"), cluster.read("operators/ada/operator.key"));
    const changed = changedIn(await cluster.bootstrap());
    t.same(changed, [
      { path: "members/m1/member.crt", outcome: "renewed", reason: "it could not be read" },
      { path: "members/m2/member.crt", outcome: "made", reason: null },
      { path: "members/m2/peer.crt", outcome: "made", reason: null },
      { path: "nodes/web-1/node.crt", outcome: "made", reason: null },
      { path: "nodes/web-2/node.crt", outcome: "renewed", reason: "it was for another key" },
      { path: "members/m2/ca.crt", outcome: "made", reason: null },
      { path: "members/m2/peer-ca.crt", outcome: "made", reason: null },
      { path: "members/m2/etcd.env", outcome: "made", reason: null },
    ]);
    t.equal(cluster.read("nodes/web-1/node.key"), keyBefore);
  });

  await t.test("a certificate that is about to expire is renewed, and one of another address", async (t) => {
    rmSync(join(cluster.dir, "nodes/web-1/node.crt"));
    await cluster.bootstrap("--days", "20");
    const short = new X509Certificate(cluster.read("nodes/web-1/node.crt"));
    t.ok(short.validToDate.getTime() < Date.now() + 21 * DAY_MS);
    const file = cluster.read("cluster.yaml");
    writeFileSync(join(cluster.dir, "cluster.yaml"), file.replace("address: 127.0.0.1", "address: 127.0.0.9"));
    const changed = changedIn(await cluster.bootstrap()).filter(({ path }) => /\.crt$/.test(path));
    t.same(changed, [
      { path: "members/m1/member.crt", outcome: "renewed", reason: "its addresses changed" },
      { path: "members/m1/peer.crt", outcome: "renewed", reason: "its addresses changed" },
      { path: "nodes/web-1/node.crt", outcome: "renewed", reason: "it was about to expire" },
    ]);
    writeFileSync(join(cluster.dir, "cluster.yaml"), file);
  });

  await t.test("a damaged key is neither used nor replaced", async (t) => {
    const path = join(cluster.dir, "nodes/web-2/node.key");
    writeFileSync(path, "damaged");
    const { error } = await cluster.ztap.json(t, "error", ["cluster", "bootstrap", cluster.dir], { code: 1 });
    t.match(error, { code: "bad-key", message: /nodes\/web-2\/node\.key is no private key/ });
    t.equal(readFileSync(path, "utf8"), "damaged");
  });
});

t.test("nodes are those that the policies declare", async (t) => {
  const cluster = await newCluster(t);
  cluster.ztap.write("state/n.yaml", NODES);
  await cluster.bootstrap("--nodes-from", cluster.ztap.path("state"), "--leaders", "n1");
  t.match(cluster.read("cluster.yaml"), /nodes:\n {2}- n1\n/);
});

t.test("a cluster.yaml that cannot be is refused, with all problems, before anything is written", async (t) => {
  const ztap = new Ztap(t);
  const dir = ztap.path("bad");
  ztap.write(
    "bad/cluster.yaml",
    "members: { m1: 10.0.0.1, web-1: 10.0.0.2, m3: 1 }\nnodes: [web-1, root, '../x']\nleaders: [web-7]\nnode: x\n",
  );
  const refused = async (problems: readonly RegExp[]): Promise<void> => {
    const { error } = await ztap.json(t, "error", ["cluster", "bootstrap", dir], { code: 64 });
    for (const problem of problems) t.match(error.message, problem);
  };
  await refused([
    /cluster\.yaml:4:1 ZT2003 node is not a field of cluster\.yaml/,
    /cluster\.yaml:2:22 .*"\.\.\/x" is malformed/,
    /cluster\.yaml:1:47 .*m3 is a number/,
  ]);
  ztap.write(
    "bad/cluster.yaml",
    "members: { m1: 10.0.0.1, web-1: x.example }\nnodes: [web-1, root]\nleaders: [web-7]\n",
  );
  await refused([
    /cluster\.yaml:1:33 etcd listens on IP addresses alone/,
    /cluster\.yaml:2:9 web-1 is a member, and cannot be one of the nodes as well/,
    /cluster\.yaml:2:16 root is a name of the cluster's own/,
    /cluster\.yaml:3:11 web-7 is not among the nodes/,
  ]);
  ztap.write("other/cluster.yaml", "members: { m1: 10.0.0.1 }\n");
  t.match(await ztap.run(["cluster", "bootstrap", ztap.path("other"), "--members", "m1=10.0.0.9"]), {
    code: 64,
    stderr: /m1 has the address 10\.0\.0\.1 already, and not 10\.0\.0\.9/,
  });
  t.match(await ztap.run(["cluster", "bootstrap", ztap.path("new"), "--members", "m1=10.0.0.1,m1=10.0.0.2"]), {
    code: 64,
    stderr: /m1 has the address 10\.0\.0\.1 already/,
  });
  t.throws(() => statSync(join(dir, "authority")), { code: "ENOENT" });
  t.match(await ztap.run(["cluster", "bootstrap", ztap.path("none")]), {
    code: 64,
    stderr: /--members m1=10\.0\.0\.1/,
  });
  const made = ztap.write("open/cluster.yaml", "members: { m1: 10.0.0.1 }\n");
  spawnSync("chmod", ["o+w", dirname(made)]);
  t.match(await ztap.run(["cluster", "bootstrap", dirname(made)]), { code: 64, stderr: /others may write to/ });
});

const settings = { skip: whyNoEtcd() ?? false, timeout: HANG_MS };
await t.test("three members of etcd run with the files", settings, async (t) => {
  const cluster = await newCluster(t);
  const { ztap, dir } = cluster;
  const { store }: Written = await cluster.bootstrap("--nodes", "n1,web-2", "--leaders", "n1", "--operators", "ada");
  await cluster.start();
  const endpoints = endpointsIn(store);
  const tlsOf = (folder: string, name: string) => {
    const read = (file: string) => readFileSync(join(dir, folder, file));
    return { ca: read("ca.crt"), cert: read(`${name}.crt`), key: read(`${name}.key`) };
  };

  await t.test("--apply and roles.sh make the same users and roles", async (t) => {
    const first: Written = await cluster.bootstrap("--apply");
    t.ok(first.applied?.includes("user n1 has the role ztap-leader"), "etcd had none of them");
    const root = join(dir, "operators/root");
    const env = {
      PATH: `${dirname(etcdProgram("etcdctl"))}:${process.env["PATH"] ?? ""}`,
      ETCDCTL_ENDPOINTS: endpoints.map((endpoint) => `https://${endpoint}`).join(","),
      ETCDCTL_CACERT: join(root, "ca.crt"),
      ETCDCTL_CERT: join(root, "operator.crt"),
      ETCDCTL_KEY: join(root, "operator.key"),
    };
    const asRoot = (command: string, ...args: readonly string[]): void => {
      const { status, stderr } = spawnSync(command, [...args], { encoding: "utf8", timeout: HANG_MS, env });
      t.equal(status, 0, stderr);
    };
    asRoot("sh", join(dir, "roles.sh"));
    t.same((await cluster.bootstrap("--apply")).applied, []);
    const granted = /grant-permission --prefix=true (\S+) readwrite (\S+)/.exec(cluster.read("roles.sh"));
    const [, role = "", key = ""] = granted ?? [];
    asRoot("etcdctl", "role", "grant-permission", role, "readwrite", key, "zz");
    const taken: Written = await cluster.bootstrap("--apply");
    t.same(taken.applied, [`role ${role} may no longer readwrite ${key} to zz`], "a wider range is taken away");
    const { applied }: Written = await cluster.bootstrap("--apply", "--nodes", "web-3", "--leaders", "web-2");
    t.same(
      applied?.filter((change) => !/ may /.test(change)),
      [
        "role ztap-node-web-3 was made",
        "user web-2 has the role ztap-leader",
        "user web-3 was made",
        "user web-3 has the role ztap-node-web-3",
      ],
    );
    writeFileSync(
      join(dir, "cluster.yaml"),
      cluster.read("cluster.yaml").replace(/^leaders:\n {2}- n1\n {2}- web-2\n/m, "leaders: [n1]\n"),
    );
    t.same((await cluster.bootstrap("--apply")).applied, ["user web-2 no longer has the role ztap-leader"]);
  });

  let agent: Running | null = null;
  await t.test("an operator applies, an agent with its node's certificate enforces and reports", async (t) => {
    ztap.write("state/n.yaml", NODES);
    t.equal(
      (await ztap.run(["cluster", "list"], { env: cluster.environment(store, join(dir, "nodes/n1"), "node") })).stderr,
      "",
    );
    const operator = { env: cluster.environment(store, join(dir, "operators/ada"), "operator") };
    const applied = await ztap.run(["apply", "state", "--auto-approve"], operator);
    t.equal(applied.code, 0, applied.stderr);
    const env = cluster.environment(store, join(dir, "nodes/n1"), "node");
    agent = ztap.start(["agent", "--node", "n1", "--backend", "none", "--listen", "off"], { env });
    const node = async () => (await ztap.json(t, "cluster-list", ["cluster", "list"], operator)).nodes[0];
    await waitUntil(node, {
      is: ({ state, message }) => state === "healthy" && /backend none/.test(message),
      what: "the agent's report",
    });
  });

  await t.test("a fourth node enrolls with a token, and is in the cluster at once", async (t) => {
    const authority = ztap.start(["cluster", "authority", dir, "--listen", "127.0.0.1:0"]);
    await authority.says("serving enrolment");
    const [, address = ""] = /"address":"(127\.0\.0\.1:[0-9]+)"/.exec(authority.stderr) ?? [];
    const token = await ztap.run(["cluster", "token", dir, "web-4", "--address", address]);
    const folder = ztap.path("web-4");
    const enrolled = await ztap.json(t, "cluster-enroll", ["cluster", "enroll", "-", "--dir", folder], {
      input: token.stdout,
    });
    t.match(enrolled, { node: "web-4", store, warning: null });
    await authority.stop();
    const [ca, cert, key] = ["ca", "cert", "key"].map((name) => readFileSync(enrolled.files[name]));
    const node = openStore(t, endpoints, { tls: { ca: ca ?? null, cert: cert ?? null, key: key ?? null } });
    await node.joinMember({ id: "web-4", address: "10.0.0.4:9470", joinedAt: "2026-01-01T00:00:00.000Z" });
    const another = { id: "web-3", address: "10.0.0.3:9470", joinedAt: "2026-01-01T00:00:00.000Z" };
    await t.rejects(node.joinMember(another), { code: "store-permission" });
    t.same((await cluster.bootstrap("--apply")).applied, []);
    // The agent of n1 reads its new certificate meanwhile.
    rmSync(join(dir, "nodes/n1/node.crt"));
    await cluster.bootstrap("--days", "20");
  });

  await t.test("renewed certificates are used without a restart, and bad ones are not", (t) =>
    renewWhileOpen(t, cluster, store),
  );

  await t.test("a node's certificate writes its own records alone", async (t) => {
    const node = openStore(t, endpoints, { tls: tlsOf("nodes/web-2", "node") });
    const member = (id: string) => ({ id, address: "10.0.0.1:9470", joinedAt: "2026-01-01T00:00:00.000Z" });
    await node.joinMember(member("web-2"));
    await t.rejects(node.joinMember(member("n1")), { code: "store-permission" });
    const suspension = { by: "x", reason: "x", since: "2026-01-01T00:00:00.000Z", until: null };
    await t.rejects(node.writeSuspension(suspension), { code: "store-permission" });
    const nobody = openStore(t, endpoints, { tls: { ...tlsOf("nodes/web-2", "node"), cert: null, key: null } });
    await t.rejects(nobody.readHead(), { code: "store-unavailable" });
    const asMember = openStore(t, endpoints, { tls: tlsOf("members/m1", "member") });
    await t.rejects(asMember.readHead(), { code: "store-permission" }, "a member is no user");
  });

  await t.test("a node's certificate opens no connection between members", async (t) => {
    const [, port] = /LISTEN_PEER_URLS=https:\/\/127\.0\.0\.1:([0-9]+)/.exec(cluster.read("members/m1/etcd.env")) ?? [];
    const peerCa = cluster.read("authority/peer-ca.crt");
    t.match(await outcomeOf({ port: Number(port), ...tlsOf("members/m2", "peer"), ca: peerCa }), "open");
    t.match(await outcomeOf({ port: Number(port), ...tlsOf("nodes/web-2", "node"), ca: peerCa }), /alert/);
  });

  await t.test("the agent has taken over its new certificate by itself, and says that it will expire", async (t) => {
    await agent?.says("renewed certificates are in use");
    await agent?.says(/node\.crt \(etcd\.cert\) expires in 19 days/);
    const env = cluster.environment(store, join(dir, "nodes/n1"), "node");
    const status = await ztap.json(t, "cluster-status", ["cluster", "status"], { env });
    t.match(status, {
      nodes: [{ id: "n1", state: "healthy" }],
      certificates: [{ setting: "etcd.ca" }, { commonName: "n1" }],
    });
    t.match(await ztap.run(["cluster", "status"], { env }), { stdout: /\(etcd\.cert\) expires in 19 days/ });
    const { checks } = await ztap.json(t, "doctor", ["doctor"], { env, code: 0 });
    t.match(
      checks.find(({ name }: { name: string }) => name === "etcd.cert"),
      { state: "warning", fix: /bootstrap/ },
    );
    const nameCheck = (all: readonly { name: string }[]) => all.find(({ name }) => name === "node certificate");
    const renamed = await ztap.json(t, "doctor", ["doctor", "--node", "web-9"], { env, code: 0 });
    t.match(nameCheck(renamed.checks), {
      state: "warning",
      detail: /is for n1, and this node is web-9/,
      fix: /--node n1/,
    });
    const named = await ztap.json(t, "doctor", ["doctor", "--node", "n1"], { env, code: 0 });
    t.match(nameCheck(named.checks), { state: "ok" });
  });
});

/** A node gets another key and certificate. Those of another node, or that may read nothing, are not taken. */
async function renewWhileOpen(t: Test, { dir, ztap }: BootstrappedCluster, url: string): Promise<void> {
  const folder = ztap.path("renewed");
  const file = (name: string): string => join(folder, name);
  const put = (node: string, ...names: readonly string[]): void => {
    for (const name of names) replaceFile(file(name), readFileSync(join(dir, `nodes/${node}`, name), "utf8"));
  };
  put("web-2", "ca.crt", "node.crt", "node.key");
  const bytes = () => ({
    ca: readFileSync(file("ca.crt")),
    cert: readFileSync(file("node.crt")),
    key: readFileSync(file("node.key")),
  });
  const store = openEtcdStore(
    { endpoints: endpointsIn(url), prefix: "ztap/", tls: bytes(), auth: null, timeoutMs: 1000 },
    systemClock,
    0,
  );
  t.teardown(() => store.close());
  const paths = { ca: file("ca.crt"), cert: file("node.crt"), key: file("node.key") };
  const certificates = new CertificateFiles(paths, bytes(), (found) => store.replaceTls(found), systemClock);
  const member = (id: string) => ({ id, address: "10.0.0.1:9470", joinedAt: "2026-01-01T00:00:00.000Z" });
  const isStillWeb2 = async (t: Test): Promise<void> => {
    await store.joinMember(member("web-2"));
    await t.rejects(store.joinMember(member("web-3")), { code: "store-permission" });
  };
  const watched = store.watch(AbortSignal.timeout(HANG_MS), ["head"])[Symbol.asyncIterator]();
  await watched.next();

  t.same(await certificates.renew(), { outcome: "unchanged" });
  put("web-3", "node.crt", "node.key");
  t.same(await certificates.renew(), {
    outcome: "refused",
    problem: "the certificate is for web-3, and the one in use is for web-2",
  });
  await isStillWeb2(t);
  const before = readFileSync(join(dir, "nodes/web-2/node.crt"), "utf8");
  rmSync(join(dir, "nodes/web-2/node.key"));
  // As many days as the node of the agent got, so that its certificate stays one that will expire.
  t.match(await ztap.run(["cluster", "bootstrap", dir, "--days", "20"]), { code: 0 });
  put("web-2", "node.crt");
  t.same(await certificates.renew(), { outcome: "refused", problem: "the certificate is not for the key" });
  writeFileSync(file("node.key"), readFileSync(join(dir, "nodes/web-2/node.key"), "utf8").slice(0, 60));
  t.same(await certificates.renew(), { outcome: "refused", problem: "the key cannot be read" });
  put("web-2", "node.key");
  writeFileSync(file("ca.crt"), readFileSync(join(dir, "authority/peer-ca.crt")));
  t.match(
    await certificates.renew(),
    { outcome: "refused", problem: /certificate is not accepted here/ },
    "of another authority",
  );
  await isStillWeb2(t);
  put("web-2", "ca.crt");
  t.same(await certificates.renew(), { outcome: "renewed" });
  t.not(readFileSync(file("node.crt"), "utf8"), before);
  await isStillWeb2(t);
  t.match(certificates.list(), [{ setting: "etcd.ca" }, { setting: "etcd.cert", commonName: "web-2" }]);
  const asMember = { ca: bytes().ca, ...memberOf(dir) };
  await t.rejects(
    store.replaceTls(asMember),
    { code: "store-permission" },
    "a member is no user, and may read nothing",
  );
  await isStillWeb2(t);
  const leader = openEtcdStore(
    { endpoints: endpointsIn(url), prefix: "ztap/", tls: tlsOfRoot(dir), auth: null, timeoutMs: 5000 },
    systemClock,
    0,
  );
  t.teardown(() => leader.close());
  const next = watched.next();
  await commitOnHead(leader, draft([policy("renewed")]));
  t.match(await within(next, { what: "the change, on a new stream" }), { value: { changed: "head" } });
}

function memberOf(dir: string) {
  const of = (name: string): Buffer => readFileSync(join(dir, "members/m1", name));
  return { cert: of("member.crt"), key: of("member.key") };
}

function tlsOfRoot(dir: string) {
  const of = (name: string): Buffer => readFileSync(join(dir, "operators/root", name));
  return { ca: of("ca.crt"), cert: of("operator.crt"), key: of("operator.key") };
}

/** Whether a server keeps a connection with that certificate: `open` once it has answered a request, else its error. */
function outcomeOf(options: {
  readonly port: number;
  readonly ca: string | Buffer;
  readonly cert: Buffer;
  readonly key: Buffer;
}): Promise<string> {
  return new Promise((resolve) => {
    const socket: TLSSocket = connect({ host: "127.0.0.1", ...options }, () =>
      socket.write("GET /version HTTP/1.0\r\n\r\n"),
    );
    const end = (outcome: string): void => {
      socket.destroy();
      resolve(outcome);
    };
    socket
      .once("data", () => end("open"))
      .once("error", (error) => end(error.message))
      .once("close", () => end("closed"));
  });
}
