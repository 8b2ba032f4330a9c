/**
 * Births of containers, of a real podman: a container is closed until the agent has found out whose it is, and nothing forbidden
 * leaves it, whether the agent runs, is stopped, or starts again. One that is no workload's is opened.
 */
import t from "tap";
import { Ztap, type Running } from "../cli/ztap.js";
import { volume } from "../volume.js";
import { HANG_MS, waitUntil } from "../wait.js";
import { birthsProgram, serveBirths } from "./births.js";
import { Podman, whyNoPodman } from "./podman.js";
import { Sandbox, whyNot } from "./sandbox.js";

const IMAGE = "registry.example.com/shop/web:1";
/** Of the bridge that podman makes. */
const GATEWAY = "10.88.0.1";
const reason = whyNot() ?? whyNoPodman();

await t.test("births of containers", { skip: reason ?? false, timeout: HANG_MS }, async (t) => {
  const sandbox = new Sandbox(t);
  const node = sandbox.node("containers");
  const podman = new Podman();
  t.teardown(() => podman.clear());
  await podman.start();
  const server = await serveBirths(t, podman.networkNamespace);
  const tag = `ztborn${process.pid}`;
  const ztap = new Ztap(t);
  ztap.write(
    "state/all.yaml",
    [
      `apiVersion: ztap/v1\nkind: NodeGroup\nmetadata: { name: all, labels: { role: web } }\nspec: { nodeNames: ["*"], addressRanges: [10.0.0.0/8] }\n`,
      `apiVersion: ztap/v1\nkind: Workload\nmetadata: { name: web, labels: { app: web } }\nspec: { node: ${node}, process: { container: { name: "${tag}-web-*" } } }\n`,
      `apiVersion: ztap/v1\nkind: NetworkPolicy\nmetadata: { name: web }\nspec: { podSelector: { matchLabels: { app: web } }, ingress: [], egress: [{ to: [{ ipBlock: { cidr: ${GATEWAY}/32 } }], ports: [{ port: ${server.udp}, protocol: UDP }] }] }\n`,
    ].join("---\n"),
  );
  const env = {
    ZTAP_NODE: node,
    ZTAP_LISTEN: "off",
    ZTAP_CHECK_INTERVAL: "500ms",
    ZTAP_CONTAINERS_DOCKER: "off",
    ZTAP_CONTAINERS_CRI: "off",
    ZTAP_CONTAINERS_PODMAN: podman.socket,
  };
  t.match(await ztap.run(["apply", "state", "--auto-approve"], { env }), { code: 0 });
  const start = async (): Promise<Running> => {
    const agent = ztap.start(["agent"], { env });
    await agent.says("agent started");
    return agent;
  };
  let agent = await start();
  await agent.says("enforcing revision 1");

  let count = 0;
  const run = async (kind: "web" | "other"): Promise<string> => {
    const name = `${tag}-${kind}-${count++}`;
    const [tcp, udp, forbidden] = [server.tcp, server.udp, server.forbidden].map(String);
    await podman.run({
      ...{ name, image: IMAGE },
      program: [birthsProgram(), "once", GATEWAY, tcp ?? "", udp ?? "", forbidden ?? ""],
    });
    return name;
  };
  /** Waits for what the program in the container found. */
  const outcome = async (name: string): Promise<{ leaked: number; denied: number; waitedMs: number }> => {
    let text = "";
    await waitUntil(async () => (text = await podman.logs(name)) !== "", { what: `the outcome of ${name}` });
    const [leaked = -1, denied = -1, waitedMs = -1] = text.trim().split(" ").map(Number);
    await podman.remove(name);
    return { leaked, denied, waitedMs };
  };
  const waited: number[] = [];

  await t.test("while the agent runs", async (t) => {
    for (let at = 0; at < volume(3, 100, 1); at++) {
      const { leaked, waitedMs } = await outcome(await run("web"));
      t.equal(leaked, 0, "nothing forbidden left");
      t.ok(waitedMs >= 0, `it was let out after ${waitedMs} ms`);
      waited.push(waitedMs);
    }
    waited.sort((a, b) => a - b);
    t.comment(`waited: median ${waited[waited.length >> 1]} ms, most ${waited.at(-1)} ms`);
    t.equal(await server.arrived(), 0, "nothing forbidden arrived");
  });
  await t.test("a container that is no workload's is opened", async (t) => {
    const { leaked, waitedMs } = await outcome(await run("other"));
    t.ok(leaked > 0, "no policy concerns it");
    t.ok(waitedMs >= 0, `it was let out after ${waitedMs} ms`);
  });
  const before = await server.arrived();
  for (const how of ["SIGTERM", "SIGKILL"] as const)
    await t.test(`while the agent is gone after ${how}, until the next one has identified it`, async (t) => {
      await agent.stop(how);
      const [web, other] = [await run("web"), await run("other")];
      agent = await start();
      const found = await outcome(web);
      t.equal(found.leaked, 0, "nothing forbidden left");
      t.ok(found.denied > 0, "it was closed");
      t.ok(found.waitedMs >= 0, "it is enforced now");
      t.ok((await outcome(other)).waitedMs >= 0, "the other one is open");
    });
  await t.test("while the runtime does not answer, it stays closed, and the log says why", async (t) => {
    await podman.freeze();
    const name = await run("web");
    await agent.says(/a new container is closed until it is known whose it is: podman at \S+ cannot be asked/);
    podman.thaw();
    const { leaked, denied } = await outcome(name);
    t.equal(leaked, 0, "nothing forbidden left");
    t.ok(denied > 0, "it was closed");
  });
  t.ok((await server.arrived()) >= before, "of what is no workload's");
  await agent.stop("SIGTERM");
});
