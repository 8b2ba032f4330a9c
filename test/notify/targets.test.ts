/** Deliveries to real servers that check what each kind of receiver publishes. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync, chmodSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { toTarget } from "../../src/adapters/notify/receivers.js";
import { systemClock } from "../../src/adapters/system/clock.js";
import type { DeliveryOutcome } from "../../src/interfaces/delivery.js";
import { COMMIT_STATES, type CommitEvent } from "../../src/model/outbox.js";
import type { ReceiverType } from "../../src/model/receiver.js";
import { readConfig } from "../../src/settings/config-file.js";
import { resolveSettings } from "../../src/settings/settings.js";
import { parseReceivers } from "../../src/settings/receivers.js";
import { writeCertificates } from "../etcd/access.js";
import { within } from "../wait.js";
import { EVENT, ReceiverServer, TOKEN } from "./receiver-server.js";

function makeFolder(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), `ztap-notify-${process.pid}-`));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(join(folder, "token"), `${TOKEN}\n`, { mode: 0o600 });
  return folder;
}

/** What settings make of the fields, as a target. */
function openTarget(fields: object) {
  const receivers = parseReceivers(JSON.stringify([fields]));
  if (!Array.isArray(receivers)) throw new Error(Object(receivers).wanted);
  return toTarget(receivers[0], process.geteuid?.() ?? 0, systemClock);
}

function fieldsOf(type: ReceiverType, url: string, folder: string): object {
  if (type === "webhook") return { type, url: `${url}/hook`, secretFile: join(folder, "token") };
  if (type !== "slack") return { type, url, repository: "acme/policies", tokenFile: join(folder, "token") };
  writeFileSync(join(folder, "url"), `${url}/services/T000/B000/XXXX\n`, { mode: 0o600 });
  return { type, urlFile: join(folder, "url") };
}

const never = new AbortController().signal;
const TYPES = ["github", "gitlab", "gitea", "webhook", "slack"] as const;

/** Texts of others that would be read as something else. */
const HOSTILE: CommitEvent = {
  ...EVENT,
  state: "rejected",
  description: `rejected: 3 errors; <!channel> & "quoted" \u001b[2J\u202e ${"ä\n".repeat(300)}`,
  diagnostics: [
    { code: "ZT2003", file: "<a|b>.yaml", line: 5, column: 3, message: "<https://evil.example|here> &amp;" },
  ],
};

for (const type of TYPES)
  t.test(`${type}: each state and hostile texts keep to the published shape`, async (t) => {
    const folder = makeFolder(t);
    const server = await ReceiverServer.start(t, type);
    const target = openTarget(fieldsOf(type, server.url, folder));
    for (const event of [...COMMIT_STATES.map((state) => ({ ...EVENT, state })), HOSTILE])
      t.same(await target.send(event, never), { outcome: "delivered" }, event.state);
    t.same(
      server.received.flatMap(({ wrong }) => wrong),
      [],
    );
    t.equal(server.received.length, COMMIT_STATES.length + 1);
    const states = server.received.map(({ json }) => json["state"]);
    if (type === "github" || type === "gitea")
      t.same(states, ["pending", "failure", "pending", "success", "failure", "failure", "failure"]);
    if (type === "gitlab") {
      t.same(states, ["running", "failed", "pending", "success", "failed", "failed", "failed"]);
      t.match(server.received[0]?.json, { name: "ztap/shop", ref: "main", description: EVENT.description });
    }
    if (type === "github") t.match(server.received[0]?.json, { context: "ztap/shop", description: EVENT.description });
    if (type === "webhook") t.same(server.received[4]?.json, { formatVersion: 1, kind: "commit", ...EVENT });
    if (type === "slack") t.match(server.received[6]?.json["text"], /&lt;!channel&gt; &amp; "quoted"/);
  });

t.test("what an answer means: delivered, refused for good, or to be tried again", async (t) => {
  const folder = makeFolder(t);
  const server = await ReceiverServer.start(t, "github");
  const target = openTarget(fieldsOf("github", server.url, folder));
  const after = async (status: number, headers: Record<string, string> = {}, text = ""): Promise<DeliveryOutcome> => {
    server.answer = (response) => response.writeHead(status, headers).end(text);
    return target.send(EVENT, never);
  };
  for (const status of [200, 201, 204]) t.same(await after(status), { outcome: "delivered" });
  for (const status of [400, 404, 410, 422])
    t.match(await after(status, {}, `{"message":"no\\u0007"}\n`), {
      outcome: "refused",
      problem: `status ${status}: {"message":"no`,
    });
  for (const status of [401, 403, 408, 429, 500, 502, 503])
    t.match(await after(status), { outcome: "failed", problem: `status ${status}`, retryAfterMs: null });
  t.match(await after(429, { "retry-after": "120" }), { retryAfterMs: 120_000 });
  const date = new Date(Date.now() + 3_600_000).toUTCString();
  t.ok(Number(Object(await after(503, { "retry-after": date })).retryAfterMs) > 3_000_000);
  t.match(await after(503, { "retry-after": "soon" }), { retryAfterMs: null });
  t.match(await after(403, {}, `bad token ${TOKEN}`), { problem: "status 403: bad token …" }, "no secret in the words");
});

t.test("a redirection is not followed: the token goes to nobody else", async (t) => {
  const folder = makeFolder(t);
  const other = await ReceiverServer.start(t, "github");
  const server = await ReceiverServer.start(t, "github");
  server.answer = (response, { url }) => response.writeHead(307, { location: `${other.url}${url}` }).end();
  const target = openTarget(fieldsOf("github", server.url, folder));
  t.match(await target.send(EVENT, never), {
    outcome: "refused",
    problem: "status 307: redirections are not followed",
  });
  t.same(other.received, []);
});

t.test("GitLab's refusal of a state that it has already is no failure", async (t) => {
  const server = await ReceiverServer.start(t, "gitlab");
  server.answer = (response) =>
    response
      .writeHead(400)
      .end(
        `{"message":"Cannot transition status via :run from :running (Reason(s): Status cannot transition via \\"run\\")"}`,
      );
  const target = openTarget(fieldsOf("gitlab", server.url, makeFolder(t)));
  t.same(await target.send(EVENT, never), { outcome: "delivered" });
});

t.test("an answer without end, and one that never comes, are cut short", async (t) => {
  const folder = makeFolder(t);
  const server = await ReceiverServer.start(t, "gitea");
  const target = openTarget(fieldsOf("gitea", server.url, folder));
  server.answer = (response) => {
    response.writeHead(500);
    const pour = (): void => {
      while (!response.destroyed && response.write("x".repeat(65_536)));
      if (!response.destroyed) response.once("drain", pour);
    };
    pour();
  };
  t.match(await within(target.send(EVENT, never), { what: "the outcome" }), {
    outcome: "failed",
    problem: /^status 500: x+$/,
  });
  const stop = new AbortController();
  server.answer = () => stop.abort();
  t.match(await within(target.send(EVENT, stop.signal), { what: "the end" }), { problem: "the attempt was cut short" });
  await server.stop();
  t.match(await target.send(EVENT, never), { outcome: "failed", problem: /connection refused/ });
});

t.test("certificates are verified, also where the environment says otherwise", async (t) => {
  const folder = makeFolder(t);
  mkdirSync(join(folder, "tls"));
  await writeCertificates(join(folder, "tls"), [{ name: "host", hosts: ["127.0.0.1"] }]);
  const [cert, key] = ["host.crt", "host.key"].map((name) => readFileSync(join(folder, "tls", name)));
  const server = await ReceiverServer.start(t, "github", { tls: { cert: cert!, key: key! } });
  const fields = fieldsOf("github", server.url, folder);
  const before = process.env["NODE_TLS_REJECT_UNAUTHORIZED"];
  t.teardown(() => {
    if (before === undefined) delete process.env["NODE_TLS_REJECT_UNAUTHORIZED"];
    else process.env["NODE_TLS_REJECT_UNAUTHORIZED"] = before;
  });
  process.env["NODE_TLS_REJECT_UNAUTHORIZED"] = "0";
  t.match(await openTarget(fields).send(EVENT, never), { outcome: "failed" });
  t.same(server.received, [], "it has not seen the token");
  const caFile = join(folder, "tls", "ca.crt");
  t.same(await openTarget({ ...fields, caFile }).send(EVENT, never), { outcome: "delivered" });
});

t.test("secrets come from files that nobody else can read, and are read each time", async (t) => {
  const folder = makeFolder(t);
  const server = await ReceiverServer.start(t, "github");
  const target = openTarget(fieldsOf("github", server.url, folder));
  const path = join(folder, "token");
  chmodSync(path, 0o644);
  t.match(await target.send(EVENT, never), { outcome: "failed", problem: /others may read .*token/ });
  rmSync(path);
  t.match(await target.send(EVENT, never), { problem: /there is no file/ });
  writeFileSync(join(folder, "real"), TOKEN, { mode: 0o600 });
  symlinkSync(join(folder, "real"), path);
  t.match(await target.send(EVENT, never), { problem: /is a link/ });
  rmSync(path);
  for (const wrong of ["", "\n", "two words", "two\nlines\n", "x\r\ny"]) {
    writeFileSync(path, wrong, { mode: 0o600 });
    t.match(await target.send(EVENT, never), { problem: /does not contain one word/ });
  }
  writeFileSync(path, TOKEN, { mode: 0o600 });
  t.same(server.received, []);
  t.same(await target.send(EVENT, never), { outcome: "delivered" });
});

t.test("a URL in a file is held to the same rules as one in the settings, and is in no message", async (t) => {
  const folder = makeFolder(t);
  const target = openTarget(fieldsOf("slack", "http://chat.example.com", folder));
  const outcome = await target.send(EVENT, never);
  t.match(outcome, { outcome: "failed", problem: /https/ });
  t.notMatch(JSON.stringify(outcome), /XXXX|chat\.example/);
});

t.test("receivers in the settings: what each type needs, and what none may have", (t) => {
  const tokenFile = "/etc/ztap/token";
  const github = { type: "github", repository: "acme/policies", tokenFile };
  for (const good of [
    [],
    [github, { ...github, name: "other", context: "ztap prod", events: ["enforced"] }],
    [{ type: "gitlab", repository: "12", tokenFile }],
    [{ type: "gitlab", repository: "a/b/c", tokenFile, url: "https://git.example.com/base/" }],
    [{ type: "gitea", repository: "a/b", tokenFile, url: "http://127.0.0.1:3000" }],
    [{ type: "webhook", url: "http://hooks.example.com", secretFile: "/s", allowInsecure: true }],
    [{ type: "slack", urlFile: "/u" }],
  ])
    t.ok(Array.isArray(parseReceivers(JSON.stringify(good))), JSON.stringify(good));
  for (const [wrong, wanted] of [
    ["{", /a list/],
    [[{ ...github, type: "bitbucket" }], /a list/],
    [[github, github], /two are named github/],
    [[{ type: "github", tokenFile }], /repository, which github needs/],
    [[{ ...github, tokenFile: "token" }], /absolute path as tokenFile/],
    [[{ ...github, repository: "acme/../x" }], /owner\/name/],
    [[{ ...github, repository: "acme" }], /owner\/name/],
    [[{ ...github, repository: "acme/x?y" }], /owner\/name/],
    [[{ ...github, url: "http://github.example.com" }], /https/],
    [[{ ...github, url: "https://ada:secret@github.example.com" }], /no user/],
    [[{ ...github, url: "file:///etc/passwd" }], /https/],
    [[{ ...github, secretFile: "/s" }], /no secretFile/],
    [[{ type: "slack", url: "https://hooks.slack.com/services/T/B/X" }], /urlFile, which slack needs/],
    [[{ type: "slack", urlFile: "/u", url: "https://hooks.slack.com/services/T/B/X" }], /urlFile in place of url/],
    [[{ type: "webhook", url: "https://x.example.com" }], /secretFile, which webhook needs/],
    [[{ type: "webhook", secretFile: "/s" }], /either url or urlFile/],
    [Array.from({ length: 17 }, (_, at) => ({ ...github, name: `r${at}` })), /at most 16/],
  ] as const) {
    const found = parseReceivers(typeof wrong === "string" ? wrong : JSON.stringify(wrong));
    t.match(Object(found).wanted, wanted, JSON.stringify(wrong));
  }
  t.end();
});

t.test("the settings of docs/notifications.md are valid as they stand there", (t) => {
  // Tests run from dist/test/notify.
  const page = readFileSync(new URL("../../../docs/notifications.md", import.meta.url), "utf8");
  const blocks = [...page.matchAll(/^```yaml\n(.*?)^```$/gms)].map(([, text = ""]) => text);
  t.equal(blocks.length, 2);
  for (const text of blocks) {
    const { values, diagnostics } = readConfig("config.yaml", text);
    t.same(diagnostics, []);
    const machine = { isRoot: true, hostname: "n1", home: "/", xdgStateHome: undefined, xdgConfigHome: undefined };
    const { notify, pollHook } = resolveSettings([values], machine);
    t.ok((notify?.length ?? 0) === 5 || pollHook.listen !== null);
  }
  t.end();
});
