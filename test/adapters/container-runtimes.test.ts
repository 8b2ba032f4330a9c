/** Container runtimes that lie, are too large, or are not root's: real sockets, with a runtime of the test behind them. */
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { hostAddresses } from "../../src/adapters/discovery/node-addresses.js";
import { DockerRuntime } from "../../src/adapters/discovery/docker.js";
import { trustedSocket } from "../../src/adapters/discovery/runtime-socket.js";
import { systemClock } from "../../src/adapters/system/clock.js";
import { waitUntil } from "../wait.js";

const ID = "a".repeat(64);
const MOUNT = { point: "/sys/fs/cgroup", root: "/" };
type Answers = Readonly<Record<string, string | Buffer>>;

async function serve(t: Test, answers: Answers): Promise<{ readonly socket: string; readonly server: Server }> {
  const folder = mkdtempSync(join(tmpdir(), "ztap-runtime-"));
  chmodSync(folder, 0o700);
  const socket = join(folder, "docker.sock");
  const server = createServer((request, response) => {
    const answer = answers[request.url ?? ""];
    response.statusCode = answer === undefined ? 404 : 200;
    response.end(answer ?? "{}");
  });
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
    rmSync(folder, { recursive: true, force: true });
  });
  return { socket, server };
}

const runtimeAt = (socket: string): DockerRuntime =>
  new DockerRuntime({ product: "Docker", socket, mount: MOUNT, clock: systemClock, lookMs: 20_000 });
const listed = (changes: object = {}): object => ({
  Id: ID,
  Names: ["/web"],
  Image: "web:1",
  Labels: null,
  ...changes,
});
const inspected = (pid: number): string =>
  JSON.stringify({
    State: { Pid: pid },
    Config: { Image: "web:1" },
    HostConfig: { NetworkMode: "host" },
    NetworkSettings: { Networks: {} },
  });

t.test("a machine without the socket has no such runtime", async (t) => {
  t.equal(await runtimeAt("/nonexistent/docker.sock").list(() => true), null);
});

t.test("a process whose cgroup does not have the container's ID is not believed to be the container", async (t) => {
  const { socket } = await serve(t, {
    "/containers/json": JSON.stringify([listed()]),
    [`/containers/${ID}/json`]: inspected(process.pid),
  });
  const listing = await runtimeAt(socket).list(() => true);
  t.same(listing?.containers, []);
  t.match(listing?.problems, [/container web has no cgroup of its own/]);
});

t.test("a container that is gone between list and look is no problem", async (t) => {
  const { socket } = await serve(t, { "/containers/json": JSON.stringify([listed()]) });
  t.same(await runtimeAt(socket).list(() => true), { containers: [], newborns: new Map(), problems: [] });
});

t.test("answers that cannot be read, or are too large, are refused", async (t) => {
  for (const [answer, message] of [
    ["[", /JSON/],
    [JSON.stringify([listed({ Names: "web" })]), /list of containers cannot be read/],
    [JSON.stringify([listed({ Labels: { app: 5 } })]), /list of containers cannot be read/],
    [Buffer.alloc(65 * 1_048_576, " "), /larger than/],
  ] as const) {
    const { socket } = await serve(t, { "/containers/json": answer });
    await t.rejects(
      runtimeAt(socket).list(() => true),
      { message },
    );
  }
  const { socket } = await serve(t, {
    "/containers/json": JSON.stringify([listed()]),
    [`/containers/${ID}/json`]: "{}",
  });
  await t.rejects(
    runtimeAt(socket).list(() => true),
    { message: /cannot be read/ },
  );
});

t.test("a socket that others could put there is not asked", { skip: process.geteuid?.() !== 0 }, async (t) => {
  const { socket } = await serve(t, { "/containers/json": "[]" });
  t.same(await runtimeAt(socket).list(() => true), { containers: [], newborns: new Map(), problems: [] });
  chmodSync(socket, 0o666);
  await t.rejects(
    runtimeAt(socket).list(() => true),
    { message: /every user may write to it/ },
  );
  chmodSync(socket, 0o660);
  t.equal(trustedSocket(socket), socket, "a group may connect, as with Docker");
  chownSync(socket, 65_534, 0);
  t.throws(() => trustedSocket(socket), /belongs to user 65534/);
  chownSync(socket, 0, 0);
  const theirs = join(socket, "../theirs");
  mkdirSync(theirs);
  symlinkSync(socket, join(theirs, "docker.sock"));
  t.equal(trustedSocket(join(theirs, "docker.sock")), socket);
  chownSync(theirs, 65_534, 0);
  t.throws(() => trustedSocket(join(theirs, "docker.sock")), /belongs to user 65534/);
});

t.test("a watch goes on when the runtime is started again", async (t) => {
  const first = await serve(t, { "/events": '{"Type":"container","Action":"start"}\n' });
  const controller = new AbortController();
  let calls = 0;
  const watching = runtimeAt(first.socket).watch(controller.signal, () => (calls += 1));
  await waitUntil(() => calls > 3, { what: "events of several streams that ended" });
  controller.abort();
  await watching;
});

t.test("addresses that identify no host do not count", async (t) => {
  const nobodys = [
    "127.0.0.1",
    "::1",
    "fe80::1",
    "169.254.1.1",
    "224.0.0.1",
    "::ffff:10.0.0.1",
    "0.0.0.0",
    "x",
    "",
    "fe80::1%eth0",
  ];
  t.same(hostAddresses([...nobodys, "10.0.0.2", "2001:DB8::1", "10.0.0.2"]), ["10.0.0.2", "2001:db8::1"]);
});
