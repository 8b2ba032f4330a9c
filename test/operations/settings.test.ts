import t from "tap";
import type { SettingKey } from "../../src/operations/settings.js";
import { resolveSettings, variableOf } from "../../src/operations/settings.js";

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
  ["store", "file:", /file:PATH/],
  ["node", "Not A Label", /DNS label/],
  ["backend", "iptables", /auto, ebpf, none/],
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
