import t from "tap";
import { ABI, ADDR_KEY, PORT_KEY } from "../../../src/adapters/ebpf/kernel/abi.generated.js";
import { contains, formatPrefix, parsePrefix } from "../../../src/adapters/ebpf/lower/prefix.js";
import { Ids } from "../../../src/adapters/ebpf/lower/ids.js";
import type { Image } from "../../../src/adapters/ebpf/lower/image.js";
import { imageItems } from "../../../src/adapters/ebpf/items.js";
import { EBPF_CAPACITY } from "../../../src/adapters/ebpf/lower/capacity.js";
import { lower } from "../../../src/adapters/ebpf/lower/lower.js";
import { pinName, unpinName } from "../../../src/adapters/ebpf/kernel/paths.js";
import type { Ruleset } from "../../../src/model/ruleset.js";
import { rulesetOf, type Allow } from "../../kernel/rulesets.js";

function imageOf(...allow: Allow[]): Image {
  return lower(rulesetOf("node", { "demo/web": { cgroup: "web", egress: { allow } } }));
}

/** What the two tries would answer, as the kernel looks them up: the index of the rule, or null. */
function ask(image: Image, peer: string, protocol: number, port: number | null, unknown = false): number | null {
  const [profile] = image.profiles.keys();
  const prefix = parsePrefix(peer);
  const scope = (profile ?? 0) + (prefix.family === 6 ? 1 : 0);
  const scopeKey = Buffer.alloc(4);
  scopeKey.writeUInt32LE(scope);
  const classId = longest(image.addrs, scopeKey.toString("hex") + prefix.address, ADDR_KEY.size, 32 + 128);
  if (classId === null) return null;
  const key = Buffer.alloc(PORT_KEY.size - 4);
  key.writeUInt32LE(classId);
  key.writeUInt8(protocol, 5);
  key.writeUInt16BE(port ?? 0, 6);
  const bits = unknown ? ABI.PORT_ANY_BITS : port === null ? ABI.PORT_PROTOCOL_BITS : ABI.PORT_FULL_BITS;
  const rule = longest(image.ports, key.toString("hex"), PORT_KEY.size, bits);
  return rule === null ? null : (image.rules.get(rule)?.index ?? null);
}

function longest(table: ReadonlyMap<string, number>, key: string, size: number, bits: number): number | null {
  let best: { readonly length: number; readonly value: number } | null = null;
  for (const [entry, value] of table) {
    const length = Buffer.from(entry.slice(0, 8), "hex").readUInt32LE();
    if (entry.length !== size * 2 || length > bits || length <= (best?.length ?? -1)) continue;
    if (binary(entry.slice(8)).slice(0, length) === binary(key).slice(0, length)) best = { length, value };
  }
  return best?.value ?? null;
}

function binary(hex: string): string {
  return Array.from(hex, (digit) => Number.parseInt(digit, 16).toString(2).padStart(4, "0")).join("");
}

await t.test("the first matching clause gets the port; narrower prefixes keep the wider clauses", async (t) => {
  const image = imageOf(
    { peers: ["10.0.0.0/8"], ports: ["tcp/80"] },
    { peers: ["10.1.0.0/16", "fd00::/8"], ports: ["tcp/80-90", "udp"] },
    { peers: "any", ports: ["tcp/443"] },
  );
  t.equal(ask(image, "10.1.2.3", 6, 80), 0);
  t.equal(ask(image, "10.1.2.3", 6, 81), 1);
  t.equal(ask(image, "10.1.2.3", 6, 90), 1);
  t.equal(ask(image, "10.1.2.3", 6, 91), null);
  t.equal(ask(image, "10.1.2.3", 6, 443), 2);
  t.equal(ask(image, "10.2.2.3", 6, 81), null);
  t.equal(ask(image, "10.2.2.3", 6, 80), 0);
  t.equal(ask(image, "11.0.0.1", 6, 80), null);
  t.equal(ask(image, "fd12::1", 17, 7), 1);
  t.equal(ask(image, "2001:db8::1", 6, 443), 2, "any is both families");
  t.equal(ask(image, "10.1.2.3", 17, null), 1, "without ports only a whole protocol matches");
  t.equal(ask(image, "10.1.2.3", 6, null), null);
});

await t.test("::/0 is not IPv4, and 0.0.0.0/0 is not IPv6", async (t) => {
  t.equal(ask(imageOf({ peers: ["::/0"], ports: "any" }), "10.0.0.1", 6, 1), null);
  t.equal(ask(imageOf({ peers: ["0.0.0.0/0"], ports: "any" }), "fd00::1", 6, 1), null);
});

await t.test("`any protocol` shadows later ports, and only it matches unknown protocols", async (t) => {
  const image = imageOf(
    { peers: "any", ports: ["tcp/1-3"] },
    { peers: "any", ports: "any" },
    { peers: "any", ports: ["tcp/9"] },
  );
  t.equal(ask(image, "10.0.0.1", 6, 2), 0);
  t.equal(ask(image, "10.0.0.1", 6, 9), 1);
  t.equal(ask(image, "10.0.0.1", 47, null), 1);
  t.equal(ask(image, "10.0.0.1", 0, null, true), 1);
});

await t.test("every port of overlapping ranges belongs to the first range", async (t) => {
  const ranges = ["tcp/100-299", "tcp/0-127", "tcp/250-65535", "tcp/1-1"];
  const image = imageOf(...ranges.map((ports) => ({ peers: "any", ports: [ports] }) as const));
  const first = (port: number): number =>
    ranges.findIndex((range) => {
      const [low = 0, high = 0] = range.slice(4).split("-").map(Number);
      return low <= port && port <= high;
    });
  for (const port of [0, 1, 99, 100, 127, 128, 249, 250, 299, 300, 32768, 65535]) {
    t.equal(ask(image, "192.0.2.1", 6, port), first(port), String(port));
  }
});

await t.test("equal rulesets give equal items, and a new rule changes only the items of its clauses", async (t) => {
  const rules = Array.from({ length: 50 }, (_unused, at): Allow => ({
    peers: [`10.0.0.${at}/32`],
    ports: [`tcp/${at + 1}`],
  }));
  const before = imageItems(imageOf(...rules));
  t.strictSame(
    [...before].map(([key, { value }]) => [key, value]),
    [...imageItems(imageOf(...rules))].map(([key, { value }]) => [key, value]),
  );
  const after = imageItems(imageOf(...rules, { peers: ["10.0.0.7/32", "10.9.0.0/16"], ports: ["udp/5"] }));
  const changed = [...after].filter(([key, { value }]) => before.get(key)?.value !== value);
  t.match(changed.map(([, item]) => item.label).sort(), [
    "peer 10.0.0.7/32 of egress demo/web",
    "peer 10.9.0.0/16 of egress demo/web",
    "protocol 17 port 5 of demo/web/egress/50",
    "protocol 17 port 5 of demo/web/egress/50",
    "protocol 6 port 8 of demo/web/egress/7",
  ]);
  t.strictSame(changed[0]?.[1].policies, ["demo/web"]);
});

await t.test("a workload owns the addresses of the workloads whose cgroups lie below its own", async (t) => {
  const ruleset = rulesetOf("node", {
    "demo/a": { cgroup: "a", addresses: ["10.0.0.1"] },
    "demo/b": { cgroup: "a/b/" },
    "demo/c": { cgroup: "a//b/c/d", addresses: ["10.0.0.3", "fd00:0:0:0:0:0:0:3"] },
    "demo/d": { cgroup: "a/e", addresses: ["10.0.0.1", "10.0.0.4"] },
    "demo/e": { cgroup: "ab", addresses: ["10.0.0.5"] },
    "demo/f": { cgroup: null, addresses: ["10.0.0.6"] },
    "demo/g": { cgroup: "x", addresses: ["10.0.0.7"] },
    "demo/h": { cgroup: "x/y", addresses: ["10.0.0.8"] },
  });
  const image = lower(ruleset);
  const owned = new Map<string, string[]>();
  for (const { label, value } of imageItems(image).values()) {
    const [, address, workload] = /^own address (\S+) of demo\/(.)$/.exec(label) ?? [];
    if (address === undefined || workload === undefined) continue;
    const kind = Number(value) === ABI.ANY_ADDRESS ? " if nobody declares it" : "";
    owned.set(workload, [...(owned.get(workload) ?? []), address + kind].sort());
  }
  const any = ["0.0.0.0/0 if nobody declares it", "0:0:0:0:0:0:0:0/0 if nobody declares it"];
  const below = ["10.0.0.3/32", "fd00:0:0:0:0:0:0:3/128"];
  t.strictSame(Object.fromEntries(owned), {
    a: [...any, "10.0.0.1/32", "10.0.0.4/32", ...below].sort(),
    b: [...any, ...below].sort(),
    c: below,
    d: ["10.0.0.1/32", "10.0.0.4/32"],
    e: ["10.0.0.5/32"],
    g: ["10.0.0.7/32", "10.0.0.8/32"],
    h: ["10.0.0.8/32"],
  });
  t.equal(EBPF_CAPACITY.subjects(ruleset.subjects).addresses, image.addrs.size, "as many as are counted");
});

await t.test("cgroup paths of more names than the kernel holds during a change are refused", async (t) => {
  const most = ABI.MAX_NAMES / 2;
  const withPaths = (...cgroups: string[]): Ruleset =>
    rulesetOf("node", Object.fromEntries(cgroups.map((cgroup, at) => [`demo/w${at}`, { cgroup }])));
  const full = Array.from({ length: most - 3 }, (_one, at) => `a/b/c/d${at}`);
  t.equal(lower(withPaths(...full)).subjects.size, most - 3, "a path above several workloads is one name");
  const unnameable = ["y/".repeat(ABI.MAX_LEVEL + 1), `y/${"z".repeat(ABI.NAME_BYTES)}`];
  t.equal(lower(withPaths(...full, "a//b/./c/", "a/b", ...unnameable)).subjects.size, most + 1, "and others have none");
  t.same(EBPF_CAPACITY.refuse(withPaths(...full)), []);
  const tooMany = withPaths(...full, "a/b/x");
  t.throws(() => lower(tooMany), { code: "limit", message: /cgroup paths .* have 8193 .* at most 8192/ });
  t.match(EBPF_CAPACITY.refuse(tooMany), [{ workload: "demo/w0", message: /8193/, fix: /shorter/ }]);
});

await t.test("prefixes, pin names and ids", async (t) => {
  for (const text of ["10.1.0.0/16", "0.0.0.0/0", "fd00:0:0:1:0:0:0:0/64"])
    t.equal(formatPrefix(parsePrefix(text)), text);
  t.equal(parsePrefix("::ffff:10.0.0.1").address, "00000000000000000000ffff0a000001");
  t.equal(parsePrefix("1::").address, parsePrefix("1:0::0").address);
  t.throws(() => parsePrefix("10.0.0"), TypeError);
  t.ok(contains(parsePrefix("10.128.0.0/9"), parsePrefix("10.129.0.0/16")));
  t.notOk(contains(parsePrefix("10.128.0.0/9"), parsePrefix("10.1.0.0/16")));
  t.notOk(contains(parsePrefix("0.0.0.0/0"), parsePrefix("::/0")));
  for (const name of ["demo/web", "a.b/c_d", "../x", "ü/"]) {
    t.match(pinName(name), /^[A-Za-z0-9_-]+$/);
    t.equal(unpinName(pinName(name)), name);
  }
  const ids = new Ids(4);
  t.strictSame(
    [ids.take(9), ids.take(8), ids.take(1), ids.take(0xffffffff), ids.take(0xfffffffe)],
    [8, 12, 4, 0xfffffffc, 16],
  );
});
