/**
 * Sources: a workload sends from its own addresses alone, so that a peer cannot take it for another workload of the
 * machine.
 */
import { execFileSync } from "node:child_process";
import t from "tap";
import { HANG_MS, waitUntil } from "../wait.js";
import { packet, udp } from "./packets.js";
import { ETHERNET } from "./wire.js";
import { AF, RawActor, SOCK } from "./raw-actor.js";
import { rulesetOf } from "./rulesets.js";
import { packets, Sandbox, whyNot } from "./sandbox.js";

const reason = whyNot();
await t.test("sources", { skip: reason ?? false, timeout: HANG_MS }, async (t) => {
  const families = [
    { family: "IPv4", web: "10.212.0.1", db: "10.212.0.2", spare: "10.212.0.3", peer: "10.212.0.9", length: 24 },
    { family: "IPv6", web: "fd00:212::1", db: "fd00:212::2", spare: "fd00:212::3", peer: "fd00:212::9", length: 64 },
  ] as const;
  const sandbox = new Sandbox(t);
  const [inside, outside] = sandbox.network(
    families.flatMap(({ web, db, spare, length }) => [web, db, spare].map((one) => `${one}/${length}`)),
    families.map(({ peer, length }) => `${peer}/${length}`),
  );
  const [webGroup, dbGroup, looseGroup] = ["web", "db", "loose"].map((name) => sandbox.cgroup(name)) as [
    string,
    string,
    string,
  ];
  const [web, db, loose] = await Promise.all(
    [webGroup, dbGroup, looseGroup].map((cgroup) => sandbox.actor({ cgroup, namespace: inside })),
  );
  const peer = await sandbox.actor({ namespace: outside });
  const raw = await RawActor.start(t, sandbox, { cgroup: webGroup, namespace: inside });
  if (web === undefined || db === undefined || loose === undefined) throw new TypeError("an actor is missing");
  const node = sandbox.node();
  const enforcer = sandbox.enforcer(node);
  await enforcer.open();
  const ruleset = rulesetOf(node, {
    "demo/web": { cgroup: webGroup, addresses: families.map((one) => one.web) },
    "demo/db": { cgroup: dbGroup, addresses: families.map((one) => one.db) },
    "demo/loose": { cgroup: looseGroup },
  });

  await t.test("without the ruleset every address of the machine may be used", async (t) => {
    t.type((await web.call("udpBind", { host: "10.212.0.2", port: 0 })).id, "number");
  });
  await enforcer.apply(ruleset);

  for (const { family, web: own, db: theirs, spare, peer: far } of families) {
    await t.test(family, async (t) => {
      const bound = async (actor: typeof web, host: string): Promise<unknown> => {
        const { id, code } = await actor.call("udpBind", { host, port: 0 });
        return code ?? typeof id;
      };
      const any = family === "IPv4" ? "0.0.0.0" : "::";
      const loopback = family === "IPv4" ? "127.0.0.1" : "::1";
      const group = family === "IPv4" ? "224.0.0.251" : "ff05::fb";
      for (const host of [own, any, loopback, group]) t.equal(await bound(web, host), "number", `web at ${host}`);
      for (const host of [theirs, spare]) t.equal(await bound(web, host), "EPERM", `web at ${host}`);
      t.equal(await bound(loose, spare), "number", "one without addresses may use what nobody declares");
      for (const host of [own, theirs]) t.equal(await bound(loose, host), "EPERM", `and not ${host}`);

      const { port = 0 } = await peer.call("tcpListen", { host: any, port: 0 });
      t.type((await db.call("tcpConnect", { host: far, port, from: theirs })).id, "number", "db from its address");
      t.match(
        await web.call("tcpConnect", { host: far, port, from: theirs }),
        { code: "EPERM" },
        "web from that of db",
      );
      t.type((await web.call("tcpConnect", { host: far, port, from: own })).id, "number", "web from its own");
    });
  }

  await t.test("a packet with a header of its own", async (t) => {
    const fd = await raw.socket(AF.inet, SOCK.raw, 255);
    await raw.command(`include ${fd}`);
    const sendFrom = (from: string): Promise<string> =>
      raw.send(
        fd,
        "10.212.0.9",
        0,
        packet({ from, to: "10.212.0.9", protocol: 17, payload: udp(5000, 5000) }).subarray(ETHERNET),
      );
    t.equal(await sendFrom("10.212.0.1"), "ok");
    const before = packets(await enforcer.observe(ruleset), "egress", "denied");
    for (const from of ["10.212.0.2", "10.212.0.3", "192.0.2.1"]) t.equal(await sendFrom(from), "EPERM", from);
    await waitUntil(async () => packets(await enforcer.observe(ruleset), "egress", "denied") >= before + 3n, {
      what: "the count of the refusals",
    });
  });

  await t.test("in audit mode they are reported, and pass", async (t) => {
    await enforcer.apply(
      rulesetOf(node, {
        "demo/web": { cgroup: webGroup, addresses: ["10.212.0.1"], egress: { mode: "audit", allow: [] } },
        "demo/db": { cgroup: dbGroup, addresses: ["10.212.0.2"] },
      }),
    );
    t.type((await web.call("udpBind", { host: "10.212.0.2", port: 0 })).id, "number");
    const { port = 0 } = await peer.call("tcpListen", { host: "0.0.0.0", port: 0 });
    const { id } = await web.call("tcpConnect", { host: "10.212.0.9", port, from: "10.212.0.2" });
    await web.call("tcpSend", { id, text: "audited" });
    t.match(await web.call("tcpWait", { id, text: "audited" }), { text: "audited" }, "a whole connection");
  });

  await t.test("a link-local address that a workload declares is that workload's", async (t) => {
    const address = "169.254.7.2";
    execFileSync("ip", ["-n", inside, "address", "add", `${address}/16`, "dev", "eth0"]);
    await enforcer.apply(
      rulesetOf(node, {
        "demo/web": { cgroup: webGroup, addresses: ["10.212.0.1"] },
        "demo/db": { cgroup: dbGroup, addresses: [address] },
      }),
    );
    t.match(await web.call("udpBind", { host: address, port: 0 }), { code: "EPERM" });
    t.type((await db.call("udpBind", { host: address, port: 0 })).id, "number");
  });

  await t.test("a workload whose cgroup lies in that of another one keeps its own addresses", async (t) => {
    const [outerGroup, innerGroup] = [sandbox.cgroup("outer"), sandbox.cgroup("outer/inner")];
    const inner = await sandbox.actor({ cgroup: innerGroup, namespace: inside });
    const outer = await sandbox.actor({ cgroup: outerGroup, namespace: inside });
    const { port = 0 } = await peer.call("tcpListen", { host: "0.0.0.0", port: 0 });
    const connects = async (actor: typeof web, from: string): Promise<unknown> => {
      const { id, code } = await actor.call("tcpConnect", { host: "10.212.0.9", port, from });
      return code ?? typeof id;
    };
    const apply = (outerAddresses: readonly string[], innerAddresses: readonly string[]): Promise<unknown> =>
      enforcer.apply(
        rulesetOf(node, {
          "demo/outer": { cgroup: outerGroup, addresses: outerAddresses },
          "demo/inner": { cgroup: innerGroup, addresses: innerAddresses },
          "demo/web": { cgroup: webGroup, addresses: ["10.212.0.1"] },
        }),
      );
    for (const outerAddresses of [["10.212.0.3"], []]) {
      await apply(outerAddresses, ["10.212.0.2"]);
      const declared = `the outer one declares ${outerAddresses.join() || "none"}`;
      t.equal(await connects(inner, "10.212.0.2"), "number", `its own address; ${declared}`);
      t.equal(await connects(outer, "10.212.0.3"), "number", `the outer one's own address; ${declared}`);
      t.equal(await connects(inner, "10.212.0.1"), "EPERM", `that of a third one; ${declared}`);
      t.equal(await connects(outer, "10.212.0.1"), "EPERM", `the outer one from it; ${declared}`);
      t.equal(
        await connects(inner, "10.212.0.3"),
        "EPERM",
        `an address that the inner one does not declare; ${declared}`,
      );
    }
    await apply(["10.212.0.3"], []);
    t.equal(await connects(inner, "10.212.0.2"), "number", "an inner one that declares none has what nobody declares");
    t.equal(await connects(outer, "10.212.0.3"), "number", "and the outer one its own");
    for (const from of ["10.212.0.1", "10.212.0.3"])
      t.equal(await connects(inner, from), "EPERM", `not ${from}, which another one declares`);
    await Promise.all([inner.end(), outer.end()]);
  });
});
