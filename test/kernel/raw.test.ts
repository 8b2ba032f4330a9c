/** What only real sockets can show of odd packets: docs/policies.md, "What each packet gets". */
import t from "tap";
import { checked, checkedBetween, icmp, packet, tcp, udp } from "./packets.js";
import { AF, RawActor, SOCK } from "./raw-actor.js";
import { rulesetOf, type Allow } from "./rulesets.js";
import { packets, Sandbox, whyNot } from "./sandbox.js";
import { ETHERNET, ICMP, ICMP6, TCP, UDP } from "./wire.js";
import { waitUntil } from "../wait.js";

const OWN = "10.201.0.1";
const PEER = "10.201.0.2";
const OTHER = "10.201.0.3";
const OWN6 = "fd00:201::1";
const PEER6 = "fd00:201::2";
const MARK = Buffer.from("ztap-mark");

const reason = whyNot();
if (reason !== null) t.plan(0, `SKIP kernel tests: ${reason}`);
else {
  const sandbox = new Sandbox(t);
  const cgroup = sandbox.cgroup("web");
  const neighbourGroup = sandbox.cgroup("neighbour");
  const node = sandbox.node();
  const enforcer = sandbox.enforcer(node);
  await enforcer.open();
  const apply = (ingress: readonly Allow[], egress: readonly Allow[], neighbour: readonly Allow[] = []) =>
    enforcer.apply(
      rulesetOf(node, {
        "demo/neighbour": { cgroup: neighbourGroup, ingress: { allow: [] }, egress: { allow: neighbour } },
        "demo/web": { cgroup, ingress: { allow: ingress }, egress: { allow: egress } },
      }),
    );
  const denied = async (): Promise<bigint> => packets(await enforcer.observe(rulesetOf(node, {})), "ingress", "denied");
  const one = (...ports: string[]): Allow => ({ peers: [`${PEER}/32`, `${PEER6}/128`], ports });

  // The namespace is made by the workload itself, closed to everything: its neighbour discovery passes the programs.
  await apply([], []);
  const [inside, outside] = sandbox.network(
    [`${OWN}/24`, `${OWN6}/64`],
    [`${PEER}/24`, `${OTHER}/24`, `${PEER6}/64`],
    cgroup,
  );
  sandbox.route(inside, "224.0.0.0/4");
  sandbox.allowPing(inside);
  sandbox.allowPing(outside);
  const web = await RawActor.start(t, sandbox, { cgroup, namespace: inside });
  const neighbour = await RawActor.start(t, sandbox, { cgroup: neighbourGroup, namespace: inside });
  const peer = await RawActor.start(t, sandbox, { namespace: outside });

  await t.test("neighbour discovery and ping, in both families", async (t) => {
    await apply([], [one("icmp/2048", "icmp/32768")]);
    for (const { family, protocol, ask, answer, to, own } of [
      { family: AF.inet, protocol: ICMP, ask: 8, answer: "0000", to: PEER, own: OWN },
      { family: AF.inet6, protocol: ICMP6, ask: 128, answer: "8100", to: PEER6, own: OWN6 },
    ]) {
      const ping = await web.socket(family, SOCK.datagram, protocol);
      const request = Buffer.concat([icmp(ask), MARK]);
      t.equal(await web.send(ping, to, 0, request), "ok", `an allowed request to ${to}`);
      await web.gets(ping, MARK.toString("hex"));
      t.ok(
        web.received.some(({ fd, bytes }) => fd === ping && bytes.startsWith(answer)),
        "is answered",
      );
      if (family === AF.inet) t.equal(await web.send(ping, OTHER, 0, request), "EPERM", "another is not made");
      const back = await peer.socket(family, SOCK.datagram, protocol);
      t.equal(await peer.send(back, own, 0, request), "ok");
      await peer.gets(back, MARK.toString("hex"));
      t.pass("the host's own stack answers a request to the workload's address: no workload sends that packet");
    }
  });

  await t.test("a raw socket: each packet is checked", async (t) => {
    await apply([], [one("tcp/80", "udp/53")]);
    const raw = await web.socket(AF.inet, SOCK.raw, TCP);
    t.equal(await web.send(raw, PEER, 0, tcp(4000, 80)), "ok");
    t.equal(await web.send(raw, PEER, 0, tcp(4000, 81)), "EPERM");
    t.equal(
      await web.send(raw, PEER, 0, tcp(4000, 81, 0x10)),
      "EPERM",
      "also what says that it belongs to a connection",
    );
    await web.command(`include ${raw}`);
    const whole = packet({ from: OWN, to: PEER, protocol: UDP, payload: udp(4000, 53) }).subarray(ETHERNET);
    t.equal(await web.send(raw, PEER, 0, whole), "ok", "with a header of its own");
    const short = Buffer.from(whole);
    short.writeUInt8(0x44, 0);
    t.not(await web.send(raw, PEER, 0, short), "ok", "a header that is none does not hide the ports");
  });

  await t.test("a packet socket bypasses every cgroup program: not covered", async (t) => {
    await apply([], []);
    const catcher = await peer.socket(AF.inet, SOCK.datagram, 0);
    await peer.command(`bind ${catcher} ${PEER} 4444`);
    const link = await web.socket(AF.packet, SOCK.raw, 0);
    const frame = packet({
      from: OWN,
      to: PEER,
      protocol: UDP,
      payload: Buffer.concat([udp(4000, 4444, MARK.length), MARK]),
    });
    // Everybody's hardware address: the other end takes the frame whatever its own is.
    frame.fill(0xff, 0, 6);
    t.equal(await web.send(link, "@eth0", 0, frame), "ok");
    await peer.gets(catcher, MARK.toString("hex"));
    t.pass("it arrives, whatever the policy says");
  });

  await t.test("errors about an allowed flow need no rule", async (t) => {
    await apply([], [one("udp/53")]);
    const raw = await web.socket(AF.inet, SOCK.raw, ICMP);
    const flow = await web.socket(AF.inet, SOCK.datagram, 0);
    await web.command(`bind ${flow} ${OWN} 4100`);
    await web.command(`connect ${flow} ${PEER} 53`);
    t.equal(await web.send(flow, PEER, 53, MARK), "ok");
    await web.gets(flow, "ECONNREFUSED");
    t.pass("the socket learns that nobody listens");
    await web.gets(raw, "0303");
    t.pass("and so does a raw socket of the workload");

    const forger = await peer.socket(AF.inet, SOCK.raw, ICMP);
    const quote = (port: number): Buffer =>
      packet({ from: OWN, to: PEER, protocol: UDP, payload: udp(4100, port) }).subarray(ETHERNET);
    const before = await denied();
    t.equal(await peer.send(forger, OWN, 0, checked(Buffer.concat([icmp(11), quote(54)]))), "ok");
    await waitUntil(async () => (await denied()) > before, { what: "a refusal" });
    t.notOk(web.hasGot(raw, "0b00"), "an error about a packet that was never sent does not pass");

    const tooBig = icmp(3, 4);
    tooBig.writeUInt16BE(1000, 6);
    t.equal(await web.command(`mtu ${flow}`), "1500");
    t.equal(await peer.send(forger, OWN, 0, checked(Buffer.concat([tooBig, quote(53)]))), "ok");
    await web.gets(raw, "0304");
    t.equal(await web.command(`mtu ${flow}`), "1000", "the path MTU reaches the socket");
  });

  await t.test("rules apply to multicast and broadcast as to any other peer", async (t) => {
    await apply([one("udp/4200")], [{ peers: ["10.201.0.255/32"], ports: ["udp/67"] }]);
    const socket = await web.socket(AF.inet, SOCK.datagram, 0);
    await web.command(`bind ${socket} 0.0.0.0 4200`);
    t.equal(await web.send(socket, "10.201.0.255", 67, MARK), "ok", "a broadcast that a rule allows");
    t.equal(await web.send(socket, "10.201.0.255", 68, MARK), "EPERM");
    t.equal(await web.send(socket, "224.0.0.251", 67, MARK), "EPERM", "a group that no rule allows");
    for (const [from, isAllowed] of [
      [OTHER, false],
      [PEER, true],
    ] as const) {
      const sender = await peer.socket(AF.inet, SOCK.datagram, 0);
      await peer.command(`bind ${sender} ${from} 0`);
      const before = await denied();
      t.equal(await peer.send(sender, "10.201.0.255", 4200, Buffer.from(from)), "ok");
      if (isAllowed) await web.gets(socket, Buffer.from(from).toString("hex"));
      else await waitUntil(async () => (await denied()) > before, { what: "a refusal" });
      t.equal(
        web.hasGot(socket, Buffer.from(from).toString("hex")),
        isAllowed,
        `a broadcast is judged by who sends it`,
      );
    }
  });

  await t.test("a packet from the wire with the workload's own address is checked like any other", async (t) => {
    await apply([], []);
    const socket = await web.socket(AF.inet6, SOCK.datagram, 0);
    await web.command(`bind ${socket} ${OWN6} 4300`);
    t.equal(await web.send(socket, OWN6, 4300, Buffer.from("self")), "ok");
    await web.gets(socket, Buffer.from("self").toString("hex"));
    const forger = await peer.socket(AF.packet, SOCK.raw, 0);
    const payload = checkedBetween(OWN6, OWN6, 17, Buffer.concat([udp(4300, 4300, MARK.length), MARK]));
    const frame = packet({ from: OWN6, to: OWN6, protocol: UDP, payload });
    frame.write(sandbox.hardwareAddress(inside), 0, "hex");
    const before = await denied();
    t.equal(await peer.send(forger, "@eth0", 0, frame), "ok");
    await waitUntil(async () => (await denied()) > before, { what: "a refusal" });
    t.notOk(web.hasGot(socket, MARK.toString("hex")));
  });

  await t.test(
    "over loopback too: the addresses of a datagram do not prove its sender, and a broadcast leaves the host",
    async (t) => {
      await apply([], []);
      const stranger = await RawActor.start(t, sandbox, { namespace: inside });
      const socket = await web.socket(AF.inet, SOCK.datagram, 0);
      await web.command(`bind ${socket} 127.0.0.1 4310`);
      t.equal(await web.send(socket, "127.0.0.1", 4310, Buffer.from("self")), "ok");
      await web.gets(socket, Buffer.from("self").toString("hex"));
      const forger = await stranger.socket(AF.inet, SOCK.raw, 255);
      await stranger.command(`include ${forger}`);
      const payload = udp(4310, 4310, MARK.length);
      const datagram = packet({
        from: "127.0.0.1",
        to: "127.0.0.1",
        protocol: UDP,
        payload: Buffer.concat([payload, MARK]),
      });
      const before = await denied();
      t.equal(await stranger.send(forger, "127.0.0.1", 0, datagram.subarray(ETHERNET)), "ok");
      await waitUntil(async () => (await denied()) > before, { what: "a refusal" });
      t.notOk(web.hasGot(socket, MARK.toString("hex")), "it claims to come from the very socket that it goes to");
      const caller = await web.socket(AF.inet, SOCK.datagram, 0);
      await web.command(`bind ${caller} 127.255.255.255 4311`);
      t.equal(
        await web.send(caller, "127.255.255.255", 4311, MARK),
        "EPERM",
        "a broadcast reaches everybody on that port",
      );
    },
  );

  await t.test("two workloads behind one address are kept apart", async (t) => {
    await apply(
      [one("udp/4400-4401"), { peers: ["127.0.0.1/32"], ports: ["udp/4402"] }],
      [],
      [{ peers: ["127.0.0.1/32"], ports: ["udp/4402-4403"] }],
    );
    const bound = async (actor: RawActor, host: string, port: number): Promise<number> => {
      const fd = await actor.socket(AF.inet, SOCK.datagram, 0);
      t.equal(await actor.command(`bind ${fd} ${host} ${port}`), "ok");
      return fd;
    };
    const mine = await bound(web, OWN, 4400);
    const theirs = await bound(neighbour, OWN, 4401);
    const sender = await bound(peer, PEER, 0);
    const before = await denied();
    await peer.send(sender, OWN, 4400, MARK);
    await peer.send(sender, OWN, 4401, MARK);
    await web.gets(mine, MARK.toString("hex"));
    await waitUntil(async () => (await denied()) > before, { what: "a refusal" });
    t.notOk(neighbour.hasGot(theirs, MARK.toString("hex")), "the same address, another workload's rules");

    const open = await bound(web, "127.0.0.1", 4402);
    const shut = await bound(web, "127.0.0.1", 4403);
    const local = await bound(neighbour, "127.0.0.1", 0);
    t.equal(await neighbour.send(local, "127.0.0.1", 4402, MARK), "ok");
    await web.gets(open, MARK.toString("hex"));
    t.pass("on loopback rules decide between two workloads");
    t.equal(await neighbour.send(local, "127.0.0.1", 4404, MARK), "EPERM", "egress is closed");
    const seen = await denied();
    await neighbour.send(local, "127.0.0.1", 4403, MARK);
    await waitUntil(async () => (await denied()) > seen, { what: "a refusal" });
    t.notOk(web.hasGot(shut, MARK.toString("hex")), "ingress is closed");
  });
}
