/**
 * What it costs that a workload proves in its SYN who it is: a short connection and a round trip of an established one, between
 * two nodes on a veth pair, beside the same policy that asks for the address alone. See traffic.mjs.
 */
import { hkdfSync } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EbpfEnforcer } from "../../dist/src/adapters/ebpf/enforcer.js";
import { removeNodes } from "../../dist/src/adapters/ebpf/remove.js";
import { rulesetOf } from "../../dist/test/kernel/rulesets.js";
import { atEnd, makeCgroup, makeWire, run } from "./arena.mjs";
import { head, ratioOf, row, spread } from "./report.mjs";

const PORT = 7000;
const CLIENT = "10.77.0.1";
const SERVER = "10.77.0.2";
const ROUNDS = 40;
const DAY_MS = 86_400_000;
const quiet = { debug() {}, info() {}, warn() {}, error() {} };
const MODES = [
  { mode: "connect", name: "connect, 1 byte, close", chunks: 10, count: 60 },
  { mode: "rtt", name: "TCP round trip, established", chunks: 12, count: 500 },
];

function keys(address) {
  const today = Math.floor(Date.now() / DAY_MS);
  const secret = Buffer.alloc(32, 7);
  const days = new Map(
    [today - 1, today, today + 1].map((day) => [
      day,
      Buffer.from(hkdfSync("sha256", secret, Buffer.alloc(0), `ztap syn ${day}`, 16)),
    ]),
  );
  return [{ address, days }];
}

/** Both nodes of one wire, on this machine. */
async function makeNodes(name, hasIdentity) {
  const ends = [];
  const node = async (side, peer, workloads) => {
    const cgroup = makeCgroup(`${name}${side}/w`);
    const pinRoot = `/sys/fs/bpf/${name}${side}`;
    const enforcer = new EbpfEnforcer({ node: `bench-${side}`, pinRoot, logger: quiet, settleNs: 0n });
    ends.push(
      atEnd(() => removeNodes({ pinRoot })),
      cgroup.end,
    );
    await enforcer.open();
    const ruleset = rulesetOf(`bench-${side}`, workloads(`${name}${side}/w`));
    await enforcer.apply(hasIdentity ? withSenders(ruleset) : ruleset);
    if (hasIdentity) enforcer.peerKeys.write(keys(peer));
    await enforcer.close();
    return join(cgroup.folder, "cgroup.procs");
  };
  const rule = (peer) => ({ allow: [{ peers: [`${peer}/32`], ports: [`tcp/${PORT}`] }] });
  const client = await node("c", SERVER, (cgroup) => ({
    "bench/client": { cgroup, addresses: [CLIENT], egress: rule(SERVER) },
  }));
  const server = await node("s", CLIENT, (cgroup) => ({
    "bench/server": { cgroup, addresses: [SERVER], ingress: rule(CLIENT) },
  }));
  return { client, server, end: () => ends.forEach((end) => end()) };
}

/** The peer of the ingress rule is the client, by name. */
function withSenders(ruleset) {
  const senders = { blocks: [], workloads: [{ workload: "bench/client", addresses: [CLIENT] }] };
  const profiles = ruleset.profiles.map((profile) =>
    profile.direction === "ingress"
      ? { ...profile, clauses: profile.clauses.map((clause) => ({ ...clause, senders })) }
      : profile,
  );
  return { ...ruleset, profiles, digest: `${ruleset.digest} syn`, hasSynIdentity: true };
}

export async function benchIdentity() {
  const id = `zi${process.pid}`;
  const folder = mkdtempSync(join(tmpdir(), `ztap-bench-${process.pid}-`));
  const forget = atEnd(() => rmSync(folder, { recursive: true, force: true }));
  const program = join(folder, "traffic");
  run("cc", ["-O2", "-o", program, join(import.meta.dirname, "traffic.c")]);
  head("ns (quartiles)", "by address alone", "proven in the SYN", "", "ratio", "to reach");
  const kinds = [];
  for (const [suffix, hasIdentity] of [
    ["a", false],
    ["p", true],
  ]) {
    const wire = makeWire(`${id}${suffix}`);
    kinds.push({ wire, nodes: await makeNodes(`${id}${suffix}`, hasIdentity) });
  }
  for (const { mode, name, chunks, count } of MODES) {
    const measure = ({ wire, nodes }) => {
      const places = [wire.client.path, wire.server.path, nodes.client, nodes.server, SERVER, PORT];
      const lines = run(program, [mode, "1", chunks, count, ...places].map(String));
      return Math.min(...lines.trim().split("\n").map(Number));
    };
    const times = kinds.map(() => []);
    for (let round = 0; round < ROUNDS; round += 1) kinds.forEach((kind, at) => times[at].push(measure(kind)));
    row(name, spread(times[0], 0), spread(times[1], 0), "", ratioOf(times[1], times[0]), "");
  }
  for (const { wire, nodes } of kinds) {
    nodes.end();
    wire.end();
  }
  forget();
}
