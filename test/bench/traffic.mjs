/**
 * What policy adds to real traffic: a round trip, a short connection and a datagram, over a veth pair between two
 * network namespaces, both ends in one thread on one CPU (see traffic.c). Nothing, ztap, nftables and iptables are
 * measured in turn, each in namespaces of its own, and each with the same 10,000 rules on the client's side. What is
 * compared is what each adds to nothing in the same round.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EbpfEnforcer } from "../../dist/src/adapters/ebpf/enforcer.js";
import { findCgroupRoot } from "../../dist/src/adapters/ebpf/kernel/paths.js";
import { removeNodes } from "../../dist/src/adapters/ebpf/remove.js";
import { rulesetOf } from "../../dist/test/kernel/rulesets.js";
import { atEnd, has, inNamespace, makeCgroup, makeWire, run } from "./arena.mjs";
import { head, ratioOf, row, skip, spread } from "./report.mjs";

const RULES = 10_000;
const PORT = 7000;
const SERVER = "10.77.0.2";
const ROUNDS = 40;
const quiet = { debug() {}, info() {}, warn() {}, error() {} };

/** The rule that matches stands in the middle of as many others. */
const rules = Array.from({ length: RULES }, (_unused, at) =>
  at === RULES / 2
    ? { peer: `${SERVER}/32`, port: PORT }
    : { peer: `10.${100 + (at >> 14)}.${(at >> 6) & 255}.${(at & 63) * 4}/32`, port: 1000 + (at % 100) },
);

async function underZtap(name) {
  const cgroup = makeCgroup(`${name}/w`);
  const pinRoot = `/sys/fs/bpf/${name}`;
  const enforcer = new EbpfEnforcer({ node: "bench", pinRoot, logger: quiet });
  const unpin = atEnd(() => removeNodes({ pinRoot }));
  await enforcer.open();
  const allow = rules.map(({ peer, port }) => ({ peers: [peer], ports: [`tcp/${port}`, `udp/${port}`] }));
  const isolated = { ingress: { allow: [] }, egress: { allow } };
  await enforcer.apply(rulesetOf("bench", { "bench/w": { cgroup: `${name}/w`, ...isolated } }));
  await enforcer.close();
  return {
    procs: join(cgroup.folder, "cgroup.procs"),
    end() {
      unpin();
      cgroup.end();
    },
  };
}

function underNft(namespace) {
  const elements = rules.flatMap(({ peer, port }) =>
    ["tcp", "udp"].map((protocol) => `${peer.split("/")[0]} . ${protocol} . ${port}`),
  );
  const text = `table inet bench {
  set allowed { type ipv4_addr . inet_proto . inet_service; elements = { ${elements.join(",\n")} } }
  chain output { type filter hook output priority 0; policy drop
    ct state established,related accept
    ip daddr . meta l4proto . th dport @allowed accept
  }
  chain input { type filter hook input priority 0; policy drop
    ct state established,related accept
  }
}
`;
  inNamespace(namespace, "nft", ["-f", "-"], { input: text });
}

function underIptables(namespace) {
  const list = rules.flatMap(({ peer, port }) =>
    ["tcp", "udp"].map((protocol) => `-A OUTPUT -d ${peer} -p ${protocol} --dport ${port} -j ACCEPT`),
  );
  const known = (chain) => `-A ${chain} -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT`;
  const text = ["*filter", ":INPUT DROP", ":FORWARD DROP", ":OUTPUT DROP", known("INPUT"), known("OUTPUT"), ...list];
  inNamespace(namespace, iptables, [], { input: `${text.join("\n")}\nCOMMIT\n` });
}

/** The kernel's own iptables where it is there: the one on top of nftables needs more of the kernel. */
const iptables = ["iptables-legacy-restore", "iptables-restore"].find((program) => has(program, "--version"));

const MODES = [
  { mode: "rtt", name: "TCP round trip", chunks: 12, count: 500, limits: { nftables: 0.6 } },
  {
    mode: "connect",
    name: "connect, 1 byte, close",
    chunks: 10,
    count: 60,
    limits: { nftables: 0.35, iptables: 0.15 },
  },
  { mode: "udp", name: "UDP packet, one way", chunks: 12, count: 1_000, limits: { nftables: 0.5 } },
];

/** Makes the kinds that can be had here. @returns by name: where the client and the server are */
async function makeKinds(id) {
  const outside = join(findCgroupRoot(), "cgroup.procs");
  const kinds = new Map();
  const add = async (name, suffix, prepare) => {
    const wire = makeWire(`${id}${suffix}`);
    try {
      kinds.set(name, { wire, procs: outside, ...(await prepare(wire.client.name)) });
    } catch (error) {
      wire.end();
      skip(`the peer ${name}`, error.message.split("\n")[1] ?? error.message);
    }
  };
  await add("nothing", "n", () => ({}));
  await add("ztap", "z", () => underZtap(id));
  if (has("nft", "--version")) await add("nftables", "f", underNft);
  else skip("the peer nftables", "it is not installed: apt-get install nftables");
  if (iptables !== undefined) await add("iptables", "i", underIptables);
  else skip("the peer iptables", "it is not installed: apt-get install iptables");
  return kinds;
}

export async function benchTraffic(only) {
  const id = `zb${process.pid}`;
  const folder = mkdtempSync(join(tmpdir(), `ztap-bench-${process.pid}-`));
  const forget = atEnd(() => rmSync(folder, { recursive: true, force: true }));
  const program = join(folder, "traffic");
  run("cc", ["-O2", "-o", program, join(import.meta.dirname, "traffic.c")]);
  head("added by 10,000 rules, ns (quartiles)", "nothing", "ztap", "peer, same run", "ratio", "to reach");
  const kinds = await makeKinds(id);
  const outside = join(findCgroupRoot(), "cgroup.procs");
  for (const { mode, name, chunks, count, limits } of MODES) {
    if (only && !only.includes(mode)) continue;
    const measure = ({ wire, procs }) => {
      const places = [wire.client.path, wire.server.path, procs, outside, SERVER, PORT];
      const lines = run(program, [mode, "1", chunks, count, ...places].map(String));
      // What else the machine does only ever adds: the best chunk is the least disturbed one.
      return Math.min(...lines.trim().split("\n").map(Number));
    };
    const added = new Map([...kinds.keys()].map((kind) => [kind, []]));
    for (let round = 0; round < ROUNDS; round += 1) {
      const plain = measure(kinds.get("nothing"));
      added.get("nothing").push(plain);
      for (const [kind, place] of kinds) if (kind !== "nothing") added.get(kind).push(measure(place) - plain);
    }
    const own = added.get("ztap");
    for (const [peer, limit] of Object.entries(limits)) {
      const other = added.get(peer);
      if (other === undefined) continue;
      row(
        name,
        spread(added.get("nothing"), 0),
        spread(own, 0),
        `${peer}: ${spread(other, 0)}`,
        ratioOf(own, other),
        `≤ ${limit}`,
      );
    }
  }
  for (const { wire, end } of kinds.values()) {
    end?.();
    wire.end();
  }
  forget();
}
