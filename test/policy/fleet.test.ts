/** A fleet whose hosts have one address for services of several teams: what is open that no policy names. */
import t from "tap";
import type { Connection } from "../../src/model/connection.js";
import { compile } from "../../src/policy/compile/compile.js";
import { listConnections } from "../../src/policy/reachability/connectivity.js";
import { lower } from "../../src/adapters/ebpf/lower/lower.js";
import { fleetObjects, linesOf, patternFleet, writtenFleet } from "../builders/fleet.js";
import { volume } from "../volume.js";

const HOSTS = volume(100, 1000);

const between = (connections: readonly Connection[]): readonly Connection[] =>
  connections.filter(({ from, to }) => from.includes("/") && to.includes("/") && !/[:.]/.test(from + to));
const pairs = (connections: readonly Connection[]): ReadonlySet<string> =>
  new Set(connections.map(({ from, to }) => `${from} ${to}`));
const unmeant = (connections: readonly Connection[]) => connections.filter(({ sharing }) => sharing !== undefined);

t.test("where a sender is known at its source, no pair is open that no policy names", (t) => {
  const text = writtenFleet({ hosts: HOSTS });
  const byAddress = between(listConnections(fleetObjects(writtenFleet({ hosts: HOSTS, identity: "address" }))));
  const bySource = between(listConnections(fleetObjects(text)));
  const meant = byAddress.filter(({ sharing }) => sharing === undefined);
  t.ok(unmeant(byAddress).length > meant.length, "by address, most pairs are open by a shared address alone");
  t.same(pairs(unmeant(bySource)).size, 0);
  t.same(pairs(bySource), pairs(meant), "what is meant is open");
  t.comment(
    `${HOSTS} hosts, ${4 * HOSTS} services: ${pairs(meant).size} pairs are named; by address ${pairs(unmeant(byAddress)).size} more are open, by source ${pairs(unmeant(bySource)).size}`,
  );
  t.end();
});

t.test("rules without ports: open stays only what another workload of the address lets in by name", (t) => {
  const every = (identity?: "address") =>
    between(
      listConnections(fleetObjects(writtenFleet({ hosts: HOSTS, everyPort: true, ...(identity && { identity }) }))),
    );
  const [byAddress, bySource] = [pairs(unmeant(every("address"))).size, pairs(unmeant(every())).size];
  t.ok(bySource < byAddress, `${bySource} of ${byAddress} pairs`);
  t.end();
});

t.test("the short form means the same", (t) => {
  const [written, short] = [writtenFleet({ hosts: HOSTS }), patternFleet({ hosts: HOSTS })];
  const toText = (connections: readonly Connection[]) => connections.map((one) => JSON.stringify(one)).sort();
  t.same(
    toText(between(listConnections(fleetObjects(short)))),
    toText(between(listConnections(fleetObjects(written)))),
  );
  t.ok(linesOf(short.services) <= 4 * 4 * HOSTS);
  t.ok(linesOf(short.hosts) <= 2 * HOSTS);
  t.comment(
    `lines: hosts ${linesOf(written.hosts)} → ${linesOf(short.hosts)}, services ${linesOf(written.services)} → ${linesOf(short.services)}, policies ${linesOf(written.policies)}`,
  );
  t.end();
});

t.test(
  "a node's identity profiles grow with what its services are confused for, not with the fleet's services",
  (t) => {
    const objects = fleetObjects(writtenFleet({ hosts: HOSTS }));
    const image = lower(compile(objects, "host-1"));
    t.ok(image.addrs.size < 8 * HOSTS, `${image.addrs.size} address entries`);
    t.ok(image.ports.size < 100, `${image.ports.size} port entries`);
    t.end();
  },
);
