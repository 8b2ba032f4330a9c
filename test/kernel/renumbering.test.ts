/**
 * Renumbering: a host gets another address. Its agent notices, and what other hosts let in follows, without an edit and without a
 * commit: three hosts with real agents on one store, and packets.
 */
import { execFileSync } from "node:child_process";
import t from "tap";
import { Ztap, type Running } from "../cli/ztap.js";
import { HANG_MS, waitUntil } from "../wait.js";
import { Sandbox, whyNot, type Actor } from "./sandbox.js";

const reason = whyNot();
await t.test("renumbering", { skip: reason ?? false, timeout: HANG_MS }, async (t) => {
  const [OLD, SERVER, OTHER, STRANGER, NEW] = [1, 2, 3, 4, 5].map((last) => `10.234.0.${last}`) as readonly string[];
  const sandbox = new Sandbox(t);
  const ztap = new Ztap(t);
  const namespaces = sandbox.bridge([OLD, SERVER, OTHER, STRANGER].map((address) => `${address}/24`));
  const [client = "", server = "", other = "", elsewhere = ""] = namespaces;
  for (const namespace of namespaces)
    execFileSync("ip", ["netns", "exec", namespace, "sysctl", "-qw", "net.ipv4.tcp_syn_retries=1"]);
  const change = (namespace: string, ...words: readonly string[]): unknown =>
    execFileSync("ip", ["-n", namespace, "address", ...words, "dev", "eth0"]);

  const hosts = [
    { name: "client", namespace: client },
    { name: "server", namespace: server },
    { name: "other", namespace: other },
  ].map((host) => ({ ...host, node: sandbox.node(host.name), cgroup: sandbox.cgroup(host.name) }));
  const policy = (name: string, rules: string): string =>
    `---\napiVersion: ztap/v1\nkind: NetworkPolicy\nmetadata: { name: ${name} }\nspec:\n  podSelector: { matchLabels: { app: ${name} } }\n${rules}`;
  const callers = ["client", "other"].map((name) => `{ podSelector: { matchLabels: { app: ${name} } } }`).join(", ");
  const toServer = "  egress: [{ to: [{ podSelector: { matchLabels: { app: server } } }] }]\n";
  ztap.write(
    "state/all.yaml",
    [
      `apiVersion: ztap/v1\nkind: NodeGroup\nmetadata: { name: all }\nspec: { nodeNames: ["*"], addressRanges: [10.234.0.0/24] }\n`,
      ...hosts.map(
        ({ name, node, cgroup }) =>
          `---\napiVersion: ztap/v1\nkind: Workload\nmetadata: { name: ${name}, labels: { app: ${name} } }\nspec: { node: ${node}, process: { cgroup: ${cgroup} } }\n`,
      ),
      policy("server", `  ingress: [{ from: [${callers}] }]\n`),
      policy("client", toServer),
      policy("other", toServer),
    ].join(""),
  );
  t.match(await ztap.run(["apply", "state", "--auto-approve"]), { code: 0 });
  // What happens is noticed at once, or not within this test.
  const env = (node: string) => ({ ZTAP_NODE: node, ZTAP_LISTEN: "off", ZTAP_CHECK_INTERVAL: "1h" });
  const onHost = (name: string, ...args: readonly string[]): Running => {
    const { namespace, node } = hosts.find((host) => host.name === name) ?? { namespace: "", node: "" };
    return ztap.spawn("nsenter", [`--net=/run/netns/${namespace}`, "--", `${ztap.root}/bin/ztap`, ...args], {
      env: env(node),
    });
  };
  const agents = hosts.map(({ name }) => onHost(name, "agent"));
  for (const agent of agents) await agent.says("enforcing revision 1");

  const [calling, listening, talking] = await Promise.all(
    hosts.map(({ namespace, cgroup }) => sandbox.actor({ namespace, cgroup })),
  );
  if (calling === undefined || listening === undefined || talking === undefined) throw new TypeError("no actors");
  const bystander = await sandbox.actor({ namespace: server });
  const stranger = await sandbox.actor({ namespace: elsewhere });
  const { port } = await listening.call("tcpListen", { host: SERVER, port: 0 });
  const { port: open } = await bystander.call("tcpListen", { host: SERVER, port: 0 });
  const connect = async (from: Actor, to = port): Promise<string | number> => {
    const { id, code } = await from.call("tcpConnect", { host: SERVER, port: to });
    return id ?? code ?? "";
  };
  const connects = (from: Actor, what: string): Promise<string | number> =>
    waitUntil(() => connect(from), { is: (outcome) => typeof outcome === "number", what });

  await connects(calling, "a connection of the client");
  const id = await connects(talking, "a connection of another host");
  const over = new AbortController();
  const conversation = (async (): Promise<number> => {
    for (let at = 0; ; at += 1) {
      if (over.signal.aborted) return at;
      await talking.call("tcpSend", { id, text: `<${at}>` });
      const { text = "" } = await talking.call("tcpWait", { id, text: `<${at}>` });
      if (!text.endsWith(`<${at}>`)) throw new Error(`the connection of others ended after ${at} answers`);
    }
  })();

  change(client, "delete", `${OLD}/24`);
  change(client, "add", `${NEW}/24`);
  await connects(calling, "a connection from the new address");

  over.abort();
  t.ok((await conversation) > 0, "a connection between two others went on meanwhile");
  await talking.call("tcpSend", { id, text: "last" });
  t.match(await talking.call("tcpWait", { id, text: "last" }), { text: /last$/ });

  change(elsewhere, "delete", `${STRANGER}/24`);
  change(elsewhere, "add", `${OLD}/24`);
  const flows = onHost("server", "flows", "--follow", "--json", "--verdict", "denied");
  t.type(await connect(stranger, open), "number", "who has the old address now reaches what no workload is");
  const refused = connect(stranger);
  await flows.says(OLD ?? "");
  t.equal(await refused, "ETIMEDOUT", "and not the workload");
  await flows.stop();

  const { nodes }: { nodes: readonly object[] } = JSON.parse((await ztap.run(["cluster", "status", "--json"])).stdout);
  t.match(
    nodes,
    hosts.map(() => ({ enforcedRevision: 1, lag: 0 })),
    "nothing was committed",
  );
  for (const agent of agents) t.match(await agent.stop(), { code: 0 });
});
