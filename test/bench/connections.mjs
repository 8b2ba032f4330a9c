/** The connections of a plan: 1,000 workloads and 1,000 policies, all of them new, and one policy of them changed. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import { run } from "./arena.mjs";
import { compare } from "./report.mjs";

const COUNT = 1000;
const APPS = 100;

const workloadOf = (index) => `apiVersion: ztap/v1
kind: Workload
metadata: { name: w${index}, labels: { app: a${index % APPS}, tier: t${index % 3} } }
spec: { node: n${index % 10}, cgroup: bench/w${index}, addresses: [10.0.${index >> 8}.${index & 255}] }
`;

const policyOf = (index, port) => `apiVersion: ztap/v1
kind: NetworkPolicy
metadata: { name: p${index} }
spec:
  podSelector: { matchLabels: { app: a${index % APPS} } }
  ingress:
    - from: [{ podSelector: { matchLabels: { app: a${(index * 7) % APPS} } } }, { ipBlock: { cidr: 10.${index % 200}.0.0/16 } }]
      ports: [{ port: ${port} }]
  egress: [{}]
`;

/** @param ztap the program, @param folder where it may write */
export async function benchConnections(ztap, folder) {
  const repository = join(folder, "connections");
  mkdirSync(repository);
  const indexes = Array.from({ length: COUNT }, (_unused, index) => index);
  const texts = [indexes.map(workloadOf), indexes.map((index) => policyOf(index, 1000 + index))].map((list) =>
    list.join("---\n"),
  );
  texts.forEach((text, at) => writeFileSync(join(repository, `${at}.yaml`), text));
  const [changed, ...others] = indexes.map((index) => policyOf(index, 1000 + index));
  const env = { ...process.env, ZTAP_STORE: `file:${join(folder, "connections-store")}`, ZTAP_STATE_DIR: folder };
  const plan = () => run(ztap, ["plan", repository, "--json"], { env });
  const parse = () => texts.forEach((text) => parseAllDocuments(text).forEach((document) => document.toJS()));
  await compare("`ztap plan`, 1,000 workloads and 1,000 policies, all new", 9, plan, "yaml alone, in process", parse);
  run(ztap, ["apply", repository, "--auto-approve", "--json"], { env });
  writeFileSync(join(repository, "1.yaml"), [changed.replace("port: 1000", "port: 9999"), ...others].join("---\n"));
  await compare("`ztap plan`, the same, one policy changed", 9, plan, "yaml alone, in process", parse);
}
