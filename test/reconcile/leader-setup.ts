/** A leader, with all that its tests change: source, store, election, clock. */
import { openMemoryStore } from "../../src/adapters/memory/store.js";
import type { Snapshot, Source, SourceError } from "../../src/interfaces/source.js";
import { readManifests, type ManifestReader } from "../../src/manifest/read.js";
import { Election } from "../../src/reconcile/election.js";
import { Leader } from "../../src/reconcile/leader.js";
import { policy, workload } from "../builders/state.js";
import { recordTelemetry, seededRandom, silentLogger } from "../fakes/ambient.js";
import { ManualClock } from "../fakes/clock.js";

export const GOOD = workload("web@n1 10.0.0.1 app=web") + policy("deny", "  podSelector: {}\n  ingress: []");
export const BETTER = GOOD.replace("ingress: []", "ingress: [{ ports: [{ port: 80 }] }]");

/** A source of one text, whose commits are a repeated digit. */
export class FakeSource implements Source {
  readonly location = "https://git.example.com/policies.git";
  commit = "1".repeat(40);
  text = GOOD;
  error: SourceError | null = null;
  fetches = 0;
  /** Given with each commit that is read: whether it follows the accepted one, and who has not signed. */
  verdict: Pick<Snapshot, "rewritten" | "unverified"> = {};
  /** What happens while a commit is fetched. */
  meanwhile: () => Promise<void> = async () => undefined;

  async readTip(): Promise<string> {
    if (this.error !== null) throw this.error;
    return this.commit;
  }

  async fetch(): Promise<Snapshot> {
    this.fetches += 1;
    await this.meanwhile();
    const source = {
      location: this.location,
      commit: this.commit,
      dirty: false,
      author: "Ada <ada@example.com>",
      subject: "s",
    };
    if (this.verdict.unverified) return { source, files: [], ...this.verdict };
    return {
      ...this.verdict,
      source,
      files: this.text === "" ? [] : [{ path: "a.yaml", text: this.text, blobId: this.text }],
    };
  }

  push(digit: string, text: string): void {
    this.commit = digit.repeat(40);
    this.text = text;
  }
}

/** A leader of a memory store and a fake source. */
export async function setUp(selfHeal = true, clock = new ManualClock(), read: ManifestReader = readManifests) {
  const store = openMemoryStore(clock);
  const source = new FakeSource();
  const lockouts: string[] = [];
  const { telemetry, calls } = recordTelemetry();
  const election = new Election(store, clock, { id: "n1", holder: "h1", ttlMs: 60_000 });
  const deps = {
    store,
    source,
    election,
    read,
    lockoutsOf: async () => lockouts,
    clock,
    random: seededRandom(7),
    logger: silentLogger,
    telemetry,
  };
  const options = { node: "n1", source: { branch: "main", path: null, selfHeal, maxDeletePercent: 50 } };
  const leader = new Leader(deps, options);
  await election.campaign();
  return { store, source, election, leader, lockouts, calls, clock, deps, options };
}
