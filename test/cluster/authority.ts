/** A cluster's authority at work, without etcd, and requests to it as anybody can send them. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { connect, type TLSSocket } from "node:tls";
import type { Test } from "tap";
import { createRequest, generateKey, issueCertificate, publicKeyPem } from "../../src/adapters/authority/x509.js";
import type { EnrolmentToken } from "../../src/operations/bootstrap/token.js";
import { Ztap, type Running } from "../cli/ztap.js";
import { within } from "../wait.js";

export interface Authority {
  readonly ztap: Ztap;
  readonly dir: string;
  readonly port: number;
  readonly running: Running;
  /** Makes a token. */
  readonly token: (node: string, ...flags: readonly string[]) => Promise<string>;
  readonly enroll: (token: string, dir: string) => ReturnType<Ztap["run"]>;
}

export async function startAuthority(t: Test): Promise<Authority> {
  const ztap = new Ztap(t);
  const dir = ztap.path("authority");
  // Nothing listens there: etcd is away.
  ztap.write("authority/cluster.yaml", "members: { m1: { address: 127.0.0.1, clientPort: 1 } }\n");
  const made = await ztap.run(["cluster", "bootstrap", dir]);
  t.equal(made.code, 0, made.stderr);
  const running = ztap.start(["cluster", "authority", dir, "--listen", "127.0.0.1:0"]);
  await running.says("serving enrolment");
  const port = Number(/"address":"127\.0\.0\.1:([0-9]+)"/.exec(running.stderr)?.[1]);
  return {
    ztap,
    dir,
    port,
    running,
    token: async (node, ...flags) => {
      const args = ["cluster", "token", dir, node, "--address", `127.0.0.1:${port}`, ...flags];
      const result = await ztap.json(t, "cluster-token", args);
      return String(result.token);
    },
    enroll: (token, folder) => ztap.run(["cluster", "enroll", "-", "--dir", ztap.path(folder)], { input: token }),
  };
}

export const DAY_MS = 24 * 3_600_000;

export interface Enrolled extends Authority {
  /** The folder of web-4, which has enrolled. */
  readonly node: string;
  readonly read: (name: string) => string;
  readonly renew: (...flags: readonly string[]) => ReturnType<Authority["ztap"]["run"]>;
}

export async function startEnrolled(t: Test): Promise<Enrolled> {
  const authority = await startAuthority(t);
  const { ztap, dir } = authority;
  t.match(await ztap.run(["cluster", "bootstrap", dir, "--nodes", "web-1", "--operators", "ada"]), { code: 0 });
  t.match(await authority.enroll(await authority.token("web-4"), "node"), { code: 0 });
  const node = ztap.path("node");
  return {
    ...authority,
    node,
    read: (name) => readFileSync(join(node, name), "utf8"),
    renew: (...flags) => ztap.run(["cluster", "renew", "--dir", node, ...flags]),
  };
}

/** A certificate that the authority's key has signed, for a key. */
export async function issue(
  dir: string,
  name: string,
  key: string,
  validity: { fromDays: number; days: number },
): Promise<string> {
  const read = (file: string): string => readFileSync(join(dir, "authority", file), "utf8");
  return issueCertificate(
    publicKeyPem(key),
    { commonName: name, hosts: [] },
    { certificate: read("ca.crt"), privateKey: read("ca.key") },
    { nowMs: Date.now() + validity.fromDays * DAY_MS, validForMs: validity.days * DAY_MS },
  );
}

/** A node's certificate is about to expire, there and with the authority. @param folder where the node has it */
export async function makeOld({ dir, node }: Enrolled, name = "web-4", folder = node): Promise<string> {
  const key = readFileSync(join(folder, "node.key"), "utf8");
  const old = await issue(dir, name, key, { fromDays: -340, days: 365 });
  for (const path of [join(folder, "node.crt"), join(dir, "nodes", name, "node.crt")]) writeFileSync(path, old);
  return old;
}

interface PostOptions {
  readonly path?: string;
  /** The certificate that is shown, in PEM. */
  readonly cert?: string;
  readonly key?: string;
}

/** Sends a request as it is given. @returns the status and the body; null where the server just closes */
export async function post(
  port: number,
  body: string,
  { path = "/v1/enroll", cert, key }: PostOptions = {},
): Promise<{ status: number; body: string } | null> {
  const socket: TLSSocket = connect({ host: "127.0.0.1", port, rejectUnauthorized: false, cert, key });
  let text = "";
  socket.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
  socket.on("error", () => undefined);
  const head = [`POST ${path} HTTP/1.1`, "host: a", `content-length: ${Buffer.byteLength(body)}`, "connection: close"];
  socket.write(`${head.join("\r\n")}\r\n\r\n${body}`);
  await within(new Promise((resolve) => socket.once("close", resolve)), { what: "the end of the answer" });
  const status = Number(/^HTTP\/1\.1 ([0-9]{3})/.exec(text)?.[1]);
  return Number.isNaN(status) ? null : { status, body: text.slice(text.indexOf("\r\n\r\n") + 4) };
}

export async function requestOf({ id, secret, node }: EnrolmentToken, name = node): Promise<string> {
  return JSON.stringify({ id, secret, node, request: await createRequest(await generateKey(), name) });
}
