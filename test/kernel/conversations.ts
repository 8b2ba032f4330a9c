/**
 * Conversations: all that goes on around one isolated workload while its enforcement changes hands. Probes of what is
 * allowed and of what is forbidden, both ways; connections that live; datagrams that only their flow lets through.
 */
import { readFileSync } from "node:fs";
import type { Test } from "tap";
import { Prober, type Counters } from "./prober.js";
import { type Actor, type Sandbox } from "./sandbox.js";
import { waitUntil } from "../wait.js";

interface Connection {
  readonly actor: Actor;
  readonly id: number;
  said: string;
}

interface Flow {
  readonly asker: Actor;
  readonly answerer: Actor;
  readonly askerId: number;
  readonly answererId: number;
  /** Where the answers go. */
  readonly to: { readonly host: string; readonly port: number };
  answers: number;
}

export interface Sides {
  readonly sandbox: Sandbox;
  readonly cgroup: string;
  readonly inside: string;
  readonly outside: string;
  readonly own: string;
  readonly peer: string;
}

interface Seen {
  readonly workload: Counters;
  readonly outsider: Counters;
  readonly sink: Counters;
}

export class Conversations {
  readonly #probers: { readonly workload: Prober; readonly outsider: Prober; readonly sink: Prober };
  readonly #connections: Connection[] = [];
  readonly #flows: Flow[] = [];
  #start: Seen | null = null;
  #before: Seen | null = null;

  private constructor(
    private readonly sides: Sides,
    probers: { readonly workload: Prober; readonly outsider: Prober; readonly sink: Prober },
    private readonly web: Actor,
    private readonly other: Actor,
    /** What the other side serves, and what the workload does. */
    private readonly ports: { readonly theirTcp: number; readonly ownTcp: number },
    private readonly asked: { readonly theirs: Flow["to"] & { id: number }; readonly own: Flow["to"] & { id: number } },
  ) {
    this.#probers = probers;
  }

  static async start(t: Test, sides: Sides): Promise<Conversations> {
    const { sandbox, cgroup, inside, outside, own, peer } = sides;
    // The one that is asked first only listens: it is there so that the other knows where to send.
    const sink = await Prober.start(t, sandbox, { namespace: outside }, { host: own, allowed: 0, forbidden: 0 });
    const workload = await Prober.start(t, sandbox, { cgroup, namespace: inside }, { host: peer, ...sink.ports });
    const outsider = await Prober.start(t, sandbox, { namespace: outside }, { host: own, ...workload.ports });
    const [web, other] = await Promise.all([
      sandbox.actor({ cgroup, namespace: inside }),
      sandbox.actor({ namespace: outside }),
    ]);
    const listen = async (actor: Actor): Promise<number> =>
      (await actor.call("tcpListen", { host: "0.0.0.0", port: 0 })).port ?? 0;
    const bind = async (actor: Actor, host: string): Promise<Flow["to"] & { id: number }> => {
      const { id = -1, port = 0 } = await actor.call("udpBind", { host: "0.0.0.0", port: 0 });
      return { id, host, port };
    };
    const ports = { theirTcp: await listen(other), ownTcp: await listen(web) };
    const asked = { theirs: await bind(other, peer), own: await bind(web, own) };
    return new Conversations(sides, { workload, outsider, sink }, web, other, ports, asked);
  }

  /** What the workload must be allowed, and nothing else. */
  manifest(node: string): string {
    const { sink, workload } = this.#probers;
    const { ports, asked, sides } = this;
    const rule = (tcp: number, ...udp: readonly number[]): string =>
      `[{ ports: [{ port: ${tcp} }, ${udp.map((port) => `{ port: ${port}, protocol: UDP }`).join(", ")}] }]`;
    return [
      "apiVersion: ztap/v1\nkind: Workload\nmetadata: { name: web, labels: { app: web } }",
      `spec: { node: ${node}, cgroup: ${sides.cgroup}, addresses: ["${sides.own}"] }`,
      "---",
      "apiVersion: ztap/v1\nkind: NetworkPolicy\nmetadata: { name: p }\nspec:\n  podSelector: {}",
      `  egress: ${rule(ports.theirTcp, sink.ports.allowed, asked.theirs.port)}`,
      `  ingress: ${rule(ports.ownTcp, workload.ports.allowed, asked.own.port)}`,
      "",
    ].join("\n");
  }

  /** Under enforcement: connections both ways, and datagrams that are asked for both ways. */
  async open(): Promise<void> {
    const { web, other, sides, ports, asked } = this;
    for (const [actor, host, port] of [
      [web, sides.peer, ports.theirTcp],
      [other, sides.own, ports.ownTcp],
    ] as const)
      this.#connections.push({ actor, id: (await actor.call("tcpConnect", { host, port })).id ?? -1, said: "" });
    for (const [asker, answerer, to, from] of [
      [web, other, asked.theirs, sides.own],
      [other, web, asked.own, sides.peer],
    ] as const) {
      // Of the two conversations each way one goes on all the time, and one is quiet until it is looked at.
      for (const isBusy of [true, false]) {
        const { id: askerId = -1, port = 0 } = await asker.call("udpBind", { host: "0.0.0.0", port: 0 });
        const text = `ask ${port}`;
        await asker.call("udpSend", { id: askerId, host: to.host, port: to.port, text });
        await answerer.call("udpWait", { id: to.id, text });
        const back = { host: from, port };
        this.#flows.push({ asker, answerer, askerId, answererId: to.id, to: back, answers: 0 });
        // Few enough for the asker's buffer, which holds 277, if a busy machine does not run it for seconds: a datagram that
        // finds no room would look like one that was kept out.
        if (isBusy) await answerer.call("udpFlood", { id: to.id, ...back, pauseMs: 20 });
      }
    }
    this.#start = await this.#look();
    this.#before = this.#start;
  }

  /** What went on since the last time; every packet that was sent meanwhile has been decided. */
  async check(t: Test, during: string): Promise<void> {
    const [start, before] = [this.#start, this.#before];
    if (start === null || before === null) throw new TypeError("nothing goes on yet");
    for (const one of this.#connections) {
      one.said += `${during};`;
      await one.actor.call("tcpSend", { id: one.id, text: `${during};` });
      t.match(await one.actor.call("tcpWait", { id: one.id, text: one.said }), { text: one.said }, `${during}: lives`);
    }
    for (const flow of this.#flows) await this.#answer(t, flow, during);
    const { workload, outsider } = this.#probers;
    await waitUntil(
      async () => (await workload.counters()).refused.forbidden > before.workload.refused.forbidden + 500,
      { what: "five hundred refusals" },
    );
    await waitUntil(async () => (await outsider.counters()).sent.allowed > before.outsider.sent.allowed + 500, {
      what: "five hundred packets of the outsider",
    });
    const now = await this.#look();
    t.strictSame(
      {
        "forbidden, and left": now.workload.sent.forbidden - start.workload.sent.forbidden,
        "forbidden, and arrived there": now.sink.got.forbidden - start.sink.got.forbidden,
        "forbidden, and arrived here": now.workload.got.forbidden - start.workload.got.forbidden,
        "allowed, and refused": now.workload.refused.allowed - start.workload.refused.allowed,
        "allowed, and kept out": now.workload.dropped - start.workload.dropped,
      },
      {
        "forbidden, and left": 0,
        "forbidden, and arrived there": 0,
        "forbidden, and arrived here": 0,
        "allowed, and refused": 0,
        "allowed, and kept out": 0,
      },
      during,
    );
    this.#before = now;
  }

  /** Of the floods of answers: none was refused on its way. Ends them. */
  async end(t: Test): Promise<void> {
    for (const flow of [this.#flows[0], this.#flows[2]]) {
      // The only flood of the one who answers.
      const { passed = 0, refused } = (await flow?.answerer.call("udpStop", { id: 0 })) ?? {};
      t.ok(Number(passed) > 100, `${String(passed)} answers left`);
      t.equal(refused, 0, "and none was refused");
    }
  }

  async #answer(t: Test, flow: Flow, during: string): Promise<void> {
    const text = `answer ${(flow.answers += 1)} ${during}`;
    const seen = new Set<string>();
    void flow.asker.call("udpWait", { id: flow.askerId, text }).then(() => seen.add(text));
    // A machine that is busy may lose a datagram; what is kept out is counted at the socket.
    await waitUntil(
      async () => {
        const sent = await flow.answerer.call("udpSend", { id: flow.answererId, ...flow.to, text });
        if ("code" in sent) t.fail(`${during}: an answer was refused: ${String(sent.code)}`);
        return seen.has(text) || dropsAt(flow.asker.pid, flow.to.port) > 0;
      },
      { what: "the answer" },
    );
    t.equal(dropsAt(flow.asker.pid, flow.to.port), 0, `${during}: no answer was kept out`);
  }

  async #look(): Promise<Seen> {
    const { workload, outsider, sink } = this.#probers;
    return {
      workload: await workload.counters(),
      outsider: await outsider.counters(),
      sink: await sink.counters(),
    };
  }
}

/** Datagrams that came to a UDP socket of the process's network and were not let in: the last column of proc's table. */
function dropsAt(pid: number, port: number): number {
  const local = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  const lines = readFileSync(`/proc/${pid}/net/udp`, "utf8")
    .split("\n")
    .map((line) => line.trim().split(/\s+/));
  return Number(lines.find(([, address]) => address?.endsWith(local))?.at(-1) ?? NaN);
}
