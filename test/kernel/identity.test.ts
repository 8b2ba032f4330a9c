/**
 * Identity: three hosts with one address and four services of different teams each. Every service tries every other one;
 * exactly what policies name connects, although the services of a host cannot be told apart by their address.
 */
import { execFileSync } from "node:child_process";
import t from "tap";
import { openMemoryStore } from "../../src/adapters/memory/store.js";
import { systemClock } from "../../src/adapters/system/clock.js";
import type { ObjectSet } from "../../src/model/state.js";
import { compile } from "../../src/policy/compile/compile.js";
import { listConnections } from "../../src/policy/reachability/connectivity.js";
import { Follower } from "../../src/reconcile/follower.js";
import { fleetObjects, ROLES, teamOf, writtenFleet } from "../builders/fleet.js";
import { recordTelemetry, silentLogger } from "../fakes/ambient.js";
import { draft } from "../fakes/objects.js";
import { HANG_MS, waitUntil } from "../wait.js";
import { collect } from "./records.js";
import { Sandbox, whyNot, type Actor } from "./sandbox.js";

const TEAMS = 4;
const HOSTS = [0, 1, 2];
const addressOf = (host: number): string => `10.215.0.${host + 1}`;

interface Service {
  readonly name: string;
  readonly host: number;
  readonly port: number;
  readonly actor: Actor;
}

const reason = whyNot();
await t.test("identity", { skip: reason ?? false, timeout: 3 * HANG_MS }, async (t) => {
  const sandbox = new Sandbox(t);
  const namespaces = sandbox.bridge(HOSTS.map((host) => `${addressOf(host)}/24`));
  // What the destination drops is given up after two attempts.
  for (const name of namespaces)
    execFileSync("ip", ["netns", "exec", name, "sysctl", "-qw", "net.ipv4.tcp_syn_retries=1"]);
  const nodeOf = (host: number): string => sandbox.node(`h${host}`);
  const cgroupOf = (host: number, role: string): string => sandbox.cgroupPathOf(`h${host}/${role}`);
  const options = { hosts: HOSTS.length, teams: TEAMS, addressOf, nodeOf, cgroupOf };

  const services = await Promise.all(
    HOSTS.flatMap((host) =>
      ROLES.map(async ({ role, port }, at): Promise<Service> => {
        const cgroup = sandbox.cgroup(`h${host}/${role}`);
        const actor = await sandbox.actor({ cgroup, namespace: namespaces[host] ?? "" });
        await actor.call("tcpListen", { host: "0.0.0.0", port });
        return { name: `${teamOf(host, at, TEAMS)}/${role}-${host}`, host, port, actor };
      }),
    ),
  );
  const store = openMemoryStore(systemClock);
  const agents = await Promise.all(
    HOSTS.map(async (host) => {
      const enforcer = sandbox.enforcer(nodeOf(host));
      await enforcer.open();
      const { telemetry } = recordTelemetry();
      const deps = { store, enforcer, lastGood: null, managementAccess: null, clock: systemClock };
      const follower = new Follower({ ...deps, logger: silentLogger, telemetry }, nodeOf(host));
      return { enforcer, follower };
    }),
  );
  const enforce = async (objects: ObjectSet): Promise<void> => {
    const all = [...objects.values()].map(({ object }) => object);
    await store.commit(draft(all), { expectHead: await store.readHead(), fence: null });
    for (const { follower } of agents) await follower.reconcile();
    const found = (await store.listNodeStatus()).map(({ state, message }) => `${state} ${message ?? ""}`.trim());
    t.same(found, ["InSync", "InSync", "InSync"]);
  };
  /** The outcome of every service's connect to every other one. */
  const tryAll = async (): Promise<ReadonlyMap<string, string>> => {
    const pairs = services.flatMap((from) => services.flatMap((to) => (from === to ? [] : [{ from, to }])));
    return new Map(
      await Promise.all(
        pairs.map(async ({ from, to }): Promise<readonly [string, string]> => {
          const { code = "connected" } = await from.actor.call("tcpConnect", {
            host: addressOf(to.host),
            port: to.port,
          });
          return [`${from.name} → ${to.name}`, code];
        }),
      ),
    );
  };
  const namesOf = (outcomes: ReadonlyMap<string, string>, ...codes: readonly string[]): readonly string[] =>
    [...outcomes].flatMap(([name, code]) => (codes.includes(code) ? [name] : [])).sort();
  const [bySource, byAddress] = [
    fleetObjects(writtenFleet(options)),
    fleetObjects(writtenFleet({ ...options, identity: "address" })),
  ];
  const listed = (objects: ObjectSet): readonly string[] =>
    [
      ...new Set(
        listConnections(objects).flatMap(({ from, to }) =>
          [from, to].every((end) => end.startsWith("team-")) ? [`${from} → ${to}`] : [],
        ),
      ),
    ].sort();

  await t.test("by address, more connects than policies name", async (t) => {
    await enforce(byAddress);
    const outcomes = await tryAll();
    t.same(namesOf(outcomes, "connected"), listed(byAddress), "what `ztap connectivity` lists");
    t.ok(listed(byAddress).length > listed(bySource).length);
    t.same(namesOf(outcomes, "EPERM"), [], "nothing is refused at the source");
    t.comment(`${outcomes.size} pairs: ${listed(byAddress).length} connect, ${listed(bySource).length} are named`);
  });

  await t.test("by source, exactly what policies name connects", async (t) => {
    const source = agents[0]?.enforcer.flowSource ?? null;
    if (source === null) throw new TypeError("there are no events");
    const records = collect(t, source);
    await enforce(bySource);
    const outcomes = await tryAll();
    t.same(namesOf(outcomes, "connected"), listed(bySource));
    t.ok(listed(bySource).length > 0);
    const atSource = namesOf(outcomes, "EPERM");
    const opened = listed(byAddress).filter((name) => !listed(bySource).includes(name));
    t.same(
      opened.filter((name) => !atSource.includes(name)),
      [],
      "what the address would open is refused at the source, at once",
    );
    let counted = 0n;
    for (const [host, { enforcer }] of agents.entries()) {
      const { refusals } = await enforcer.observe(compile(bySource, nodeOf(host)));
      counted += refusals.find((found) => found.reason === "identity")?.count ?? 0n;
    }
    t.equal(counted, BigInt(atSource.length), "counted apart");
    const own = atSource.filter((name) => name.split(" ")[0]?.endsWith("-0") === true);
    await waitUntil(() => records.filter(({ isIdentity }) => isIdentity === true).length >= own.length, {
      what: "the events",
    });
    const [event] = records.filter(({ isIdentity }) => isIdentity === true);
    t.match(event, { verdict: "denied", direction: "egress", hook: "call", rule: null });
  });
});
