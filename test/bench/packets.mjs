/**
 * `node test/bench/packets.mjs`: what one run of a packet program takes, as BPF_PROG_TEST_RUN measures it. Medians of
 * seven; needs root. Sockets are not part of it: an established connection is cheaper than a known flow.
 */
import { Bench } from "../../dist/test/kernel/bench.js";
import { tcp, udp } from "../../dist/test/kernel/packets.js";
import { rulesetOf } from "../../dist/test/kernel/rulesets.js";

const RUNS = 2_000_000;
const ACK = 0x10;
const endings = [];
const bench = new Bench({ teardown: (act) => endings.push(act) });
await bench.load(
  rulesetOf("bench", {
    "demo/open": { cgroup: "open" },
    "demo/web": {
      cgroup: "web",
      ingress: { allow: [] },
      egress: { allow: [{ peers: ["192.0.2.0/24"], ports: ["tcp/80", "udp/53"] }] },
    },
  }),
);
const ends = { from: "10.0.0.1", to: "192.0.2.7" };
for (const [name, workload, protocol, payload] of [
  ["not isolated", "demo/open", 6, tcp(1000, 80, ACK)],
  ["known flow", "demo/web", 17, udp(1000, 53)],
  ["allowed by a rule, asked anew", "demo/web", 6, tcp(1000, 80, ACK)],
  ["denied", "demo/web", 6, tcp(1000, 81, ACK)],
]) {
  const times = Array.from({ length: 7 }, () => bench.time(workload, "egress", { ...ends, protocol, payload }, RUNS));
  console.log(`${name}: ${times.sort((a, b) => a - b)[3]} ns`);
}
for (const end of endings) await end();
