/**
 * A node's side of an enrolment: sends one request to the authority whose key the token names. Nothing is sent before the
 * peer has proved that it has this key; which certificate it shows does not matter.
 */
import { createHash } from "node:crypto";
import { request as requestHttps } from "node:https";
import { connect, type TLSSocket } from "node:tls";
import type { EnrolmentAnswer, EnrolmentRequest } from "../../interfaces/enrolment.js";
import { isString, nullable, shaped } from "../../model/guards.js";
import { OperationError } from "../../model/operation-error.js";
import { printableLine } from "../../model/printable.js";
import { ENROLMENT_PATH } from "./server.js";

const TIMEOUT_MS = 30_000;
const MAX_ANSWER_BYTES = 65_536;

const isAnswer = shaped<EnrolmentAnswer>({
  certificate: isString,
  authority: isString,
  store: isString,
  warning: nullable(isString),
});

/** Returns the fingerprint of a public key (SPKI in DER), as tokens hold it. */
export function fingerprintOf(publicKey: Buffer): string {
  return createHash("sha256").update(publicKey).digest("base64url");
}

/** @throws OperationError `enrolment` if the authority refuses, `unverified` if the peer is another one */
export async function requestCertificate(
  { host, port }: { readonly host: string; readonly port: number },
  fingerprint: string,
  asked: EnrolmentRequest,
): Promise<EnrolmentAnswer> {
  const socket = await connectPinned(host, port, fingerprint);
  try {
    const { status, text } = await post(socket, JSON.stringify(asked));
    const value = parse(text);
    if (status === 200 && isAnswer(value)) return value;
    const error: unknown = Reflect.get(Object(value), "error");
    const why = isString(error) ? printableLine(error.slice(0, 300)) : `it answered with the status ${status}`;
    throw new OperationError("enrolment", `the authority at ${host}:${port} gave no certificate: ${why}`);
  } finally {
    socket.destroy();
  }
}

function connectPinned(host: string, port: number, fingerprint: string): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const fail = (why: string, options?: ErrorOptions): void => {
      socket.destroy();
      reject(new OperationError("enrolment", `the authority at ${host}:${port} ${why}`, options));
    };
    // The key is checked below, against the token: no authority of the system may vouch for another one.
    const socket = connect({ host, port, rejectUnauthorized: false, minVersion: "TLSv1.3" });
    socket.setTimeout(TIMEOUT_MS, () => fail("does not answer"));
    socket.once("error", (cause: Error) => fail("cannot be reached", { cause }));
    socket.once("secureConnect", () => {
      const key = socket.getPeerX509Certificate()?.publicKey.export({ type: "spki", format: "der" });
      if (key !== undefined && fingerprintOf(key) === fingerprint) return resolve(socket);
      socket.destroy();
      reject(
        new OperationError(
          "unverified",
          `the server at ${host}:${port} is not the one that the token names: its key is another one; nothing was sent to it`,
        ),
      );
    });
  });
}

function post(socket: TLSSocket, body: string): Promise<{ readonly status: number; readonly text: string }> {
  return new Promise((resolve, reject) => {
    const fail = (error: Error): void =>
      reject(
        new OperationError(
          "enrolment",
          "the authority's answer did not come; try again: until it expires, the token stays good for the key of this node",
          { cause: error },
        ),
      );
    const headers = {
      "content-type": "application/json",
      "content-length": Buffer.byteLength(body),
      host: "authority",
    };
    const sent = requestHttps({ method: "POST", path: ENROLMENT_PATH, headers, createConnection: () => socket });
    sent.setTimeout(TIMEOUT_MS, () => sent.destroy(new Error("it took too long")));
    sent.once("error", fail);
    sent.once("response", (response) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      response.on("data", (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > MAX_ANSWER_BYTES) sent.destroy(new Error("it is too long"));
        else chunks.push(chunk);
      });
      response.once("error", fail);
      response.once("end", () => resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString() }));
    });
    sent.end(body);
  });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
