/** Listening ports: those of real sockets, told apart by the cgroups of their makers, in a network namespace of their own. */
import t from "tap";
import { ListeningPorts } from "../../src/adapters/discovery/listening-ports.js";
import { loadNative } from "../../src/adapters/ebpf/kernel/native.js";
import type { ReportedInstance } from "../../src/model/endpoints.js";
import { HANG_MS } from "../wait.js";
import { Sandbox, whyNot } from "./sandbox.js";

const reason = whyNot();
await t.test("listening ports", { skip: reason ?? false, timeout: HANG_MS }, async (t) => {
  const sandbox = new Sandbox(t);
  const [inside] = sandbox.network(["10.219.0.1/24", "fd00:219::1/64"], ["10.219.0.2/24"]);
  const [web, db, idle] = [sandbox.cgroup("web"), sandbox.cgroup("db"), sandbox.cgroup("idle")];
  const nested = sandbox.cgroup("db/inner");
  const [webActor, dbActor, innerActor] = await Promise.all(
    [web, db, nested].map((cgroup) => sandbox.actor({ cgroup, namespace: inside })),
  );
  const native = loadNative();
  const ports = new ListeningPorts(native, sandbox.cgroupRoot);
  const instance = (cgroup: string): ReportedInstance => ({
    ...{
      workload: `shop/${cgroup.split("/").at(-1) ?? ""}`,
      instance: "",
      cgroup,
      addresses: ["10.219.0.1"],
      ports: [],
    },
  });
  const find = async (needs = true): Promise<readonly string[]> => {
    const { instances, problems } = await ports.find([instance(web), instance(db), instance(idle)], () => needs);
    t.same(problems, []);
    return instances.map((one) => one.ports.map(({ protocol, port }) => `${protocol} ${port}`).join());
  };

  t.same(await find(), ["", "", ""]);
  await webActor?.call("tcpListen", { host: "0.0.0.0", port: 8080 });
  await webActor?.call("tcpListen", { host: "::", port: 8443 });
  await webActor?.call("tcpListen", { host: "127.0.0.1", port: 9000 });
  await webActor?.call("tcpListen", { host: "::1", port: 9001 });
  await dbActor?.call("udpBind", { host: "10.219.0.1", port: 53 });
  await dbActor?.call("udpBind", { host: "10.219.0.1", port: 0 });
  await innerActor?.call("tcpListen", { host: "fd00:219::1", port: 5432 });
  t.same(
    await find(),
    ["TCP 8080,TCP 8443", "UDP 53,TCP 5432", ""],
    "without loopback addresses, without clients of UDP, and with the cgroups below",
  );
  t.same(await find(false), ["", "", ""], "where Git declares them, nobody looks");
  await webActor?.end();
  t.same(await find(), ["", "UDP 53,TCP 5432", ""], "they end with their sockets");
  t.equal(await native.listening("/proc/0/ns/net"), null, "a namespace that is gone");
  await t.rejects(native.listening("/etc/hostname"), { code: "EINVAL" }, "and what is none");
});
