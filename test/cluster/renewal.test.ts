/** `ztap cluster renew`: the next certificate of a node without a token, and who must not get one. */
import { createPublicKey, X509Certificate } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { createServer } from "node:tls";
import t from "tap";
import type { Test } from "tap";
import {
  createRequest,
  generateKey,
  issueAuthority,
  issueCertificate,
  publicKeyPem,
} from "../../src/adapters/authority/x509.js";
import { DAY_MS, issue, makeOld, post, startAuthority, startEnrolled } from "./authority.js";

interface Pair {
  readonly cert: string;
  readonly key: string;
}

async function ask(
  port: number,
  shown: Partial<Pair>,
  { node, key, name = node }: { readonly node: string; readonly key?: string; readonly name?: string },
) {
  const request = await createRequest(key ?? shown.key ?? (await generateKey()), name);
  return post(port, JSON.stringify({ node, request }), { path: "/v1/renew", ...shown });
}

const expiryOf = (pem: string): number => new X509Certificate(pem).validToDate.getTime();

t.test("a node renews with the certificate that it has, for the same key or another", async (t) => {
  const enrolled = await startEnrolled(t);
  const { ztap, dir, node, read, renew } = enrolled;
  const first = read("node.crt");
  t.match(await renew(), { code: 0, stdout: /good certificate until/ });
  t.equal(read("node.crt"), first, "one that is good is kept");

  const old = await makeOld(enrolled);
  const key = read("node.key");
  const renewed = await ztap.json(t, "cluster-renew", ["cluster", "renew", "--dir", node]);
  t.match(renewed, { node: "web-4", outcome: "renewed" });
  t.ok(expiryOf(read("node.crt")) > expiryOf(old) + 300 * DAY_MS);
  t.equal(new Date(renewed.expiresAt).getTime(), expiryOf(read("node.crt")));
  t.equal(read("node.key"), key);
  t.equal(readFileSync(join(dir, "nodes/web-4/node.crt"), "utf8"), read("node.crt"), "the authority has it as well");

  t.match(await renew("--new-key"), { code: 0, stdout: /Renewed/ });
  t.not(read("node.key"), key);
  t.ok(new X509Certificate(read("node.crt")).publicKey.equals(createPublicKey(read("node.key"))));
  t.notOk(readdirSync(node).includes("node-next.key"));

  await t.test("after an answer that was lost, the same command gets it", async (t) => {
    const before = ["node.crt", "node.key"].map((name) => [name, read(name)] as const);
    t.match(await renew("--new-key"), { code: 0 });
    const [cert, next] = [read("node.crt"), read("node.key")];
    for (const [name, text] of before) writeFileSync(join(node, name), text);
    writeFileSync(join(node, "node-next.key"), next, { mode: 0o600 });
    t.match(await renew(), { code: 0 }, "the key that the authority knows is used");
    t.same([read("node.crt"), read("node.key")], [cert, next]);
  });

  await t.test("a run that died between certificate and key is completed", async (t) => {
    const next = read("node.key");
    renameSync(join(node, "node.key"), join(node, "node-next.key"));
    writeFileSync(join(node, "node.key"), key, { mode: 0o600 });
    t.match(await renew(), { code: 0, stdout: /good certificate/ });
    t.equal(read("node.key"), next);
  });
});

t.test("a node whose key was made with the authority renews for that key alone", async (t) => {
  const { ztap, dir, port } = await startEnrolled(t);
  const folder = ztap.path("web-1");
  mkdirSync(folder, { mode: 0o700 });
  const key = readFileSync(join(dir, "nodes/web-1/node.key"), "utf8");
  const old = await issue(dir, "web-1", key, { fromDays: -340, days: 365 });
  writeFileSync(join(dir, "nodes/web-1/node.crt"), old);
  for (const name of readdirSync(join(dir, "nodes/web-1")))
    copyFileSync(join(dir, "nodes/web-1", name), join(folder, name));
  const renew = (...flags: readonly string[]) => ztap.run(["cluster", "renew", "--dir", folder, ...flags]);
  t.match(await renew(), { code: 64, stderr: /--address HOST:PORT/ });
  t.match(await renew("--address", `127.0.0.1:${port}`), { code: 0, stdout: /Renewed/ });
  t.ok(expiryOf(readFileSync(join(folder, "node.crt"), "utf8")) > expiryOf(old));
  t.match(await renew("--new-key"), { code: 1, stderr: /made with the authority/ }, "the address is known from now on");
});

t.test("who must not get a node's certificate gets none", async (t) => {
  const { dir, port, read } = await startEnrolled(t);
  const pair = (path: string): Pair => ({
    cert: readFileSync(join(dir, `${path}.crt`), "utf8"),
    key: readFileSync(join(dir, `${path}.key`), "utf8"),
  });
  const own: Pair = { cert: read("node.crt"), key: read("node.key") };
  const newest = () => readFileSync(join(dir, "nodes/web-4/node.crt"), "utf8");
  const before = newest();
  const refused = async (t: Test, shown: Partial<Pair>, asked: Parameters<typeof ask>[2], why: RegExp) => {
    t.match(await ask(port, shown, asked), { status: 403, body: why });
    t.equal(newest(), before, "nothing was issued");
  };

  await t.test("no certificate", (t) => refused(t, {}, { node: "web-4" }, /no certificate was shown/));
  await t.test("another node", (t) => refused(t, pair("nodes/web-1/node"), { node: "web-4" }, /another name's/));
  await t.test("another name in the request", (t) =>
    refused(t, own, { node: "web-4", name: "web-1" }, /request is for another name/),
  );
  for (const [what, path, node] of [
    ["an operator", "operators/ada/operator", "ada"],
    ["the administrator of etcd", "operators/root/operator", "root"],
  ] as const)
    await t.test(what, async (t) => {
      await refused(t, pair(path), { node: "web-4" }, /another name's/);
      await refused(t, pair(path), { node }, /not among the nodes/);
    });
  for (const [what, path, node] of [
    ["a member", "members/m1/member", "m1"],
    ["the authority's own server", "authority/enrolment", "ztap-enrolment"],
  ] as const)
    await t.test(what, async (t) => {
      await refused(t, pair(path), { node: "web-4" }, /not a client's/);
      await refused(t, pair(path), { node }, /not a client's/);
    });
  await t.test("a certificate between members", (t) =>
    refused(t, pair("members/m1/peer"), { node: "m1" }, /not issued by this authority/),
  );
  await t.test("one that has expired", async (t) => {
    const cert = await issue(dir, "web-4", own.key, { fromDays: -20, days: 10 });
    await refused(t, { cert, key: own.key }, { node: "web-4" }, /it expired at/);
  });
  await t.test("one that is not valid yet", async (t) => {
    const cert = await issue(dir, "web-4", own.key, { fromDays: 10, days: 10 });
    await refused(t, { cert, key: own.key }, { node: "web-4" }, /it is valid from/);
  });
  await t.test("one of another authority of the same name", async (t) => {
    const privateKey = await generateKey();
    const validity = { nowMs: Date.now(), validForMs: DAY_MS };
    const certificate = await issueAuthority(privateKey, "ztap-etcd-ca", validity);
    const profile = { commonName: "web-4", hosts: [] };
    const cert = await issueCertificate(publicKeyPem(own.key), profile, { certificate, privateKey }, validity);
    await refused(t, { cert, key: own.key }, { node: "web-4" }, /not issued by this authority/);
  });
});

t.test("a node that may renew no more, or with another key alone", async (t) => {
  const enrolled = await startEnrolled(t);
  const { dir, port, read, ztap } = enrolled;
  const own: Pair = { cert: read("node.crt"), key: read("node.key") };
  const newest = () => readFileSync(join(dir, "nodes/web-4/node.crt"), "utf8");
  const before = newest();
  const refused = async (t: Test, shown: Pair, why: RegExp) => {
    t.match(await ask(port, shown, { node: "web-4" }), { status: 403, body: why });
    t.equal(newest(), before, "nothing was issued");
  };
  const another = await generateKey();

  await t.test("a key that was replaced, also with a good certificate", async (t) => {
    const cert = await issue(dir, "web-4", another, { fromDays: 0, days: 100 });
    await refused(t, { cert, key: another }, /another key has taken the place/);
  });
  await t.test("what is no request", async (t) => {
    const send = (body: string) => post(port, body, { path: "/v1/renew", ...own });
    t.match(await send("{}"), { status: 400 });
    t.match(await send(JSON.stringify({ node: "web-4", request: "none" })), { status: 403, body: /P-256/ });
    t.match(await post(port, "{}", { path: "/v1/other" }), { status: 404 });
  });
  await t.test("a node that cluster.yaml no longer lists, or lists as an operator", async (t) => {
    const file = join(dir, "cluster.yaml");
    const text = readFileSync(file, "utf8");
    const without = text.replace("enrolled:\n  - web-4\n", "");
    for (const each of [without, without.replace("  - ada\n", "  - ada\n  - web-4\n")]) {
      writeFileSync(file, each);
      t.match(await ask(port, own, { node: "web-4" }), { status: 403, body: /not among the nodes/ });
      t.notOk(existsSync(join(dir, "nodes/web-4/node.crt")), "the name is forgotten");
    }
    writeFileSync(file, text);
    writeFileSync(join(dir, "nodes/web-4/node.crt"), before);
  });
  await t.test("a node of which the authority has no certificate", async (t) => {
    rmSync(join(dir, "nodes/web-4/node.crt"));
    t.match(await ask(port, own, { node: "web-4" }), { status: 403, body: /a new token/ });
    writeFileSync(join(dir, "nodes/web-4/node.crt"), before);
  });
  await t.test("and the node itself does", async (t) => {
    t.match(await ask(port, own, { node: "web-4", key: another }), { status: 200 });
    const issued = new X509Certificate(newest());
    t.equal(issued.subject, "CN=web-4");
    t.ok(issued.publicKey.equals(createPublicKey(another)));
    t.match(await ask(port, own, { node: "web-4" }), { status: 403, body: /another key has taken the place/ });
  });
  await t.test("a node that has an expired certificate is told what to do", async (t) => {
    writeFileSync(join(enrolled.node, "node.crt"), await issue(dir, "web-4", own.key, { fromDays: -20, days: 10 }));
    t.match(await enrolled.renew(), { code: 1, stderr: /expired at .*ztap cluster token/ });
    t.match(await ztap.run(["cluster", "renew", "--dir", ztap.path("none")]), { code: 1, stderr: /cluster enroll/ });
  });
});

t.test("a node sends nothing to a server that is not its authority", async (t) => {
  const enrolled = await startEnrolled(t);
  const { dir, ztap, node, read } = enrolled;
  const other = await startAuthority(t);
  await makeOld(enrolled);
  const before = read("node.crt");
  const misled = await enrolled.renew("--address", `127.0.0.1:${other.port}`);
  t.match(misled, { code: 1, stderr: /is not this cluster's authority: .*nothing was sent/ });
  // A member of the same cluster that serves in its place.
  const received: string[] = [];
  const [cert, key] = ["crt", "key"].map((name) => readFileSync(join(dir, `members/m1/member.${name}`)));
  const member = createServer({ cert, key, requestCert: true, rejectUnauthorized: false }, (socket) =>
    socket.on("error", () => undefined).on("data", (bytes: Buffer) => received.push(bytes.toString())),
  );
  await new Promise<void>((resolve) => member.listen(0, "127.0.0.1", resolve));
  t.teardown(() => member.close());
  const port: unknown = Object(member.address()).port;
  const args = ["cluster", "renew", "--dir", node, "--address", `127.0.0.1:${String(port)}`];
  t.match(await ztap.run(args), { code: 1, stderr: /is not this cluster's authority/ });
  t.same(received, []);
  t.equal(read("node.crt"), before);
});
