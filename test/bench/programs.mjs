/**
 * What one run of the packet program takes, hot, at 1 to 100,000 rules, as BPF_PROG_TEST_RUN measures it, in turn with an
 * empty program. Three packets: of an established connection (see programs.bpf.c), of a UDP flow that is known, and one
 * that asks policy anew each time (a raw socket's).
 */
import { createServer, connect } from "node:net";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { arch, tmpdir } from "node:os";
import { join } from "node:path";
import { CONTROL } from "../../dist/src/adapters/ebpf/kernel/abi.generated.js";
import { KernelCounters } from "../../dist/src/adapters/ebpf/maps/counters.js";
import { closeObject } from "../../dist/src/adapters/ebpf/kernel/load.js";
import { lower } from "../../dist/src/adapters/ebpf/lower/lower.js";
import { loadNative } from "../../dist/src/adapters/ebpf/kernel/native.js";
import { NO_SLOT, slotSharesOf } from "../../dist/src/adapters/ebpf/maps/slot-shares.js";
import { encodeStorage } from "../../dist/src/adapters/ebpf/maps/cgroup-storage.js";
import { TableSets } from "../../dist/src/adapters/ebpf/maps/table-sets.js";
import { packet, tcp, udp } from "../../dist/test/kernel/packets.js";
import { rulesetOf } from "../../dist/test/kernel/rulesets.js";
import { atEnd, has, run } from "./arena.mjs";
import { head, median, row, skip, spread } from "./report.mjs";

const SIZES = [1, 100, 2_500, 10_000, 100_000];
/** Destinations of an identity profile, in a ruleset of so many rules. */
const IDENTITY = { rules: 100, destinations: 1000 };
const ROUNDS = 15;
const RUNS = 200_000;
const NAMES = [
  ...["bench_empty", "bench_socket", "bench_begin", "bench_established", "bench_packet"],
  ...["bench_interface", "bench_host_ingress", "bench_host_egress"],
];
const SLOT = Buffer.alloc(4);
const native = loadNative();

/** The rule of the measured packets, and others around it. */
function rulesetWith(rules, port, destinations) {
  const others = Array.from({ length: rules - 1 }, (_unused, at) => ({
    peers: [`10.${at >> 16}.${(at >> 8) & 255}.${at & 255}/32`],
    ports: [`tcp/${1000 + (at % 100)}`],
  }));
  const own = { peers: ["127.0.0.1/32"], ports: [`tcp/${port}`, "udp/53"] };
  const allow = [...others.slice(0, rules >> 1), own, ...others.slice(rules >> 1)];
  const addresses = ["127.0.0.1"];
  const identity =
    destinations === 0
      ? {}
      : {
          identity: [
            { peers: ["127.0.0.1/32"], ports: [`tcp/${port}`, "udp/53"] },
            {
              peers: [
                ...addresses,
                ...Array.from({ length: destinations }, (_one, at) => `10.9.${at >> 8}.${at & 255}/32`),
              ],
              ports: "any",
              isDenied: true,
            },
          ],
        };
  const workload = { cgroup: "w", addresses, ingress: { allow: [] }, egress: { allow }, ...identity };
  return rulesetOf("bench", { "bench/w": workload });
}

function load(file, { rules, destinations }, client, server) {
  const object = native.loadObject(file, "", NAMES, []);
  const image = lower(rulesetWith(rules, server, destinations));
  const counters = new KernelCounters(native, object.maps);
  counters.prepare(image);
  const set = (name, value) => native.mapSet(object.maps[name], SLOT, value);
  const control = Buffer.alloc(CONTROL.size);
  control.writeBigUInt64LE(2n, CONTROL.epoch);
  set("ztap_control", control);
  const tuple = Buffer.alloc(16);
  // As the kernel looks for a socket: the packet's source is the other end.
  tuple.set([127, 0, 0, 1, 127, 0, 0, 1]);
  tuple.writeUInt16BE(server, 8);
  tuple.writeUInt16BE(client, 10);
  set("bench_connection", tuple);
  const { id, record } = image.subjects.get("bench/w");
  const share = slotSharesOf(image, counters.subjectSlots()).get(id) ?? NO_SLOT;
  set("ztap_test_subjects", encodeStorage({ cgroup: 1n, subject: id, level: 1, share, sets: [record, record] }));
  return { object, image, tables: new TableSets(native, object.maps) };
}

export async function benchPrograms() {
  if (!has("clang", "--version")) return skip("cost of the programs", "clang is not installed: apt-get install clang");
  const folder = mkdtempSync(join(tmpdir(), `ztap-bench-${process.pid}-`));
  const forget = atEnd(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, "programs.bpf.o");
  const include = `/usr/include/${arch() === "x64" ? "x86_64" : "aarch64"}-linux-gnu`;
  const flags = ["-O2", "-g", "-target", "bpf", "-mcpu=v3", `-I${include}`, "-c"];
  run("clang", [...flags, join(import.meta.dirname, "programs.bpf.c"), "-o", file]);
  const server = createServer(() => undefined).listen(0, "127.0.0.1");
  await once(server, "listening");
  const socket = connect(server.address().port, "127.0.0.1");
  await once(socket, "connect");
  const [from, to] = [socket.localPort, server.address().port];
  const ends = { from: "127.0.0.1", to: "127.0.0.1" };
  const frames = {
    established: packet({ ...ends, protocol: 6, payload: tcp(from, to, 0x10) }),
    flow: packet({ ...ends, protocol: 17, payload: udp(1000, 53) }),
    datagram: packet({ ...ends, protocol: 17, payload: udp(2000, 54) }),
  };
  const atInterfaces = { ingress: [], udp: [], tcp: [] };
  head("ns more than an empty program (quartiles)", "established", "known UDP flow", "asks policy", "empty");
  const established = [];
  for (const { rules, destinations } of [...SIZES.map((rules) => ({ rules, destinations: 0 })), IDENTITY]) {
    const { object, image, tables } = load(file, { rules, destinations }, from, to);
    tables.switch(await tables.prepare(image));
    const time = (name, frame, runs = RUNS) => {
      const { durationNs, returned } = native.testRun(object.programs[name], frame, [0], runs);
      if (returned !== 1) throw new Error(`${name} refused its packet`);
      return durationNs;
    };
    time("bench_begin", frames.established, 1);
    const rows = { established: [], flow: [], asks: [], empty: [] };
    for (let round = 0; round < ROUNDS; round += 1) {
      const empty = time("bench_empty", frames.flow);
      rows.empty.push(empty);
      const lookup = time("bench_socket", frames.established);
      rows.established.push(time("bench_established", frames.established) - lookup);
      rows.flow.push(time("bench_packet", frames.flow) - empty);
      rows.asks.push(time("bench_packet", frames.established) - empty);
      if (rules !== SIZES.at(-1) || destinations > 0) continue;
      const nothing = time("bench_interface", frames.datagram);
      atInterfaces.ingress.push(time("bench_host_ingress", frames.established) - nothing);
      atInterfaces.udp.push(time("bench_host_egress", frames.datagram) - nothing);
      atInterfaces.tcp.push(time("bench_host_egress", frames.established) - nothing);
    }
    if (destinations === 0) established.push(median(rows.established));
    const cells = [rows.established, rows.flow, rows.asks, rows.empty].map((times) => spread(times, 0));
    const asked = destinations === 0 ? "" : `, identity profile of ${destinations.toLocaleString("en")} addresses`;
    row(`${rules.toLocaleString("en")} rule${rules === 1 ? "" : "s"}${asked}`, ...cells);
    await tables.settled();
    closeObject(native, object);
  }
  const [one, hundred, , , most] = established;
  row("to reach", "≤ 60; 100,000 rules ≤ 1.5 × 100 rules; ≤ 1.1 × 1 rule", "—", "—", "—");
  row("reached", `${(most / hundred).toFixed(2)} × 100 rules; ${(most / one).toFixed(2)} × 1 rule`, "—", "—", "—");
  head("ns at an interface", "ingress, not ICMP", "egress, UDP", "egress, TCP of no socket of this machine");
  row("100,000 rules", ...Object.values(atInterfaces).map((times) => spread(times, 0)));
  socket.destroy();
  server.close();
  forget();
}
