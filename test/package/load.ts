/**
 * Load: a workload and its peer that probe each other without a pause, what a policy allows and what it forbids, while the package and the
 * agent of a host come and go.
 */
import type { Test } from "tap";
import { Prober, type Counters } from "../kernel/prober.js";
import { Sandbox } from "../kernel/sandbox.js";
import { waitUntil } from "../wait.js";

const [OWN, PEER] = ["10.214.0.1", "10.214.0.2"];
/** Of each kind, since the last check. */
const PROBES = 1000;

interface Counts {
  readonly workload: Counters;
  readonly outsider: Counters;
  readonly sink: Counters;
}

export class Load {
  #start: Counts | null = null;
  #before: Counts | null = null;

  private constructor(
    /** The manifests: the workload, and what it may send and get. */
    readonly policy: string,
    private readonly workload: Prober,
    private readonly outsider: Prober,
    private readonly sink: Prober,
  ) {}

  static async start(t: Test, node: string): Promise<Load> {
    const sandbox = new Sandbox(t);
    const [inside, outside] = sandbox.network([`${OWN}/24`], [`${PEER}/24`]);
    const cgroup = sandbox.cgroup("load");
    const sink = await Prober.start(t, sandbox, { namespace: outside }, { host: OWN, allowed: 0, forbidden: 0 });
    const workload = await Prober.start(t, sandbox, { cgroup, namespace: inside }, { host: PEER, ...sink.ports });
    const outsider = await Prober.start(t, sandbox, { namespace: outside }, { host: OWN, ...workload.ports });
    const policy =
      `{ apiVersion: ztap/v1, kind: Workload, metadata: { name: web, namespace: load }, spec: { node: ${node}, cgroup: ${cgroup}, addresses: ["${OWN}"] } }\n---\n` +
      `{ apiVersion: ztap/v1, kind: NetworkPolicy, metadata: { name: p, namespace: load }, spec: { podSelector: {},\n` +
      `  egress: [{ ports: [{ port: ${sink.ports.allowed}, protocol: UDP }] }], ingress: [{ ports: [{ port: ${workload.ports.allowed}, protocol: UDP }] }] } }\n`;
    return new Load(policy, workload, outsider, sink);
  }

  /** Once the policy is enforced: from here on nothing forbidden may pass, and nothing allowed may be refused. */
  async begin(): Promise<void> {
    this.#start = this.#before = await this.#count();
  }

  async #count(): Promise<Counts> {
    const { workload, outsider, sink } = this;
    return { workload: await workload.counters(), outsider: await outsider.counters(), sink: await sink.counters() };
  }

  /** Runs it. @returns its duration, and how many probes were sent or refused meanwhile, a second */
  async rateWhile(run: () => void): Promise<{ readonly seconds: number; readonly rate: number }> {
    const probes = async (): Promise<number> => {
      const { workload, outsider } = await this.#count();
      return [workload, outsider]
        .flatMap(({ sent, refused }) => [sent, refused])
        .reduce((sum, { allowed, forbidden }) => sum + allowed + forbidden, 0);
    };
    const [before, from] = [await probes(), performance.now()];
    run();
    const [after, to] = [await probes(), performance.now()];
    const seconds = (to - from) / 1000;
    return { seconds, rate: (after - before) / seconds };
  }

  /** Asserts it of all probes since the beginning, once there are more of them in each direction. */
  async check(t: Test, during: string): Promise<void> {
    const [start, before] = [this.#start, this.#before];
    if (start === null || before === null) throw new TypeError("nothing is counted yet");
    const { workload, outsider } = this;
    await waitUntil(
      async () => (await workload.counters()).refused.forbidden > before.workload.refused.forbidden + PROBES,
      { what: `${during}: a thousand refusals` },
    );
    await waitUntil(async () => (await outsider.counters()).sent.allowed > before.outsider.sent.allowed + PROBES, {
      what: `${during}: a thousand packets of the outsider`,
    });
    const now = await this.#count();
    t.equal(now.workload.sent.forbidden, start.workload.sent.forbidden, `${during}: nothing forbidden left`);
    t.equal(now.sink.got.forbidden, start.sink.got.forbidden, `${during}: nothing forbidden arrived there`);
    t.equal(now.workload.got.forbidden, start.workload.got.forbidden, `${during}: nothing forbidden arrived here`);
    t.equal(now.workload.refused.allowed, start.workload.refused.allowed, `${during}: nothing allowed was refused`);
    t.equal(now.workload.dropped, start.workload.dropped, `${during}: nothing allowed was kept out`);
    t.ok(now.sink.got.allowed > before.sink.got.allowed, `${during}: what is allowed arrived there`);
    t.ok(now.workload.got.allowed > before.workload.got.allowed, `${during}: what is allowed arrived here`);
    this.#before = now;
  }
}
