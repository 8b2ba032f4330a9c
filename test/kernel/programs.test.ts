import t from "tap";
import { ABI } from "../../src/adapters/ebpf/kernel/abi.generated.js";
import { Bench } from "./bench.js";
import { icmp, packet, tcp, udp, type PacketSpec } from "./packets.js";
import { rulesetOf, type Isolation, type WorkloadSpec } from "./rulesets.js";
import { whyNot } from "./sandbox.js";

const reason = whyNot();
if (reason !== null) t.plan(0, `SKIP kernel tests: ${reason}`);
else {
  const bench = new Bench(t);
  const OWN = "10.0.0.1";
  const UDP: Isolation = { allow: [{ peers: "any", ports: ["udp"] }] };
  const OWN6 = "fd00::1";
  const peer = { from: OWN, to: "192.0.2.7" };
  const peer6 = { from: OWN6, to: "fd01::7" };
  const back = ({ from, to }: { readonly from: string; readonly to: string }) => ({ from: to, to: from });
  const egress = (spec: PacketSpec): boolean => bench.passes("demo/web", "egress", spec);
  const ingress = (spec: PacketSpec): boolean => bench.passes("demo/web", "ingress", spec);
  const load = (...ports: string[]): Promise<void> =>
    bench.load(
      rulesetOf("bench", {
        "demo/any": { cgroup: "any", egress: { allow: [{ peers: "any", ports: "any" }] }, ingress: { allow: [] } },
        "demo/web": {
          cgroup: "web",
          ingress: { allow: [] },
          egress: { allow: [{ peers: ["192.0.2.0/24", "fd01::/64"], ports }] },
        },
      }),
    );

  await t.test("addresses, protocols, ports, in both families", async (t) => {
    await load("tcp/80", "udp/53", "sctp/9");
    for (const ends of [peer, peer6]) {
      t.ok(egress({ ...ends, protocol: 6, payload: tcp(1024, 80) }));
      t.notOk(egress({ ...ends, protocol: 6, payload: tcp(1024, 81) }));
      t.ok(egress({ ...ends, protocol: 17, payload: udp(1024, 53) }));
      t.notOk(egress({ ...ends, protocol: 17, payload: udp(1024, 80) }));
      t.ok(egress({ ...ends, protocol: 132, payload: udp(1024, 9) }));
      t.notOk(egress({ ...ends, protocol: 47 }));
      t.ok(bench.passes("demo/any", "egress", { ...ends, protocol: 47 }));
      t.notOk(ingress({ ...back(ends), protocol: 6, payload: tcp(1024, 80) }));
    }
    t.notOk(egress({ from: OWN, to: "192.0.3.1", protocol: 6, payload: tcp(1024, 80) }));
    t.notOk(egress({ from: OWN6, to: "fd01:0:0:1::1", protocol: 6, payload: tcp(1024, 80) }));
  });

  await t.test("options, extension headers and fragments", async (t) => {
    await load("tcp/80", "udp");
    t.ok(egress({ ...peer, protocol: 6, payload: tcp(1, 80), options: 8 }), "behind IPv4 options");
    t.notOk(egress({ ...peer, protocol: 6, payload: tcp(1, 81), options: 40 }));
    t.ok(egress({ ...peer6, protocol: 6, payload: tcp(1, 80), extensions: [0, 43, 60] }), "behind extension headers");
    t.ok(egress({ ...peer6, protocol: 6, payload: tcp(1, 80), extensions: Array<number>(8).fill(60) }));
    t.notOk(
      egress({ ...peer6, protocol: 6, payload: tcp(1, 80), extensions: Array<number>(9).fill(60) }),
      "a chain too long",
    );
    t.ok(
      bench.passes("demo/any", "egress", {
        ...peer6,
        protocol: 6,
        payload: tcp(1, 80),
        extensions: Array<number>(9).fill(60),
      }),
      "is allowed by a rule for any protocol alone",
    );
    t.notOk(egress({ ...peer, protocol: 6, fragment: 10 }), "a later fragment has no ports");
    t.notOk(egress({ ...peer6, protocol: 6, fragment: 10, extensions: [44] }));
    t.ok(egress({ ...peer, protocol: 17, fragment: 10 }), "which all ports of a protocol cover");
    t.ok(egress({ ...peer6, protocol: 17, fragment: 10, extensions: [44] }));
    t.ok(
      egress({ ...peer6, protocol: 6, payload: tcp(1, 80), fragment: 0, extensions: [44] }),
      "the first fragment has them",
    );
    t.notOk(egress({ ...peer, protocol: 6, payload: Buffer.alloc(3) }), "a truncated header");
  });

  await t.test("replies to an allowed flow pass, and nothing else", async (t) => {
    await load("udp/53", "icmp/2048", "icmp/32768");
    for (const [ends, ask, answer] of [
      [peer, 8, 0],
      [peer6, 128, 129],
    ] as const) {
      t.notOk(ingress({ ...back(ends), protocol: 17, payload: udp(53, 2000) }), "nobody asked yet");
      t.ok(egress({ ...ends, protocol: 17, payload: udp(2000, 53) }));
      t.ok(ingress({ ...back(ends), protocol: 17, payload: udp(53, 2000) }));
      t.notOk(ingress({ ...back(ends), protocol: 17, payload: udp(54, 2000) }), "another port");
      t.notOk(ingress({ ...back(ends), protocol: 17, payload: udp(53, 2001) }));
      t.notOk(
        bench.passes("demo/any", "ingress", { ...back(ends), protocol: 17, payload: udp(53, 2000) }),
        "another workload",
      );
      const echo = ends === peer ? 1 : 58;
      t.notOk(ingress({ ...back(ends), protocol: echo, payload: icmp(answer, 0, 7) }));
      t.ok(egress({ ...ends, protocol: echo, payload: icmp(ask, 0, 7) }));
      t.ok(ingress({ ...back(ends), protocol: echo, payload: icmp(answer, 0, 7) }), "an echo reply");
      t.notOk(ingress({ ...back(ends), protocol: echo, payload: icmp(answer, 0, 8) }), "to another request");
    }
    await load("udp/54");
    t.notOk(
      ingress({ ...back(peer), protocol: 17, payload: udp(53, 2000) }),
      "what may not be asked any more is not answered",
    );
    await load("udp/53");
    t.ok(ingress({ ...back(peer), protocol: 17, payload: udp(53, 2000) }), "and is again when it may");
  });

  await t.test("neighbour and listener discovery always pass, but only from the link", async (t) => {
    await load("tcp/1");
    for (const type of [133, 134, 135, 136]) {
      t.ok(ingress({ ...back(peer6), protocol: 58, payload: icmp(type), hopLimit: 255 }));
      t.notOk(ingress({ ...back(peer6), protocol: 58, payload: icmp(type), hopLimit: 254 }));
    }
    t.ok(egress({ ...peer6, protocol: 58, payload: icmp(143), hopLimit: 1, extensions: [0] }), "a listener report");
    t.notOk(
      ingress({ ...back(peer6), protocol: 58, payload: icmp(137), hopLimit: 255 }),
      "a redirect is not among them",
    );
  });

  /** So many flows have one peer, and differ in their port. */
  const OF_A_PEER = 60_000;
  const flow = (at: number) => ({
    ends: { from: OWN, to: `192.0.2.${Math.floor(at / OF_A_PEER)}` },
    port: 1 + (at % OF_A_PEER),
  });
  /** Of the source port, behind the Ethernet and the IPv4 header. */
  const PORT_OFFSET = 34;
  /** At a time that stands still, so that no flow ends while others are opened, however slow the machine is. */
  const opened = (on: Bench, workload: string, first: number, count: number, tick = 1): number => {
    let allowed = 0;
    for (let at = first; at < first + count;) {
      const { ends, port } = flow(at);
      const one = packet({ ...ends, protocol: 17, payload: udp(port, 53) });
      const many = Math.min(first + count - at, OF_A_PEER - (at % OF_A_PEER));
      const frames = Buffer.alloc(many * one.length, one);
      for (let next = 0; next < many; next++) frames.writeUInt16BE(port + next, next * one.length + PORT_OFFSET);
      allowed += on.countAllowed(workload, "egress", frames, one.length, tick);
      at += many;
    }
    return allowed;
  };

  await t.test("a full flow table refuses flows and counts them, and frees ended flows", async (t) => {
    const own = new Bench(t);
    await own.load(rulesetOf("bench", { "demo/web": { cgroup: "web", ingress: { allow: [] }, egress: UDP } }));
    const all = opened(own, "demo/web", 0, ABI.MAX_FLOWS + 100);
    t.equal(all, ABI.MAX_FLOWS, "what has no room is refused");
    t.equal(own.counters()[ABI.COUNT_FLOWS_FULL], 100n, "and counted");
    const later = ABI.FLOW_NEW_TICKS + 2;
    const answer = (at: number): string | undefined => {
      const { ends, port } = flow(at);
      const frame = packet({ ...back(ends), protocol: 17, payload: udp(53, port) });
      return own.decide([{ workload: "demo/web", direction: "ingress", frame, now: later }], 0)[0]?.verdict;
    };
    t.equal(opened(own, "demo/web", ABI.MAX_FLOWS, 1, later), 1, "there is room again when flows have ended");
    t.equal(answer(ABI.MAX_FLOWS), "allowed");
    t.equal(answer(ABI.MAX_FLOWS - 1), "denied", "and an ended flow is not answered");
  });

  await t.test("a workload that opens flows without end takes no other workload's slot share", async (t) => {
    const own = new Bench(t);
    const spec = (cgroup: string): WorkloadSpec => ({ cgroup, ingress: { allow: [] }, egress: UDP });
    const names = ["demo/flood", "demo/quiet"];
    const enforce = (...all: string[]): Promise<void> =>
      own.load(rulesetOf("bench", Object.fromEntries(all.map((name) => [name, spec(name)]))));
    const OF_EACH = (ABI.MAX_FLOWS - ABI.COMMON_FLOWS) / names.length;
    await enforce(...names);
    const most = ABI.COMMON_FLOWS + OF_EACH;
    t.equal(opened(own, "demo/flood", 0, most + 100), most, "what is common, and its own");
    t.equal(opened(own, "demo/quiet", 0, OF_EACH + 100), OF_EACH, "the other's share is there, in full");
    t.equal(opened(own, "demo/flood", 0, 1000), 1000, "what is known goes on");
    await enforce("demo/flood", "demo/new", "demo/quiet");
    t.equal(
      opened(own, "demo/new", 0, OF_EACH),
      OF_EACH / 2,
      "where it is divided anew, a share is its owner's at once",
    );
  });
}
