/** TLS with certificates as `ztap cluster bootstrap` makes them, and everything that can be wrong about them. */
import { createServer, type Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { readFileSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import type { Test } from "tap";
import type { EtcdOptions } from "../../src/adapters/etcd/client.js";
import { commitOnHead } from "../contract/store-commits.js";
import { writeCertificates } from "../etcd/access.js";
import { freePorts, withEtcd, whyNoEtcd } from "../etcd/server.js";
import { openStore, QUICK, startWatch } from "../etcd/stores.js";
import { draft, policy } from "../fakes/objects.js";
import { HANG_MS, within } from "../wait.js";

/** An authority with a member's and some users' certificates, in a folder of its own. */
async function makeCertificates(folder: string): Promise<void> {
  await mkdir(folder);
  await writeCertificates(folder, [
    { name: "m1", hosts: ["m1", "127.0.0.1"] },
    { name: "nowhere", hosts: ["m1"] },
    { name: "old-m1", hosts: ["old-m1", "127.0.0.1"], hasExpired: true },
    { name: "web-1" },
    { name: "old-web-1", hasExpired: true },
  ]);
}

const serverFlags = (folder: string, member: string): readonly string[] => [
  ...QUICK,
  `--cert-file=${folder}/${member}.crt`,
  `--key-file=${folder}/${member}.key`,
  `--trusted-ca-file=${folder}/ca.crt`,
  "--client-cert-auth",
];

async function tlsOf(folder: string, user: string | null, authority = folder): Promise<EtcdOptions["tls"]> {
  const [ca, cert, key] = await Promise.all([
    readFile(join(authority, "ca.crt")),
    user === null ? null : readFile(join(folder, `${user}.crt`)),
    user === null ? null : readFile(join(folder, `${user}.key`)),
  ]);
  return { ca, cert, key };
}

const NOT_TRUSTED = { code: "store-unavailable", message: /its certificate is not accepted here.*etcd\.ca/ };
const NOT_FOR_IT = {
  code: "store-unavailable",
  message: /its certificate is not accepted here: it is not for this address, but for m1, 127\.0\.0\.1/,
};
const EXPIRED = { code: "store-unavailable", message: /its certificate is not accepted here: it has expired/ };
const NOT_WELCOME = {
  code: "store-unavailable",
  message: /accepts no connection with this certificate.*etcd\.cert/,
};

async function goodAndBad(t: Test, endpoint: string, own: string, foreign: string): Promise<void> {
  const good = await tlsOf(own, "web-1");
  const ask = (tls: EtcdOptions["tls"], where = endpoint) => {
    const store = openStore(t, [where], { tls, timeoutMs: 1000 });
    return within(store.readHead(), { what: "an answer" });
  };

  await t.test("with its certificate a node commits, reads and watches", async (t) => {
    const [writer, store] = [openStore(t, [endpoint], { tls: good }), openStore(t, [endpoint], { tls: good })];
    const next = await startWatch(t, store, ["head"]);
    const woken = next();
    await commitOnHead(writer, draft([policy("web")]));
    t.equal(await within(woken, { what: "the change" }), "head");
    t.equal(await store.readHead(), 1);
  });

  await t.test("a dead endpoint is skipped", async (t) => {
    const [dead] = await freePorts(1);
    t.equal(await openStore(t, [`127.0.0.1:${dead}`, endpoint], { tls: good }).readHead(), 1);
  });

  await t.test("a member with a certificate of another authority is not trusted", (t) =>
    t.rejects(async () => ask(await tlsOf(own, "web-1", foreign)), NOT_TRUSTED),
  );
  await t.test("without a configured authority, the system's authorities are trusted", (t) =>
    t.rejects(ask({ ca: null, cert: good?.cert ?? null, key: good?.key ?? null }), NOT_TRUSTED),
  );
  await t.test("a certificate that does not name the address is not trusted", (t) =>
    t.rejects(ask(good, endpoint.replace("127.0.0.1", "[::ffff:127.0.0.1]")), NOT_FOR_IT),
  );
  await t.test("a member whose certificate has no address at all is not trusted", async (t) => {
    const [cert, key] = ["crt", "key"].map((ending) => readFileSync(join(own, `nowhere.${ending}`)));
    const member = createTlsServer({ cert, key, ALPNProtocols: ["h2"] }, (socket) =>
      socket.on("error", () => undefined),
    );
    member.on("tlsClientError", () => undefined);
    await new Promise<void>((resolve) => member.listen(0, "127.0.0.1", resolve));
    t.teardown(() => member.close());
    await t.rejects(ask(good, `127.0.0.1:${Object(member.address()).port}`), {
      code: "store-unavailable",
      message: /not for this address, but for names alone and no IP address/,
    });
  });
  await t.test("a client without a certificate is refused", (t) =>
    t.rejects(async () => ask(await tlsOf(own, null)), NOT_WELCOME),
  );
  await t.test("a client with a certificate of another authority is refused", (t) =>
    t.rejects(async () => ask(await tlsOf(foreign, "web-1", own)), NOT_WELCOME),
  );
  await t.test("a client with an expired certificate is refused", (t) =>
    t.rejects(async () => ask(await tlsOf(own, "old-web-1")), NOT_WELCOME),
  );
  await t.test("each endpoint that does not answer is named with its reason, in plain words", async (t) => {
    const held = new Set<Socket>();
    const silent = createServer((socket) => held.add(socket.on("error", () => undefined)));
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    t.teardown(() => {
      silent.close();
      for (const socket of held) socket.destroy();
    });
    const hung = `127.0.0.1:${Object(silent.address()).port}`;
    const [one, other] = (await freePorts(2)).map((port) => `127.0.0.1:${port}`);
    const store = openStore(t, [one ?? "", other ?? "", hung], { tls: good, timeoutMs: 300 });
    const error = await within(store.readHead(), { what: "an answer" }).catch((thrown: unknown) => thrown);
    t.match(error, { code: "store-unavailable" });
    const { message } = error instanceof Error ? error : new Error("it was answered");
    t.match(message, `etcd at ${one}, ${other} cannot be reached, or has no majority: the connection is refused`);
    t.match(message, `; etcd at ${hung} cannot be reached, or has no majority: it does not answer in time`);
    t.notMatch(message, /UNAVAILABLE|DEADLINE|ECONN|LB pick|[0-9]+ms|established/i);
  });
  await t.test("a client without TLS is refused", (t) =>
    t.rejects(ask(null), { code: "store-unavailable", message: /etcds:/ }),
  );
}

const settings = { skip: whyNoEtcd() ?? false, timeout: HANG_MS };
await t.test("TLS", settings, async (t) => {
  const folder = await mkdtemp(join(tmpdir(), `ztap-tls-${process.pid}-`));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const [own, foreign] = [join(folder, "own"), join(folder, "foreign")];
  await makeCertificates(own);
  await makeCertificates(foreign);
  await withEtcd({ flags: serverFlags(own, "m1"), scheme: "https" }, ({ endpoints: [endpoint = ""] }) =>
    goodAndBad(t, endpoint, own, foreign),
  );
  await withEtcd({ flags: serverFlags(own, "old-m1"), scheme: "https" }, async ({ endpoints }) => {
    const store = openStore(t, endpoints, { tls: await tlsOf(own, "web-1"), timeoutMs: 1000 });
    await t.rejects(within(store.readHead(), { what: "an answer" }), EXPIRED, "a member's certificate has expired");
  });
});
