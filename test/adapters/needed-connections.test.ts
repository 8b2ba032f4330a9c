/** What a machine needs, found in its files and sockets; and on this machine. */
import { spawn } from "node:child_process";
import { chmodSync, copyFileSync, mkdirSync, readlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { createServer } from "node:net";
import t, { type Test } from "tap";
import { systemClock } from "../../src/adapters/system/clock.js";
import { ProcManagementAccess } from "../../src/adapters/system/management-access.js";
import { findNeeds, type MachineFacts } from "../../src/adapters/system/needed-connections.js";
import { waitUntil } from "../wait.js";
import type { NeededConnection } from "../../src/model/management-access.js";

const NAMES: Readonly<Record<string, readonly string[]>> = {
  "etcd.example.com": ["192.0.2.1", "192.0.2.2"],
  "time.example.com": ["192.0.2.123"],
};

/** @param files by path */
function needsOf(
  t: Test,
  files: Readonly<Record<string, string>>,
  given: Partial<MachineFacts> = {},
): Promise<readonly NeededConnection[]> {
  const root = t.testdir();
  for (const [path, text] of Object.entries({ "etc/resolv.conf": "nameserver 192.0.2.53\n", ...files })) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  return findNeeds({
    root,
    endpoints: [],
    programs: new Set(),
    isComplete: true,
    udp: [],
    ssh: [],
    servers: [],
    resolve: async (host) => NAMES[host] ?? (/^[\d.]+$/.test(host) ? [host] : []),
    isOwn: (address) => address.startsWith("127.") || address === "192.0.2.200",
    ...given,
  });
}

/** Purpose, direction, port and peers of each, but for name resolution. */
function linesOf(
  needs: readonly NeededConnection[],
  isWanted = (purpose: string) => purpose !== "name resolution",
): readonly string[] {
  return needs
    .filter(({ purpose }) => isWanted(purpose))
    .map(({ purpose, direction, protocol, port, peers, reason }) =>
      [purpose, direction, protocol, port, Array.isArray(peers) ? peers.join() : peers, reason]
        .filter(Boolean)
        .join(" "),
    );
}
const resolution = (needs: readonly NeededConnection[]): readonly string[] =>
  linesOf(needs, (purpose) => purpose === "name resolution");

t.test("store and source", async (t) => {
  const endpoints = [
    { role: "store", host: "etcd.example.com", port: 2379 },
    { role: "source", host: "lost.example.com", port: 443 },
    { role: "store", host: "192.0.2.200", port: 2379 },
  ] as const;
  const servers = [{ role: "store", port: 2379, cgroups: ["etcd.service"] }] as const;
  const needs = await needsOf(t, {}, { endpoints, servers });
  t.strictSame(linesOf(needs), [
    "the store at etcd.example.com:2379 egress TCP 2379 192.0.2.1,192.0.2.2",
    "the source at lost.example.com:443 egress TCP 443 unknown the name lost.example.com is not resolved now",
    "the store at 192.0.2.200:2379 egress TCP 2379 192.0.2.200",
  ]);
  t.match(needs[2], { servedBy: ["etcd.service"], cgroups: null });
  t.notOk("servedBy" in (needs[0] ?? {}), "another machine");
});

t.test("name resolution", async (t) => {
  const of = async (resolv: string, files: Readonly<Record<string, string>> = {}): Promise<readonly string[]> =>
    resolution(await needsOf(t, { "etc/resolv.conf": resolv, ...files }));
  t.strictSame(await of("search x\nnameserver 192.0.2.53\nnameserver fe80::1%eth0\n"), [
    "name resolution egress UDP 53 192.0.2.53,fe80::1",
  ]);
  t.match(await of("search x\n"), [/unknown \/etc\/resolv\.conf names no server$/]);
  t.match(await of("nameserver 127.0.0.53\n"), [/unknown the resolver of this machine at 127\.0\.0\.53 does not tell/]);
  t.strictSame(await of("nameserver 127.0.0.53\n", { "run/systemd/resolve/resolv.conf": "nameserver 192.0.2.54\n" }), [
    "name resolution egress UDP 53 192.0.2.54",
  ]);
  t.match(await of("nameserver 127.0.0.1\n", { "run/systemd/resolve/resolv.conf": "nameserver 192.0.2.54\n" }), [
    /unknown the resolver of this machine/,
  ]);
});

t.test("time", async (t) => {
  const of = async (program: string, files: Readonly<Record<string, string>>): Promise<readonly string[]> =>
    linesOf(await needsOf(t, files, { programs: new Set([program]) }));
  t.strictSame(
    await of("sshd", { "etc/chrony/chrony.conf": "server time.example.com\n" }),
    [],
    "no program asks for it",
  );
  t.strictSame(
    await of("chronyd", {
      "etc/chrony/chrony.conf": "# pool no.example.com\npool 2.pool.example.org iburst\n",
      "etc/chrony/sources.d/a.sources": "server time.example.com\nserver lost.example.com\n",
    }),
    [
      "time for chronyd egress UDP 123 192.0.2.123",
      "time for chronyd egress UDP 123 unknown pool 2.pool.example.org has other addresses each time",
      "time for chronyd egress UDP 123 unknown the name lost.example.com is not resolved now",
    ],
  );
  t.strictSame(
    await of("systemd-timesyncd", { "etc/systemd/timesyncd.conf": "[Time]\n#NTP=a\nNTP=time.example.com 192.0.2.9\n" }),
    ["time for systemd-timesyncd egress UDP 123 192.0.2.123,192.0.2.9"],
  );
  t.match(await of("systemd-timesyncd", {}), [/unknown no file of its configuration names a server$/]);
  t.strictSame(await of("ntpd", { "etc/ntp.conf": "server 192.0.2.8\n" }), ["time for ntpd egress UDP 123 192.0.2.8"]);
});

t.test("DHCP", async (t) => {
  const of = async (
    files: Readonly<Record<string, string>>,
    given: Partial<MachineFacts> = {},
  ): Promise<readonly string[]> => linesOf(await needsOf(t, files, given));
  const renewal = "the renewal of this machine's address by DHCP egress UDP 67";
  t.strictSame(await of({ "run/systemd/netif/leases/2": "ADDRESS=192.0.2.7\nSERVER_ADDRESS=192.0.2.67\n" }), [
    `${renewal} 192.0.2.67`,
  ]);
  t.strictSame(
    await of({ "var/lib/dhcp/dhclient.eth0.leases": "lease {\n  option dhcp-server-identifier 192.0.2.67;\n}\n" }),
    [],
    "no client runs",
  );
  t.strictSame(
    await of(
      { "var/lib/dhcp/dhclient.eth0.leases": "lease {\n  option dhcp-server-identifier 192.0.2.67;\n}\n" },
      { programs: new Set(["dhclient"]) },
    ),
    [`${renewal} 192.0.2.67`],
  );
  t.match(await of({}, { udp: [{ port: 68, peer: "0.0.0.0" }] }), [`${renewal} unknown no lease names the server`]);
  t.strictSame(await of({}, { udp: [{ port: 68, peer: "192.0.2.67" }] }), [`${renewal} 192.0.2.67`]);
  t.strictSame(await of({}, { udp: [{ port: 546, peer: "::" }] }), [
    "DHCPv6 egress UDP 547 ff02::1:2",
    "DHCPv6 ingress UDP 546 fe80::/10",
  ]);
});

t.test("SSH, and a search that was cut short", async (t) => {
  const needs = await needsOf(t, {}, { ssh: [{ port: 2222, cgroups: ["ssh.service"] }], isComplete: false });
  t.strictSame(linesOf(needs), [
    "new SSH sessions at port 2222, from wherever it may be ingress TCP 2222 some",
    "time egress UDP 123 unknown the search for the programs that run had to end",
  ]);
});

t.test("a program proves something if it is the system's", async (t) => {
  const program = join(t.testdir(), "chronyd");
  copyFileSync("/bin/sleep", program);
  chmodSync(program, 0o755);
  const isNeeded = async (uid: number): Promise<boolean> => {
    const child = spawn(program, ["600"], { uid, stdio: "ignore", cwd: "/" });
    const gone = new Promise((resolve) => child.once("exit", resolve));
    await waitUntil(() => readlinkSync(`/proc/${child.pid ?? 0}/exe`) === program, { what: "its start" });
    const needs = await new ProcManagementAccess([], systemClock).needs();
    child.kill("SIGKILL");
    await gone;
    return needs.some(({ purpose }) => purpose === "time for chronyd");
  };
  if (process.getuid?.() !== 0) return t.pass("only root can start what is the system's", { skip: true });
  t.equal(await isNeeded(0), true);
  t.equal(await isNeeded(65534), false, "anybody's");
});

t.test("on this machine", async (t) => {
  const server = createServer().listen(0, "127.0.0.1");
  t.teardown(() => server.close());
  await new Promise((resolve) => server.once("listening", resolve));
  const bound = server.address();
  if (bound === null || typeof bound === "string") throw new TypeError("it listens on a port");
  const reader = new ProcManagementAccess([{ role: "store", host: "127.0.0.1", port: bound.port }], systemClock);
  const needs = await reader.needs();
  t.match(
    needs.find(({ purpose }) => purpose.startsWith("the store")),
    { peers: ["127.0.0.1"], servedBy: [reader.ownCgroup()] },
  );
  t.equal(needs.filter(({ purpose }) => purpose === "name resolution").length > 0, true);
});
