/**
 * What a shadow costs: one run of the packet program for a packet that begins a connection (a raw socket's SYN), and for one of a known UDP
 * flow, without a shadow, with one that decides the same, and with one that decides otherwise; in turn.
 */
import { Bench } from "../../dist/test/kernel/bench.js";
import { tcp, udp } from "../../dist/test/kernel/packets.js";
import { rulesetOf } from "../../dist/test/kernel/rulesets.js";
import { head, median, ratioOf, row, spread } from "./report.mjs";

const SIZES = [100, 10_000, 100_000];
const ROUNDS = 15;
const RUNS = 100_000;
const OWN = "10.0.0.1";
const PEER = "192.0.2.7";
const PACKETS = [
  ["SYN, egress", "egress", { from: OWN, to: PEER, protocol: 6, payload: tcp(1024, 80) }],
  ["SYN, ingress", "ingress", { from: PEER, to: OWN, protocol: 6, payload: tcp(1024, 80) }],
  ["known UDP flow", "egress", { from: OWN, to: PEER, protocol: 17, payload: udp(2000, 53) }],
];

/** The rule of the measured packets, and others around it. */
function rulesetWith(rules, port) {
  const others = Array.from({ length: rules - 1 }, (_unused, at) => ({
    peers: [`10.${1 + (at >> 16)}.${(at >> 8) & 255}.${at & 255}/32`],
    ports: [`tcp/${1000 + (at % 100)}`],
  }));
  const own = { peers: [`${PEER}/32`], ports: [`tcp/${port}`, "udp/53"] };
  const isolation = { allow: [...others.slice(0, rules >> 1), own, ...others.slice(rules >> 1)] };
  const workload = { cgroup: "w", addresses: [OWN], ingress: isolation, egress: isolation };
  return rulesetOf("bench", { "bench/w": workload });
}

export async function benchShadow() {
  head("ns of one run (quartiles)", "no shadow", "decides the same", "decides otherwise", "more, at most");
  for (const rules of SIZES) {
    const ends = [];
    const benches = [];
    for (const coming of [null, rulesetWith(rules, 80), rulesetWith(rules, 81)]) {
      const bench = new Bench({ teardown: (end) => ends.push(end) });
      await bench.load(rulesetWith(rules, 80));
      if (coming !== null) await bench.loadShadow(coming);
      benches.push(bench);
    }
    for (const [name, direction, spec] of PACKETS) {
      const times = benches.map(() => []);
      for (let round = 0; round < ROUNDS; round += 1)
        benches.forEach((bench, at) => times[at].push(bench.time("bench/w", direction, spec, RUNS)));
      const [none = [], ...others] = times;
      const more = Math.max(...others.map((one) => median(one) - median(none)));
      const ratios = others.map((one) => ratioOf(one, none)).join(", ");
      row(
        `${name}, ${rules.toLocaleString("en")} rules`,
        ...times.map((one) => spread(one, 0)),
        `${more} (${ratios} ×)`,
      );
    }
    for (const end of ends) await end();
  }
  row("to reach", "—", "—", "—", "first packets: 300; known flows: nothing");
}
