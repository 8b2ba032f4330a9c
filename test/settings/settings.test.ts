import t from "tap";
import { SETTING_KEYS, definitionOf } from "../../src/settings/definitions.js";
import type { SettingKey } from "../../src/settings/settings.js";
import { listSettings, resolveSettings } from "../../src/settings/settings.js";
import { layer, ROOT, USER, type Values } from "./layers.js";

const resolve = (values: Values, origin?: string) => resolveSettings([layer(values, origin)], ROOT);

t.test("the defaults of root and of a user", async (t) => {
  t.match(resolveSettings([], ROOT), {
    store: { kind: "file", path: "/var/lib/ztap" },
    node: "web-1",
    isNodeNamed: false,
    backend: "auto",
    listen: { host: "127.0.0.1", port: 9470 },
    source: { url: null },
  });
  t.match(resolveSettings([], USER).store, { path: "/home/ada/.local/state/ztap" });
  t.match(resolveSettings([], { ...USER, xdgStateHome: "/state" }).store, { path: "/state/ztap" });
  t.match(resolveSettings([], { ...USER, xdgStateHome: "state" }).store, { path: "/home/ada/.local/state/ztap" });
  t.match(resolve({ node: "web-1" }), { isNodeNamed: true });
});

t.test("the settings are split into the parts that modules take", async (t) => {
  t.same(resolveSettings([], ROOT).election, {
    heartbeatIntervalMs: 1000,
    electionTimeoutMs: 5000,
    sessionTtlMs: 60_000,
  });
  t.same(resolveSettings([], ROOT).history, { keepRevisions: 1000, keepForMs: 480 * 3_600_000 });
  t.same(resolveSettings([], ROOT).source, {
    url: null,
    branch: null,
    path: null,
    intervalMs: 60_000,
    selfHeal: true,
    maxDeletePercent: 50,
    verify: { sshSigners: null, openpgpKeys: null, since: null },
  });
});

t.test("the address follows the port that the agent listens on, unless it is set", async (t) => {
  const address = (values: Values) => resolve({ node: "n1", ...values }).address;
  t.equal(address({}), "n1:9470");
  t.equal(address({ listen: "0.0.0.0:9555" }), "n1:9555");
  t.equal(address({ listen: "0.0.0.0:9555", address: "10.0.0.1:1" }), "10.0.0.1:1");
  t.equal(address({ listen: "off" }), "n1:9470");
  t.equal(address({ listen: "127.0.0.1:0" }), "n1:9470", "any free port is none that could be told");
});

t.test("a store is a URL, or a path that cannot be anything else", async (t) => {
  const store = (text: string) => resolve({ store: text }).store;
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

t.test("setting a key to its default changes nothing", async (t) => {
  const defaults = SETTING_KEYS.flatMap((key) => {
    const text = definitionOf(key).default;
    return text === undefined ? [] : [[key, text] as const];
  });
  t.ok(defaults.length > 10);
  t.same(resolve(Object.fromEntries(defaults)), resolveSettings([], ROOT));
});

t.test("incomplete signature settings are refused: a mistake never switches the check off", async (t) => {
  const since = "a".repeat(40);
  const verify = { "source.verify.sshSigners": "/etc/ztap/signers", "source.verify.since": since };
  t.same(resolve(verify).source.verify, { sshSigners: "/etc/ztap/signers", openpgpKeys: null, since });
  for (const values of [
    { "source.verify.sshSigners": "" },
    { "source.verify.openpgpKeys": "keys.asc" },
    { "source.verify.since": since },
    { "source.verify.sshSigners": "/signers", "source.verify.since": "main" },
    { "source.maxDeletePercent": "101" },
    { "source.maxDeletePercent": "" },
  ])
    t.throws(() => resolve(values), { code: "invalid-settings" }, JSON.stringify(values));
  t.equal(resolve({ "source.maxDeletePercent": "0" }).source.maxDeletePercent, 0);
});

t.test("the stronger layer wins, setting by setting", async (t) => {
  const layers = [
    layer({ node: "a" }, "flag --node"),
    layer({ node: "b", backend: "none" }, "environment"),
    layer({ node: "c", backend: "ebpf", "source.url": "/repo", "source.interval": "5m" }, "c.yaml:1"),
  ];
  t.match(resolveSettings(layers, ROOT), { node: "a", backend: "none", source: { url: "/repo", intervalMs: 300_000 } });
  const rows = new Map(listSettings(layers, ROOT).map(({ key, ...row }) => [key, row]));
  t.same([...rows.keys()], SETTING_KEYS, "every setting is listed");
  t.same(
    (["node", "backend", "source.interval", "address", "source.branch"] as const).map((key) => rows.get(key)),
    [
      { value: "a", origin: "flag --node" },
      { value: "none", origin: "environment" },
      { value: "5m", origin: "c.yaml:1" },
      { value: "a:9470", origin: "default" },
      { value: null, origin: "default" },
    ],
  );
});

t.test("no list of settings shows credentials", async (t) => {
  const url = "https://ada:secret@git.example.com/p.git";
  const row = listSettings([layer({ "source.url": url })], ROOT).find(({ key }) => key === "source.url");
  t.equal(row?.value, "https://…@git.example.com/p.git");
});

const BAD: readonly (readonly [SettingKey, string, RegExp])[] = [
  ["store", "redis://x", /file:PATH/],
  ["store", "etcd://ada:secret@h:1/x", /"etcd:\/\/…@h:1\/x".*etcd\.passwordFile/],
  ["store", "file:", /file:PATH/],
  ["store", "//host/share", /begins with \/, \.\/ or \.\.\//],
  ["store", "policies", /file:PATH, a path that begins with \/, \.\/ or \.\.\//],
  ["stateDir", "", /the path of a folder/],
  ["logFormat", "xml", /auto, text, json/],
  ["node", "Not A Label", /DNS label/],
  ["backend", "iptables", /auto, ebpf, pf, none/],
  ["listen", "9470", /host:port/],
  ["listen", "127.0.0.1:70000", /host:port/],
  ["checkInterval", "10", /unit/],
  ["checkInterval", "0s", /a number with its unit/],
  ["checkInterval", "-1s", /unit/],
  ["keepRevisions", "0", /a whole number from 1 to 999999999/],
  ["keepRevisions", "1e3", /whole number/],
  ["allowLockout", "perhaps", /true or false/],
  ["pinRoot", "relative", /absolute/],
  ["logLevel", "loud", /debug, info/],
];
for (const [key, value, wanted] of BAD) {
  t.test(`${key}=${value} is refused with what was wanted and where it was set`, async (t) => {
    t.throws(() => resolve({ [key]: value }, "c.yaml:7"), { code: "invalid-settings", message: wanted });
    t.throws(() => resolve({ [key]: value }, "c.yaml:7"), { message: `${key} (c.yaml:7): found ` });
  });
}

t.test("of settings that contradict each other, the one that was set is named with its origin", async (t) => {
  const flag = (values: Values) => layer(values, "flag --x");
  const variable = (values: Values) => layer(values, "environment ZTAP_X");
  const since = "b".repeat(40);
  const cases: readonly (readonly [readonly ReturnType<typeof layer>[], string])[] = [
    [
      [variable({ electionTimeout: "1s" })],
      'electionTimeout (environment ZTAP_X): found "1s", wanted at least twice heartbeatInterval, which is 1s (default)',
    ],
    [
      [flag({ heartbeatInterval: "10s" })],
      'heartbeatInterval (flag --x): found "10s", wanted at most half of electionTimeout, which is 5s (default)',
    ],
    [
      [flag({ heartbeatInterval: "4s" }), variable({ electionTimeout: "10s", sessionTtl: "7s" })],
      'sessionTtl (environment ZTAP_X): found "7s", wanted at least twice heartbeatInterval, which is 4s (flag --x)',
    ],
    [
      [variable({ "etcd.cert": "c.pem" })],
      "etcd.key (default): found nothing, wanted a value, since etcd.cert (environment ZTAP_X) is set",
    ],
    [
      [flag({ "etcd.user": "" }), variable({ "etcd.user": "ada", "etcd.passwordFile": "p" })],
      'etcd.user (flag --x): found "", wanted a value, since etcd.passwordFile (environment ZTAP_X) is set',
    ],
    [
      [flag({ store: "etcd://h:1" }), variable({ "etcd.ca": "ca.pem" })],
      'store (flag --x): found "etcd://h:1", wanted etcds://, since etcd.ca (environment ZTAP_X) is set',
    ],
    [
      [variable({ "source.verify.since": since })],
      `source.verify.since (environment ZTAP_X): found "${since}", wanted sshSigners or openpgpKeys beside it: who may sign`,
    ],
  ];
  for (const [layers, message] of cases) t.throws(() => resolveSettings(layers, ROOT), { message });
});

t.test("a switch accepts the words that other variables accept", async (t) => {
  for (const text of ["true", "1", "yes", "Y"]) t.equal(resolve({ allowLockout: text }).allowLockout, true, text);
  for (const text of ["false", "0", "no", "N"]) t.equal(resolve({ "source.selfHeal": text }).source.selfHeal, false);
});
