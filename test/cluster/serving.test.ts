/** The certificate with which enrolment is served, over years. */
import type { X509Certificate } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:tls";
import t from "tap";
import type { Test } from "tap";
import { openAuthorityFolder } from "../../src/adapters/authority/folder.js";
import { serveEnrolment, type ServerIdentity } from "../../src/adapters/authority/server.js";
import { bootstrapCluster } from "../../src/operations/bootstrap/bootstrap.js";
import { keepServing, prepareServing } from "../../src/operations/bootstrap/serving.js";
import { ManualClock } from "../fakes/clock.js";
import { waitUntil, within } from "../wait.js";
import { DAY_MS } from "./authority.js";

const HOUR_MS = 3_600_000;
const NO_CHANGE = { members: [], nodes: [], enrolled: [], leaders: [], operators: [] };

/** The certificate that a server shows. */
async function shownAt(t: Test, address: string): Promise<X509Certificate | undefined> {
  const port = Number(address.split(":").at(-1));
  const socket = connect({ host: "127.0.0.1", port, rejectUnauthorized: false });
  t.teardown(() => socket.destroy());
  await within(new Promise((resolve) => socket.once("secureConnect", resolve)), { what: "the handshake" });
  return socket.getPeerX509Certificate();
}

t.test("an authority that runs for years serves a certificate that is valid", async (t) => {
  const root = mkdtempSync(join(tmpdir(), `ztap-serving-${process.pid}-`));
  t.teardown(() => rmSync(root, { recursive: true, force: true }));
  const dir = join(root, "authority");
  mkdirSync(dir, { mode: 0o700 });
  writeFileSync(join(dir, "cluster.yaml"), "members: { m1: 127.0.0.1 }\nenrolled: [web-1]\n");
  const clock = new ManualClock(Date.now());
  const folder = openAuthorityFolder(dir, clock);
  await bootstrapCluster(folder, NO_CHANGE, 365 * DAY_MS);
  await prepareServing(folder);
  const read = (file: string): string => readFileSync(join(dir, "authority", file), "utf8");
  const identity = (): ServerIdentity => ({
    certificate: read("enrolment.crt"),
    privateKey: read("enrolment.key"),
    authority: read("ca.crt"),
  });
  const server = await serveEnrolment({ host: "127.0.0.1", port: 0, ...identity(), clock }, async () => {
    return { status: 400, body: {} };
  });
  t.teardown(() => server.close());
  const first = await shownAt(t, server.address);
  const ending = new AbortController();
  const warnings: string[] = [];
  const nothing = (): void => undefined;
  const warn = (message: string): void => void warnings.push(message);
  const logger = { debug: nothing, info: nothing, error: nothing, warn };
  let uses = 0;
  const use = (): void => {
    uses += 1;
    server.use(identity());
  };
  const serving = keepServing({ folder, clock, logger, use }, ending.signal);
  const pass = async (ms: number): Promise<void> => {
    const before = uses + warnings.length;
    clock.advance(ms);
    await waitUntil(() => uses + warnings.length > before && clock.asleep === 1, { what: "the next look" });
  };

  await pass(HOUR_MS);
  t.equal((await shownAt(t, server.address))?.serialNumber, first?.serialNumber, "one that is good stays");
  await pass(340 * DAY_MS);
  const second = await shownAt(t, server.address);
  t.not(second?.serialNumber, first?.serialNumber);
  t.ok((second?.validToDate.getTime() ?? 0) > clock.now() + 300 * DAY_MS);
  t.ok(first !== undefined && second?.publicKey.equals(first.publicKey), "tokens name its key");

  await t.test("a folder that cannot be used does not end it", async (t) => {
    const key = read("ca.key");
    writeFileSync(join(dir, "authority/ca.key"), "damaged");
    await pass(340 * DAY_MS);
    t.equal(warnings.length, 1);
    writeFileSync(join(dir, "authority/ca.key"), key);
    await pass(HOUR_MS);
    t.ok(((await shownAt(t, server.address))?.validToDate.getTime() ?? 0) > clock.now() + 300 * DAY_MS);
  });
  ending.abort();
  await serving;
});
