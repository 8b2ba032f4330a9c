/** From a changed state to the kernel's tables: a whole ruleset, and one rule of many, each beside nftables. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EbpfEnforcer } from "../../dist/src/adapters/ebpf/enforcer.js";
import { removeNodes } from "../../dist/src/adapters/ebpf/remove.js";
import { readManifests } from "../../dist/src/manifest/read.js";
import { compile, RulesetCompiler } from "../../dist/src/policy/compile/compile.js";
import { pause } from "../../dist/test/wait.js";
import { atEnd, has, inNamespace, makeCgroup, makeNamespace } from "./arena.mjs";
import { compare, skip } from "./report.mjs";

const quiet = { debug() {}, info() {}, warn() {}, error() {} };

/** Policies that share their rules evenly, each of one workload; a rule is a block and a port. */
function stateOf({ workloads, policies, rules, portOf, cgroup }) {
  const each = rules / policies;
  const documents = Array.from(
    { length: workloads },
    (_unused, at) => `apiVersion: ztap/v1
kind: Workload
metadata: { name: w${at}, labels: { app: w${at} } }
spec: { node: bench, cgroup: ${cgroup}/w${at}, addresses: [10.250.0.${at + 1}] }
`,
  );
  for (let policy = 0; policy < policies; policy += 1) {
    const list = Array.from({ length: each }, (_unused, at) => {
      const index = policy * each + at;
      return `
    - from: [{ ipBlock: { cidr: ${blockOf(index)} } }]
      ports: [{ protocol: TCP, port: ${portOf(index)} }]`;
    });
    documents.push(`apiVersion: ztap/v1
kind: NetworkPolicy
metadata: { name: p${policy} }
spec:
  podSelector: { matchLabels: { app: w${policy % workloads} } }
  ingress:${list.join("")}
`);
  }
  const text = documents.join("---\n");
  return readManifests([{ path: "bench.yaml", text, blobId: text }]).objects;
}

const blockOf = (index) => `10.${index >> 8}.${index & 255}.0/24`;

const nftRules = (rules, portOf) => `flush ruleset
table inet bench { set allowed { type ipv4_addr . inet_service; flags interval; elements = {
${Array.from({ length: rules }, (_, index) => `${blockOf(index)} . ${portOf(index)}`).join(",\n")} } }
  chain input { type filter hook input priority 0
    ip saddr . tcp dport @allowed accept
  }
}
`;

/** An enforcer with cgroups for its workloads, and a namespace for nftables where that is installed. */
export async function arena(workloads) {
  const name = `ztap-bench-${process.pid}`;
  const cgroups = Array.from({ length: workloads }, (_unused, at) => makeCgroup(`${name}/w${at}`));
  const pinRoot = `/sys/fs/bpf/${name}`;
  const unpin = atEnd(() => removeNodes({ pinRoot }));
  const enforcer = new EbpfEnforcer({ node: "bench", pinRoot, logger: quiet });
  await enforcer.open();
  const namespace = has("nft", "--version") ? makeNamespace(`zb${process.pid}`) : null;
  const folder = mkdtempSync(join(tmpdir(), `ztap-bench-${process.pid}-`));
  const forget = atEnd(() => rmSync(folder, { recursive: true, force: true }));
  return {
    name,
    enforcer,
    nft: namespace && ((...args) => inNamespace(namespace.name, "nft", args)),
    write(file, text) {
      writeFileSync(join(folder, file), text);
      return join(folder, file);
    },
    async end() {
      await enforcer.close();
      unpin();
      namespace?.end();
      forget();
      for (const { end } of cgroups.reverse()) end();
    },
  };
}

const NOT_INSTALLED = "nftables is not installed: apt-get install nftables";

/** Every rule changes. */
export async function benchApply() {
  const { name, enforcer, nft, write, end } = await arena(1);
  for (const rules of [100, 2_500]) {
    // Three states: of two, each would find itself in one of the two table sets, and nothing would be written.
    const ports = [1000, 3000, 5000].map((from) => (index) => from + (index % 100));
    const states = ports.map((portOf) => stateOf({ workloads: 1, policies: 1, rules, portOf, cgroup: name }));
    let turn = 0;
    const apply = async () => enforcer.apply(compile(states[(turn += 1) % states.length], "bench"));
    for (let warm = 0; warm < 4; warm += 1) await apply();
    const scripts = ports.map((portOf, at) => write(`nft-${at}`, nftRules(rules, portOf)));
    const label = `compile and apply ${rules.toLocaleString("en")} rules, all of them changed`;
    await compare(
      label,
      15,
      apply,
      "`nft -f`, set of the same",
      nft && (() => nft("-f", scripts[turn % scripts.length])),
    );
  }
  if (nft === null) skip("the peer nftables", NOT_INSTALLED);
  await end();
}

/** One rule of 10,000 changes, on a node with twenty workloads and a hundred policies. */
export async function benchChange() {
  const RULES = 10_000;
  const { name, enforcer, nft, write, end } = await arena(20);
  const portOf = (changed) => (index) => (index === changed ? 9 : 1000 + (index % 100));
  const states = Array.from({ length: 20 }, (_unused, at) =>
    stateOf({ workloads: 20, policies: 100, rules: RULES, portOf: portOf(at * 487), cgroup: name }),
  );
  let turn = 0;
  const compiler = new RulesetCompiler();
  const apply = async () => enforcer.apply(compiler.compile(states[(turn += 1) % states.length], "bench"));
  for (let warm = 0; warm < 6; warm += 1) await apply();
  nft?.("-f", write("nft", nftRules(RULES, portOf(-1))));
  const add =
    nft && (() => nft("add", "element", "inet", "bench", "allowed", `{ 11.${turn >> 8}.${turn & 255}.0/24 . 9 }`));
  // As in life, nobody waits for the grace period of the change before: it has long been over.
  const over = () => pause(60);
  await compare("one rule of 10,000 changed", 31, apply, "`nft add element`, a process", add, over);
  if (nft === null) skip("the peer nftables", NOT_INSTALLED);
  await end();
}
