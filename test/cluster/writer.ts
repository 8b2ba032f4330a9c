/**
 * A writer for the history test: reads head, adds one to the number that the state carries, commits,
 * again and again, until it is killed. One line of JSON for each attempt when it begins and when it
 * is answered; an attempt without an answer may or may not have been committed.
 *
 *     node writer.js <endpoints, with commas> <prefix>
 */
import { randomUUID } from "node:crypto";
import { openEtcdStore } from "../../src/adapters/etcd/store.js";
import { systemClock, systemRandom } from "../../src/adapters/system/clock.js";
import { StoreError } from "../../src/interfaces/store.js";
import { draft, policy, portOf } from "../fakes/objects.js";

const [endpoints = "", prefix = ""] = process.argv.slice(2);
const options = { endpoints: endpoints.split(","), prefix, tls: null, auth: null, timeoutMs: 2000 };
const store = openEtcdStore(options, systemClock, systemRandom.fraction());

/** The same clock for every process of this machine, in microseconds. */
const now = (): number => Number(process.hrtime.bigint() / 1000n);
const say = (event: object): void => void process.stdout.write(`${JSON.stringify(event)}\n`);

for (;;) {
  const commitId = randomUUID();
  try {
    const head = await store.readHead();
    const state = head === null ? null : await store.readState(head);
    const [counter] = [...(state?.objects.values() ?? [])];
    say({ began: commitId, at: now() });
    const answer = await store.commit(draft([policy("counter", portOf(counter?.object) + 1)], { commitId }), {
      expectHead: head,
      fence: null,
    });
    if (answer.outcome === "committed") say({ acknowledged: commitId, number: answer.revision.number, at: now() });
    else say({ refused: commitId, at: now() });
  } catch (error) {
    // No answer, or none that can be relied on: the attempt stays open.
    if (!(error instanceof StoreError)) throw error;
    await systemClock.sleep(50);
  }
}
