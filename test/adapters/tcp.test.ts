import t from "tap";
import { endianness } from "node:os";
import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { systemClock } from "../../src/adapters/system/clock.js";
import { Search } from "../../src/adapters/system/processes.js";
import { waitUntil } from "../wait.js";
import { parseSocket, readTcp } from "../../src/adapters/system/proc-net.js";

const options = endianness() === "LE" ? {} : { skip: "the lines were taken on a little-endian machine" };

t.test("lines of /proc/net/tcp and tcp6", options, async (t) => {
  const tail = "00000000:00000000 00:00000000 00000000 65534        0 4711 1 0000000000000000 20 4 30 10 -1";
  const read = (words: string) => parseSocket(`   1: ${words} ${tail}`);
  const rest = { user: 65534, inode: "4711" };
  t.same(read("0100CB0A:0016 0902000A:B6C1 01"), [
    { state: "established", address: "10.203.0.1", port: 22, peer: "10.0.2.9", ...rest },
  ]);
  t.same(read("00000000:0016 00000000:0000 0A"), [
    { state: "listen", address: "0.0.0.0", port: 22, peer: "0.0.0.0", ...rest },
  ]);
  t.same(read("0000000000000000FFFF00000100CB0A:0016 0000000000000000FFFF00000902000A:B6C1 01"), [
    { state: "established", address: "10.203.0.1", port: 22, peer: "10.0.2.9", ...rest },
  ]);
  t.same(read("B80D0120000000000000000001000000:0016 B80D0120000000000000000007000000:B6C1 01"), [
    { state: "established", address: "2001:db8::1", port: 22, peer: "2001:db8::7", ...rest },
  ]);
  t.same(read("0100CB0A:0016 0902000A:B6C1 06"), [], "a connection that waits out its end is none");
  t.same(parseSocket(""), []);
});

const CONNECTIONS = 600;

t.test("the table of sockets is read no longer than the search may last", { skip: skipOf() }, async (t) => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const clients: Socket[] = [];
  server.on("connection", (socket) => clients.push(socket));
  t.teardown(() => {
    for (const client of clients) client.destroy();
    server.close();
  });
  for (let count = 0; count < CONNECTIONS; count += 1) {
    const client = connect(port, "127.0.0.1");
    clients.push(client);
    await once(client, "connect");
  }
  let looks = 0;
  /** Each look at it takes that long. */
  const clockOf = (ms: number) => ({ ...systemClock, monotonic: () => (looks += 1) * ms });
  const read = async (clock: typeof systemClock) => {
    const search = new Search(clock, 1_000);
    const all = await readTcp("tcp", search, (socket) => socket.port === port);
    return { search, ofState: (state: string) => all.filter((socket) => socket.state === state).length };
  };
  // The kernel may leave one out while other processes open and close theirs.
  const isWhole = async (): Promise<boolean> => {
    const { search, ofState } = await read(clockOf(0));
    t.equal(search.isComplete, true);
    return ofState("listen") === 1 && ofState("established") === CONNECTIONS;
  };
  await waitUntil(isWhole, { what: "a reading of the whole table" });
  looks = 0;
  const short = await read(clockOf(600));
  t.equal(short.search.isComplete, false);
  t.equal(short.ofState("listen"), 1, "what listens comes first");
  t.ok(short.ofState("established") < CONNECTIONS, "the rest was not read");
});

function skipOf(): string | false {
  return process.platform === "linux" ? false : "/proc/net/tcp is Linux'";
}
