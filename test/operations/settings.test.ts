import { readFileSync } from "node:fs";
import t from "tap";
import type { SettingKey } from "../../src/settings/settings.js";
import { DEFAULT_TEXTS, SETTING_KEYS, resolveSettings, variableOf } from "../../src/settings/settings.js";

const ROOT = { isRoot: true, hostname: "Web-1.example.com", home: "/root", xdgStateHome: undefined };
const USER = { isRoot: false, hostname: "web-1", home: "/home/ada", xdgStateHome: undefined };

t.test("the defaults of root and of a user", async (t) => {
  t.match(resolveSettings([], ROOT), {
    store: { kind: "file", path: "/var/lib/ztap" },
    node: "web-1",
    backend: "auto",
    listen: { host: "127.0.0.1", port: 9470 },
    source: null,
  });
  t.match(resolveSettings([], USER).store, { path: "/home/ada/.local/state/ztap" });
  t.match(resolveSettings([], { ...USER, xdgStateHome: "/state" }).store, { path: "/state/ztap" });
});

t.test("the address follows the port that the agent listens on, unless it is set", async (t) => {
  const address = (values: Partial<Record<SettingKey, string>>) =>
    resolveSettings([{ origin: "flag", values: { node: "n1", ...values } }], ROOT).address;
  t.equal(address({}), "n1:9470");
  t.equal(address({ listen: "0.0.0.0:9555" }), "n1:9555");
  t.equal(address({ listen: "0.0.0.0:9555", address: "10.0.0.1:1" }), "10.0.0.1:1");
  t.equal(address({ listen: "off" }), "n1:9470");
  t.equal(address({ listen: "127.0.0.1:0" }), "n1:9470", "any free port is none that could be told");
});

t.test("a store is a URL, or a path that cannot be anything else", async (t) => {
  const store = (text: string) => resolveSettings([{ origin: "flag", values: { store: text } }], ROOT).store;
  for (const [text, path] of [
    ["file:store", "store"],
    ["file:/a", "/a"],
    ["file:///a", "/a"],
    ["/a/b", "/a/b"],
    ["./a", "./a"],
    ["../a", "../a"],
  ] as const)
    t.same(store(text), { kind: "file", path }, text);
  t.same(store("memory:"), { kind: "memory" });
});

t.test("the defaults that are told are those that hold", async (t) => {
  const told = Object.entries(DEFAULT_TEXTS);
  t.same(told.map(([key]) => key).sort(), [...SETTING_KEYS].sort());
  const schema = JSON.parse(readFileSync(new URL("../../../schemas/config.schema.json", import.meta.url), "utf8"));
  const words = ["store", "stateDir", "node", "address", "source.url", "source.branch", "source.path"];
  const inWords = new Set([...words, ...SETTING_KEYS.filter((key) => /^(etcd|source\.verify)\./.test(key))]);
  for (const [key, text] of told) {
    const property = key.split(".").reduce((at, name) => at.properties[name], schema);
    if (!inWords.has(key)) t.equal(String(property.default), text, `${key} in the schema`);
  }
  const source = { origin: "flag", values: { "source.url": "/repo" } };
  const written = { origin: "file", values: Object.fromEntries(told.filter(([key]) => !inWords.has(key))) };
  t.same(resolveSettings([source], ROOT), resolveSettings([source, written], ROOT));
});

t.test("who has to sign is told whole, or refused: no check is left out by a slip", async (t) => {
  const resolve = (values: object) => resolveSettings([{ origin: "file", values }], ROOT);
  t.equal(resolve({}).verify, null);
  const since = "a".repeat(40);
  t.same(resolve({ "source.verify.sshSigners": "/etc/ztap/signers", "source.verify.since": since }).verify, {
    sshSigners: "/etc/ztap/signers",
    openpgpKeys: null,
    since,
  });
  for (const values of [
    { "source.verify.sshSigners": "" },
    { "source.verify.openpgpKeys": "keys.asc" },
    { "source.verify.since": since },
    { "source.verify.sshSigners": "/signers", "source.verify.since": "main" },
    { "source.maxDeletePercent": "101" },
    { "source.maxDeletePercent": "" },
  ])
    t.throws(() => resolve(values), { code: "invalid-settings" }, JSON.stringify(values));
  t.equal(resolve({ "source.maxDeletePercent": "0" }).maxDeletePercent, 0);
});

t.test("the stronger layer wins, setting by setting", async (t) => {
  const layers = [
    { origin: "flag", values: { node: "a" } },
    { origin: "environment", values: { node: "b", backend: "none" } },
    { origin: "file", values: { node: "c", backend: "ebpf", "source.url": "/repo", "source.interval": "5m" } },
  ] as const;
  t.match(resolveSettings(layers, ROOT), { node: "a", backend: "none", source: { url: "/repo", intervalMs: 300_000 } });
});

t.test("variables are named as the flags are", async (t) => {
  t.same((["source.url", "source.branch", "source.selfHeal", "checkInterval", "store"] as const).map(variableOf), [
    "ZTAP_SOURCE",
    "ZTAP_BRANCH",
    "ZTAP_SOURCE_SELF_HEAL",
    "ZTAP_CHECK_INTERVAL",
    "ZTAP_STORE",
  ]);
});

const BAD: readonly (readonly [SettingKey, string, RegExp])[] = [
  ["store", "redis://x", /file:PATH/],
  ["store", "etcd://ada:secret@h:1/x", /"etcd:\/\/…@h:1\/x".*etcd\.passwordFile/],
  ["store", "file:", /file:PATH/],
  ["store", "//host/share", /begins with \/, \.\/ or \.\.\//],
  ["store", "policies", /file:PATH, a path that begins with \/, \.\/ or \.\.\//],
  ["logFormat", "xml", /auto, text, json/],
  ["node", "Not A Label", /DNS label/],
  ["backend", "iptables", /auto, ebpf, pf, none/],
  ["listen", "9470", /host:port/],
  ["listen", "127.0.0.1:70000", /host:port/],
  ["checkInterval", "10", /unit/],
  ["checkInterval", "0s", /a number with its unit/],
  ["checkInterval", "-1s", /unit/],
  ["sessionTtl", "1s", /twice heartbeatInterval/],
  ["pinRoot", "relative", /absolute/],
  ["logLevel", "loud", /debug, info/],
];
for (const [key, value, wanted] of BAD) {
  t.test(`${key}=${value} is refused with what was wanted and where it was set`, async (t) => {
    const layers = [{ origin: "flag", values: { [key]: value } }];
    t.throws(() => resolveSettings(layers, ROOT), { code: "invalid-settings", message: wanted });
  });
}
