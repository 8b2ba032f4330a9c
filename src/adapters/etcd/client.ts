/**
 * EtcdClient: text under keys in etcd, over etcd3's plain calls. etcd3's own layers above them (retries, circuit
 * breakers, resuming watches, lease events, the election) are not used.
 *
 * Guarantees:
 *  - every unary call has a deadline; a call that failed because a member was unreachable is repeated on the next
 *    endpoint, so that callers must be idempotent: each transaction here is, by its conditions;
 *  - failures are StoreErrors;
 *  - reads are linearizable.
 */
import { noop } from "cockatiel";
import { Etcd3, type IResponseOp } from "etcd3";
import { X509Certificate } from "node:crypto";
import { rootCertificates } from "node:tls";
import { StoreError } from "../../interfaces/store.js";
import type { Clock } from "../../interfaces/system.js";
import { isOutdatedToken, isUnreachable, toStoreError, toUnanswered } from "./errors.js";
import { requireLeader } from "./require-leader.js";
import { inBatches, mapBounded } from "./batches.js";
import {
  toCompare,
  toEntry,
  toRangeRequest,
  toRequestOp,
  type Condition,
  type Entry,
  type Operation,
  type Range,
} from "./requests.js";

export interface EtcdOptions {
  /** `host:port`, at least one. */
  readonly endpoints: readonly string[];
  /** The prefix of all keys; ends with a slash. */
  readonly prefix: string;
  /** PEM; null: plain text. Without `ca` the system's authorities are trusted. */
  readonly tls: { readonly ca: Buffer | null; readonly cert: Buffer | null; readonly key: Buffer | null } | null;
  readonly auth: { readonly username: string; readonly password: string } | null;
  /** Deadline of one unary call, in milliseconds. */
  readonly timeoutMs: number;
}

export interface TransactionResult {
  readonly succeeded: boolean;
  /** The revision of etcd's whole database; it is the creation revision of the keys that this transaction created. */
  readonly revision: number;
  /**
   * For each operation that ran: the entries that a `get` or `list` found, the number of keys that a `remove` removed.
   */
  readonly found: readonly (readonly Entry[])[];
  readonly removed: readonly number[];
}

const RETRY_PAUSE_MS = 200;

/** etcd answers shorter intervals with "too many pings" (its --grpc-keepalive-min-time is 5 s). */
const KEEPALIVE = {
  "grpc.keepalive_time_ms": 10_000,
  "grpc.keepalive_timeout_ms": 5_000,
  "grpc.keepalive_permit_without_calls": 1,
  "grpc.max_receive_message_length": -1,
  "grpc.initial_reconnect_backoff_ms": 200,
  "grpc.max_reconnect_backoff_ms": 2_000,
};

/** Whether there is a head: the smallest read that needs a quorum and a role. */
function headRequest(prefix: string) {
  return { ...toRangeRequest(prefix, { prefix: "head", exact: true }), count_only: true };
}

export class EtcdClient {
  readonly #connections = new Map<string, Etcd3>();
  /** Connections with former certificates, whose calls still have time to end. */
  readonly #former = new Set<Etcd3>();
  readonly #closing = new AbortController();
  #tls: EtcdOptions["tls"];
  #current: number;
  #closed = false;

  /**
   * Creates a client.
   * @param first the endpoint to begin with, so that many nodes spread over the members
   */
  constructor(
    readonly options: EtcdOptions,
    readonly clock: Clock,
    first: number,
  ) {
    this.#tls = options.tls;
    this.#current = Math.floor(first) % options.endpoints.length;
  }

  /** The certificates of new connections. */
  get tls(): EtcdOptions["tls"] {
    return this.#tls;
  }

  /**
   * Uses other certificates from now on, if a member accepts them. Calls under way have the time of one call to end;
   * streams end then, and their owners open new ones.
   * @throws StoreError if no member accepts them; then nothing changes
   */
  async replaceTls(tls: NonNullable<EtcdOptions["tls"]>): Promise<void> {
    await this.#probe(tls);
    this.#tls = tls;
    for (const connection of this.#connections.values()) this.#former.add(connection);
    this.#connections.clear();
    const { clock, options } = this;
    void clock.sleep(options.timeoutMs, this.#closing.signal).then(() => this.#closeFormer());
  }

  /** Asks the members, the current one first, until one lets it read what each node has to read. */
  async #probe(tls: NonNullable<EtcdOptions["tls"]>): Promise<void> {
    const { endpoints, timeoutMs } = this.options;
    const inOrder = endpoints.map((_, index) => endpoints[(this.#current + index) % endpoints.length] ?? "");
    let failure: StoreError | null = null;
    for (const endpoint of inOrder) {
      let connection: Etcd3 | null = null;
      try {
        connection = this.#open(endpoint, tls);
        await connection.kv.range(headRequest(this.options.prefix), { deadline: Date.now() + timeoutMs });
        return;
      } catch (error) {
        failure = toStoreError(error, [endpoint]);
      } finally {
        connection?.close();
      }
    }
    throw failure ?? new StoreError("store-unavailable", "there is no member to ask");
  }

  #closeFormer(): void {
    for (const connection of this.#former) connection.close();
    this.#former.clear();
  }

  async get(key: string): Promise<Entry | null> {
    return (await this.list({ prefix: key, exact: true }))[0] ?? null;
  }

  async list(range: Range): Promise<readonly Entry[]> {
    const request = toRangeRequest(this.options.prefix, range);
    const { kvs } = await this.call((etcd, deadline) => etcd.kv.range(request, deadline));
    return kvs.map((kv) => toEntry(this.options.prefix, kv));
  }

  /**
   * Returns each key's entry, in the order of the keys, without absent ones. Not a consistent snapshot: only for keys
   * that never change.
   */
  async getMany(keys: readonly string[]): Promise<ReadonlyMap<string, Entry>> {
    const found = await mapBounded(inBatches(keys), (batch) =>
      this.transact(
        [],
        batch.map((key) => ({ get: key })),
      ),
    );
    return new Map(found.flatMap((result) => result.found.flat().map((entry) => [entry.key, entry])));
  }

  /** Runs `then` if every condition holds, else `otherwise`, atomically. */
  async transact(
    conditions: readonly Condition[],
    then: readonly Operation[],
    otherwise: readonly Operation[] = [],
  ): Promise<TransactionResult> {
    const { prefix } = this.options;
    const request = {
      compare: conditions.map((condition) => toCompare(prefix, condition)),
      success: then.map((operation) => toRequestOp(prefix, operation)),
      failure: otherwise.map((operation) => toRequestOp(prefix, operation)),
    };
    const answer = await this.call((etcd, deadline) => etcd.kv.txn(request, deadline));
    // The protocol omits fields that do not apply; the package's types do not express that.
    const responses: readonly Partial<IResponseOp>[] = answer.responses;
    return {
      succeeded: answer.succeeded,
      revision: Number(answer.header.revision),
      found: responses.map(({ response_range: range }) => range?.kvs.map((kv) => toEntry(prefix, kv)) ?? []),
      removed: responses.map(({ response_delete_range: range }) => Number(range?.deleted ?? 0)),
    };
  }

  /** Returns the newest revision of etcd's database, from a member with a quorum; renews an expired token. */
  async revision(): Promise<number> {
    const request = headRequest(this.options.prefix);
    const { header } = await this.call((etcd, deadline) => etcd.kv.range(request, deadline));
    return Number(header.revision);
  }

  /**
   * Runs a call on the current endpoint, and on the next one if there is no answer.
   * @throws StoreError
   */
  async call<T>(run: (etcd: Etcd3, options: { readonly deadline: number }) => Promise<T>): Promise<T> {
    const { endpoints, timeoutMs } = this.options;
    const started = this.clock.monotonic();
    const failures = new Map<string, unknown>();
    for (let attempt = 1; ; attempt += 1) {
      const endpoint = this.#endpoint();
      try {
        return await run(this.#connection(endpoint), { deadline: Date.now() + timeoutMs });
      } catch (error) {
        const isOutdated = isOutdatedToken(error);
        if (!isOutdated && !isUnreachable(error)) throw toStoreError(error, endpoints, this.#user());
        failures.set(endpoint, error);
        if (isOutdated) this.#drop(endpoint);
        else this.leave(endpoint);
        const isOver = this.#closed || attempt > endpoints.length || this.clock.monotonic() - started >= 2 * timeoutMs;
        if (isOver) throw toUnanswered(failures, this.#user());
        await this.clock.sleep(RETRY_PAUSE_MS);
      }
    }
  }

  /**
   * Runs a call on one endpoint, once.
   * @throws StoreError
   */
  async ask<T>(endpoint: string, run: (etcd: Etcd3, options: { readonly deadline: number }) => Promise<T>): Promise<T> {
    try {
      return await run(this.#connection(endpoint), { deadline: Date.now() + this.options.timeoutMs });
    } catch (error) {
      throw toStoreError(error, [endpoint], this.#user());
    }
  }

  /** The user as which calls are made, for messages. */
  #user(): string | null {
    const { auth } = this.options;
    const cert = this.#tls?.cert ?? null;
    if (auth !== null || cert === null) return auth?.username ?? null;
    try {
      return /^CN=(.*)$/m.exec(new X509Certificate(cert).subject)?.[1] ?? null;
    } catch {
      return null;
    }
  }

  /** Returns the connection of current calls, for a stream; call `leave` if the stream breaks. */
  connect(): { readonly etcd: Etcd3; readonly endpoint: string } {
    const endpoint = this.#endpoint();
    return { etcd: this.#connection(endpoint), endpoint };
  }

  /** Switches to the next endpoint; does nothing if another caller already did. */
  leave(endpoint: string): void {
    if (this.#endpoint() === endpoint) this.#current = (this.#current + 1) % this.options.endpoints.length;
  }

  close(): void {
    this.#closed = true;
    this.#closing.abort();
    this.#closeFormer();
    for (const connection of this.#connections.values()) connection.close();
    this.#connections.clear();
  }

  #endpoint(): string {
    return this.options.endpoints[this.#current] ?? "";
  }

  /** Closes a connection. Streams on it end, and their owners open new ones. */
  #drop(endpoint: string): void {
    this.#connections.get(endpoint)?.close();
    this.#connections.delete(endpoint);
  }

  #connection(endpoint: string): Etcd3 {
    if (this.#closed) throw new StoreError("store-unavailable", "the store was closed");
    const open = this.#connections.get(endpoint);
    if (open !== undefined) return open;
    const connection = this.#open(endpoint, this.#tls);
    this.#connections.set(endpoint, connection);
    return connection;
  }

  #open(endpoint: string, tls: EtcdOptions["tls"]): Etcd3 {
    const { auth, timeoutMs } = this.options;
    return new Etcd3({
      hosts: [`${tls === null ? "http" : "https"}://${endpoint}`],
      ...(tls === null ? {} : { credentials: credentialsOf(tls) }),
      ...(auth === null ? {} : { auth }),
      grpcOptions: KEEPALIVE,
      faultHandling: { global: noop, host: () => noop },
      defaultCallOptions: ({ isStream }) =>
        isStream ? { interceptors: [requireLeader] } : { deadline: Date.now() + timeoutMs },
    });
  }
}

function credentialsOf({ ca, cert, key }: NonNullable<EtcdOptions["tls"]>): {
  rootCertificate: Buffer;
  privateKey?: Buffer;
  certChain?: Buffer;
} {
  return {
    rootCertificate: ca ?? Buffer.from(rootCertificates.join("\n")),
    ...(key === null ? {} : { privateKey: key }),
    ...(cert === null ? {} : { certChain: cert }),
  };
}
