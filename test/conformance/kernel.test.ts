/**
 * Kubernetes' own end-to-end cases of NetworkPolicy, for real: pods with addresses and servers, the
 * policies applied and followed, every pair probed, and each cell compared with what Kubernetes
 * expects. The cases are data (../shared/cases beside the repository, or ZTAP_CASES).
 */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import t from "tap";
import { removeNodes } from "../../src/adapters/ebpf/remove.js";
import { openEmbeddedStore } from "../../src/adapters/embedded/store.js";
import { systemClock, systemRandom } from "../../src/adapters/system/clock.js";
import { applyPlan } from "../../src/operations/change/apply.js";
import { planDesired } from "../../src/operations/change/plan.js";
import { Follower } from "../../src/reconcile/follower.js";
import { stateOf } from "../builders/state.js";
import { recordTelemetry } from "../fakes/ambient.js";
import { refusalsOf } from "../kernel/denied.js";
import { quiet, Sandbox, whyNot } from "../kernel/sandbox.js";
import { Pods } from "./pods.js";
import { readSuite, type Step } from "./suite.js";

const PORTS = [80, 81] as const;
const REPOSITORY = fileURLToPath(new URL("../../../", import.meta.url));
const data = readSuite();
const reason = whyNot() ?? ("missing" in data ? data.missing : null);
if (reason !== null || "missing" in data) t.plan(0, `SKIP Kubernetes' cases in the kernel: ${reason}`);
else {
  const folder = mkdtempSync(join(tmpdir(), `ztap-conformance-${process.pid}-`));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const sandbox = new Sandbox(t);
  const pods = await Pods.start(t, sandbox, data.podIPs, PORTS);

  /** JSON is YAML: the policies stand in it as Kubernetes' data has them. */
  const manifest = (node: string, names: readonly string[], step: Step): string => {
    const namespaces = [...new Set(names.map((name) => name.split("/")[0] ?? ""))].map((name) => ({
      apiVersion: "ztap/v1",
      kind: "Namespace",
      metadata: { name, labels: step.extraNamespaceLabels[name] ?? {} },
    }));
    const workloads = names.map((qualified) => {
      const [namespace = "", name = ""] = qualified.split("/");
      const ports = PORTS.flatMap((port) =>
        ["TCP", "UDP", "SCTP"].map((protocol) => ({
          name: `serve-${port}-${protocol.toLowerCase()}`,
          port,
          protocol,
        })),
      );
      return {
        apiVersion: "ztap/v1",
        kind: "Workload",
        metadata: { name, namespace, labels: { pod: name, ...step.extraPodLabels[qualified] } },
        spec: { node, cgroup: pods.cgroupOf(sandbox, qualified), addresses: [data.podIPs[qualified]], ports },
      };
    });
    return [...namespaces, ...workloads, ...step.policies].map((one) => JSON.stringify(one)).join("\n---\n");
  };

  /** What the ingress programs of a node refused so far. */
  /** The cells that are not as expected. */
  const wrongCells = async (step: Step, refusals: () => bigint): Promise<readonly string[]> => {
    const wrong: string[] = [];
    for (const { from, to, allowed } of step.expect) {
      if (from === to) continue;
      const outcome = await pods.probe(from, to, step, refusals);
      const isRefused = outcome.startsWith("refused at");
      if (allowed ? outcome !== "open" : !isRefused)
        wrong.push(`${from} to ${to} is ${outcome}, and should be ${allowed ? "open" : "refused"}`);
    }
    return wrong;
  };

  const node = sandbox.node("cases");
  await t.test("every case of Kubernetes' suite", async (t) => {
    const store = await openEmbeddedStore({ path: join(folder, "store"), access: "write" }, systemClock);
    t.teardown(() => store.close());
    const enforcer = sandbox.enforcer(node);
    await enforcer.open();
    const { telemetry } = recordTelemetry();
    const follower = new Follower(
      { store, enforcer, lastGood: null, managementAccess: null, clock: systemClock, logger: quiet, telemetry },
      node,
    );
    const refusals = refusalsOf(node);
    t.teardown(refusals.close);
    for (const { name, pods: names, steps } of data.cases) {
      for (const [index, step] of steps.entries()) {
        const planned = await planDesired(store, stateOf(manifest(node, names, step)));
        const deps = { store, clock: systemClock, random: systemRandom };
        await applyPlan(deps, planned, { author: "test", node, reason: name, override: false });
        await follower.reconcile();
        if (follower.problem !== null) t.fail(follower.problem);
        t.strictSame(
          await wrongCells(step, refusals.read),
          [],
          `${name}, step ${index + 1}: ${step.expect.length} pairs`,
        );
      }
    }
  });

  await t.test("one case through the command line and the agent's process", async (t) => {
    await sandbox.closeEnforcers();
    removeNodes({ node });
    const chosen = data.cases.find(({ name }) => name === "ingress named port") ?? data.cases[0];
    const [step] = chosen?.steps ?? [];
    if (chosen === undefined || step === undefined) return t.fail("there are no cases");
    const processNode = sandbox.node("process");
    const environment = {
      ...process.env,
      ZTAP_STORE: `file:${join(folder, "process-store")}`,
      ZTAP_STATE_DIR: join(folder, "state"),
      ZTAP_NODE: processNode,
      ZTAP_LISTEN: "off",
    };
    const ztap = (...args: readonly string[]) =>
      promisify(execFile)(join(REPOSITORY, "bin/ztap"), args, { env: environment, cwd: folder });
    writeFileSync(join(folder, "state.yaml"), manifest(processNode, chosen.pods, step));
    await ztap("apply", folder, "--auto-approve");
    await ztap("agent", "--once");
    const refusals = refusalsOf(processNode);
    t.teardown(refusals.close);
    t.strictSame(await wrongCells(step, refusals.read), [], `${chosen.name}: ${step.expect.length} pairs`);
  });
}
