/** From a push to the packet, and back to the commit: a real agent, kernel, repository and Git host. */
import { createHmac } from "node:crypto";
import { chmodSync } from "node:fs";
import t from "tap";
import { Ztap } from "../cli/ztap.js";
import { Repository } from "../fakes/repository.js";
import { Sandbox, whyNot } from "../kernel/sandbox.js";
import { HANG_MS, waitUntil } from "../wait.js";
import { ReceiverServer, TOKEN } from "./receiver-server.js";

const reason = whyNot();
await t.test(
  "a pushed commit decides packets, and its status says so",
  { skip: reason ?? false, timeout: HANG_MS },
  async (t) => {
    const [OWN, PEER] = ["10.234.0.1", "10.234.0.2"];
    const SECRET = "the-secret-of-the-push-hook";
    const sandbox = new Sandbox(t);
    const [inside, outside] = sandbox.network([`${OWN}/24`], [`${PEER}/24`]);
    const cgroup = sandbox.cgroup("web");
    const node = sandbox.node("told").toLowerCase();
    const web = await sandbox.actor({ cgroup, namespace: inside });
    const peer = await sandbox.actor({ namespace: outside });
    const { port } = await peer.call("tcpListen", { host: PEER, port: 0 });
    const connect = async (): Promise<unknown> =>
      (await web.call("tcpConnect", { host: PEER, port })).code ?? "connected";

    const ztap = new Ztap(t);
    const repo = new Repository(ztap.path("repo"));
    const push = (egress: string): string => {
      repo.write(
        "all.yaml",
        `apiVersion: ztap/v1\nkind: Workload\nmetadata: { name: web }\nspec: { node: ${node}, cgroup: "${cgroup}", addresses: ["${OWN}"] }\n---\n` +
          `apiVersion: ztap/v1\nkind: NetworkPolicy\nmetadata: { name: web }\nspec:\n  podSelector: {}\n  egress: ${egress}\n`,
      );
      return repo.commit();
    };
    const host = await ReceiverServer.start(t, "github");
    const [token, secret] = [ztap.write("token", `${TOKEN}\n`), ztap.write("secret", `${SECRET}\n`)];
    for (const path of [token, secret]) chmodSync(path, 0o600);
    const config = ztap.write(
      "config.yaml",
      `pollHook: { listen: "127.0.0.1:0", secretFile: ${secret} }\n` +
        `notify: [{ type: github, url: "${host.url}", repository: acme/policies, tokenFile: ${token} }]\n`,
    );
    const first = push("[]");
    const agent = ztap.start(
      ["agent", "--node", node, "--listen", "off", "--source", repo.path, "--source-interval", "1h"],
      { env: { ZTAP_CONFIG: config } },
    );
    await agent.says("agent started");
    const [, hook = ""] = /"pollHook":"([^"]+)"/.exec(agent.stderr) ?? [];
    const enforced = (commit: string) =>
      waitUntil(() => host.received.find(({ path, json }) => path.endsWith(commit) && json["state"] === "success"), {
        what: `the status of ${commit}`,
      });
    t.match((await enforced(first)).json, { context: "ztap", description: "enforced on 1 of 1 node" });
    t.equal(await connect(), "EPERM");

    const second = push(`[{ to: [{ ipBlock: { cidr: ${PEER}/32 } }], ports: [{ port: ${port ?? 0} }] }]`);
    const body = JSON.stringify({ after: second });
    const signature = createHmac("sha256", SECRET).update(body).digest("hex");
    const asked = await fetch(`http://${hook}/poll`, {
      method: "POST",
      body,
      headers: { "x-gitea-signature": signature },
    });
    t.equal(asked.status, 202);
    await waitUntil(connect, { is: (seen) => seen === "connected", what: "the connection that the commit allows" });
    await enforced(second);
    t.same(
      host.received.flatMap(({ wrong }) => wrong),
      [],
    );
    await agent.stop();
  },
);
