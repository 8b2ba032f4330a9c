/**
 * The shadow of a coming ruleset: what the programs count agrees with the reference for both rulesets, it decides nothing, and it stands
 * and ends with real cgroups, connections and agents. `ZTAP_SEED=<seed>` plays the random part again.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import t from "tap";
import type { ShadowReading } from "../../src/interfaces/enforcer.js";
import type { FlowRecord } from "../../src/interfaces/flows.js";
import type { Release, Rollout } from "../../src/model/rollout.js";
import { inPlacesOf } from "../../src/policy/same-workloads.js";
import { openMemoryStore } from "../../src/adapters/memory/store.js";
import { systemClock } from "../../src/adapters/system/clock.js";
import { Follower } from "../../src/reconcile/follower.js";
import { objectsOf, policy, workload } from "../builders/state.js";
import { commitOnHead } from "../contract/store-commits.js";
import { recordTelemetry, silentLogger } from "../fakes/ambient.js";
import { draft } from "../fakes/objects.js";
import { FaultyStore } from "../fakes/store.js";
import { SeededRandom } from "../fakes/random.js";
import { Bench } from "./bench.js";
import { anyRuleset, WORKLOADS } from "./generate.js";
import { bordersOf, Dice } from "./pool.js";
import { isOwnPing, Reference } from "./reference.js";
import { rulesetOf, type Isolation, type WorkloadSpec } from "./rulesets.js";
import { Sandbox, whyNot } from "./sandbox.js";
import { Traffic } from "./traffic.js";
import { volume } from "../volume.js";
import { waitUntil } from "../wait.js";

const ROLLOUT: Omit<Rollout, "base"> = {
  revision: 1,
  commitId: "c",
  layers: [],
  state: "shadow",
  wave: -1,
  plan: { waves: [], shadow: "0s", gates: {}, onFailure: "revert", freeze: [] },
  since: "2026-01-01T00:00:00.000Z",
  ...{ settledSince: null, term: null, message: null, by: null, waived: [], serial: 1 },
};
const STEPS = 200;
/** Of the steps at which an agent is killed; emulated, each takes long. */
const STRIDE = process.env["ZTAP_EMULATED"] === "1" ? 9 : 4;
/** More than any idle time. */
const PAUSE = 4_000;

const reason = whyNot();
if (reason !== null) t.plan(0, `SKIP kernel tests: ${reason}`);
else {
  const seed = Number(process.env["ZTAP_SEED"] ?? 1 + Math.floor(Math.random() * 0x7ffffffe));
  t.comment(`seed ${seed}`);

  await t.test("the counts are those of the reference for both rulesets, and what is in force decides", async (t) => {
    const bench = new Bench(t);
    const dice = new Dice(new SeededRandom(seed));
    const seen = { judged: 0, newDenials: 0, newAllows: 0 };
    let epoch = 1;
    for (let round = 0; round < volume(25, 5_000, 5); round++) {
      const [inForce, coming] = [anyRuleset(dice), anyRuleset(dice)];
      t.same(inForce.subjects.length, WORKLOADS.length);
      const traffic = new Traffic(dice, bordersOf(dice.chance(50) ? inForce : coming), 1);
      const steps = Array.from({ length: STEPS }, () => traffic.next());
      await bench.load(inForce);
      await bench.loadShadow(coming);
      const decided = bench.decide(steps, epoch);
      epoch = (epoch + (steps.at(-1)?.now ?? 0) + PAUSE) >>> 0;

      const [reference, other] = [new Reference(), new Reference()];
      reference.load(inForce);
      other.load(coming);
      const counts = new Map<string, number>();
      const totals = { judged: 0, newDenials: 0, newAllows: 0 };
      for (const [at, step] of steps.entries()) {
        const expected = reference.decide(step);
        if (expected.verdict !== decided[at]?.verdict || expected.rule !== decided[at].rule)
          return t.fail(`the shadow changed a verdict: ZTAP_SEED=${seed}`, { step, expected, found: decided[at] });
        if (!reference.hasBegun) continue;
        totals.judged += 1;
        const would = other.begin(step);
        const passes = expected.verdict !== "denied";
        if (passes === (would.verdict !== "denied" || (passes && isOwnPing(step)))) continue;
        totals[passes ? "newDenials" : "newAllows"] += 1;
        const effect = passes ? "denied" : "allowed";
        const [rule, comingRule] = [expected, would].map(
          (one) => (one.rule === "identity" ? null : one.rule) ?? undefined,
        );
        const key = `${step.workload} ${step.direction} ${effect} ${rule} ${comingRule}`;
        counts.set(key, (counts.get(key) ?? 0) + 1);
      }
      const differences = [...counts].map(([key, count]) => `${key} ${count}`).sort();
      const found = bench.readShadow();
      if (!t.strictSame(found, { sinceMs: 0, ...totals, differences }, `round ${round}`))
        return t.fail(`play it again: ZTAP_SEED=${seed} sh bin/node test/run.mjs kernel/shadow`);
      for (const name of ["judged", "newDenials", "newAllows"] as const) seen[name] += totals[name];
    }
    t.ok(seen.newDenials > 0 && seen.newAllows > 0, "differences of both kinds", { seen });
    // The end of an override adds two to the epoch, without the agent.
    const { judged } = bench.readShadow();
    bench.endOverride();
    bench.decide(
      [new Traffic(dice, bordersOf(anyRuleset(dice)), 1)].flatMap((one) =>
        Array.from({ length: STEPS }, () => one.next()),
      ),
      epoch,
    );
    t.equal(bench.readShadow().judged, judged, "which ends the shadow");
    t.pass(JSON.stringify(seen));
  });

  const sandbox = new Sandbox(t);
  const [OWN, PEER] = ["10.219.0.1", "10.219.0.2"];
  const [inside, outside] = sandbox.network([`${OWN}/24`], [`${PEER}/24`]);
  const NOTHING: Isolation = { allow: [] };
  const toPeer = (...ports: readonly string[]): Isolation => ({ allow: [{ peers: [`${PEER}/32`], ports }] });
  const said = (reading: ShadowReading | null | undefined): readonly unknown[] =>
    (reading?.differences ?? [])
      .map(({ workload, direction, effect, rule, comingRule, count }) =>
        [workload, direction, effect, rule?.key ?? null, comingRule?.key ?? null, count].join(" "),
      )
      .sort();

  await t.test("connections and datagrams of real sockets, by two rulesets of which one decides", async (t) => {
    const node = sandbox.node("shadow");
    const cgroups = {
      web: sandbox.cgroup("shadow-web"),
      job: sandbox.cgroup("shadow-job"),
      dns: sandbox.cgroup("shadow-dns"),
    };
    const [web, job, dns] = [
      await sandbox.actor({ cgroup: cgroups.web, namespace: inside }),
      await sandbox.actor({ cgroup: cgroups.job, namespace: inside }),
      await sandbox.actor({ cgroup: cgroups.dns, namespace: inside }),
    ];
    const peer = await sandbox.actor({ namespace: outside });
    const { port } = await peer.call("tcpListen", { host: PEER, port: 0 });
    const { port: udp } = await peer.call("udpBind", { host: PEER, port: 0, echo: true });
    const { port: ownPort } = await web.call("tcpListen", { host: OWN, port: 0 });
    const workloads = (web: Partial<WorkloadSpec>, job: Partial<WorkloadSpec>, dns: Partial<WorkloadSpec>) =>
      rulesetOf(node, {
        "demo/web": { cgroup: cgroups.web, ...web },
        "demo/job": { cgroup: cgroups.job, ...job },
        "demo/dns": { cgroup: cgroups.dns, ...dns },
      });
    const inForce = workloads({ egress: toPeer(`tcp/${port}`), ingress: NOTHING }, { egress: NOTHING }, {});
    const coming = workloads(
      { egress: NOTHING, ingress: toPeer(`tcp/${ownPort}`) },
      { egress: toPeer(`tcp/${port}`) },
      { ingress: NOTHING },
    );
    const connect = async (from: typeof web, host: string, to: unknown): Promise<unknown> => {
      const { code, id } = await from.call("tcpConnect", { host, port: to });
      if (id !== undefined) await from.call("tcpSend", { id, text: "hello" });
      if (id !== undefined) await from.call("tcpWait", { id, text: "hello" });
      return code ?? "connected";
    };
    let enforcer = sandbox.enforcer(node);
    await enforcer.open();
    await enforcer.apply(inForce);
    if (enforcer.flowSource === null) throw new Error("there are no flows");
    const records: FlowRecord[] = [];
    const stop = new AbortController();
    const source = enforcer.flowSource;
    const reading = (async () => {
      for await (const batch of source.flows(stop.signal)) records.push(...batch);
    })();
    const stopReading = async (): Promise<void> => {
      stop.abort();
      await reading;
    };
    await enforcer.shadow?.begin(inPlacesOf(coming, inForce), inForce, "1 2", 1);

    t.equal(await connect(web, PEER, port), "connected", "what is in force decides");
    t.equal(await connect(job, PEER, port), "EPERM");
    t.equal(await connect(web, OWN, ownPort), "connected", "a workload to itself");
    const { id } = await dns.call("udpBind", { host: OWN, port: 0 });
    await dns.call("udpSend", { id, host: PEER, port: udp, text: "question" });
    await dns.call("udpWait", { id, text: "question" });
    const first = ["demo/job egress allowed  demo/job/egress/0 1", "demo/web egress denied demo/web/egress/0  1"];
    t.strictSame(said(enforcer.shadow?.read()), first, "neither the answer to dns, nor web to itself");
    // web to peer; job's call; web to itself, at both ends; the question of dns.
    t.match(enforcer.shadow?.read(), { sinceMs: 1, judged: 5, newDenials: 1, newAllows: 1 });
    await waitUntil(() => records.filter(({ shadow }) => shadow !== undefined).length === 2, { what: "the events" });
    t.match(
      records.filter(({ shadow }) => shadow !== undefined),
      [
        { workload: "demo/web", verdict: "allowed", hook: "packet", shadow: { verdict: "denied", rule: null } },
        {
          workload: "demo/job",
          verdict: "denied",
          hook: "call",
          shadow: { verdict: "allowed", rule: { key: "demo/job/egress/0" } },
        },
      ],
    );

    const refused = await connect(web, PEER, Number(port) + 1);
    t.equal(refused, "EPERM");
    t.strictSame(said(enforcer.shadow?.read()), first, "what both deny is no difference");
    t.match(enforcer.shadow?.read(), { judged: 6 });

    // From outside: web's server is closed to the peer, and would be open.
    void peer.call("tcpConnect", { host: OWN, port: ownPort });
    await waitUntil(() => (enforcer.shadow?.read()?.newAllows ?? 0) > 1, { what: "a SYN from outside" });
    t.match(
      said(enforcer.shadow?.read()).find((one) => String(one).startsWith("demo/web ingress")),
      /^demo\/web ingress allowed {2}demo\/web\/ingress\/0 \d+$/,
    );

    // An instance starts again: what is in force is applied again, and the counts go on.
    await job.end();
    const folder = join(sandbox.cgroupRoot, cgroups.job);
    await waitUntil(() => readFileSync(join(folder, "cgroup.procs"), "utf8") === "", { what: "the end of job" });
    rmdirSync(folder);
    mkdirSync(folder);
    await enforcer.apply(inForce);
    t.equal(enforcer.shadow?.read(), null, "what was written again is not evaluated by");
    await enforcer.shadow?.begin(inPlacesOf(coming, inForce), inForce, "1 2", 2);
    const again = await sandbox.actor({ cgroup: cgroups.job, namespace: inside });
    t.equal(await connect(again, PEER, port), "EPERM");
    t.ok(said(enforcer.shadow?.read()).includes("demo/job egress allowed  demo/job/egress/0 2"));
    t.equal(enforcer.shadow?.read()?.sinceMs, 1);

    // Without an agent the kernel goes on, and the next agent finds what it has counted.
    await stopReading();
    await enforcer.close();
    t.equal(await connect(web, PEER, port), "connected");
    enforcer = sandbox.enforcer(node);
    await enforcer.open();
    await enforcer.shadow?.begin(inPlacesOf(coming, inForce), inForce, "1 2", 3);
    t.ok(said(enforcer.shadow?.read()).includes("demo/web egress denied demo/web/egress/0  2"));

    // A newer revision replaces it.
    await enforcer.shadow?.begin(inPlacesOf(inForce, inForce), inForce, "1 3", 4);
    t.equal(await connect(again, PEER, port), "EPERM");
    t.equal(await connect(web, PEER, port), "connected");
    t.strictSame(enforcer.shadow?.read(), { sinceMs: 4, judged: 5, newDenials: 0, newAllows: 0, differences: [] });

    // It comes into force.
    await enforcer.apply(coming);
    t.equal(enforcer.shadow?.read(), null);
    t.equal(await connect(again, PEER, port), "connected");
    t.equal(await connect(web, PEER, port), "EPERM");
    await enforcer.close();
  });

  await t.test("killed at any step, what is in force stands, and the next agent counts no nonsense", async (t) => {
    const node = sandbox.node("shadow-kill");
    const cgroup = sandbox.cgroup("shadow-kill");
    const web = await sandbox.actor({ cgroup, namespace: inside });
    const peer = await sandbox.actor({ namespace: outside });
    const { port } = await peer.call("tcpListen", { host: PEER, port: 0 });
    const others = [`${OWN}/32`, "10.219.1.0/24", "10.219.2.0/24"];
    const rulesets = others.map((other) =>
      rulesetOf(node, {
        "demo/web": {
          cgroup,
          egress: { allow: [{ peers: [other], ports: ["udp/1"] }, ...toPeer(`tcp/${port}`).allow] },
        },
      }),
    );
    const closed = rulesetOf(node, { "demo/web": { cgroup, egress: NOTHING } });
    const script = fileURLToPath(new URL("./mortal.js", import.meta.url));
    let isKilled = true;
    let steps = 0;
    for (; isKilled; steps += STRIDE) {
      // Both are written anew each time.
      const inForce = rulesets[steps % rulesets.length] ?? closed;
      const child = spawn(process.execPath, [script, String(steps), JSON.stringify(inForce), JSON.stringify(closed)], {
        stdio: "inherit",
      });
      const [code, signal]: unknown[] = await once(child, "exit");
      isKilled = signal === "SIGKILL";
      if (!isKilled) t.equal(code, 0, "it came to its end");
      const { id, code: refused } = await web.call("tcpConnect", { host: PEER, port });
      t.ok(id !== undefined, `after step ${steps}: ${refused ?? "connected"}`);
      const enforcer = sandbox.enforcer(node);
      await enforcer.open();
      await enforcer.apply(inForce);
      await enforcer.shadow?.begin(closed, inForce, `${steps}`, 5);
      // It begins from what stands.
      const first = enforcer.shadow?.read() ?? null;
      if (first === null) return t.fail("no shadow stands");
      t.match(first, { sinceMs: 5, newAllows: 0 });
      t.match(await web.call("tcpConnect", { host: PEER, port }), { id: Number });
      const [judged, newDenials] = [first.judged + 1, first.newDenials + 1];
      t.match(enforcer.shadow?.read(), { judged, newDenials, newAllows: 0 });
      await enforcer.close();
    }
    t.ok(steps > 20, `${steps} steps`);
  });

  await t.test("what stands when the shadow begins is evaluated once", async (t) => {
    const node = sandbox.node("shadow-live");
    const [cgroup, dnsCgroup] = [sandbox.cgroup("shadow-live"), sandbox.cgroup("shadow-live-dns")];
    const dns = await sandbox.actor({ cgroup: dnsCgroup, namespace: inside });
    const web = await sandbox.actor({ cgroup, namespace: inside });
    const peer = await sandbox.actor({ namespace: outside });
    const { port } = await peer.call("tcpListen", { host: "::", port: 0 });
    const { port: udp } = await peer.call("udpBind", { host: PEER, port: 0, echo: true });
    const { port: ownPort } = await web.call("tcpListen", { host: OWN, port: 0 });
    const connected = async (from: typeof web, host: string, to: unknown): Promise<void> => {
      const { id } = await from.call("tcpConnect", { host, port: to });
      await from.call("tcpSend", { id, text: "hello" });
      await from.call("tcpWait", { id, text: "hello" });
    };
    // Older than the programs: it may be of either side.
    await connected(web, PEER, port);
    const allowed = toPeer("tcp", `udp/${udp}`);
    const inForce = rulesetOf(node, {
      "demo/web": { cgroup, egress: allowed, ingress: allowed },
      "demo/dns": { cgroup: dnsCgroup },
    });
    const enforcer = sandbox.enforcer(node);
    await enforcer.open();
    await enforcer.apply(inForce);
    await connected(web, PEER, port);
    await connected(web, `::ffff:${PEER}`, port);
    await connected(web, OWN, ownPort);
    await connected(peer, OWN, ownPort);
    const { id } = await web.call("udpBind", { host: OWN, port: 0 });
    await web.call("udpSend", { id, host: PEER, port: udp, text: "question" });
    await web.call("udpWait", { id, text: "question" });
    const { id: ofDns } = await dns.call("udpBind", { host: OWN, port: 0 });
    await dns.call("udpSend", { id: ofDns, host: PEER, port: udp, text: "question" });
    await dns.call("udpWait", { id: ofDns, text: "question" });

    const coming = rulesetOf(node, {
      "demo/web": { cgroup, egress: toPeer(`udp/${udp}`), ingress: NOTHING },
      "demo/dns": { cgroup: dnsCgroup, ingress: NOTHING },
    });
    await enforcer.shadow?.begin(coming, inForce, "1 2", 1);
    t.match(enforcer.shadow?.read(), { judged: 6, newDenials: 4, newAllows: 0 }, "an answer is not denied");
    t.strictSame(said(enforcer.shadow?.read()), [
      "demo/web egress denied demo/web/egress/0  3",
      "demo/web ingress denied demo/web/ingress/0  1",
    ]);
    // It goes on for the same rulesets, and is not evaluated again.
    await connected(web, PEER, port);
    await enforcer.shadow?.begin(coming, inForce, "1 2", 2);
    t.match(enforcer.shadow?.read(), { sinceMs: 1, judged: 7, newDenials: 5, newAllows: 0 });
    await enforcer.close();
  });

  await t.test(
    "a follower compares a revision from the store with live traffic, and reports file and line",
    async (t) => {
      const node = sandbox.node("shadow-follower");
      const cgroup = sandbox.cgroup("shadow-follower");
      const web = await sandbox.actor({ cgroup, namespace: inside });
      const peer = await sandbox.actor({ namespace: outside });
      const { port } = await peer.call("tcpListen", { host: PEER, port: 0 });
      const egress = (to: unknown): string =>
        workload(`web@${node} ${OWN} app=web`).replace(/cgroup: .*/, `cgroup: ${cgroup}`) +
        policy("web", `  podSelector: {}\n  egress: [{ ports: [{ port: ${Number(to)} }] }]`);
      const store = openMemoryStore(systemClock);
      for (const state of [egress(1), egress(port)])
        await commitOnHead(store, draft([...objectsOf(state).values()].map(({ object }) => object)));
      const enforcer = sandbox.enforcer(node);
      await enforcer.open();
      const { telemetry } = recordTelemetry();
      const deps = { store, enforcer, lastGood: null, managementAccess: null, clock: systemClock, telemetry };
      // It enforces head, and waits for the revision before.
      const waiting = new (class extends FaultyStore {
        override async readRelease(): Promise<Release> {
          const { head } = await store.readRelease();
          return { head, rollout: { ...ROLLOUT, base: head ?? 0 } };
        }
      })(store);
      const follower = new Follower({ ...deps, store: waiting, logger: silentLogger }, node);
      await follower.reconcile();
      t.match(await web.call("tcpConnect", { host: PEER, port }), { id: Number });
      await follower.reconcile();
      const [status] = await store.listNodeStatus();
      t.match(status, {
        state: "InSync",
        enforcedRevision: 2,
        shadow: {
          revision: 1,
          judged: 1,
          newDenials: 1,
          newAllows: 0,
          differences: [
            { effect: "denied", direction: "egress", workload: "default/web", policy: "default/web", count: 1 },
          ],
        },
      });
      t.match(status?.shadow?.differences[0], { file: "policies.yaml", line: Number });
      await enforcer.close();
    },
  );
}
