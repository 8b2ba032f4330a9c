/**
 * Identity in SYNs: two nodes, several workloads behind each address. What policy lets in is the workload that it names, and
 * not whoever has its address.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { openNodeKey } from "../../src/adapters/disk/node-key.js";
import { EbpfEnforcer } from "../../src/adapters/ebpf/enforcer.js";
import { parsePrefix } from "../../src/adapters/ebpf/lower/prefix.js";
import { systemClock } from "../../src/adapters/system/clock.js";
import type { Enforcer, PeerKeys, RefusalReason } from "../../src/interfaces/enforcer.js";
import type { NodeKey } from "../../src/interfaces/node-key.js";
import type { NodeEndpoints } from "../../src/model/endpoints.js";
import type { Ruleset } from "../../src/model/ruleset.js";
import { synIdentityOf } from "../../src/model/syn-identity.js";
import { resolveInstances } from "../../src/inventory/resolve.js";
import { compile } from "../../src/policy/compile/compile.js";
import { PeerIdentities } from "../../src/reconcile/peer-identities.js";
import { objectsOf, policy, workload } from "../builders/state.js";
import { HANG_MS, waitUntil } from "../wait.js";
import { checkedBetween, packet, tcp } from "./packets.js";
import { AF, RawActor, SOCK } from "./raw-actor.js";
import { rulesetOf } from "./rulesets.js";
import { packets, quiet, Sandbox, whyNot } from "./sandbox.js";
import { siphash } from "./siphash.js";
import { ETHERNET } from "./wire.js";

const A = { ip4: "10.217.0.1", ip6: "fd00:217::1" };
const B = { ip4: "10.217.0.2", ip6: "fd00:217::2" };
const DAY_MS = 86_400_000;

const reason = whyNot();
await t.test("identity in SYNs", { skip: reason ?? false, timeout: HANG_MS }, async (t) => {
  const sandbox = new Sandbox(t);
  const sides = [A, B].map(({ ip4, ip6 }) => [`${ip4}/24`, `${ip6}/64`]);
  const [spaceA, spaceB] = sandbox.network(sides[0] ?? [], sides[1] ?? []);
  const [webGroup, batchGroup, dbGroup] = [sandbox.cgroup("web"), sandbox.cgroup("batch"), sandbox.cgroup("db")];
  const folder = mkdtempSync(join(tmpdir(), "ztap-identity-"));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const [nodeA, nodeB] = [sandbox.node("a"), sandbox.node("b")];
  const keys = new Map([nodeA, nodeB, "other"].map((node) => [node, openNodeKey(join(folder, `${node}.key`))]));
  const keyOf = (node: string): NodeKey => {
    const key = keys.get(node);
    if (key === undefined) throw new TypeError(node);
    return key;
  };

  const state = objectsOf(
    [
      "{ apiVersion: ztap/v1, kind: Cluster, metadata: { name: cluster }, spec: { identity: syn } }",
      `---\n{ apiVersion: ztap/v1, kind: Node, metadata: { name: ${nodeA} }, spec: { addresses: ["${A.ip4}", "${A.ip6}"] } }`,
      `---\n{ apiVersion: ztap/v1, kind: Node, metadata: { name: ${nodeB} }, spec: { addresses: ["${B.ip4}", "${B.ip6}"] } }`,
      workload(`web@${nodeA} ${A.ip4},${A.ip6} app=web`, "shop"),
      workload(`batch@${nodeA} ${A.ip4},${A.ip6} app=batch`, "shop"),
      workload(`db@${nodeB} ${B.ip4},${B.ip6} app=db [sql:5432/TCP]`, "shop").replace("test/shop-db", dbGroup),
      policy(
        "db",
        `
  podSelector: { matchLabels: { app: db } }
  policyTypes: [Ingress]
  ingress:
    - from: [{ podSelector: { matchLabels: { app: web } } }]
      ports: [{ protocol: TCP, port: 5432 }]`,
        { namespace: "shop" },
      ),
    ].join("\n"),
  );
  const rulesetB = compile(state, nodeB);
  /** The sender's node restricts nothing: what it should do itself is not what is tried here. */
  const rulesetA: Ruleset = {
    ...rulesetOf(nodeA, {
      "shop/web": { cgroup: webGroup, addresses: [A.ip4, A.ip6] },
      "shop/batch": { cgroup: batchGroup, addresses: [A.ip4, A.ip6] },
    }),
    hasSynIdentity: true,
  };
  const open = async (node: string, settleNs = 0n): Promise<EbpfEnforcer> => {
    const enforcer = new EbpfEnforcer({ node, logger: quiet, settleNs });
    await enforcer.open();
    t.teardown(() => enforcer.close());
    return enforcer;
  };
  const reports: NodeEndpoints[] = [nodeA, nodeB].map((node) => ({
    ...{ node, at: new Date().toISOString(), os: "linux", addresses: [], instances: [] },
    publicKey: keyOf(node).publicKey,
  }));
  const identitiesOf = (node: string, enforcer: Pick<Enforcer, "backend" | "peerKeys">): PeerIdentities =>
    new PeerIdentities({ enforcer, openNodeKey: () => keyOf(node), clock: systemClock, logger: quiet }, node);
  const useKeys = (node: string, enforcer: Enforcer): void =>
    identitiesOf(node, enforcer).use({ objects: state, resolution: resolveInstances(state, reports, node) });

  const [enforcerA, enforcerB] = [await open(nodeA), await open(nodeB)];
  await enforcerA.apply(rulesetA);
  await enforcerB.apply(rulesetB);
  const actor = (cgroup: string | undefined, namespace: string) =>
    sandbox.actor(cgroup === undefined ? { namespace } : { cgroup, namespace });
  const [web, batch, stranger, db] = await Promise.all([
    actor(webGroup, spaceA),
    actor(batchGroup, spaceA),
    actor(undefined, spaceA),
    actor(dbGroup, spaceB),
  ]);
  await Promise.all([db.call("tcpListen", { host: "::", port: 5432 })]);
  const refused = async (name: RefusalReason): Promise<bigint> =>
    (await enforcerB.observe(rulesetB)).refusals.find((one) => one.reason === name)?.count ?? 0n;
  const connects = async (from: typeof web, host: string): Promise<boolean> =>
    typeof (await from.call("tcpConnect", { host, port: 5432 })).id === "number";
  /** A connection that is refused hangs: the count tells. */
  const isRefused = async (from: typeof web, host: string, why: RefusalReason): Promise<void> => {
    const before = await refused(why);
    void from.call("tcpConnect", { host, port: 5432 });
    await waitUntil(async () => (await refused(why)) > before, { what: `a SYN refused as ${why}` });
  };

  await t.test("without keys an address is enough", async (t) => {
    t.same((await enforcerB.observe(rulesetB)).difference, { missing: [], changed: [], extra: [] });
    t.ok(await connects(batch, B.ip4), "batch has the address of web");
  });

  useKeys(nodeA, enforcerA);
  useKeys(nodeB, enforcerB);

  for (const host of [B.ip4, B.ip6]) {
    await t.test(`to ${host}`, async (t) => {
      t.ok(await connects(web, host), "the workload that policy names");
      await isRefused(batch, host, "other-identity");
      t.pass("another workload of the same address is refused");
      await isRefused(stranger, host, "no-identity");
      t.pass("and so is a process that belongs to none");
    });
  }

  await t.test("SYNs made by hand", async (t) => {
    const raw = await RawActor.start(t, sandbox, { namespace: spaceA });
    const fd = await raw.socket(AF.inet, SOCK.raw, 255);
    await raw.command(`include ${fd}`);
    const today = Math.floor(Date.now() / DAY_MS);
    const daysOf = (own: NodeKey, other: string): ReadonlyMap<number, Buffer> => {
      let days: ReadonlyMap<number, Buffer> = new Map();
      const peerKeys = {
        write: (peers: Parameters<NonNullable<Enforcer["peerKeys"]>["write"]>[0]) => {
          days = peers.find(({ address }) => address === B.ip4)?.days ?? days;
        },
      };
      const changed = reports.map((one) => (one.node === nodeB ? { ...one, publicKey: other } : one));
      new PeerIdentities(
        { enforcer: { backend: "test", peerKeys }, openNodeKey: () => own, clock: systemClock, logger: quiet },
        nodeA,
      ).use({ objects: state, resolution: resolveInstances(state, changed, nodeA) });
      return days;
    };
    const right = daysOf(keyOf(nodeA), keyOf(nodeB).publicKey);
    const wrong = daysOf(keyOf("other"), keyOf(nodeB).publicKey);
    interface Forged {
      readonly identity?: number;
      readonly key?: Buffer | undefined;
      readonly port?: number;
      readonly seq?: number;
      /** What the code says. */
      readonly said?: { readonly port?: number; readonly seq?: number; readonly identity?: number };
    }
    let nextPort = 20_000;
    const send = async ({ key, identity = synIdentityOf("shop/web"), said = {}, ...own }: Forged): Promise<void> => {
      const { port = nextPort++, seq = 77 } = own;
      const message = Buffer.alloc(48);
      message.writeUInt32LE(said.identity ?? identity, 0);
      message.writeUInt32BE(said.seq ?? seq, 4);
      message.writeUInt16BE(said.port ?? port, 8);
      message.writeUInt16BE(5432, 10);
      message.writeUInt32LE(2, 12);
      message.write(parsePrefix(A.ip4).address, 16, "hex");
      message.write(parsePrefix(B.ip4).address, 32, "hex");
      const option = Buffer.alloc(16);
      option.set([253, 16, 0x5a, 0x54]);
      option.writeUInt32LE(identity, 4);
      if (key !== undefined) siphash(message, key).copy(option, 8);
      const header = Buffer.concat([tcp(port, 5432), ...(key === undefined ? [] : [option])]);
      header.writeUInt32BE(seq, 4);
      header.writeUInt8((header.length / 4) << 4, 12);
      header.writeUInt16BE(64_000, 14);
      const payload = checkedBetween(A.ip4, B.ip4, 6, header);
      await raw.send(fd, B.ip4, 0, packet({ from: A.ip4, to: B.ip4, protocol: 6, payload }).subarray(ETHERNET));
    };
    const allowed = async (): Promise<bigint> =>
      [...(await enforcerB.observe(rulesetB)).counters.rules.values()].reduce<bigint>(
        (sum, one) => sum + (one ?? 0n),
        0n,
      );
    const passes = async (what: string, forged: Forged): Promise<void> => {
      const before = await allowed();
      await send(forged);
      await waitUntil(async () => (await allowed()) > before, { what: `a SYN let in: ${what}` });
    };
    const isRefusedAs = async (why: RefusalReason, what: string, forged: Forged): Promise<void> => {
      const [before, let_in] = [await refused(why), await allowed()];
      await send(forged);
      await waitUntil(async () => (await refused(why)) > before, { what: `${what}: ${why}` });
      t.equal(await allowed(), let_in, what);
    };
    const key = right.get(today);
    await passes("with the right code", { key });
    await isRefusedAs("no-identity", "stripped", {});
    await isRefusedAs("forged-identity", "the key of another node", { key: wrong.get(today) });
    await isRefusedAs("forged-identity", "replayed from another port", { key, said: { port: 1 } });
    await isRefusedAs("forged-identity", "replayed with another sequence number", { key, said: { seq: 78 } });
    await isRefusedAs("forged-identity", "another identity than the code says", {
      key,
      said: { identity: synIdentityOf("shop/batch") },
    });
    await isRefusedAs("other-identity", "the identity of another workload", {
      key,
      identity: synIdentityOf("shop/batch"),
    });
    // At midnight both are valid, for nodes whose clocks differ.
    const sinceMidnight = (Date.now() / 1000) % 86_400;
    if (sinceMidnight > 600 && sinceMidnight < 85_800)
      await isRefusedAs("expired-identity", "with the key of yesterday", { key: right.get(today - 1) });
    await isRefusedAs("forged-identity", "with the key of the day after tomorrow", { key: right.get(today + 2) });
  });

  await t.test("a policy that only audits refuses nobody, and reports who is not named", async (t) => {
    const audited: Ruleset = {
      ...rulesetB,
      digest: "audited",
      subjects: rulesetB.subjects.map((one) => ({ ...one, ingress: { ...one.ingress, mode: "audit" as const } })),
    };
    const count = async (): Promise<bigint> => packets(await enforcerB.observe(audited), "ingress", "audited");
    // With them end the SYNs that they still repeat.
    await Promise.all([batch.end(), stranger.end()]);
    const another = await actor(batchGroup, spaceA);
    await enforcerB.apply(audited);
    const before = await count();
    t.ok(await connects(web, B.ip4));
    t.equal(await count(), before, "the workload that policy names");
    t.ok(await connects(another, B.ip4));
    t.ok((await count()) > before, "another one passes, and is reported");
    await enforcerB.apply(rulesetB);
  });

  await t.test("connections that are established go on, whatever becomes of the keys", async (t) => {
    const { id } = await web.call("tcpConnect", { host: B.ip4, port: 5432 });
    enforcerA.peerKeys?.write([]);
    await web.call("tcpSend", { id, text: "goes on" });
    t.match(await web.call("tcpWait", { id, text: "goes on" }), { text: "goes on" });
    await isRefused(web, B.ip4, "no-identity");
    t.pass("and a new one is refused, since this node cannot say who it is any more");
    useKeys(nodeA, enforcerA);
    t.ok(await connects(web, B.ip4));
  });

  await t.test("a node that gets another key pair stays known while others hear of it", async (t) => {
    keys.set(nodeA, openNodeKey(join(folder, "new.key")));
    reports[0] = {
      ...(reports[0] ?? { node: nodeA, at: "", os: "linux", addresses: [], instances: [] }),
      publicKey: keyOf(nodeA).publicKey,
    };
    useKeys(nodeB, enforcerB);
    t.ok(await connects(web, B.ip4), "by the keys before");
    useKeys(nodeA, enforcerA);
    t.ok(await connects(web, B.ip4), "and by the new ones");
  });

  await t.test("an address that another node claims keeps the keys that it had; a new one has none", async (t) => {
    const table = enforcerB.peerKeys;
    if (table === null) throw new TypeError("no table");
    let held: readonly PeerKeys[] = [];
    const recorded = { backend: "test", peerKeys: { write: (peers: readonly PeerKeys[]) => void (held = peers) } };
    identitiesOf(nodeB, recorded).use({ objects: state, resolution: resolveInstances(state, reports, nodeB) });
    const foreign = new Map([...(held[0]?.days.keys() ?? [])].map((day) => [day, Buffer.alloc(16, day)]));
    const claimed = held.map((one) => ({ ...one, days: foreign, others: [one.days] }));
    table.write(claimed);
    t.ok(await connects(web, B.ip4), "the one that was there first");
    table.write([]);
    table.write(claimed);
    await isRefused(web, B.ip4, "forged-identity");
    t.pass("nobody is known there, and nobody gets in by the address");
    table.write([]);
    useKeys(nodeB, enforcerB);
    t.ok(await connects(web, B.ip4));
  });

  await t.test("a peer whose key became known just now need not say who it is", async (t) => {
    enforcerB.peerKeys?.write([]);
    await enforcerB.close();
    const patient = await open(nodeB, 600_000_000_000n);
    useKeys(nodeB, patient);
    enforcerA.peerKeys?.write([]);
    t.ok(await connects(web, B.ip4));
  });
});
