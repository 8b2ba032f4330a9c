/** The folder of `ztap cluster bootstrap`: what others have done to it, runs at once, and runs that are killed. */
import { X509Certificate } from "node:crypto";
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
} from "node:fs";
import { dirname, join } from "node:path";
import t from "tap";
import type { Test } from "tap";
import { NOBODY, Ztap } from "../cli/ztap.js";
import { freePorts } from "../etcd/server.js";
import { waitUntil } from "../wait.js";
import { BootstrappedCluster, changedIn } from "./bootstrapped.js";

async function newCluster(t: Test): Promise<BootstrappedCluster> {
  const cluster = new BootstrappedCluster(new Ztap(t), t);
  await cluster.writeFile();
  return cluster;
}

const isRoot = process.geteuid?.() === 0 ? false : "needs root";
t.test("a folder that another user has prepared is not used, and left as it is", { skip: isRoot }, async (t) => {
  const refuses = async (t: Test, prepare: (dir: string) => void, why: RegExp): Promise<void> => {
    const ztap = new Ztap(t);
    const dir = ztap.path("authority");
    ztap.write("authority/cluster.yaml", "members: { m1: 10.0.0.1 }\n");
    t.match(await ztap.run(["cluster", "bootstrap", dir, "--nodes", "web-1"]), { code: 0 });
    prepare(dir);
    const before = listing(dir);
    const { error } = await ztap.json(t, "error", ["cluster", "bootstrap", dir], { code: 64 });
    t.match(error, { code: "invalid-settings", message: why });
    t.match(error.message, /use a new folder/);
    t.notMatch(error.message, /chown|chmod/);
    const token = await ztap.run(["cluster", "token", dir, "web-9", "--address", "a:1"]);
    t.match(token, { code: 64, stderr: why });
    t.same(listing(dir), before, "nothing was changed");
  };
  const key = "authority/ca.key";
  for (const path of ["authority", key, "nodes", "nodes/web-1", "nodes/web-1/node.key", "operators/root/operator.crt"])
    await t.test(path, (t) => refuses(t, (dir) => chownSync(join(dir, path), NOBODY, 0), /belongs to user 65534/));
  await t.test("a key that others may read", (t) =>
    refuses(t, (dir) => chmodSync(join(dir, key), 0o640), /others may read .*ca\.key/),
  );
  await t.test("a folder that others may write to", (t) =>
    refuses(t, (dir) => chmodSync(join(dir, "nodes"), 0o777), /others may write to .*nodes/),
  );
  for (const path of ["cluster.yaml", "nodes", "members/m1", key])
    await t.test(`a link: ${path}`, (t) =>
      refuses(
        t,
        (dir) => {
          renameSync(join(dir, path), join(dir, "elsewhere"));
          symlinkSync(join(dir, "elsewhere"), join(dir, path));
        },
        /is a link/,
      ),
    );
});

t.test("nobody else can keep the folder locked", async (t) => {
  const cluster = await newCluster(t);
  await cluster.bootstrap();
  const lock = join(cluster.dir, "lock.db");
  t.equal(lstatSync(lock).mode & 0o777, 0o600);
  chmodSync(lock, 0o644);
  const { error } = await cluster.ztap.json(t, "error", ["cluster", "bootstrap", cluster.dir], { code: 64 });
  t.match(error, { code: "invalid-settings", message: /others may open .*lock\.db, and keep it locked.*chmod 600/ });
  chmodSync(lock, 0o600);
  t.same(changedIn(await cluster.bootstrap()), []);
});

t.test("what others have in the folder is neither entered nor removed", async (t) => {
  const cluster = await newCluster(t);
  await cluster.bootstrap("--nodes", "web-1");
  const outside = cluster.ztap.write("outside/a.key.000000000000.next", "of another");
  const own = ["authority/nodes/web-1/mine.next", "authority/mine/x.000000000000.next"].map((path) =>
    cluster.ztap.write(path, "mine"),
  );
  for (const file of [outside, ...own]) utimesSync(file, 0, 0);
  symlinkSync(dirname(outside), join(cluster.dir, "link"));
  await cluster.bootstrap();
  for (const file of [outside, ...own]) t.ok(existsSync(file), file);
  symlinkSync(dirname(outside), join(cluster.dir, "nodes/link"));
  t.match(await cluster.ztap.run(["cluster", "bootstrap", cluster.dir]), { code: 64, stderr: /is a link/ });
  t.ok(existsSync(outside));
});

t.test("an authority whose key is missing is not replaced by another one", async (t) => {
  const cluster = await newCluster(t);
  await cluster.bootstrap();
  for (const name of ["ca", "peer-ca"]) {
    const [path, away] = [join(cluster.dir, `authority/${name}.key`), cluster.ztap.path("away.key")];
    renameSync(path, away);
    const { error } = await cluster.ztap.json(t, "error", ["cluster", "bootstrap", cluster.dir], { code: 1 });
    t.match(error, { code: "bad-key", message: new RegExp(`authority/${name}\\.key is missing`) });
    t.notOk(existsSync(path));
    renameSync(away, path);
  }
  t.same(changedIn(await cluster.bootstrap()), []);
});

t.test("a lost authority is not replaced by another one while something of it is there", async (t) => {
  const refuses = async (t: Test, prepare: (cluster: BootstrappedCluster) => void | Promise<void>, what: RegExp) => {
    const cluster = await newCluster(t);
    await cluster.bootstrap("--nodes", "web-1");
    await prepare(cluster);
    const before = listing(cluster.dir);
    const { error } = await cluster.ztap.json(t, "error", ["cluster", "bootstrap", cluster.dir], { code: 1 });
    t.match(error, { code: "bad-key", message: what });
    t.match(error.message, /restore them from the backup.*new folder/);
    t.same(listing(cluster.dir), before, "nothing was changed");
  };
  const remove = (cluster: BootstrappedCluster, ...paths: readonly string[]): void => {
    for (const path of paths) rmSync(join(cluster.dir, path), { recursive: true });
  };
  await t.test("certificates", (t) =>
    refuses(t, (cluster) => remove(cluster, "authority"), /authority\/ca\.key and \.crt are missing/),
  );
  await t.test("of members alone", (t) =>
    refuses(
      t,
      (cluster) => remove(cluster, "authority/peer-ca.key", "authority/peer-ca.crt"),
      /authority\/peer-ca\.key and \.crt are missing, and members\/m1/,
    ),
  );
  await t.test("a token", (t) =>
    refuses(
      t,
      async (cluster) => {
        await cluster.ztap.run(["cluster", "token", cluster.dir, "web-2", "--address", "a:1"]);
        remove(cluster, "authority", "members", "nodes", "operators");
      },
      /and tokens\/.*\.json is there/,
    ),
  );
});

t.test("an error leaves no folder behind, and blames no file that is not there", async (t) => {
  const ztap = new Ztap(t);
  const refused = async (flags: readonly string[], why: RegExp): Promise<void> => {
    const { error } = await ztap.json(t, "error", ["cluster", "bootstrap", ztap.path("a/b"), ...flags], { code: 64 });
    t.match(error, { code: "usage", message: why });
    t.notMatch(error.message, /cluster\.yaml/);
    t.notOk(existsSync(ztap.path("a")), flags.join(" "));
  };
  await refused([], /no members/);
  await refused(["--members", "m1"], /wanted NAME=ADDRESS/);
  await refused(["--members", "m1=10.0.0.1,m1=10.0.0.2"], /m1 has the address 10\.0\.0\.1 already/);
  await refused(["--members", "m1=10.0.0.1", "--nodes", "m1"], /^m1 is a member/);
  await refused(["--members", "m1=ztap-enrolment+10.0.0.1"], /ztap-enrolment is the name of the authority's server/);
  chmodSync(ztap.folder, 0o777);
  const open = await ztap.run(["cluster", "bootstrap", ztap.path("a/b"), "--members", "m1=10.0.0.1"]);
  t.match(open, { code: 64, stderr: /others may write to/ });
  t.notOk(existsSync(ztap.path("a")));
});

t.test("what only the flags made wrong has no line in the file; what is wrong there has", async (t) => {
  const ztap = new Ztap(t);
  const dir = ztap.path("authority");
  ztap.write("authority/cluster.yaml", "members: { m1: 10.0.0.1 }\n");
  const run = (...flags: readonly string[]) => ztap.run(["cluster", "bootstrap", dir, ...flags]);
  t.match(await run("--nodes", "m1"), { code: 64, stderr: /^ztap: m1 is a member, and cannot be/ });
  ztap.write("authority/cluster.yaml", "members: { m1: 10.0.0.1 }\nleaders: [web-1]\n");
  t.match(await run("--operators", "ada"), { code: 64, stderr: /cluster\.yaml:2:11 web-1 is not among the nodes/ });
  t.match(await run("--nodes", "web-1"), { code: 0 }, "flags can also mend it");
});

t.test("the next steps are those of this run", async (t) => {
  const cluster = await newCluster(t);
  const run = async (...flags: readonly string[]) =>
    (await cluster.ztap.run(["cluster", "bootstrap", cluster.dir, ...flags])).stdout;
  t.match(await run("--nodes", "web-1"), /Next:\n {2}members\/m1\/: copy[^]*--apply[^]*nodes\/web-1\/: copy/);
  t.notMatch(await run(), /Next:|copy/);
  const added = await run("--nodes", "web-2");
  t.match(added, /Next:[^]*--apply[^]*nodes\/web-2\/: copy/);
  t.notMatch(added, /members\/m1|nodes\/web-1\//);
});

t.test("two runs at once make one authority", async (t) => {
  const cluster = await newCluster(t);
  const runs = await Promise.all(
    Array.from({ length: 3 }, () => cluster.ztap.run(["cluster", "bootstrap", cluster.dir, "--nodes", "web-1"])),
  );
  for (const { code, stderr } of runs) t.equal(code, 0, stderr);
  t.same(changedIn(await cluster.bootstrap()), [], "what they left is of one piece");
});

t.test("a run that is killed at any moment is completed by the next one, with the same keys", async (t) => {
  const cluster = await newCluster(t);
  const args = ["cluster", "bootstrap", cluster.dir, "--nodes", "web-1,web-2"];
  const filesNow = () => readdirSync(cluster.dir, { recursive: true, encoding: "utf8" });
  const keysNow = () => filesNow().filter((name) => name.endsWith(".key"));
  const keys = new Map<string, string>();
  for (let count = 4; count < 40; count += 7) {
    const running = cluster.ztap.start(args);
    await waitUntil(() => running.isOver || filesNow().length >= count, { what: `${count} files` });
    await running.stop("SIGKILL");
    for (const name of keysNow()) {
      const key = cluster.read(name);
      t.match(key, /-----END PRIVATE KEY-----\n$/, `${name} is whole`);
      t.equal(keys.get(name) ?? key, key, `${name} stays`);
      keys.set(name, key);
    }
  }
  const leftover = cluster.ztap.write("authority/nodes/web-1/node.key.000000000000.next", "a key");
  utimesSync(leftover, 0, 0);
  await cluster.bootstrap();
  t.notOk(existsSync(leftover));
  t.same(changedIn(await cluster.bootstrap()), []);
  for (const [name, key] of keys) t.equal(cluster.read(name), key);
});

t.test("a member that is called by a name listens on an address, since etcd takes no name", async (t) => {
  const ztap = new Ztap(t);
  const dir = ztap.path("authority");
  const given = await ztap.run(["cluster", "bootstrap", dir, "--members", "m1=etcd1.example.com"]);
  t.match(given, { code: 64, stderr: /^ztap: etcd listens on IP addresses alone.*listen: 10\.0\.0\.1/ });
  t.notMatch(given.stderr, /cluster\.yaml/, "there is no such file yet");
  t.notOk(existsSync(dir), "and no folder");
  const [port = 0, peerPort = 0] = await freePorts(2);
  const ports = `clientPort: ${port}, peerPort: ${peerPort}`;
  ztap.write("authority/cluster.yaml", `members: { m1: { address: localhost, listen: 127.0.0.1, ${ports} } }\n`);
  t.match(await ztap.run(["cluster", "bootstrap", dir]), { code: 0 });
  const settings = readFileSync(join(dir, "members/m1/etcd.env"), "utf8");
  for (const line of [
    `ETCD_LISTEN_CLIENT_URLS=https://127.0.0.1:${port}`,
    `ETCD_LISTEN_PEER_URLS=https://127.0.0.1:${peerPort}`,
    `ETCD_ADVERTISE_CLIENT_URLS=https://localhost:${port}`,
    `ETCD_INITIAL_CLUSTER=m1=https://localhost:${peerPort}`,
  ])
    t.ok(settings.split("\n").includes(line), line);
  const { subjectAltName } = new X509Certificate(readFileSync(join(dir, "members/m1/member.crt")));
  t.equal(subjectAltName, "DNS:m1, DNS:localhost, IP Address:127.0.0.1");
});

/** Every path below a folder, with what it is and its content. */
function listing(dir: string): readonly string[] {
  return readdirSync(dir, { recursive: true, encoding: "utf8" })
    .map((name) => {
      const stats = lstatSync(join(dir, name));
      const content = stats.isFile() ? readFileSync(join(dir, name), "utf8") : "";
      return `${name} ${stats.mode} ${stats.uid} ${stats.ino} ${content}`;
    })
    .sort();
}
