/**
 * Hundreds of commits by several processes on three etcd members, while writers and members are
 * killed. The recorded history must be one that a single store could have given: numbers without gap
 * or repeat, one lineage, no lost update, nothing acknowledged that is not there, nothing there that
 * nobody tried, and an attempt that began after another's acknowledgement comes after it.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import t from "tap";
import type { Test } from "tap";
import { openEtcdStore } from "../../src/adapters/etcd/store.js";
import { systemClock } from "../../src/adapters/system/clock.js";
import type { Revision } from "../../src/model/state.js";
import type { Store } from "../../src/interfaces/store.js";
import { withEtcd, whyNoEtcd, type EtcdCluster } from "../etcd/server.js";
import { portOf } from "../fakes/objects.js";
import { chosenSeed, SeededRandom } from "../fakes/random.js";
import { volume } from "../volume.js";
import { HANG_MS, waitUntil } from "../wait.js";

const COMMITS = volume(150, 5000);
const WRITERS = 4;
const WRITER = fileURLToPath(new URL("./writer.js", import.meta.url));

interface Attempt {
  readonly began: number;
  acknowledged?: { readonly number: number; readonly at: number };
  isRefused?: true;
}

class Recorder {
  readonly attempts = new Map<string, Attempt>();
  readonly #writers = new Set<ChildProcess>();
  acknowledged = 0;

  constructor(
    readonly endpoints: readonly string[],
    readonly prefix: string,
  ) {}

  start(): void {
    const child = spawn(process.execPath, [WRITER, this.endpoints.join(","), this.prefix], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    this.#writers.add(child);
    createInterface({ input: child.stdout }).on("line", (line) => this.#record(line));
  }

  /** SIGKILL, wherever it is just now. */
  async kill(which: number): Promise<void> {
    const child = [...this.#writers][which];
    if (child === undefined) return;
    this.#writers.delete(child);
    const ended = once(child, "close");
    child.kill("SIGKILL");
    await ended;
  }

  async stop(): Promise<void> {
    while (this.#writers.size > 0) await this.kill(0);
  }

  #record(line: string): void {
    const event: { began?: string; acknowledged?: string; refused?: string; number?: number; at: number } =
      JSON.parse(line);
    if (event.began !== undefined) this.attempts.set(event.began, { began: event.at });
    const answered = this.attempts.get(event.acknowledged ?? event.refused ?? "");
    if (answered === undefined) return;
    if (event.number === undefined) answered.isRefused = true;
    else {
      answered.acknowledged = { number: event.number, at: event.at };
      this.acknowledged += 1;
    }
  }
}

await t.test(
  `${COMMITS} commits by four writers, with kills, are one history`,
  { skip: whyNoEtcd() ?? false, timeout: HANG_MS },
  async (t) => {
    const seed = chosenSeed();
    t.comment(`seed ${seed}; replay with ZTAP_SEED=${seed}`);
    const random = new SeededRandom(seed);
    await withEtcd({ members: 3, flags: ["--heartbeat-interval=20", "--election-timeout=200"] }, async (etcd) => {
      const recorder = new Recorder(etcd.endpoints, "history/");
      const options = { endpoints: etcd.endpoints, prefix: "history/", tls: null, auth: null, timeoutMs: 5000 };
      const store = openEtcdStore(options, systemClock, 0);
      try {
        for (let writer = 0; writer < WRITERS; writer += 1) recorder.start();
        const kills = await disturb(recorder, etcd, random);
        await recorder.stop();
        t.comment(
          `${kills.writers} writers and ${kills.members} members were killed; ${recorder.attempts.size} attempts`,
        );
        await check(t, store, recorder);
      } finally {
        await recorder.stop();
        await store.close();
      }
    });
  },
);

/** Kills a writer every few dozen commits, and a member every hundred or two, until there are enough commits. */
async function disturb(
  recorder: Recorder,
  etcd: EtcdCluster,
  random: SeededRandom,
): Promise<{ readonly writers: number; readonly members: number }> {
  const kills = { writers: 0, members: 0 };
  let nextWriter = 25;
  let nextMember = 100;
  while (recorder.acknowledged < COMMITS) {
    await waitUntil(() => recorder.acknowledged >= Math.min(nextWriter, nextMember, COMMITS), { what: "commits" });
    if (recorder.acknowledged >= nextWriter) {
      nextWriter = recorder.acknowledged + 12 + random.below(36);
      await recorder.kill(random.below(WRITERS));
      recorder.start();
      kills.writers += 1;
    }
    if (recorder.acknowledged >= nextMember) {
      nextMember = recorder.acknowledged + 100 + random.below(150);
      const member = etcd.members[random.below(etcd.members.length)];
      await member?.kill();
      await member?.start();
      kills.members += 1;
    }
  }
  return kills;
}

async function check(t: Test, store: Store, { attempts }: Recorder): Promise<void> {
  const head = (await store.readHead()) ?? 0;
  t.ok(head >= COMMITS);
  const revisions = [...(await store.listRevisions({ limit: head + 1 }))].reverse();
  const numbers = Array.from({ length: head }, (_, index) => index + 1);
  t.same(
    revisions.map(({ number }) => number),
    numbers,
    "numbers without gap or repeat",
  );
  t.same(
    revisions.map(({ parent }) => parent),
    [null, ...numbers.slice(0, -1)],
    "one lineage",
  );
  t.same(await countsOf(store, revisions), numbers, "no lost update: each commit counted on from the one before");
  t.same(
    revisions.map(({ entries }) => entries[0]?.version),
    numbers,
    "each raised the policy's version by one",
  );
  const ids = new Map(revisions.map(({ commitId, number }) => [commitId, number]));
  t.equal(ids.size, head, "no attempt was committed twice");
  t.same(
    [...ids.keys()].filter((id) => !attempts.has(id)),
    [],
    "nothing that nobody tried",
  );
  const answered = [...attempts].flatMap(([id, attempt]) =>
    attempt.acknowledged === undefined ? [] : [{ id, ...attempt, ...attempt.acknowledged }],
  );
  t.same(
    answered.filter(({ id, number }) => ids.get(id) !== number),
    [],
    "everything acknowledged is there, under its number",
  );
  const refused = [...attempts].filter(([id, attempt]) => attempt.isRefused === true && ids.has(id));
  t.same(refused, [], "nothing that was refused");
  checkOrder(t, answered, new Map([...attempts].map(([id, { began }]) => [ids.get(id) ?? 0, began])));
}

async function countsOf(store: Store, revisions: readonly Revision[]): Promise<readonly number[]> {
  const counts: number[] = [];
  for (const { number } of revisions) {
    const [counter] = [...(await store.readState(number)).objects.values()];
    counts.push(portOf(counter?.object));
  }
  return counts;
}

/** Real time: what began after an acknowledgement has a higher number. */
function checkOrder(
  t: Test,
  answered: readonly { readonly number: number; readonly at: number }[],
  beganAt: ReadonlyMap<number, number>,
): void {
  const inOrder = [...answered].sort((a, b) => a.number - b.number);
  // From the last on: the earliest acknowledgement of any higher number must not lie before a lower one began.
  let earliest = Infinity;
  const wrong: number[] = [];
  for (const { number, at } of inOrder.reverse()) {
    if (earliest < (beganAt.get(number) ?? 0)) wrong.push(number);
    earliest = Math.min(earliest, at);
  }
  t.same(wrong, [], "the order of the numbers is that of the clock");
}
