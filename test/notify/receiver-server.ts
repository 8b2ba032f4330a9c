/**
 * A Git host or chat that is told things: a real HTTP server which holds each request against the shape that its kind
 * publishes, and answers as a test says.
 */
import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { Ajv2020 } from "ajv/dist/2020.js";
import type { Test } from "tap";
import type { CommitEvent } from "../../src/model/outbox.js";
import type { ReceiverType } from "../../src/model/receiver.js";

// Tests run from dist/test/notify.
const schema = readFileSync(new URL("../../../schemas/notification.schema.json", import.meta.url), "utf8");
const validate = new Ajv2020({ strict: true, strictTypes: false }).compile(Object(JSON.parse(schema)));

export const TOKEN = "a-token-of-the-host";
export const COMMIT = "d".repeat(40);

export const EVENT: CommitEvent = {
  id: "0123456789abcdef",
  commit: COMMIT,
  state: "stalled",
  description: "enforced on 97 of 100 nodes, 3 stalled: web-3: the kernel is too old",
  revision: 7,
  nodes: { enforced: 97, expected: 100, stalled: 3, reverted: 0 },
  diagnostics: [],
  source: { location: "https://git.example.com/policies.git", ref: "main", path: "shop" },
  time: "2026-01-01T00:00:00.000Z",
};

export interface Received {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  /** The body as JSON. */
  readonly json: Record<string, unknown>;
  /** How the request is not what its kind publishes; empty if it is. */
  readonly wrong: readonly string[];
}

export class ReceiverServer {
  readonly received: Received[] = [];
  /** Answers the next requests. */
  answer: (response: ServerResponse, request: IncomingMessage) => void = (response) =>
    response.writeHead(201, { "content-type": "application/json" }).end("{}");

  private constructor(
    readonly url: string,
    private readonly server: Server,
  ) {}

  static async start(
    t: Test,
    type: ReceiverType,
    { port = 0, tls }: { readonly port?: number; readonly tls?: { readonly cert: Buffer; readonly key: Buffer } } = {},
  ): Promise<ReceiverServer> {
    const listener = (request: IncomingMessage, response: ServerResponse): void => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        const body = Buffer.concat(chunks).toString();
        const json = Object(JSON.parse(body));
        const one = { path: request.url ?? "", headers: request.headers, body, json };
        host.received.push({ ...one, wrong: problemsOf(type, request.method ?? "", one) });
        host.answer(response, request);
      });
    };
    const server = tls === undefined ? createServer(listener) : createTlsServer(tls, listener);
    await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
    const { port: bound } = server.address() as AddressInfo;
    const host = new ReceiverServer(`${tls === undefined ? "http" : "https"}://127.0.0.1:${bound}`, server);
    t.teardown(() => host.stop());
    return host;
  }

  get port(): number {
    return Number(new URL(this.url).port);
  }

  async stop(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.server.close(() => resolve());
      this.server.closeAllConnections();
    });
  }
}

type Request = Omit<Received, "wrong">;

const PATHS: Readonly<Record<ReceiverType, RegExp>> = {
  github: /^\/repos\/acme\/policies\/statuses\/([0-9a-f]{40})$/,
  gitlab: /^\/api\/v4\/projects\/acme%2Fpolicies\/statuses\/([0-9a-f]{40})$/,
  gitea: /^\/api\/v1\/repos\/acme\/policies\/statuses\/([0-9a-f]{40})$/,
  webhook: /^\/hook$/,
  slack: /^\/services\/T000\/B000\/XXXX$/,
};

/** The fields of each kind of body, those that are optional with a question mark. */
const FIELDS: Partial<Record<ReceiverType, readonly string[]>> = {
  github: ["state", "description?", "context?", "target_url?"],
  gitlab: ["state", "name?", "description?", "ref?", "target_url?", "context?", "coverage?", "pipeline_id?"],
  gitea: ["state", "description?", "context?", "target_url?"],
  slack: ["text", "blocks?"],
};

const STATES: Partial<Record<ReceiverType, readonly string[]>> = {
  github: ["error", "failure", "pending", "success"],
  gitlab: ["pending", "running", "success", "failed", "canceled", "skipped"],
  gitea: ["pending", "success", "error", "failure"],
};

const MOST_WORDS: Partial<Record<ReceiverType, number>> = { github: 140, gitlab: 255, gitea: 255 };

function problemsOf(type: ReceiverType, method: string, { path, headers, body, json }: Request): readonly string[] {
  const wrong: string[] = [];
  const expect = (holds: boolean, what: string): void => {
    if (!holds) wrong.push(what);
  };
  expect(method === "POST", `method ${method}`);
  expect(PATHS[type].test(path), `path ${path}`);
  expect(headers["content-type"] === "application/json", "content-type");
  expect(Number(headers["content-length"]) === Buffer.byteLength(body), "content-length");
  expect(headers["user-agent"] === "ztap", "user-agent");
  const known = FIELDS[type]?.map((field) => field.replace("?", ""));
  if (known !== undefined) {
    for (const field of Object.keys(json)) expect(known.includes(field), `field ${field}`);
    for (const field of FIELDS[type] ?? []) expect(field.endsWith("?") || field in json, `no ${field}`);
  }
  if (STATES[type] !== undefined)
    expect(STATES[type].includes(String(json["state"])), `state ${String(json["state"])}`);
  const most = MOST_WORDS[type] ?? Infinity;
  const { description = "" } = json;
  expect(typeof description === "string" && description.length <= most, "a description that is too long");
  if (type === "github") {
    expect(headers.authorization === `Bearer ${TOKEN}`, "authorization");
    expect(headers.accept === "application/vnd.github+json", "accept");
    expect(headers["x-github-api-version"] === "2022-11-28", "version of the API");
  }
  if (type === "gitlab") expect(headers["private-token"] === TOKEN && !("authorization" in headers), "token");
  if (type === "gitea") expect(headers.authorization === `token ${TOKEN}`, "authorization");
  if (type === "webhook") {
    const signature = `sha256=${createHmac("sha256", TOKEN).update(body).digest("hex")}`;
    expect(headers["x-ztap-signature-256"] === signature, "signature");
    expect(headers["x-ztap-delivery"] === json["id"] && headers["x-ztap-event"] === json["kind"], "headers");
    expect(validate(json), `schema: ${JSON.stringify(validate.errors)}`);
  }
  if (type === "slack") wrong.push(...problemsOfSlack(json));
  return wrong;
}

function problemsOfSlack(json: Record<string, unknown>): readonly string[] {
  const blocks = json["blocks"];
  const [block] = Array.isArray(blocks) ? blocks : [];
  const texts = [json["text"], Object(block).text?.text].map(String);
  return [
    ...(Object(block).type === "section" && Object(block).text?.type === "mrkdwn" ? [] : ["blocks"]),
    ...texts.filter((text) => text.length > 3000).map(() => "a text that is too long"),
    ...texts.filter((text) => /[<>]|&(?!(amp|lt|gt);)/.test(text)).map((text) => `not escaped: ${text}`),
  ];
}
