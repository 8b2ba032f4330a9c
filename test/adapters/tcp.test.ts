import t from "tap";
import { endianness } from "node:os";
import { parseSocket } from "../../src/adapters/system/proc-net.js";

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
