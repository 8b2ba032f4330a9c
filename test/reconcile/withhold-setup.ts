/** A node with a session that the second of two revisions would cut. */
import { openMemoryStore } from "../../src/adapters/memory/store.js";
import { systemClock } from "../../src/adapters/system/clock.js";
import type { Session } from "../../src/model/management-access.js";
import { Follower } from "../../src/reconcile/follower.js";
import { objectsOf, policy, workload } from "../builders/state.js";
import { commitOnHead } from "../contract/store-commits.js";
import { recordTelemetry, silentLogger } from "../fakes/ambient.js";
import { fakeAccess } from "../fakes/management-access.js";
import { FakeEnforcer, FakeMachine } from "../fakes/enforcer.js";
import { MemoryLastGood } from "../fakes/last-good.js";
import { draft } from "../fakes/objects.js";
import { FaultyStore } from "../fakes/store.js";

const DB = workload("db@n1 10.0.0.2 app=db");
export const BASE = workload("web@n1 10.0.0.1 app=web") + workload("old@n1 10.0.0.3 app=old") + DB;
export const NEXT = workload("web@n1 10.0.0.1 app=web") + DB;
export const db = (ingress: string): string =>
  policy("db", `  podSelector: { matchLabels: { app: db } }\n  ingress: ${ingress}`);
export const web = (port: number): string =>
  policy("web", `  podSelector: { matchLabels: { app: web } }\n  ingress: [{ ports: [{ port: ${port} }] }]`);
export const FIRST = BASE + db("[{}]") + web(80);
export const SECOND = NEXT + db("[]") + web(443);
export const SESSION: Session = { peer: "192.0.2.9", port: 22, cgroups: ["test/default-db/ssh"] };

export function setUp() {
  const store = new FaultyStore(openMemoryStore(systemClock));
  const machine = new FakeMachine();
  const lastGood = new MemoryLastGood();
  const { telemetry, calls } = recordTelemetry();
  const access = fakeAccess({ agent: "", sessions: [SESSION] });
  const managementAccess = access.reader;
  const deps = {
    ...{ store, lastGood, managementAccess, telemetry, clock: systemClock, logger: silentLogger },
    enforcer: new FakeEnforcer(machine),
  };
  const commit = (text: string) =>
    commitOnHead(store, draft([...objectsOf(text).values()].map(({ object }) => object)));
  const start = (other: Partial<typeof deps> = {}, boot: string | null = "boot-1"): Follower =>
    new Follower({ ...deps, ...other }, "n1", boot);
  const status = async () => (await store.listNodeStatus())[0];
  /** The first revision is in force, and head is the second one, which would cut the session. */
  const prepare = async (): Promise<void> => {
    access.sessions = [];
    await commit(FIRST);
    await start().reconcile();
    access.sessions = [SESSION];
    await commit(SECOND);
  };
  /** The first revision is in force, and nobody has a session. */
  const followFirst = async (): Promise<Follower> => {
    access.sessions = [];
    await commit(FIRST);
    const follower = start();
    await follower.reconcile();
    return follower;
  };
  return { store, machine, lastGood, calls, access, deps, commit, start, status, prepare, followFirst };
}

/** What a machine enforces: `workload policy`, and the clauses of its ingress. */
export function enforced({ items }: FakeMachine): readonly string[] {
  return [...items.values()]
    .filter(({ key }) => key.startsWith("subject/"))
    .map(({ value }) => {
      const { workload: name, ingress } = JSON.parse(value);
      const clauses = JSON.parse(items.get(`profile/${ingress.profile}`)?.value ?? "null");
      const opens = clauses === null ? "open" : JSON.stringify(clauses.map(({ ports }: { ports: unknown }) => ports));
      return `${name} ${opens}`;
    })
    .sort();
}

export const port = (number: number): string => `[[{"protocol":"TCP","first":${number},"last":${number}}]]`;
export const WHOLE_FIRST = ['default/db ["any"]', "default/old open", `default/web ${port(80)}`];
export const WHOLE_SECOND = ["default/db []", `default/web ${port(443)}`];
/** What `db` had, and of the second revision all the rest. */
export const MIX = ['default/db ["any"]', `default/web ${port(443)}`];
