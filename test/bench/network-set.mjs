/** One NetworkSet of 100,000 CIDRs: on the command line, in etcd, and from a changed set to the kernel's tables. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openEtcdStore } from "../../dist/src/adapters/etcd/store.js";
import { systemClock } from "../../dist/src/adapters/system/clock.js";
import { readManifests } from "../../dist/src/manifest/read.js";
import { RulesetCompiler } from "../../dist/src/policy/compile/compile.js";
import { withEtcd } from "../../dist/test/etcd/server.js";
import { draft } from "../../dist/test/fakes/objects.js";
import { run } from "./arena.mjs";
import { arena } from "./change.mjs";
import { compare, row } from "./report.mjs";

const COUNT = 100_000;

/** Blocks that do not join; every `step`-th is left out. */
const blocks = (step = Infinity) =>
  Array.from({ length: COUNT }, (_, index) => `${1 + (index >> 15)}.${(index >> 7) & 255}.${(index & 127) * 2}.0/24`)
    // A multiplier that shares no factor with the count: a list from elsewhere is in no order.
    .map((_, index, all) => all[(index * 70_001) % COUNT])
    .filter((_, index) => index % step !== 1);

const STATE = (cgroup) => `apiVersion: ztap/v1
kind: NetworkSet
metadata: { name: big }
spec: { file: big.cidrs }
---
apiVersion: ztap/v1
kind: Workload
metadata: { name: w0, labels: { app: w0 } }
spec: { node: bench, cgroup: ${cgroup}/w0, addresses: [10.250.0.1] }
---
apiVersion: ztap/v1
kind: NetworkPolicy
metadata: { name: p }
spec: { podSelector: {}, egress: [{ to: { networkSet: big }, ports: [{ port: 443 }] }] }
`;

const stateOf = (list, cgroup = "bench") =>
  readManifests([
    { path: "state.yaml", text: STATE(cgroup), blobId: "state" },
    { path: "big.cidrs", text: list.join("\n"), blobId: "list" },
  ]).objects;

/** @param ztap the program, @param folder where it may write */
export async function benchNetworkSet(ztap, folder, isRoot) {
  const repository = join(folder, "network-set");
  mkdirSync(repository);
  writeFileSync(join(repository, "state.yaml"), STATE("bench"));
  writeFileSync(join(repository, "big.cidrs"), blocks().join("\n"));
  const env = { ...process.env, ZTAP_STORE: `file:${join(folder, "network-set-store")}`, ZTAP_STATE_DIR: folder };
  const label = (what) => `${what}, a set of ${COUNT.toLocaleString("en")} CIDRs`;
  await compare(label("`ztap validate`"), 9, () => run(ztap, ["validate", repository], { env }));
  await compare(label("`ztap plan`, empty store"), 9, () => run(ztap, ["plan", repository, "--json"], { env }));
  run(ztap, ["apply", repository, "--auto-approve", "--json"], { env });
  writeFileSync(join(repository, "big.cidrs"), blocks(100).join("\n"));
  await compare(label("`ztap plan`, 1 % of it changed"), 9, () => run(ztap, ["plan", repository, "--json"], { env }));
  await benchEtcd(label);
  if (isRoot) await benchKernel(label);
}

async function benchEtcd(label) {
  await withEtcd({}, async ({ endpoints }) => {
    const store = openEtcdStore({ endpoints, prefix: "b/", tls: null, auth: null, timeoutMs: 5000 }, systemClock, 0);
    let turn = 1;
    const commit = async () => {
      const objects = [...stateOf(blocks(50 + (turn += 1))).values()].map(({ object }) => object);
      const from = performance.now();
      await store.commit(draft(objects), { expectHead: await store.readHead(), fence: null });
      return performance.now() - from;
    };
    const [commits, reads] = [[], []];
    for (let round = 0; round < 9; round += 1) {
      commits.push(await commit());
      const reader = openEtcdStore({ endpoints, prefix: "b/", tls: null, auth: null, timeoutMs: 5000 }, systemClock, 0);
      const from = performance.now();
      await reader.readState(await reader.readHead());
      reads.push(performance.now() - from);
      await reader.close();
    }
    const middle = (values) => values.toSorted((a, b) => a - b)[4].toFixed(0);
    row(label("commit to etcd, 2 % changed"), middle(commits), "—", "—");
    row(label("read from etcd"), middle(reads), "—", "—");
    await store.close();
  });
}

/** The set changes as a whole, and by one hundredth. */
async function benchKernel(label) {
  const { name, enforcer, nft, write, end } = await arena(1);
  const states = [100, 99, 98].map((step) => stateOf(blocks(step), name));
  const compiler = new RulesetCompiler();
  let turn = 0;
  const apply = async () => enforcer.apply(compiler.compile(states[(turn += 1) % states.length], "bench"));
  for (let warm = 0; warm < 3; warm += 1) await apply();
  const script = write(
    "nft-set",
    `flush ruleset\ntable inet bench { set big { type ipv4_addr; flags interval; elements = {\n${blocks().join(",\n")} } } }\n`,
  );
  await compare(
    label("compile and apply 2 % changed"),
    9,
    apply,
    "`nft -f`, such a set",
    nft && (() => nft("-f", script)),
  );
  row(
    label("resident memory of that process"),
    `${(process.memoryUsage.rss() / 1024 / 1024).toFixed(0)} MiB`,
    "—",
    "—",
  );
  await end();
}
