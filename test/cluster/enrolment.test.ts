/** Enrolment with a token, and attacks on it: `ztap cluster token`, `authority` and `enroll`. */
import { X509Certificate } from "node:crypto";
import { chmodSync, existsSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { connect as connectTcp, createServer } from "node:net";
import { join } from "node:path";
import { connect } from "node:tls";
import t from "tap";
import { serveEnrolment } from "../../src/adapters/authority/server.js";
import { generateKey, issueAuthority, readRequest } from "../../src/adapters/authority/x509.js";
import { systemClock } from "../../src/adapters/system/clock.js";
import { digestOfText } from "../../src/model/digest.js";
import { decodeToken, encodeToken } from "../../src/operations/bootstrap/token.js";
import { waitUntil } from "../wait.js";
import { post, requestOf, startAuthority } from "./authority.js";

t.test("a node makes its key, and gets a certificate for it once", async (t) => {
  const authority = await startAuthority(t);
  const { ztap, dir } = authority;
  const token = await authority.token("web-4");
  t.match(readFileSync(join(dir, "cluster.yaml"), "utf8"), /enrolled:\n {2}- web-4/);
  for (const name of readdirSync(join(dir, "tokens"))) {
    t.equal(statSync(join(dir, "tokens", name)).mode & 0o777, 0o600);
    t.notOk(readFileSync(join(dir, "tokens", name), "utf8").includes(decodeToken(token).secret), "no secret is kept");
  }
  const enrolled = await ztap.json(t, "cluster-enroll", ["cluster", "enroll", "-", "--dir", ztap.path("node")], {
    input: token,
  });
  t.match(enrolled, { node: "web-4", store: "etcds://127.0.0.1:1/ztap", warning: /bootstrap DIR --apply/ });
  const certificate = new X509Certificate(readFileSync(enrolled.files.cert));
  t.equal(certificate.subject, "CN=web-4");
  t.ok(certificate.checkIssued(new X509Certificate(readFileSync(join(dir, "authority/ca.crt")))));
  for (const file of Object.values<string>(enrolled.files)) t.equal(statSync(file).mode & 0o777, 0o600);
  const key = readFileSync(enrolled.files.key, "utf8");
  t.notOk(readdirSync(join(dir, "nodes/web-4")).includes("node.key"), "the key stays on the node");

  await t.test("again, nothing is done, and another token is not used up", async (t) => {
    const other = await authority.token("web-4");
    const args = ["cluster", "enroll", "--token-file", ztap.write("token", other), "--dir", ztap.path("node")];
    chmodSync(ztap.path("token"), 0o600);
    t.match(await ztap.json(t, "cluster-enroll", args), { store: null });
    writeFileSync(enrolled.files.cert, "damaged");
    t.match(await authority.enroll(other, "node"), { code: 0 });
    t.equal(readFileSync(enrolled.files.key, "utf8"), key, "the key is kept");
  });

  await t.test("another run of bootstrap keeps the certificate, and renews it for the node's key", async (t) => {
    const path = join(dir, "nodes/web-4/node.crt");
    const before = readFileSync(path, "utf8");
    t.match(await ztap.run(["cluster", "bootstrap", dir]), { code: 0 });
    t.equal(readFileSync(path, "utf8"), before);
  });

  await t.test("a token for a node whose key is made here, for a member or for nobody's name is refused", async (t) => {
    await ztap.run(["cluster", "bootstrap", dir, "--nodes", "web-1"]);
    for (const name of ["web-1", "m1", "root", "ztap-enrolment", "../x", "Web", "a".repeat(64)])
      t.match(await ztap.run(["cluster", "token", dir, name, "--address", "a:1"]), { code: 64, stdout: "" }, name);
  });
});

t.test("a token is good once, in time, for its node", async (t) => {
  const authority = await startAuthority(t);
  const { port } = authority;

  await t.test("two at once: one gets a certificate", async (t) => {
    const token = decodeToken(await authority.token("web-1"));
    const bodies = await Promise.all([1, 2, 3, 4].map(() => requestOf(token)));
    const answers = await Promise.all(bodies.map((body) => post(port, body)));
    t.same(answers.map((answer) => answer?.status).sort(), [200, 403, 403, 403]);
    const again = await Promise.all(bodies.map((body) => post(port, body)));
    t.same(
      again.map((answer) => answer?.status),
      answers.map((answer) => answer?.status),
      "one key, and no other",
    );
    const certificates = [answers, again].map(
      (all) => /"certificate":"([^"]+)"/.exec(all.find((one) => one?.status === 200)?.body ?? "")?.[1] ?? "",
    );
    t.match(certificates[0], /BEGIN CERTIFICATE/);
    t.equal(certificates[1], certificates[0], "the same certificate");
  });

  await t.test("what is wrong with a request does not cost the token", async (t) => {
    const token = decodeToken(await authority.token("web-2"));
    const good = await requestOf(token);
    const wrong = async (body: string, status: number, why: RegExp) =>
      t.match(await post(port, body), { status, body: why });
    await wrong(await requestOf(token, "root"), 403, /for another name/);
    await wrong(await requestOf({ ...token, node: "web-1" }), 403, /for another node/);
    await wrong(await requestOf({ ...token, secret: "A".repeat(43) }), 403, /not known/);
    await wrong(await requestOf({ ...token, id: "../../authority/" }), 403, /not known/);
    await wrong(JSON.stringify({ ...Object(JSON.parse(good)), request: "none" }), 403, /no.* P-256/);
    await wrong(JSON.stringify({ ...Object(JSON.parse(good)), request: 7 }), 400, /no request/);
    await wrong("{", 400, /no request/);
    await wrong(JSON.stringify({ filler: "x".repeat(20_000) }), 400, /too long/);
    // A request of another key's: the signature is not by it.
    const [one, other] = [await requestOf(token), await requestOf(token)].map((body) =>
      derOf(Object(JSON.parse(body)).request),
    );
    const forged = Buffer.concat([one?.subarray(0, -64) ?? Buffer.alloc(0), other?.subarray(-64) ?? Buffer.alloc(0)]);
    await wrong(JSON.stringify({ ...Object(JSON.parse(good)), request: pemOf(forged) }), 403, /P-256/);
    t.match(await post(port, good), { status: 200 });
  });
});

t.test("a token comes where other users cannot read it", async (t) => {
  const authority = await startAuthority(t);
  const { ztap } = authority;
  const token = await authority.token("web-1");
  const run = (...args: readonly string[]) => ztap.run(["cluster", "enroll", ...args, "--dir", ztap.path("node")]);
  const given = await run(token);
  t.match(given, { code: 64, stderr: /every user of this machine can read/ });
  t.notOk(given.stderr.includes(token.slice(0, 40)), "it is not repeated");
  t.notOk(existsSync(ztap.path("node")));
  const file = ztap.write("token", `${token}\n`);
  chmodSync(file, 0o640);
  t.match(await run("--token-file", file), { code: 64, stderr: /others may read .*token/ });
  chmodSync(file, 0o600);
  symlinkSync(file, ztap.path("link"));
  t.match(await run("--token-file", ztap.path("link")), { code: 64, stderr: /is a link/ });
  t.match(await run("--token-file", ztap.path("none")), { code: 1, stderr: /there is no file/ });
  t.match(await run("--token-file", file, "-"), { code: 64, stderr: /either/ });

  const program = `${join(ztap.root, "bin/ztap")} cluster enroll --dir ${ztap.path("node")}`;
  const running = ztap.spawn("script", ["-qefc", program, "/dev/null"], { isInteractive: true });
  await running.says("Token: ");
  running.type(token);
  t.match(await running.ended, { code: 0, stdout: /Enrolled/ });
  t.notOk(running.stdout.includes(token.slice(0, 40)), "what is typed is not shown");
});

t.test("a new token for a node makes the earlier one void, also one that was used", async (t) => {
  const authority = await startAuthority(t);
  const { port } = authority;
  const [used, unused, other] = [
    decodeToken(await authority.token("web-1")),
    decodeToken(await authority.token("web-2")),
    decodeToken(await authority.token("web-3")),
  ];
  const body = await requestOf(used);
  t.match(await post(port, body), { status: 200 });
  const [nextOfUsed, nextOfUnused] = [await authority.token("web-1"), await authority.token("web-2")];
  t.match(await post(port, body), { status: 403, body: /a newer token/ });
  t.match(await post(port, await requestOf(unused)), { status: 403, body: /a newer token/ });
  for (const token of [decodeToken(nextOfUsed), decodeToken(nextOfUnused), other])
    t.match(await post(port, await requestOf(token)), { status: 200 }, token.node);
});

t.test("roles.sh has the user of a node as soon as it has a token", async (t) => {
  const authority = await startAuthority(t);
  await authority.token("web-1");
  t.match(readFileSync(join(authority.dir, "roles.sh"), "utf8"), /user grant-role web-1 ztap-node-web-1/);
});

t.test("what keeps the authority from listening is said in plain words", async (t) => {
  const authority = await startAuthority(t);
  const listen = async (address: string) =>
    (await authority.ztap.json(t, "error", ["cluster", "authority", authority.dir, "--listen", address], { code: 1 }))
      .error;
  const taken = `127.0.0.1:${authority.port}`;
  t.match(await listen(taken), { code: "no-address", message: `--listen ${taken}: another process listens there` });
  t.match(await listen("192.0.2.1:9471"), { code: "no-address", message: /this host has no such address/ });
});

t.test("what takes long is said", async (t) => {
  const authority = await startAuthority(t);
  const silent = createServer((socket) => socket.on("error", () => undefined).resume());
  await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
  t.teardown(() => silent.close());
  const address = `127.0.0.1:${Object(silent.address()).port}`;
  const token = encodeToken({ ...decodeToken(await authority.token("web-1")), address });
  const file = authority.ztap.write("token", token);
  chmodSync(file, 0o600);
  const enrolling = authority.ztap.start([
    "cluster",
    "enroll",
    "--token-file",
    file,
    "--dir",
    authority.ztap.path("n"),
  ]);
  await enrolling.says(`waiting for the authority at ${address}`);
  await enrolling.stop("SIGKILL");
  const port = address.split(":")[1];
  authority.ztap.write("hung/cluster.yaml", `members: { m1: { address: 127.0.0.1, clientPort: ${port} } }\n`);
  const applying = authority.ztap.start(["cluster", "bootstrap", authority.ztap.path("hung"), "--apply"]);
  await applying.says(`waiting for an answer of etcd at ${address}`);
  t.match(await applying.ended, { code: 1, stderr: /it does not answer in time/ });
});

t.test("what several processes add to cluster.yaml at once is all there", async (t) => {
  const authority = await startAuthority(t);
  const names = Array.from({ length: 5 }, (_, index) => `web-${index}`);
  const adding = [
    ...names.map((name) => authority.token(name)),
    authority.ztap.run(["cluster", "bootstrap", authority.dir, "--nodes", "db-1"]),
  ];
  await Promise.all(adding);
  const file = readFileSync(join(authority.dir, "cluster.yaml"), "utf8");
  for (const name of [...names, "db-1"]) t.match(file, new RegExp(`- ${name}\\n`));
});

t.test("a token expires", async (t) => {
  const authority = await startAuthority(t);
  const token = await authority.token("web-1", "--for", "1ms");
  t.match(await authority.enroll(token, "node"), { code: 1, stderr: /the token expired at/ });
  t.same(readdirSync(authority.ztap.path("node")), ["lock.db", "node.key"]);
});

t.test("a node sends nothing to another server than the token names", async (t) => {
  const [authority, other] = [await startAuthority(t), await startAuthority(t)];
  const token = decodeToken(await authority.token("web-1"));
  const misled = encodeToken({ ...token, address: `127.0.0.1:${other.port}` });
  t.match(await authority.enroll(misled, "node"), { code: 1, stderr: /its key is another one; nothing was sent/ });
  t.notMatch(other.running.stderr, /enrolment.*web-1/);
  t.match(await authority.enroll(encodeToken(token).slice(0, -9), "node"), { code: 64, stderr: /no whole token/ });
  t.match(await authority.enroll(encodeToken(token), "node"), { code: 0 });
});

t.test("peers that ask for nothing, or slowly, keep no node out; one that asks too often waits", async (t) => {
  const authority = await startAuthority(t);
  const { port } = authority;
  const token = await authority.token("web-1");
  const idle = Array.from({ length: 150 }, () => connectTcp(port, "127.0.0.1").on("error", () => undefined));
  const closed = (): number => idle.filter((socket) => socket.closed).length;
  await waitUntil(() => closed() >= 86, { what: "the oldest to be closed" });
  t.equal(closed(), 86, "64 stay");
  const slow = connect({ host: "127.0.0.1", port, rejectUnauthorized: false }).on("error", () => undefined);
  slow.write("POST /v1/enroll HTTP/1.1\r\nhost: a\r\ncontent-length: 4000\r\n\r\n{");
  t.teardown(() => [slow, ...idle].forEach((socket) => socket.destroy()));
  t.match(await authority.enroll(token, "node"), { code: 0 });
  const answers: (number | undefined)[] = [];
  for (let attempt = 0; attempt < 25; attempt += 1) answers.push((await post(port, "{}"))?.status);
  t.equal(answers[0], 400);
  t.equal(answers.at(-1), 429);
  t.match(await authority.running.stop(), { code: 0 });
});

t.test("a flood of connections takes no answer from a node whose token was accepted", async (t) => {
  const privateKey = await generateKey();
  const certificate = await issueAuthority(privateKey, "enrolment", { nowMs: Date.now(), validForMs: 3_600_000 });
  const [asked, answered] = [Promise.withResolvers<null>(), Promise.withResolvers<null>()];
  const server = await serveEnrolment(
    { host: "127.0.0.1", port: 0, certificate, privateKey, authority: certificate, clock: systemClock },
    async (_call, accepted) => {
      accepted();
      asked.resolve(null);
      await answered.promise;
      return { status: 200, body: {} };
    },
  );
  t.teardown(() => server.close());
  const port = Number(server.address.split(":").at(-1));
  const answer = post(port, "{}");
  await asked.promise;
  const flood = Array.from({ length: 150 }, () => connectTcp(port, "127.0.0.1").on("error", () => undefined));
  t.teardown(() => flood.forEach((socket) => socket.destroy()));
  await waitUntil(() => flood.filter((socket) => socket.closed).length >= 86, { what: "the oldest to be closed" });
  answered.resolve(null);
  t.match(await answer, { status: 200 });
});

t.test("a token that was marked as used before a crash is good for its key alone after it", async (t) => {
  const authority = await startAuthority(t);
  const token = decodeToken(await authority.token("web-1"));
  const { TokenFiles } = await import("../../src/adapters/authority/tokens.js");
  const body = await requestOf(token);
  const { publicKey } = (await readRequest(Object(JSON.parse(body)).request)) ?? { publicKey: "" };
  const tokens = new TokenFiles(authority.dir, { now: Date.now });
  t.equal(tokens.use(token.id, digestOfText(publicKey)), true);
  t.equal(tokens.use(token.id, digestOfText("another")), false);
  await authority.running.stop("SIGKILL");
  const next = authority.ztap.start(["cluster", "authority", authority.dir, "--listen", "127.0.0.1:0"]);
  await next.says("serving enrolment");
  const port = Number(/"address":"127\.0\.0\.1:([0-9]+)"/.exec(next.stderr)?.[1]);
  t.match(await post(port, await requestOf(token)), { status: 403, body: /was used already/ });
  t.match(await post(port, body), { status: 200 });
});

const derOf = (pem: string): Buffer => Buffer.from(pem.replace(/-----.*-----|\s/g, ""), "base64");
const pemOf = (der: Buffer): string =>
  `-----BEGIN CERTIFICATE REQUEST-----\n${der.toString("base64")}\n-----END CERTIFICATE REQUEST-----\n`;
