/**
 * Itself: a workload may talk to itself over loopback, and two workloads that may talk to nobody cannot use that. Who receives a
 * packet is decided where it is received.
 */
import t from "tap";
import { HANG_MS, waitUntil } from "../wait.js";
import { icmp } from "./packets.js";
import { AF, RawActor, SOCK } from "./raw-actor.js";
import { rulesetOf } from "./rulesets.js";
import { Sandbox, whyNot } from "./sandbox.js";

/** Numbers of <asm/socket.h>. */
const SO = { level: 1, reuseAddress: 2, reusePort: 15, mark: 36 } as const;
const HOST = "127.0.0.1";

const reason = whyNot();
await t.test("itself", { skip: reason ?? false, timeout: HANG_MS }, async (t) => {
  const sandbox = new Sandbox(t);
  const [inside] = sandbox.network(["10.213.0.1/24"], ["10.213.0.2/24"]);
  sandbox.allowPing(inside);
  const [one, two] = [sandbox.cgroup("one"), sandbox.cgroup("two")];
  const start = (cgroup?: string): Promise<RawActor> =>
    RawActor.start(t, sandbox, { namespace: inside, ...(cgroup === undefined ? {} : { cgroup }) });
  const [first, second, outsider] = [await start(one), await start(two), await start()];
  const shut = { ingress: { allow: [] }, egress: { allow: [] } };
  const ruleset = rulesetOf(sandbox.node(), {
    "demo/one": { cgroup: one, ...shut },
    "demo/two": { cgroup: two, ...shut },
  });
  const enforcer = sandbox.enforcer(sandbox.node());
  await enforcer.open();
  await enforcer.apply(ruleset);

  const ok = async (actor: RawActor, command: string): Promise<void> => {
    t.equal(await actor.command(command), "ok", command);
  };
  /** A socket that shares its port, and sends each packet to any that shares it. */
  const shared = async (actor: RawActor, type: number, port: number): Promise<number> => {
    const fd = await actor.socket(AF.inet, type, 0);
    await ok(actor, `option ${fd} ${SO.level} ${SO.reusePort} 1`);
    await ok(actor, `bind ${fd} ${HOST} ${port}`);
    return fd;
  };
  const got = (actor: RawActor, fd: number): number => actor.received.filter((packet) => packet.fd === fd).length;

  for (const [name, other] of [
    ["a process of no workload", outsider],
    ["another workload", second],
  ] as const) {
    await t.test(`a port that is shared with ${name}: UDP`, async (t) => {
      const [mine, theirs] = [await shared(first, SOCK.datagram, 6000), await shared(other, SOCK.datagram, 6000)];
      await ok(first, `steer ${mine}`);
      // What the program finds depends on the sender's port: some find the own socket, and are let out.
      let sent = 0;
      for (let from = 0; from < 16; from++) {
        const sender = await first.socket(AF.inet, SOCK.datagram, 0);
        for (let at = 0; at < 20; at++)
          sent += (await first.send(sender, HOST, 6000, Buffer.from("self"))) === "ok" ? 1 : 0;
        await first.command(`close ${sender}`);
      }
      await waitUntil(() => got(first, mine) > 10, { what: "some that arrive" });
      t.ok(sent > 20, `${sent} left`);
      t.equal(got(other, theirs), 0, "none arrived there");
      await first.command(`close ${mine}`);
      await other.command(`close ${theirs}`);
    });
  }

  await t.test("another node on this machine has a workload of the same name", async (t) => {
    const node = sandbox.node("other");
    const other = sandbox.enforcer(node);
    await other.open();
    await other.apply(rulesetOf(node, { "demo/one": { cgroup: sandbox.cgroup("elsewhere"), ...shut } }));
    const fd = await first.socket(AF.inet, SOCK.datagram, 0);
    await ok(first, `bind ${fd} ${HOST} 6010`);
    t.equal(await first.send(fd, HOST, 6010, Buffer.from("namesake")), "ok");
    await first.gets(fd, Buffer.from("namesake").toString("hex"));
    await first.command(`close ${fd}`);
    await other.apply(rulesetOf(node, {}));
    await other.close();
  });

  await t.test("a port that is shared with a process of no workload: TCP", async (t) => {
    const [mine, theirs] = [await shared(first, SOCK.stream, 6001), await shared(outsider, SOCK.stream, 6001)];
    for (const [actor, fd] of [
      [first, mine],
      [outsider, theirs],
    ] as const)
      await ok(actor, `listen ${fd}`);
    await ok(first, `steer ${mine}`);
    // A call that goes to the other is lost.
    for (let call = 0; call < 6; call++) await first.command(`dial ${HOST} 6001`);
    await waitUntil(
      async () => {
        await first.command(`dial ${HOST} 6001`);
        return got(first, mine) > 0;
      },
      { what: "a connection to itself" },
    );
    t.equal(got(outsider, theirs), 0, "none was made to the other");
  });

  await t.test("two workloads ping with one identifier", async (t) => {
    const ping = async (actor: RawActor, identifier: number): Promise<number> => {
      const fd = await actor.socket(AF.inet, SOCK.datagram, 1);
      await ok(actor, `option ${fd} ${SO.level} ${SO.reuseAddress} 1`);
      await ok(actor, `bind ${fd} ${HOST} ${identifier}`);
      return fd;
    };
    const echo = (text: string): Buffer => Buffer.concat([icmp(8).subarray(0, 8), Buffer.from(text)]);
    const hex = (text: string): string => Buffer.from(text).toString("hex");
    const alone = await ping(first, 770);
    t.equal(await first.send(alone, HOST, 0, echo("alone")), "ok");
    await first.gets(alone, hex("alone"));
    t.pass("a workload pings itself");
    const [mine, theirs] = [await ping(first, 771), await ping(second, 771)];
    for (let at = 0; at < 20; at++) {
      await first.send(mine, HOST, 0, echo(`secret ${at}`));
      await second.send(theirs, HOST, 0, echo(`covert ${at}`));
    }
    // Whatever was sent before has been delivered when this one is.
    t.equal(await first.send(alone, HOST, 0, echo("last")), "ok");
    await first.gets(alone, hex("last"));
    t.notOk(second.hasGot(theirs, hex("secret")), "what the first sent did not reach the second");
    t.notOk(first.hasGot(mine, hex("covert")), "nor the other way");
  });

  await t.test("a mark that an outsider sets proves nothing", async (t) => {
    const fd = await first.socket(AF.inet, SOCK.datagram, 0);
    await ok(first, `bind ${fd} ${HOST} 6002`);
    const subject = [...enforcer.lower(ruleset).values()].find(({ key }) => key === "subject/demo/one");
    const id = Number.parseInt(/id=([0-9a-f]+)/u.exec(subject?.value ?? "")?.[1] ?? "", 16);
    for (const kind of [1, 3]) {
      const forger = await outsider.socket(AF.inet, SOCK.datagram, 0);
      await ok(outsider, `option ${forger} ${SO.level} ${SO.mark} ${(id + kind) | 0}`);
      t.equal(await outsider.send(forger, HOST, 6002, Buffer.from("forged")), "ok");
    }
    const own = await first.socket(AF.inet, SOCK.datagram, 0);
    t.equal(await first.send(own, HOST, 6002, Buffer.from("own")), "ok");
    await first.gets(fd, Buffer.from("own").toString("hex"));
    t.notOk(first.hasGot(fd, Buffer.from("forged").toString("hex")), "only its own arrived");
  });
});
