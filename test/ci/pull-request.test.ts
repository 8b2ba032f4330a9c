/**
 * A pull request from beginning to end: a bare repository as the remote, an agent that leads and polls it, and a
 * clone in which somebody branches, changes, checks and merges. What is merged is enforced by the kernel, where there is one to do it.
 */
import { execFileSync } from "node:child_process";
import t from "tap";
import type { Test } from "tap";
import { Sandbox, whyNot } from "../kernel/sandbox.js";
import { Repository } from "../fakes/repository.js";
import { Ztap } from "../cli/ztap.js";
import { waitUntil } from "../wait.js";

const ADDRESSES = { web: "10.207.0.1", db: "10.207.0.2" } as const;

const workloads = (node: string, cgroup: string): string => `apiVersion: ztap/v1
kind: Workload
metadata: { name: web, labels: { app: web } }
spec: { node: ${node}, cgroup: ${cgroup}, addresses: ["${ADDRESSES.web}"] }
---
apiVersion: ztap/v1
kind: Workload
metadata: { name: db, labels: { app: db } }
spec: { addresses: ["${ADDRESSES.db}"] }
`;
/** web may reach db on these ports, and nothing else. */
const policy = (...ports: readonly number[]): string => `apiVersion: ztap/v1
kind: NetworkPolicy
metadata: { name: web }
spec:
  podSelector: { matchLabels: { app: web } }
  egress:
    - to: { podSelector: { matchLabels: { app: db } } }
      ports: [${ports.map((port) => `{ port: ${port} }`).join(", ")}]
`;
const expectation = (port: number): string => `apiVersion: ztap/v1
kind: ConnectivityTest
metadata: { name: never }
spec:
  deny:
    - from: { podSelector: { matchLabels: { app: web } } }
      to: { podSelector: { matchLabels: { app: db } } }
      ports: [{ port: ${port} }]
`;

interface Scene {
  readonly ztap: Ztap;
  readonly origin: Repository;
  /** The work tree of whoever proposes something. */
  readonly clone: Repository;
  readonly node: string;
}

/** The remote with a first commit on main, and a clone of it. */
function prepare(ztap: Ztap, node: string, cgroup: string, files: Readonly<Record<string, string>>): Scene {
  const origin = new Repository(ztap.path("origin.git"), { bare: true });
  const first = new Repository(ztap.path("first"));
  first.write("workloads.yaml", workloads(node, cgroup));
  for (const [path, text] of Object.entries(files)) first.write(path, text);
  first.commit();
  first.git("push", "--quiet", origin.path, "main");
  execFileSync("git", ["clone", "--quiet", origin.path, ztap.path("clone")], { stdio: "pipe" });
  return { ztap, origin, clone: new Repository(ztap.path("clone")), node };
}

/** What a pull request's checks run, in the clone. */
async function check({ ztap, clone }: Scene) {
  const cwd = clone.path;
  const validated = await ztap.run(["validate", "--format", "github"], { cwd });
  const planned = await ztap.run(["plan", "--against", "origin/main", "--format", "markdown", "--detailed-exitcode"], {
    cwd,
  });
  return { validated, planned };
}

/** @returns the commit that main is at then */
function merge({ clone }: Scene, branch: string): string {
  clone.git("switch", "--quiet", "main");
  clone.git("merge", "--quiet", "--no-ff", "-m", `Merge ${branch}`, branch);
  clone.git("push", "--quiet", "origin", "main");
  return clone.git("rev-parse", "HEAD");
}

const status = (t: Test, ztap: Ztap) => ztap.status(t);

/** Branch, change, check, merge: twice, and the second time over the objections of the checks. */
async function propose(
  t: Test,
  scene: Scene,
  ports: { readonly old: number; readonly wanted: number; readonly never: number },
): Promise<void> {
  const { ztap, clone } = scene;
  const args = [
    "--source",
    scene.origin.path,
    "--source-interval",
    "50ms",
    "--check-interval",
    "200ms",
    "--listen",
    "off",
  ];
  const backend = whyNot() === null ? [] : ["--backend", "none"];
  const agent = ztap.start(["agent", "--node", scene.node, ...args, ...backend]);
  await agent.says("agent started");
  await waitUntil(() => status(t, ztap), { is: (seen) => seen.source?.state === "Synced", what: "the first commit" });
  t.match(await status(t, ztap), { revision: 1, leader: { id: scene.node } });

  clone.git("switch", "--quiet", "-c", "open-a-port");
  clone.write("policies/web.yaml", policy(ports.old, ports.wanted));
  clone.commit("Open a port");
  const good = await check(scene);
  t.match(good.validated, { code: 0, stdout: /^valid: 2 Workload, 1 NetworkPolicy, 1 ConnectivityTest\n$/ });
  t.match(good.planned, { code: 2, stderr: "" });
  t.match(
    good.planned.stdout,
    `- **\`default/web → default/db TCP ${ports.wanted}\`** by \`default/web egress[0] (policies/web.yaml:7)\``,
  );
  const merged = merge(scene, "open-a-port");
  await waitUntil(() => status(t, ztap), { is: (seen) => seen.source.acceptedCommit === merged, what: "the merge" });
  t.match(await status(t, ztap), { revision: 2, source: { state: "Synced" } });
  if (backend.length === 0) await agent.says("enforcing revision 2");

  clone.git("switch", "--quiet", "-c", "open-what-must-not-be");
  clone.write("policies/web.yaml", policy(ports.old, ports.wanted, ports.never));
  clone.commit("Open what must not be");
  const bad = await check(scene);
  const counterexample = new RegExp(`default/web → default/db TCP ${ports.never} is allowed and must not be`);
  t.match(bad.validated, { code: 1, stdout: /^::error file=tests\.yaml,line=6,col=7,title=ZT4007 / });
  t.match(bad.planned, { code: 1, stdout: counterexample, stderr: counterexample });
  const forced = merge(scene, "open-what-must-not-be");
  await waitUntil(() => status(t, ztap), { is: (seen) => seen.source.state === "Rejected", what: "the rejection" });
  const rejected = await status(t, ztap);
  t.match(rejected, { revision: 2, source: { observedCommit: forced, acceptedCommit: merged } });
  t.match(rejected.source.diagnostics, [{ code: "ZT4007", file: "tests.yaml", message: counterexample }]);
  t.equal(agent.isOver, false);
}

const reason = whyNot();
// Where the kernel can enforce, the test below does all of this as well.
if (reason !== null) {
  t.test(
    "a merged change is committed; a change that breaks a test fails in CI and is refused by the agent",
    async (t) => {
      const ztap = new Ztap(t);
      const files = { "policies/web.yaml": policy(5432), "tests.yaml": expectation(22) };
      const scene = prepare(ztap, "n1", "ztap-pull-request/web", files);
      await propose(t, scene, { old: 5432, wanted: 5433, never: 22 });
    },
  );
}

t.test(
  "a merged change is enforced; a change that breaks a test fails in CI and is refused by the agent",
  { skip: reason ?? false },
  async (t) => {
    const sandbox = new Sandbox(t);
    const ztap = new Ztap(t);
    const [inside, outside] = sandbox.network([`${ADDRESSES.web}/24`], [`${ADDRESSES.db}/24`]);
    const [node, cgroup] = [sandbox.node("pull"), sandbox.cgroup("web")];
    const db = await sandbox.actor({ namespace: outside });
    const listening = await Promise.all([1, 2, 3].map(() => db.call("tcpListen", { host: "0.0.0.0", port: 0 })));
    const [old = 0, wanted = 0, never = 0] = listening.map(({ port }) => port ?? 0);
    const web = await sandbox.actor({ cgroup, namespace: inside });
    const probe = async (): Promise<readonly string[]> => {
      const answers = [old, wanted, never].map((port) => web.call("tcpConnect", { host: ADDRESSES.db, port }));
      return (await Promise.all(answers)).map(({ code = "open" }) => code);
    };
    t.strictSame(await probe(), ["open", "open", "open"]);
    const files = { "policies/web.yaml": policy(old), "tests.yaml": expectation(never) };
    await propose(t, prepare(ztap, node, cgroup, files), { old, wanted, never });
    t.strictSame(await probe(), ["open", "open", "EPERM"], "what was merged and was not rejected");
  },
);
