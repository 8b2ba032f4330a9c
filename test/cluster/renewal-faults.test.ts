/** `ztap cluster renew` where something is wrong: refusals, several at once, clocks, other processes of the host, names that come back. */
import { createPublicKey, X509Certificate } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:https";
import { join } from "node:path";
import t from "tap";
import type { Test } from "tap";
import { serveEnrolment } from "../../src/adapters/authority/server.js";
import {
  createRequest,
  generateKey,
  issueAuthority,
  issueCertificate,
  readRequest,
} from "../../src/adapters/authority/x509.js";
import { systemClock } from "../../src/adapters/system/clock.js";
import { DAY_MS, makeOld, post, startAuthority, startEnrolled, type Enrolled } from "./authority.js";

const leftDays = (pem: string): number => (new X509Certificate(pem).validToDate.getTime() - Date.now()) / DAY_MS;

/** Puts what the authority has made for a node into a folder of that node. */
function copyNode({ ztap, dir }: Enrolled, name: string): string {
  const folder = ztap.path(name);
  mkdirSync(folder, { mode: 0o700 });
  for (const file of readdirSync(join(dir, "nodes", name)))
    copyFileSync(join(dir, "nodes", name, file), join(folder, file));
  return folder;
}

/** A server with the authority's name and signature that gives what the test wants. */
async function serveInstead(
  t: Test,
  { dir }: Enrolled,
  give: (publicKey: string) => Promise<{ readonly certificate: string; readonly authority: string }>,
): Promise<string> {
  const read = (file: string): string => readFileSync(join(dir, "authority", file), "utf8");
  const server = await serveEnrolment(
    {
      host: "127.0.0.1",
      port: 0,
      certificate: read("enrolment.crt"),
      privateKey: read("enrolment.key"),
      authority: read("ca.crt"),
      clock: systemClock,
    },
    async ({ body }) => {
      const { publicKey } = (await readRequest(Object(body).request)) ?? { publicKey: "" };
      return { status: 200, body: { ...(await give(publicKey)), store: "etcds://127.0.0.1:1/ztap", warning: null } };
    },
  );
  t.teardown(() => server.close());
  return server.address;
}

t.test("a refused new key does not end the renewals of the present one", async (t) => {
  const enrolled = await startEnrolled(t);
  const { ztap, dir, port } = enrolled;
  const folder = copyNode(enrolled, "web-1");
  const address = `127.0.0.1:${port}`;
  const renew = (...flags: readonly string[]) =>
    ztap.run(["cluster", "renew", "--dir", folder, "--address", address, ...flags]);
  t.match(await renew("--new-key"), { code: 1, stderr: /made with the authority/ });
  t.notOk(existsSync(join(folder, "node-next.key")));
  await makeOld(enrolled, "web-1", folder);
  t.match(await renew(), { code: 0, stdout: /Renewed/ });
  t.ok(leftDays(readFileSync(join(folder, "node.crt"), "utf8")) > 300);

  await t.test("also where a key is left of an earlier run", async (t) => {
    writeFileSync(join(folder, "node-next.key"), await generateKey(), { mode: 0o600 });
    await makeOld(enrolled, "web-1", folder);
    t.match(await renew(), { code: 0, stdout: /Renewed/ });
    t.notOk(existsSync(join(folder, "node-next.key")), "the authority has not issued for it");
    t.ok(leftDays(readFileSync(join(dir, "nodes/web-1/node.crt"), "utf8")) > 300);
  });
  await t.test("and where nothing answers", async (t) => {
    const away = await ztap.run(["cluster", "renew", "--dir", folder, "--address", "127.0.0.1:1", "--new-key"]);
    t.match(away, { code: 1, stderr: /cannot be reached/ });
    t.notOk(existsSync(join(folder, "node-next.key")));
  });
});

t.test("a new key is kept where nobody knows whether the authority has issued for it", async (t) => {
  const { ztap, dir, node, read, renew } = await startEnrolled(t);
  const [cert, key] = ["crt", "key"].map((ending) => readFileSync(join(dir, `authority/enrolment.${ending}`)));
  const server = createServer({ cert, key }, ({ socket }) => socket.destroy());
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.teardown(() => server.close());
  const address = `127.0.0.1:${Object(server.address()).port}`;
  const lost = await ztap.run(["cluster", "renew", "--dir", node, "--new-key", "--address", address]);
  t.match(lost, { code: 1, stderr: /the authority's answer did not come; try again/ });
  const next = read("node-next.key");
  t.match(await renew(), { code: 0, stdout: /Renewed/ });
  t.equal(read("node.key"), next);
});

t.test("a node is kept from its renewal by no other process of its host, and only by its own attempts", async (t) => {
  const enrolled = await startEnrolled(t);
  const { port, read, renew, node } = enrolled;
  const answers: (number | undefined)[] = [];
  for (let attempt = 0; attempt < 25; attempt += 1)
    answers.push((await post(port, "{}", { path: "/v1/renew" }))?.status);
  t.equal(answers.at(-1), 429);
  await makeOld(enrolled);
  t.match(await renew(), { code: 0, stdout: /Renewed/ });

  const own = { cert: read("node.crt"), key: read("node.key") };
  for (let attempt = 0; attempt < 25; attempt += 1)
    answers.push((await post(port, "{}", { path: "/v1/renew", ...own }))?.status);
  t.equal(answers.at(-1), 429);
  t.match(await renew("--new-key"), { code: 1, stderr: /too many attempts/ });
  t.notOk(readdirSync(node).includes("node-next.key"), "no later run asks for it");
});

t.test("an authority that proves nothing is not trusted, whatever the environment says", async (t) => {
  const enrolled = await startEnrolled(t);
  const other = await startAuthority(t);
  await makeOld(enrolled);
  const args = ["cluster", "renew", "--dir", enrolled.node, "--address", `127.0.0.1:${other.port}`];
  const misled = await enrolled.ztap.run(args, { env: { NODE_TLS_REJECT_UNAUTHORIZED: "0" } });
  t.match(misled, { code: 1, stderr: /is not this cluster's authority: .*nothing was sent/ });
});

t.test("a renewal never brings another authority", async (t) => {
  const enrolled = await startEnrolled(t);
  await makeOld(enrolled);
  const before = ["ca.crt", "node.crt", "node.key"].map((name) => enrolled.read(name));
  const address = await serveInstead(t, enrolled, async (publicKey) => {
    const privateKey = await generateKey();
    const validity = { nowMs: Date.now(), validForMs: 300 * DAY_MS };
    const authority = await issueAuthority(privateKey, "ztap-etcd-ca", validity);
    const profile = { commonName: "web-4", hosts: [] };
    const certificate = await issueCertificate(publicKey, profile, { certificate: authority, privateKey }, validity);
    return { certificate, authority };
  });
  t.match(await enrolled.renew("--address", address), { code: 1, stderr: /another authority/ });
  t.same(
    ["ca.crt", "node.crt", "node.key"].map((name) => enrolled.read(name)),
    before,
  );
});

t.test("of two renewals at once the second waits for the first", async (t) => {
  const enrolled = await startEnrolled(t);
  const present = await makeOld(enrolled);
  const authority = enrolled.read("ca.crt");
  const [first, second] = [Promise.withResolvers<null>(), Promise.withResolvers<"asked">()];
  const answered = Promise.withResolvers<null>();
  let asking = 0;
  const address = await serveInstead(t, enrolled, async () => {
    asking += 1;
    if (asking === 1) first.resolve(null);
    else second.resolve("asked");
    await answered.promise;
    return { certificate: present, authority };
  });
  const args = ["cluster", "renew", "--dir", enrolled.node, "--address", address];
  const one = enrolled.ztap.start(args);
  await first.promise;
  const other = enrolled.ztap.start(args);
  const waits = other.says("waiting for other processes that are changing").then(() => "waits" as const);
  t.equal(await Promise.race([waits, second.promise]), "waits");
  answered.resolve(null);
  for (const { code, stderr } of await Promise.all([one.ended, other.ended])) t.equal(code, 0, stderr);
});

t.test("renewals at once leave key and certificate of one piece", async (t) => {
  const { renew, read, dir, node } = await startEnrolled(t);
  const all = await Promise.all(Array.from({ length: 4 }, () => renew("--new-key")));
  for (const { code, stderr } of all) t.equal(code, 0, stderr);
  t.ok(new X509Certificate(read("node.crt")).publicKey.equals(createPublicKey(read("node.key"))));
  t.equal(read("node.crt"), readFileSync(join(dir, "nodes/web-4/node.crt"), "utf8"), "the authority knows this key");
  t.notOk(readdirSync(node).includes("node-next.key"));
});

t.test("a certificate that the authority keeps is not called renewed", async (t) => {
  const enrolled = await startEnrolled(t);
  const present = await makeOld(enrolled);
  const authority = enrolled.read("ca.crt");
  // As one does whose clock is behind: by that the certificate is good for longer.
  const address = await serveInstead(t, enrolled, async () => ({ certificate: present, authority }));
  const args = ["cluster", "renew", "--dir", enrolled.node, "--address", address];
  t.match(await enrolled.ztap.json(t, "cluster-renew", args), { outcome: "unchanged" });
  t.match(await enrolled.ztap.run(args), { code: 0, stdout: /kept the certificate.*clock/ });
});

t.test("a renewed certificate is valid for as long as the one before", async (t) => {
  const enrolled = await startEnrolled(t);
  const { ztap, dir, port } = enrolled;
  t.match(await ztap.run(["cluster", "bootstrap", dir, "--nodes", "web-7", "--days", "7"]), { code: 0 });
  const folder = copyNode(enrolled, "web-7");
  const first = readFileSync(join(folder, "node.crt"), "utf8");
  const renewed = await ztap.run(["cluster", "renew", "--dir", folder, "--address", `127.0.0.1:${port}`]);
  t.match(renewed, { code: 0, stdout: /Renewed/ });
  const second = readFileSync(join(folder, "node.crt"), "utf8");
  t.not(second, first);
  t.ok(leftDays(second) < 7.1 && leftDays(second) > 6.9, `${leftDays(second)} days`);
});

t.test("a name that comes back is not its former bearer's", async (t) => {
  const { ztap, dir, port, read, token } = await startEnrolled(t);
  const own = { cert: read("node.crt"), key: read("node.key") };
  const ask = async () => {
    const request = await createRequest(own.key, "web-4");
    return post(port, JSON.stringify({ node: "web-4", request }), { path: "/v1/renew", ...own });
  };
  t.match(await ask(), { status: 200 });
  const file = join(dir, "cluster.yaml");
  const listed = readFileSync(file, "utf8");

  await t.test("after a run of bootstrap without it", async (t) => {
    writeFileSync(file, listed.replace("enrolled:\n  - web-4\n", ""));
    t.match(await ztap.run(["cluster", "bootstrap", dir]), { code: 0 });
    writeFileSync(file, listed);
    t.match(await ask(), { status: 403, body: /a new token/ });
  });
  await t.test("after a renewal that was refused while it was away", async (t) => {
    writeFileSync(join(dir, "nodes/web-4/node.crt"), own.cert);
    t.match(await ask(), { status: 200 });
    writeFileSync(file, listed.replace("enrolled:\n  - web-4\n", ""));
    t.match(await ask(), { status: 403, body: /not among the nodes/ });
    writeFileSync(file, listed);
    t.match(await ask(), { status: 403, body: /a new token/ });
  });
  await t.test("after a new token", async (t) => {
    writeFileSync(join(dir, "nodes/web-4/node.crt"), own.cert);
    t.match(await ask(), { status: 200 });
    await token("web-4");
    t.match(await ask(), { status: 403, body: /a new token/ });
  });
});
