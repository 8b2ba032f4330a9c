/** Keys of peers: both nodes derive the same ones, from what Git and the nodes say, and each address has those of one node. */
import { generateKeyPairSync, diffieHellman, hkdfSync, type KeyObject } from "node:crypto";
import t from "tap";
import type { PeerKeys } from "../../src/interfaces/enforcer.js";
import type { NodeKey } from "../../src/interfaces/node-key.js";
import type { NodeEndpoints } from "../../src/model/endpoints.js";
import { resolveInstances } from "../../src/inventory/resolve.js";
import type { ObjectSet } from "../../src/model/state.js";
import { PeerIdentities, type KnownNodes } from "../../src/reconcile/peer-identities.js";
import { objectsOf, workload } from "../builders/state.js";
import { silentLogger } from "../fakes/ambient.js";
import { ManualClock } from "../fakes/clock.js";

const DAY = 20_000;

/** Made apart from the adapter. */
class TestKey implements NodeKey {
  readonly #pair = generateKeyPairSync("x25519");
  readonly publicKey = this.#pair.publicKey.export({ format: "jwk" }).x ?? "";
  static readonly all = new Map<string, KeyObject>();
  constructor() {
    TestKey.all.set(this.publicKey, this.#pair.publicKey);
  }
  /** How often a secret was asked for. */
  agreed = 0;

  agree(other: string): Buffer | null {
    this.agreed += 1;
    const publicKey = TestKey.all.get(other);
    return publicKey === undefined ? null : diffieHellman({ privateKey: this.#pair.privateKey, publicKey });
  }
}

function recordLogs() {
  const lines: string[] = [];
  return { lines, logger: { ...silentLogger, warn: (text: string) => void lines.push(text) } };
}

const cluster = (identity: string): string =>
  `{ apiVersion: ztap/v1, kind: Cluster, metadata: { name: cluster }, spec: { identity: ${identity} } }\n---\n`;
const node = (name: string, spec: object): string =>
  `${JSON.stringify({ apiVersion: "ztap/v1", kind: "Node", metadata: { name }, spec })}\n---\n`;

const known = (objects: ObjectSet, self: string, reports: readonly NodeEndpoints[]): KnownNodes => ({
  objects,
  resolution: resolveInstances(objects, reports, self),
});

function started(text: string, own: NodeKey, self = "a") {
  const enforcer = { backend: "test", peerKeys: { write: () => undefined } };
  const clock = new ManualClock(DAY * 86_400_000 + 5000);
  const identities = new PeerIdentities({ enforcer, openNodeKey: () => own, clock, logger: silentLogger }, self);
  const objects = objectsOf(text);
  return (reports: readonly NodeEndpoints[]): void => identities.use(known(objects, self, reports));
}

function run(text: string, own: NodeKey, reports: readonly NodeEndpoints[], self = "a") {
  const written: (readonly PeerKeys[])[] = [];
  const { logger, lines } = recordLogs();
  const clock = new ManualClock(DAY * 86_400_000 + 5000);
  const enforcer = { backend: "test", peerKeys: { write: (peers: readonly PeerKeys[]) => void written.push(peers) } };
  const objects = objectsOf(text);
  const identities = new PeerIdentities({ enforcer, openNodeKey: () => own, clock, logger }, self);
  identities.use(known(objects, self, reports));
  return {
    publicKey: identities.publicKey(objects),
    written: written.at(-1) ?? [],
    peers: new Map((written.at(-1) ?? []).map(({ address, days }) => [address, days])),
    lines,
  };
}

const report = (name: string, key: NodeKey, addresses: readonly string[] = []): NodeEndpoints => ({
  ...{ node: name, at: "2026-01-01T00:00:00.000Z", os: "linux", addresses, instances: [] },
  publicKey: key.publicKey,
});

const GROUP =
  '{ apiVersion: ztap/v1, kind: NodeGroup, metadata: { name: g }, spec: { nodeNames: ["n*"], addressRanges: [10.1.0.0/16] } }\n---\n';
const [a, b, c] = [new TestKey(), new TestKey(), new TestKey()];
const NODES = node("a", { addresses: ["10.0.0.1"] }) + node("b", { addresses: ["10.0.0.2"] });

t.test("two nodes derive the same keys, by HKDF, for yesterday and a month ahead", async (t) => {
  const reports = [report("a", a), report("b", b)];
  const ofA = run(cluster("syn") + NODES, a, reports).peers.get("10.0.0.2");
  const ofB = run(cluster("syn") + NODES, b, reports, "b").peers.get("10.0.0.1");
  t.same([...(ofA ?? [])], [...(ofB ?? [])]);
  t.equal(Math.min(...(ofA ?? new Map<number, Buffer>()).keys()), DAY - 1);
  t.equal(Math.max(...(ofA ?? new Map<number, Buffer>()).keys()), DAY + 29);
  const secret = a.agree(b.publicKey) ?? Buffer.alloc(0);
  const wanted = Buffer.from(hkdfSync("sha256", secret, Buffer.alloc(0), `ztap syn ${DAY}`, 16));
  t.same(ofA?.get(DAY), wanted);
  t.not(ofA?.get(DAY)?.toString("hex"), ofA?.get(DAY + 1)?.toString("hex"));
});

t.test("the addresses of workloads have the key of their node; this node's own have one as well", async (t) => {
  const text = cluster("syn") + NODES + workload("db@b 10.0.9.9 app=db");
  const { peers } = run(text, a, [report("a", a), report("b", b)]);
  t.same([...peers.keys()].sort(), ["10.0.0.1", "10.0.0.2", "10.0.9.9"]);
  t.equal(peers.get("10.0.9.9"), peers.get("10.0.0.2"));
});

t.test("an address of two nodes has the keys of both, of which the table keeps the first", async (t) => {
  const both = [report("n1", b, ["10.1.0.1"]), report("n2", c, ["10.1.0.1"])];
  const { written, lines } = run(cluster("syn") + GROUP, a, both, "n0");
  t.match(written, [{ address: "10.1.0.1" }]);
  t.equal(written[0]?.others?.length, 1);
  t.match(lines.join("\n"), /10\.1\.0\.1 is an address of n1 and n2/);
});

t.test(
  "without a key of its node an address has none, nor where Git declares it for workloads of two nodes",
  async (t) => {
    t.notOk(run(cluster("syn") + NODES, a, [report("a", a)]).peers.has("10.0.0.2"), "b has reported none");
    const text = cluster("syn") + NODES + workload("x@a 10.0.9.9") + workload("y@b 10.0.9.9");
    t.notOk(run(text, a, [report("a", a), report("b", b)]).peers.has("10.0.9.9"));
  },
);

t.test("keys that nobody reports any more are forgotten", async (t) => {
  const own = new TestKey();
  const write = started(cluster("syn") + NODES, own);
  const first = report("b", new TestKey());
  write([report("a", a), first]);
  const { agreed } = own;
  write([report("a", a), first]);
  t.equal(own.agreed, agreed, "a key in use is known");
  write([report("a", a), report("b", new TestKey())]);
  write([report("a", a), first]);
  t.equal(own.agreed, agreed + 2, "one that another replaced has to be agreed on again");
});

t.test("a key pair that cannot be read is a problem in words, and hides nothing else", async (t) => {
  const { logger, lines } = recordLogs();
  const enforcer = { backend: "test", peerKeys: { write: () => undefined } };
  const openNodeKey = () => {
    throw new Error("others may read it");
  };
  const identities = new PeerIdentities({ enforcer, openNodeKey, clock: new ManualClock(0), logger }, "a");
  for (let at = 0; at < 3; at++) t.equal(identities.publicKey(objectsOf(cluster("syn") + NODES)), null);
  t.match(identities.problem, /others may read it/);
  t.equal(lines.length, 1);
});

t.test("Git pins a key: another one that the node reports does not count", async (t) => {
  const pinned =
    node("a", { addresses: ["10.0.0.1"] }) + node("b", { addresses: ["10.0.0.2"], publicKey: b.publicKey });
  const reports = [report("a", a), report("b", c)];
  const { peers, lines } = run(cluster("syn") + pinned, a, reports);
  t.same(peers.get("10.0.0.2"), run(cluster("syn") + NODES, a, [report("b", b)]).peers.get("10.0.0.2"));
  t.match(lines.join("\n"), /Git pins another public key for node b/);
});

t.test("a key that is none, an address outside the ranges", async (t) => {
  const text = cluster("syn") + GROUP;
  const reports = [report("n1", b, ["10.1.0.1", "10.9.0.1"]), { ...report("n2", c, ["10.1.0.2"]), publicKey: "bad" }];
  const { peers, lines } = run(text, a, reports, "n0");
  t.same([...peers.keys()], ["10.1.0.1"]);
  t.match(lines.join("\n"), /the public key of node n2 cannot be used/);
});

t.test("without identities nothing is told, and no key is kept", async (t) => {
  for (const identity of ["source", "address"]) {
    const { peers, publicKey } = run(cluster(identity) + NODES, a, [report("a", a), report("b", b)]);
    t.equal(peers.size, 0);
    t.equal(publicKey, null);
  }
  t.equal(run(cluster("syn") + NODES, a, []).publicKey, a.publicKey);
});

t.test("a backend that cannot prove it says so, once, and reports no key", async (t) => {
  const { logger, lines } = recordLogs();
  const deps = { enforcer: { backend: "pf", peerKeys: null }, openNodeKey: () => a, clock: new ManualClock(0), logger };
  const identities = new PeerIdentities(deps, "a");
  const objects = objectsOf(cluster("syn") + NODES);
  for (let at = 0; at < 3; at++) t.equal(identities.publicKey(objects), null);
  t.equal(lines.length, 1);
  t.match(lines[0], /the backend pf cannot prove who sends/);
});
