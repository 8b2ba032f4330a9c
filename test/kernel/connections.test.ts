import t from "tap";
import { rulesetOf } from "./rulesets.js";
import { packets, Sandbox, whyNot } from "./sandbox.js";
import { waitUntil } from "../wait.js";

const reason = whyNot();
if (reason !== null) t.plan(0, `SKIP kernel tests: ${reason}`);
else {
  const families = [
    { family: "IPv4", web: "10.201.0.1", peer: "10.201.0.2", other: "10.201.0.3", any: "0.0.0.0" },
    { family: "IPv6", web: "fd00:201::1", peer: "fd00:201::2", other: "fd00:201::3", any: "::" },
  ];
  const sandbox = new Sandbox(t);
  const side = (...addresses: string[]): string[] =>
    addresses.map((one) => (one.includes(":") ? `${one}/64` : `${one}/24`));
  const [inside, outside] = sandbox.network(
    side(...families.map((one) => one.web)),
    side(...families.flatMap((one) => [one.peer, one.other])),
  );
  const cgroup = sandbox.cgroup("web");
  const node = sandbox.node();
  const enforcer = sandbox.enforcer(node);
  await enforcer.open();
  const web = await sandbox.actor({ cgroup, namespace: inside });
  const peer = await sandbox.actor({ namespace: outside });
  const spec = { cgroup, addresses: families.map((one) => one.web) };

  for (const { family, web: own, peer: allowed, other, any } of families) {
    await t.test(`${family}: egress`, async (t) => {
      const open = await peer.call("tcpListen", { host: any, port: 0 });
      const shut = await peer.call("tcpListen", { host: any, port: 0 });
      // The workload serves the port that it may not reach elsewhere: still refused at once, since its addresses are known.
      t.equal((await web.call("tcpListen", { host: any, port: shut.port })).port, shut.port);
      await enforcer.apply(
        rulesetOf(node, {
          "demo/web": {
            ...spec,
            ingress: { allow: [] },
            egress: {
              allow: [
                { peers: [`${allowed}/${family === "IPv4" ? 32 : 128}`], ports: [`tcp/${open.port}`, "udp/5353"] },
              ],
            },
          },
        }),
      );
      const connection = await web.call("tcpConnect", { host: allowed, port: open.port });
      t.type(connection.id, "number", "an allowed TCP connection is made although ingress is closed");
      await web.call("tcpSend", { id: connection.id, text: "hello" });
      t.match(
        await web.call("tcpWait", { id: connection.id, text: "hello" }),
        { text: "hello" },
        "and its answers pass",
      );
      t.match(
        await web.call("tcpConnect", { host: allowed, port: shut.port }),
        { code: "EPERM" },
        "another port: EPERM",
      );
      t.match(await web.call("tcpConnect", { host: other, port: open.port }), { code: "EPERM" }, "another host: EPERM");

      if (family === "IPv4") {
        const mapped = await web.call("tcpConnect", { host: `::ffff:${allowed}`, port: open.port });
        t.type(mapped.id, "number", "an IPv4 address on an IPv6 socket is an IPv4 address");
        t.match(await web.call("tcpConnect", { host: `::ffff:${allowed}`, port: shut.port }), { code: "EPERM" });
      }

      const server = await peer.call("udpBind", { host: allowed, port: 5353, echo: true });
      t.type(server.id, "number");
      const client = await web.call("udpBind", { host: any, port: 0 });
      t.match(await web.call("udpSend", { id: client.id, host: allowed, port: 5353, text: "ask" }), {}, "allowed UDP");
      t.match(await web.call("udpWait", { id: client.id, text: "ask" }), { port: 5353 }, "and its answer passes");
      t.match(await web.call("udpSend", { id: client.id, host: allowed, port: 5354, text: "no" }), { code: "EPERM" });
      t.match(await web.call("udpSend", { id: client.id, host: other, port: 5353, text: "no" }), { code: "EPERM" });
      t.match(
        await web.call("udpConnect", {
          id: (await web.call("udpBind", { host: any, port: 0 })).id,
          host: other,
          port: 5353,
        }),
        {},
      );

      const before = packets(await enforcer.observe(rulesetOf(node, {})), "ingress", "denied");
      const forger = await peer.call("udpBind", { host: other, port: 5353 });
      await peer.call("udpSend", { id: forger.id, host: own, port: client.port, text: "forged host" });
      const forger2 = await peer.call("udpBind", { host: allowed, port: 5355 });
      await peer.call("udpSend", { id: forger2.id, host: own, port: client.port, text: "forged port" });
      await waitUntil(
        async () => packets(await enforcer.observe(rulesetOf(node, {})), "ingress", "denied") >= before + 2n,
        { what: "the refusal of both forged answers" },
      );
      t.match(
        await web.call("udpReceived", { id: client.id }),
        { received: [{ text: "ask" }] },
        "forged answers do not pass",
      );
    });

    await t.test(`${family}: ingress`, async (t) => {
      const open = await web.call("tcpListen", { host: any, port: 0 });
      const shut = await web.call("tcpListen", { host: any, port: 0 });
      const server = await web.call("udpBind", { host: any, port: 0, echo: true });
      const ruleset = rulesetOf(node, {
        "demo/web": {
          ...spec,
          ingress: {
            allow: [
              {
                peers: [`${allowed}/${family === "IPv4" ? 32 : 128}`],
                ports: [`tcp/${open.port}`, `udp/${server.port}`],
              },
            ],
          },
          egress: { allow: [] },
        },
      });
      await enforcer.apply(ruleset);
      const connection = await peer.call("tcpConnect", { host: own, port: open.port, from: allowed });
      t.type(connection.id, "number", "an allowed TCP connection is accepted although egress is closed");
      await peer.call("tcpSend", { id: connection.id, text: "hello" });
      t.match(await peer.call("tcpWait", { id: connection.id, text: "hello" }), { text: "hello" }, "and is answered");
      const denied = async (): Promise<bigint> => packets(await enforcer.observe(ruleset), "ingress", "denied");
      const before = await denied();
      let settled: unknown = null;
      void peer.call("tcpConnect", { host: own, port: shut.port, from: allowed }).then((answer) => (settled = answer));
      await waitUntil(async () => (await denied()) > before, { what: "the refusal of the SYN" });
      t.equal(settled, null, "a refused SYN gets no answer");

      const client = await peer.call("udpBind", { host: allowed, port: 0 });
      await peer.call("udpSend", { id: client.id, host: own, port: server.port, text: "ask" });
      t.match(await peer.call("udpWait", { id: client.id, text: "ask" }), { port: server.port }, "UDP is answered");
      const stranger = await peer.call("udpBind", { host: other, port: 0 });
      const seen = await denied();
      await peer.call("udpSend", { id: stranger.id, host: own, port: server.port, text: "stranger" });
      await waitUntil(async () => (await denied()) > seen, { what: "the refusal of the stranger" });
      t.notMatch(await web.call("udpReceived", { id: server.id }), { received: [{}, { text: "stranger" }] });
    });
  }

  await t.test("a workload may always connect to itself, and to no other address of its host", async (t) => {
    const otherGroup = sandbox.cgroup("neighbour");
    const neighbour = await sandbox.actor({ cgroup: otherGroup, namespace: inside });
    const shut = { allow: [] };
    await enforcer.apply(
      rulesetOf(node, {
        "demo/neighbour": { cgroup: otherGroup, ingress: shut, egress: shut },
        "demo/web": { cgroup, ingress: shut, egress: shut },
      }),
    );
    for (const { family, web: own, any } of families) {
      const { port } = await web.call("tcpListen", { host: any, port: 0 });
      const theirs = await neighbour.call("tcpListen", { host: any, port: 0 });
      for (const host of [own, family === "IPv4" ? "127.0.0.1" : "::1"]) {
        const connection = await web.call("tcpConnect", { host, port });
        t.type(connection.id, "number", `TCP to itself at ${host}`);
        await web.call("tcpSend", { id: connection.id, text: "self" });
        t.match(await web.call("tcpWait", { id: connection.id, text: "self" }), { text: "self" });
        t.match(await web.call("tcpConnect", { host, port: theirs.port }), { code: "EPERM" }, "the neighbour: EPERM");
        t.match(await neighbour.call("tcpConnect", { host, port }), { code: "EPERM" });
        const server = await web.call("udpBind", { host, port: 0, echo: true });
        const client = await web.call("udpBind", { host: any, port: 0 });
        t.match(await web.call("udpSend", { id: client.id, host, port: server.port, text: "self" }), {});
        t.match(await web.call("udpWait", { id: client.id, text: "self" }), { port: server.port }, "UDP to itself");
        const stranger = await neighbour.call("udpBind", { host: any, port: 0 });
        t.match(await neighbour.call("udpSend", { id: stranger.id, host, port: server.port, text: "x" }), {
          code: "EPERM",
        });
      }
    }
  });
}
