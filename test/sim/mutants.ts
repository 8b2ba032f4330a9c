/**
 * Parts that are broken on purpose, each in one way that an agent or a store could be. A simulation that lets one of them pass
 * would let the same mistake pass in the code.
 */
import { openMemoryStore } from "../../src/adapters/memory/store.js";
import { readManifests } from "../../src/manifest/read.js";
import { compareItems } from "../../src/diff/drift.js";
import type { Observation } from "../../src/interfaces/enforcer.js";
import type { Ruleset } from "../../src/model/ruleset.js";
import type { Release } from "../../src/model/rollout.js";
import type { CommittedState } from "../../src/model/state.js";
import type { CommitGuard, CommitOutcome, Fence, RevisionDraft, Store } from "../../src/interfaces/store.js";
import type { LastGoodState } from "../../src/interfaces/last-good.js";
import { FakeEnforcer, type EnforcerHost } from "../fakes/enforcer.js";
import { InterceptedStore, type StoreCall } from "../fakes/store.js";
import type { HistoryOptions } from "./history.js";
import type { SimMachine } from "./machine.js";

abstract class BrokenStore extends InterceptedStore {
  constructor(protected readonly inner: Store) {
    super();
  }

  protected intercept<T>(_call: StoreCall, run: (store: Store) => Promise<T>): Promise<T> {
    return run(this.inner);
  }
}

/** Takes the commit of whoever was once elected. */
class UnfencedStore extends BrokenStore {
  override commit(draft: RevisionDraft, guard: CommitGuard): Promise<CommitOutcome> {
    return super.commit(draft, { ...guard, fence: null });
  }
}

/** Commits on whatever is head. */
class RacyStore extends BrokenStore {
  override async commit(draft: RevisionDraft, guard: CommitGuard): Promise<CommitOutcome> {
    return super.commit(draft, { ...guard, expectHead: await this.inner.readHead() });
  }
}

/** Elects whoever asks, as if no lease were ever held. */
class GenerousStore extends BrokenStore {
  override async campaign(
    candidate: { readonly id: string; readonly holder: string },
    ttlMs: number,
  ): Promise<{ readonly fence: Fence | null; readonly leader: string | null }> {
    const answer = await super.campaign(candidate, ttlMs);
    return answer.fence === null ? { fence: await this.inner.readFence(), leader: candidate.id } : answer;
  }
}

/** Shows the objects of a commit that was refused. */
class DirtyStore extends BrokenStore {
  #refused: RevisionDraft | null = null;

  override async commit(draft: RevisionDraft, guard: CommitGuard): Promise<CommitOutcome> {
    const outcome = await super.commit(draft, guard);
    this.#refused = outcome.outcome === "committed" ? null : draft;
    return outcome;
  }

  override async readState(number: number): Promise<CommittedState> {
    const { revision } = await super.readState(number);
    const objects = this.#refused?.objects ?? [...(await super.readState(number)).objects.values()];
    return { revision, objects: new Map(objects.map((object) => [`${object.ref.kind}/${object.ref.name}`, object])) };
  }
}

/** Loses the newest revision now and then, and with it that there was one. */
class ForgetfulStore extends BrokenStore {
  #reads = 0;

  override async readHead(): Promise<number | null> {
    return this.#forget(await super.readHead());
  }

  override async readRelease(): Promise<Release> {
    const { head, rollout } = await super.readRelease();
    return { head: this.#forget(head), rollout };
  }

  #forget(head: number | null): number | null {
    this.#reads += 1;
    return head !== null && head > 1 && this.#reads % 20 === 0 ? head - 1 : head;
  }
}

/** Takes all away before it writes the new. */
class OpeningEnforcer extends FakeEnforcer {
  override async apply(ruleset: Ruleset): Promise<Observation> {
    this.machine.items.clear();
    this.machine.written();
    return super.apply(ruleset);
  }
}

/** Writes one record after the other. */
class HalfwayEnforcer extends FakeEnforcer {
  constructor(
    machine: SimMachine,
    private readonly process: EnforcerHost,
  ) {
    super(machine, process);
  }

  override async apply(ruleset: Ruleset): Promise<Observation> {
    const entries = [...this.lower(ruleset)].filter(([key]) => this.machine.items.get(key)?.type === "entry");
    for (const [key, item] of entries.slice(0, -1)) {
      this.machine.items.set(key, item);
      this.machine.written();
      await this.process.pause("prepared");
    }
    return super.apply(ruleset);
  }
}

/** Takes enforcement away when its process ends. */
class LeavingEnforcer extends FakeEnforcer {
  override async close(): Promise<void> {
    this.machine.items.clear();
    this.machine.written();
  }
}

/** Believes what it wrote. */
class CredulousEnforcer extends FakeEnforcer {
  #written: Ruleset | null = null;

  override async apply(ruleset: Ruleset): Promise<Observation> {
    await super.apply(ruleset);
    this.#written = ruleset;
    return this.observe(ruleset);
  }

  override async observe(ruleset: Ruleset): Promise<Observation> {
    const observed = await super.observe(ruleset);
    const { subjects } = observed;
    return this.#written === null
      ? observed
      : { ...observed, ...compareItems(this.lower(ruleset), this.lower(this.#written), subjects) };
  }
}

/** Gives back the first state that the node kept, whatever it kept since. */
function nostalgic(): (copy: LastGoodState, node: string) => LastGoodState {
  const first = new Map<string, CommittedState>();
  return (copy, node) => ({
    readAnnounced: () => copy.readAnnounced(),
    announce: (state) => copy.announce(state),
    writeEndpoints: (endpoints) => copy.writeEndpoints(endpoints),
    readTrial: () => copy.readTrial(),
    writeTrial: (trial) => copy.writeTrial(trial),
    readOverrides: () => copy.readOverrides(),
    writeOverrides: (overrides) => copy.writeOverrides(overrides),
    read: async () => first.get(node) ?? null,
    write: async (state) => {
      await copy.write(state);
      if (!first.has(node)) first.set(node, state);
    },
  });
}

/** Leaves out what is wrong with a manifest, and takes the rest. */
const lenient: typeof readManifests = (files) => ({ ...readManifests(files), diagnostics: [] });

const withStore = (broken: (store: Store) => Store) => (): HistoryOptions => ({
  openStore: (clock, table) => broken(openMemoryStore(clock, table)),
});

const withEnforcer = (broken: (machine: SimMachine, host: EnforcerHost) => FakeEnforcer) => (): HistoryOptions => ({
  breakage: { enforcer: broken },
});

/** Each makes the options of one history: what a part remembers ends with it. */
export const MUTANTS: Readonly<Record<string, () => HistoryOptions>> = {
  "a store that does not check the fence": withStore((store) => new UnfencedStore(store)),
  "a store that commits on any head": withStore((store) => new RacyStore(store)),
  "a store that has two leaders": withStore((store) => new GenerousStore(store)),
  "a store that shows what was not committed": withStore((store) => new DirtyStore(store)),
  "a store that forgets": withStore((store) => new ForgetfulStore(store)),
  "an enforcer that opens before it closes": withEnforcer((machine, host) => new OpeningEnforcer(machine, host)),
  "an enforcer that writes bit by bit": withEnforcer((machine, host) => new HalfwayEnforcer(machine, host)),
  "an enforcer that takes all away as it closes": withEnforcer((machine, host) => new LeavingEnforcer(machine, host)),
  "an enforcer that does not read back": withEnforcer((machine, host) => new CredulousEnforcer(machine, host)),
  "a disk that gives back an older state": () => ({ breakage: { lastGood: nostalgic() } }),
  "a disk that keeps nothing": () => ({
    breakage: {
      lastGood: (copy) => ({
        read: async () => null,
        write: (state) => copy.write(state),
        readAnnounced: () => copy.readAnnounced(),
        announce: (state) => copy.announce(state),
        writeEndpoints: (endpoints) => copy.writeEndpoints(endpoints),
        readTrial: () => copy.readTrial(),
        writeTrial: (trial) => copy.writeTrial(trial),
        readOverrides: () => copy.readOverrides(),
        writeOverrides: (overrides) => copy.writeOverrides(overrides),
      }),
    },
  }),
  "a leader that commits what does not validate": () => ({ breakage: { read: lenient } }),
};
