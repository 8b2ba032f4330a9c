/** A cluster's authority at work, without etcd, and requests to it as anybody can send them. */
import { connect, type TLSSocket } from "node:tls";
import type { Test } from "tap";
import { createRequest, generateKey } from "../../src/adapters/authority/x509.js";
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
