/**
 * What lies between an agent and its store: requests and answers that take their time, or are lost. A request that is given
 * up may have been executed, or be executed later.
 */
import type { NodeStatus } from "../../src/model/status.js";
import type { ChangeKind, Store, StoreEvent } from "../../src/interfaces/store.js";
import { StoreError } from "../../src/interfaces/store.js";
import { InterceptedStore, type StoreCall } from "../fakes/store.js";
import type { SimProcess } from "./process.js";
import type { SimServer } from "./server.js";
import type { World } from "./world.js";

/** How long an agent waits for an answer. */
const TIMEOUT_MS = 3000;
/** Until a stream that carries nothing any more is given up. */
const STREAM_BREAKS_MS = 4000;

/** One for all, since it is a history's most frequent error and each one made anew costs its stack. */
const MAY_NOT_LEAD = new StoreError("store-permission", "this role may not lead");

/** The way between one machine and the store. */
export class Link {
  isRequestLost = false;
  isAnswerLost = false;
  /** The longest that a message takes. */
  slownessMs = 20;
  /** What happens to the next request alone: it is held up on its way, or its answer is lost. */
  next: { readonly heldUpMs: number; readonly isAnswerLost: boolean } | null = null;
  readonly #streams = new Set<() => void>();

  constructor(private readonly world: World) {}

  get isLost(): boolean {
    return this.isRequestLost || this.isAnswerLost;
  }

  cut(way: "both" | "requests" | "answers"): void {
    this.isRequestLost ||= way !== "answers";
    this.isAnswerLost ||= way !== "requests";
    if (!this.isAnswerLost) return;
    const broken = [...this.#streams];
    this.world.time.after(this.world.random.below(STREAM_BREAKS_MS), () => {
      for (const end of broken) end();
    });
  }

  mend(): void {
    this.isRequestLost = false;
    this.isAnswerLost = false;
    this.slownessMs = 20;
  }

  delayMs(): number {
    return 1 + this.world.random.below(this.slownessMs);
  }

  onBreak(end: () => void): () => void {
    this.#streams.add(end);
    return () => this.#streams.delete(end);
  }
}

export class RemoteStore extends InterceptedStore {
  constructor(
    private readonly world: World,
    private readonly link: Link,
    private readonly process: SimProcess,
    protected readonly inner: SimServer,
    private readonly options: {
      /** Whether this node's role in the store may lead. */
      readonly mayLead: boolean;
      /** Called with each request that the process makes. */
      readonly onRequest: (call: StoreCall) => void;
      readonly onStatus: (status: NodeStatus) => void;
    },
  ) {
    super();
  }

  protected intercept<T>(call: StoreCall, run: (store: Store) => Promise<T>): Promise<T> {
    const { world, link, process } = this;
    this.options.onRequest(call);
    const next = link.next;
    link.next = null;
    return process.wait<T>((settle) => {
      const sent = world.time.now;
      const giveUp = (): void => {
        const left = Math.max(0, sent + TIMEOUT_MS - world.time.now);
        world.time.after(left, () => settle.reject(new StoreError("store-unavailable", `no answer to ${call}`)));
      };
      if (link.isRequestLost) return giveUp();
      world.time.after(next?.heldUpMs ?? link.delayMs(), () => {
        if (link.isRequestLost) return giveUp();
        void this.#execute(call, run).then(
          (answer) => (next?.isAnswerLost ? giveUp() : this.#answer(sent, giveUp, () => settle.resolve(answer))),
          (error: unknown) => this.#answer(sent, giveUp, () => settle.reject(error)),
        );
      });
    });
  }

  override writeNodeStatus(status: NodeStatus): Promise<void> {
    this.options.onStatus(status);
    return super.writeNodeStatus(status);
  }

  #execute<T>(call: StoreCall, run: (store: Store) => Promise<T>): Promise<T> {
    if (call === "campaign" && !this.options.mayLead) return Promise.reject(MAY_NOT_LEAD);
    return run(this.inner);
  }

  #answer(sent: number, giveUp: () => void, settle: () => void): void {
    const { world, link } = this;
    const delay = link.delayMs();
    if (link.isAnswerLost || world.time.now + delay > sent + TIMEOUT_MS) return giveUp();
    world.time.after(delay, () => {
      if (link.isAnswerLost) giveUp();
      else settle();
    });
  }

  override async *watch(
    signal: AbortSignal,
    kinds: readonly ChangeKind[] = ["head"],
  ): AsyncGenerator<StoreEvent, void, undefined> {
    if (kinds.join() !== "head") throw new TypeError("agents watch for head alone");
    const stream = new Stream(this.world, this.link, this.process, this.inner, signal);
    try {
      await this.intercept("watch", (store) => store.readHead());
      yield { changed: "head" };
      while (await stream.next()) yield { changed: "head" };
    } finally {
      stream.end();
    }
  }
}

/** What a watch brings. Events come late, come together, or are lost with the connection. */
class Stream {
  #isRung = false;
  #isBroken = false;
  #isOver = false;
  #wake: () => void = () => undefined;
  readonly #ends: readonly (() => void)[];

  constructor(world: World, link: Link, process: SimProcess, server: SimServer, signal: AbortSignal) {
    const look = (): void => this.#wake();
    const stop = (): void => {
      this.#isOver = true;
      look();
    };
    const tell = (): void =>
      process.deliver(() => {
        this.#isRung = true;
        look();
      });
    signal.addEventListener("abort", stop);
    this.#isOver = signal.aborted;
    this.#ends = [
      server.onCommit(() => {
        if (!link.isAnswerLost) world.time.after(link.delayMs(), () => (link.isAnswerLost ? undefined : tell()));
      }),
      link.onBreak(() =>
        process.deliver(() => {
          this.#isBroken = true;
          look();
        }),
      ),
      () => signal.removeEventListener("abort", stop),
    ];
  }

  /** Waits for news; false where the watch is over. @throws StoreError where the stream broke */
  async next(): Promise<boolean> {
    while (!this.#isOver) {
      if (this.#isBroken) throw new StoreError("store-unavailable", "the stream broke");
      if (this.#isRung) {
        this.#isRung = false;
        return true;
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return false;
  }

  end(): void {
    for (const end of this.#ends) end();
  }
}
