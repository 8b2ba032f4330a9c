/**
 * The host's own stack: it delivers ICMP errors to sockets, and answers for sockets that do not exist. Neither carries anything past
 * a policy.
 */
import { execFileSync } from "node:child_process";
import { readdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { loadNative } from "../../src/adapters/ebpf/kernel/native.js";
import { DEFAULT_PIN_ROOT, nodeFolders } from "../../src/adapters/ebpf/kernel/paths.js";
import { removeNodes } from "../../src/adapters/ebpf/remove.js";
import { HANG_MS, waitUntil } from "../wait.js";
import { checked, checkedBetween, checksum, icmp, packet, tcp, udp } from "./packets.js";
import { AF, RawActor, SOCK } from "./raw-actor.js";
import { rulesetOf } from "./rulesets.js";
import { Sandbox, whyNot } from "./sandbox.js";
import { ETHERNET } from "./wire.js";

const SECRET = "5ec2e75ec2e7";
const SOL_IP = 0;
const SOL_IPV6 = 41;
const RECVERR = { 4: [SOL_IP, 11], 6: [SOL_IPV6, 25] } as const;
const NEXT_TO = { ICMP: 1, TCP: 6, UDP: 17, ICMP6: 58 } as const;

const FAMILIES = [
  { family: 4, own: "10.217.0.1", second: "10.217.0.2", peer: "10.217.0.9", other: "10.217.0.8" },
  { family: 6, own: "fd00:217::1", second: "fd00:217::2", peer: "fd00:217::9", other: "fd00:217::8" },
] as const;

const reason = whyNot();
await t.test("the host's own stack", { skip: reason ?? false, timeout: HANG_MS }, async (t) => {
  const sandbox = new Sandbox(t);
  const [inside, outside] = sandbox.network(
    ["10.217.0.1/24", "10.217.0.2/24", "fd00:217::1/64", "fd00:217::2/64"],
    ["10.217.0.9/24", "10.217.0.8/24", "fd00:217::9/64", "fd00:217::8/64"],
  );
  const shutGroup = sandbox.cgroup("shut");
  const halfGroup = sandbox.cgroup("half");
  const shut = await RawActor.start(t, sandbox, { cgroup: shutGroup, namespace: inside });
  const half = await RawActor.start(t, sandbox, { cgroup: halfGroup, namespace: inside });
  const bystander = await RawActor.start(t, sandbox, { namespace: inside });
  const peer = await RawActor.start(t, sandbox, { namespace: outside });
  const node = sandbox.node("host");
  const enforcer = sandbox.enforcer(node);
  await enforcer.open();
  const peers = FAMILIES.map((one) => `${one.peer}/${one.family === 4 ? 32 : 128}`);
  const ruleset = rulesetOf(node, {
    "demo/shut": {
      cgroup: shutGroup,
      addresses: FAMILIES.map((one) => one.own),
      ingress: { allow: [] },
      egress: { allow: [] },
    },
    "demo/half": {
      cgroup: halfGroup,
      addresses: FAMILIES.map((one) => one.second),
      ingress: { allow: [{ peers, ports: ["tcp/80", "udp/53", "icmp/2048", "icmp/32768"] }] },
      egress: { allow: [{ peers, ports: ["udp/7000-7010", "tcp/7000-7010"] }] },
    },
  });

  const rawOf = async (actor: RawActor, family: 4 | 6): Promise<number> => {
    const fd = await actor.socket(family === 4 ? AF.inet : AF.inet6, SOCK.raw, 255);
    t.equal(
      await actor.command(`option ${fd} ${family === 4 ? `${SOL_IP} 3` : `${SOL_IPV6} 36`} 1`),
      "ok",
      "own headers",
    );
    return fd;
  };
  const bound = async (
    actor: RawActor,
    type: number,
    protocol: number,
    address: string,
    port: number,
  ): Promise<number> => {
    const fd = await actor.socket(address.includes(":") ? AF.inet6 : AF.inet, type, protocol);
    const [level, name] = RECVERR[address.includes(":") ? 6 : 4];
    t.equal(await actor.command(`option ${fd} ${level} ${name} 1`), "ok", "IP_RECVERR");
    t.equal(await actor.command(`bind ${fd} ${address} ${port}`), "ok", `bind ${address}`);
    return fd;
  };
  /** An ICMP error, from the peer, about a packet from `own` to the peer, with a secret in what it quotes. */
  const error = (
    { family, peer: far }: (typeof FAMILIES)[number],
    own: string,
    quoted: Buffer,
    change: (quote: Buffer) => Buffer = (quote) => quote,
  ): Buffer => {
    const quote = change(packet({ from: own, to: far, protocol: NEXT_TO.UDP, payload: quoted }).subarray(ETHERNET));
    const head = family === 4 ? icmp(3, 3) : icmp(1, 4);
    const message = Buffer.concat([head, quote, Buffer.from(SECRET, "hex")]);
    return family === 4 ? checked(message) : checkedBetween(far, own, NEXT_TO.ICMP6, message);
  };
  const sendFromPeer = async (
    { family, peer: far }: (typeof FAMILIES)[number],
    to: string,
    protocol: number,
    payload: Buffer,
    more: { readonly extensions?: readonly number[]; readonly from?: string } = {},
  ): Promise<void> => {
    const fd = await rawOf(peer, family);
    const bytes = packet({ from: more.from ?? far, to, protocol, payload, ...more }).subarray(ETHERNET);
    t.equal(await peer.send(fd, to, 0, bytes), "ok");
    await peer.command(`close ${fd}`);
  };
  const NEXT = { 4: NEXT_TO.ICMP, 6: NEXT_TO.ICMP6 } as const;
  /** An error that the bystander gets comes after those that were sent before. */
  let ports = 20_000;
  const settle = async (place: (typeof FAMILIES)[number]): Promise<void> => {
    const port = (ports += 1);
    const fd = await bound(bystander, SOCK.datagram, 0, place.own, port);
    await sendFromPeer(place, place.own, NEXT[place.family], error(place, place.own, udp(port, 7_777)));
    await bystander.gets(fd, SECRET);
    await bystander.command(`close ${fd}`);
  };

  for (const place of FAMILIES) {
    const { family, own, second, peer: far } = place;
    await t.test(`IPv${family}`, async (t) => {
      await enforcer.apply(rulesetOf(node, { "demo/shut": { cgroup: shutGroup } }));
      const closed = await bound(shut, SOCK.datagram, 0, own, 6_000);
      const to = { 4: NEXT_TO.ICMP, 6: NEXT_TO.ICMP6 }[family];
      await sendFromPeer(place, own, to, error(place, own, udp(6_000, 7_000)));
      await shut.gets(closed, SECRET);
      t.pass("without a policy an error reaches the socket");
      shut.received.length = 0;
      await enforcer.apply(ruleset);

      await t.test("an error that no flow of the workload caused brings nothing in", async (t) => {
        const shapes: Readonly<Record<string, (quote: Buffer) => Buffer>> = {
          "as it should be": (quote) => quote,
          "of another IP version": (quote) => {
            quote.writeUInt8(((family === 4 ? 6 : 4) << 4) | (quote.readUInt8(0) & 15), 0);
            return quote;
          },
          "of a later fragment": (quote) => {
            if (family === 4) quote.writeUInt16BE(9, 6);
            return quote;
          },
        };
        for (const [name, change] of Object.entries(shapes)) {
          await sendFromPeer(place, own, to, error(place, own, udp(6_000, 7_000), change));
          t.comment(name);
        }
        if (family === 6) {
          for (const extensions of [[0], [60, 60], [0, ...Array.from({ length: 8 }, () => 60)]])
            await sendFromPeer(place, own, to, error(place, own, udp(6_000, 7_000)), { extensions });
          const unknown = error(place, own, udp(6_000, 7_000));
          unknown.writeUInt8(100, 0);
          await sendFromPeer(place, own, to, checkedBetween(far, own, NEXT_TO.ICMP6, unknown));
        }
        await settle(place);
        t.strictSame(shut.received, []);
      });

      await t.test("nor over TCP, while a connection is asked for in vain", async (t) => {
        const calling = await bound(half, SOCK.stream, 0, second, 6_001);
        // To a port that policy does not allow: connect() is refused, and there is no connection.
        t.equal(await half.command(`connect ${calling} ${far} 9`), "EPERM");
        await sendFromPeer(place, second, to, error(place, second, tcp(6_001, 9)));
        await settle(place);
        t.notOk(half.hasGot(calling, SECRET));
      });

      await t.test("an error about an allowed flow arrives", async (t) => {
        const asking = await bound(half, SOCK.datagram, 0, second, 6_002);
        t.equal(await half.send(asking, far, 7_001, Buffer.from("question")), "ok");
        // The peer's own kernel answers that nobody listens there.
        await half.gets(asking, Buffer.from("question").toString("hex"));
        await half.command(`close ${asking}`);
        const again = await bound(half, SOCK.datagram, 0, second, 6_003);
        t.equal(await half.send(again, far, 7_002, Buffer.from("x")), "ok");
        await sendFromPeer(place, second, to, error(place, second, udp(6_003, 7_002)));
        await half.gets(again, SECRET);
      });

      await t.test("raw and ping sockets get no data of errors", async (t) => {
        const raw = await shut.socket(family === 4 ? AF.inet : AF.inet6, SOCK.raw, 132);
        const [level, name] = RECVERR[family];
        t.equal(await shut.command(`option ${raw} ${level} ${name} 1`), "EPERM");
        t.equal(await shut.command(`option ${raw} ${level} ${family === 4 ? 2 : 16} 1`), "ok", "other options");
        const free = await bystander.socket(family === 4 ? AF.inet : AF.inet6, SOCK.raw, 132);
        t.equal(await bystander.command(`option ${free} ${level} ${name} 1`), "ok", "others may");
      });

      await t.test("the stack is silent about sockets that policy would not let the peer reach", async (t) => {
        const answers = await rawAnswers(peer, family);
        const ask = (from: string, port: number, protocol: 6 | 17): Promise<void> =>
          sendFromPeer(
            place,
            second,
            protocol,
            checkedBetween(from, second, protocol, protocol === 6 ? tcp(5_000, port) : udp(5_000, port)),
            { from },
          );
        // Port 81 is closed, and nobody may reach it; port 80 is closed, and the peer may.
        await ask(far, 81, 6);
        await ask(far, 54, 17);
        await ask(place.other, 80, 6);
        await ask(far, 80, 6);
        await answers.hasReset(80);
        t.notOk(answers.resets().includes(81), "no reset from a port that nobody may reach");
        await ask(far, 53, 17);
        await answers.hasUnreachable(53);
        t.notOk(answers.unreachable().includes(54), "nor an ICMP error");
        t.equal(answers.resets().filter((port) => port === 80).length, 1, "no reset to a peer that no policy names");
        await answers.end();
      });

      await t.test("echo", async (t) => {
        const reply = family === 4 ? 0 : 129;
        const pings = async (to: string, identifier: number): Promise<void> => {
          const message = icmp(family === 4 ? 8 : 128, 0, identifier);
          const sum = family === 4 ? checked(message) : checkedBetween(far, to, NEXT_TO.ICMP6, message);
          await sendFromPeer(place, to, NEXT[family], sum);
        };
        const answers = await peer.socket(family === 4 ? AF.inet : AF.inet6, SOCK.raw, NEXT[family]);
        await pings(own, 0x1111);
        await pings(second, 0x2222);
        const has = (identifier: string): boolean =>
          peer.received.some(
            ({ fd, bytes }) =>
              fd === answers &&
              bytes.slice(family === 4 ? 40 : 0).startsWith(Buffer.from([reply, 0]).toString("hex")) &&
              bytes.slice(family === 4 ? 48 : 8).startsWith(identifier),
          );
        await waitUntil(() => has("2222"), { what: "the answer of the address whose policy allows echo" });
        t.notOk(has("1111"), "an address whose workload allows nothing does not answer");
        await peer.command(`close ${answers}`);
      });

      await t.test("who belongs to no workload is reached as before", async (t) => {
        const server = await bystander.socket(family === 4 ? AF.inet : AF.inet6, SOCK.stream, 0);
        t.equal(await bystander.command(`bind ${server} ${own} 8080`), "ok");
        t.equal(await bystander.command(`listen ${server}`), "ok");
        t.match(await peer.command(`dial ${own} 8080`), /^ok/u);
        await bystander.command(`close ${server}`);
      });
    });
  }

  await t.test("frames that hide an error from a program, and not from the kernel", async (t) => {
    const [four, six] = FAMILIES;
    const wire = await peer.socket(AF.packet, SOCK.raw, 0);
    const hardware = Buffer.from(sandbox.hardwareAddress(inside) + sandbox.hardwareAddress(outside), "hex");
    const type = (number: number): Buffer => Buffer.from([number >> 8, number & 255]);
    const IP4 = type(0x0800);
    const IP6 = type(0x86dd);
    const sendFrame = async (...parts: readonly Buffer[]): Promise<void> => {
      t.equal(await peer.send(wire, "@eth0", 0, Buffer.concat([hardware, ...parts])), "ok");
    };
    const PRIORITY_TAG = [type(0x8100), type(0)];
    const ipOf = (spec: Parameters<typeof packet>[0]): Buffer => packet(spec).subarray(ETHERNET);
    await bound(shut, SOCK.datagram, 0, four.own, 6_008);
    await bound(shut, SOCK.datagram, 0, six.own, 6_008);
    shut.received.length = 0;

    const whole = (place: (typeof FAMILIES)[number]): Buffer =>
      ipOf({
        from: place.peer,
        to: place.own,
        protocol: NEXT[place.family],
        payload: error(place, place.own, udp(6_008, 7_000)),
      });
    await sendFrame(...PRIORITY_TAG, ...PRIORITY_TAG, IP4, whole(four));
    await sendFrame(...PRIORITY_TAG, ...PRIORITY_TAG, IP6, whole(six));

    // The kernel cuts a first fragment to a multiple of eight bytes: of the ports that it ends with, it takes none.
    const options = ipOf({ from: four.own, to: four.peer, protocol: 17, options: 4, payload: udp(6_008, 7_000) });
    const message = checked(Buffer.concat([icmp(3, 3), options, Buffer.from(SECRET, "hex")]));
    const fragment = (offset: number, payload: Buffer): Buffer => {
      const part = ipOf({ from: four.peer, to: four.own, protocol: 1, fragment: offset, payload });
      part.writeUInt16BE(77, 4);
      return rechecked(part);
    };
    const MORE = 0x2000;
    await sendFrame(IP4, fragment(MORE, Buffer.concat([message.subarray(0, 32), udp(6_999, 7_000).subarray(0, 4)])));
    await sendFrame(IP4, fragment(4, message.subarray(32)));

    // The fragment ends behind one extension header; what fills the frame poses as the next.
    const options6 = (next: number): Buffer => Buffer.from([next, 0, 1, 4, 0, 0, 0, 0]);
    const piece = (next: number, offset: number, more: number): Buffer =>
      Buffer.from([next, 0, 0, (offset << 3) | more, 0, 0, 0, 9]);
    const six44 = (payload: Buffer): Buffer => ipOf({ from: six.peer, to: six.own, protocol: 44, payload });
    const first = six44(Buffer.concat([piece(60, 0, 1), options6(60)]));
    await sendFrame(IP6, first, options6(17), udp(1, 2), Buffer.alloc(8));
    await sendFrame(IP6, six44(Buffer.concat([piece(17, 1, 0), options6(58), error(six, six.own, udp(6_008, 7_000))])));

    // A connection request in fragments that are too small for its header.
    const answers = await rawAnswers(peer, 4);
    for (const port of [81, 80]) {
      const segment = checkedBetween(four.peer, four.second, 6, tcp(5_000, port));
      const small = (offset: number, payload: Buffer): Buffer => {
        const part = ipOf({ from: four.peer, to: four.second, protocol: 6, fragment: offset, payload });
        part.writeUInt16BE(port, 4);
        return rechecked(part);
      };
      await sendFrame(IP4, small(MORE, segment.subarray(0, 8)));
      await sendFrame(IP4, small(1, segment.subarray(8)));
    }
    await answers.hasReset(80);
    t.notOk(answers.resets().includes(81), "no reset from a port that nobody may reach");
    await answers.end();
    for (const place of FAMILIES) await settle(place);
    t.strictSame(shut.received, [], "nothing came in");
  });

  await t.test("refusals are counted by reason", async (t) => {
    const { refusals } = await enforcer.observe(ruleset);
    const countOf = (reason: string): bigint => refusals.find((one) => one.reason === reason)?.count ?? 0n;
    for (const one of ["icmp-error", "no-receiver", "error-data"]) t.ok(countOf(one) > 1n, one);
  });

  await t.test("an interface that comes later is attached to, and a lost attachment comes back", async (t) => {
    const isPinned = loadNative().interfaceAttachment() === "link";
    const { interfaces } = nodeFolders(DEFAULT_PIN_ROOT, node);
    // Other tests make interfaces in the namespace of this process.
    const own = `${statSync(`/run/netns/${inside}`).ino}-`;
    const pins = (): readonly string[] =>
      isPinned ? readdirSync(interfaces).filter((pin) => pin.startsWith(own)) : [];
    const before = pins();
    execFileSync("ip", ["-n", inside, "link", "add", "late0", "type", "veth", "peer", "name", "late1"]);
    t.strictSame((await enforcer.observe(ruleset)).difference, { missing: [], extra: [], changed: [] });
    const after = pins();
    t.equal(after.length, before.length + (isPinned ? 4 : 0));
    for (const pin of before) rmSync(join(interfaces, pin));
    // The kernel detaches a link that lost its pin in a work item of its own: until then it is attached, and nothing is missing.
    await waitUntil(
      async () => {
        t.strictSame((await enforcer.observe(ruleset)).difference, { missing: [], extra: [], changed: [] });
        return pins().length === after.length;
      },
      { what: "pins in place of those that were removed" },
    );
    execFileSync("ip", ["-n", inside, "link", "delete", "late0"]);
    await enforcer.observe(ruleset);
    t.equal(pins().length, before.length, "pins of interfaces that are gone go as well");
  });

  await t.test("without the agent it holds, and the removal ends it", async (t) => {
    const [place] = FAMILIES;
    await enforcer.close();
    const closed = await bound(shut, SOCK.datagram, 0, place.own, 6_009);
    await sendFromPeer(place, place.own, NEXT_TO.ICMP, error(place, place.own, udp(6_009, 7_000)));
    await settle(place);
    t.notOk(shut.hasGot(closed, SECRET));
    removeNodes({ node });
    // Here too.
    await waitUntil(
      async () => {
        await sendFromPeer(place, place.own, NEXT_TO.ICMP, error(place, place.own, udp(6_009, 7_000)));
        return shut.hasGot(closed, SECRET);
      },
      { what: "an error, after the removal" },
    );
  });
});

/** Writes the checksum of an IPv4 header anew. */
function rechecked(ip: Buffer): Buffer {
  ip.writeUInt16BE(0, 10);
  ip.writeUInt16BE(checksum(ip.subarray(0, (ip.readUInt8(0) & 15) * 4)), 10);
  return ip;
}

interface Answers {
  /** Ports that a reset came from. */
  resets(): readonly number[];
  /** Ports that an ICMP error named. */
  unreachable(): readonly number[];
  hasReset(port: number): Promise<unknown>;
  hasUnreachable(port: number): Promise<unknown>;
  end(): Promise<unknown>;
}

/** Raw sockets at the peer that see what comes back. */
async function rawAnswers(peer: RawActor, family: 4 | 6): Promise<Answers> {
  const domain = family === 4 ? AF.inet : AF.inet6;
  const resetFd = await peer.socket(domain, SOCK.raw, NEXT_TO.TCP);
  const errorFd = await peer.socket(domain, SOCK.raw, family === 4 ? NEXT_TO.ICMP : NEXT_TO.ICMP6);
  const skip = family === 4 ? 20 : 0;
  const of = (fd: number): readonly Buffer[] =>
    peer.received.filter((one) => one.fd === fd).map(({ bytes }) => Buffer.from(bytes, "hex").subarray(skip));
  const resets = (): readonly number[] =>
    of(resetFd).flatMap((segment) =>
      segment.length < 20 || (segment.readUInt8(13) & 4) === 0 ? [] : [segment.readUInt16BE(0)],
    );
  const unreachable = (): readonly number[] =>
    of(errorFd).flatMap((message) => {
      const isError = message.readUInt8(0) === (family === 4 ? 3 : 1);
      return isError ? [message.readUInt16BE(8 + (family === 4 ? 20 : 40) + 2)] : [];
    });
  return {
    resets,
    unreachable,
    hasReset: (port) => waitUntil(() => resets().includes(port), { what: `a reset from port ${port}` }),
    hasUnreachable: (port) =>
      waitUntil(() => unreachable().includes(port), { what: `an ICMP error about port ${port}` }),
    end: async () => {
      await peer.command(`close ${resetFd}`);
      return peer.command(`close ${errorFd}`);
    },
  };
}
