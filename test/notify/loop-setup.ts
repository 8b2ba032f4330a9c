/** Notifications of a leader, with all that their tests change: source status, nodes, receivers, clock. */
import type { DeliveryOutcome, DeliveryTarget } from "../../src/interfaces/delivery.js";
import type { Store } from "../../src/interfaces/store.js";
import { COMMIT_STATES, type CommitEvent, type CommitState } from "../../src/model/outbox.js";
import type { NodeStatus, SourceStatus } from "../../src/model/status.js";
import { Election } from "../../src/reconcile/election.js";
import { Notifications } from "../../src/reconcile/notify/notifications.js";
import { recordTelemetry, seededRandom, silentLogger } from "../fakes/ambient.js";
import { draft } from "../fakes/objects.js";
import type { ManualClock } from "../fakes/clock.js";
import { COMMIT } from "./receiver-server.js";

/** A receiver whose answers a test holds back, or chooses. */
export class HeldTarget implements DeliveryTarget {
  target = "ab".repeat(32);
  events: readonly CommitState[] = COMMIT_STATES;
  showsLast = true;
  readonly sent: CommitEvent[] = [];
  /** Attempts that were cut short. */
  aborted = 0;
  outcome: DeliveryOutcome = { outcome: "delivered" };
  /** Null: answers at once. */
  held: (() => void)[] | null = null;

  constructor(readonly name: string) {}

  async send(event: CommitEvent, signal: AbortSignal): Promise<DeliveryOutcome> {
    this.sent.push(event);
    const { held } = this;
    if (held !== null)
      await new Promise<void>((resolve) => {
        held.push(resolve);
        signal.addEventListener("abort", () => resolve(), { once: true });
      });
    if (signal.aborted) this.aborted += 1;
    return this.outcome;
  }

  answerAll(): void {
    for (const answer of this.held ?? []) answer();
  }

  get states(): readonly CommitState[] {
    return this.sent.map(({ state }) => state);
  }
}

const TIME = "2026-01-01T00:00:00.000Z";

export const sourceStatus = (changes: Partial<SourceStatus> = {}): SourceStatus => ({
  ...{ location: "https://ada:secret@git.example.com/p.git", ref: "main", path: null, observedCommit: COMMIT },
  ...{ acceptedCommit: COMMIT, acceptedRevision: 1, state: "Synced", message: null, diagnostics: [] },
  ...{ checkedAt: TIME, leader: "n1" },
  ...changes,
});

export const nodeStatus = (node: string, changes: Partial<NodeStatus> = {}): NodeStatus => ({
  ...{ node, backend: "none", attemptedRevision: 1, enforcedRevision: 1, rulesetDigest: null, state: "InSync" },
  ...{ message: null, drift: [], healed: 0, subjects: [], observedAt: TIME },
  ...changes,
});

/** A leader named `id` with a store that others may share. */
export async function leadWith(
  store: Store,
  clock: ManualClock,
  targets: readonly DeliveryTarget[],
  { id = "n1", ttlMs = 3_600_000 } = {},
) {
  const election = new Election(store, clock, { id, holder: `h-${id}`, ttlMs });
  await election.campaign();
  const { telemetry, calls } = recordTelemetry();
  const random = seededRandom(id.charCodeAt(1));
  const lost: string[] = [];
  const logger = { ...silentLogger, error: (message: string) => void lost.push(message) };
  const notifications = new Notifications({ store, election, clock, random, logger, telemetry }, targets);
  /** Runs until nothing is under way any more, as the loop does. */
  const settle = async (): Promise<void> => {
    await notifications.run();
    await new Promise((resolve) => void setImmediate(resolve));
    await notifications.run();
  };
  /** Lets the time pass that the loop waits for, and runs. */
  const pass = async (ms: number): Promise<void> => {
    clock.advance(ms);
    await election.campaign();
    await settle();
  };
  /** Writes what the leader found at the source. */
  const find = async (changes: Partial<SourceStatus> = {}): Promise<void> => {
    const { fence } = election;
    if (fence === null) throw new Error(`${id} does not lead`);
    await store.writeSourceStatus(sourceStatus(changes), fence);
  };
  return { election, notifications, calls, lost, settle, pass, find };
}

/** A store with head 1, and three nodes of which two enforce it. */
export async function fill(store: Store): Promise<void> {
  await store.commit(draft([]), { expectHead: null, fence: null });
  for (const id of ["n1", "n2", "n3"]) {
    await store.joinMember({ id, address: `${id}:1`, joinedAt: TIME });
    await store.heartbeat({ id, address: `${id}:1`, holder: `h-${id}` }, 10 * 86_400_000);
  }
  await store.writeNodeStatus(nodeStatus("n1"));
  await store.writeNodeStatus(nodeStatus("n2"));
  await store.writeNodeStatus(nodeStatus("n3", { enforcedRevision: null }));
}
