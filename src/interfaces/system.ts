/** Clock, randomness and logger: injected, so that tests control them. */

export interface Clock {
  /** Wall clock, milliseconds since 1970, UTC. For records that people read. */
  now(): number;
  /** Milliseconds that never go back. For durations and deadlines. */
  monotonic(): number;
  /** Resolves after `ms`, or at once when the signal aborts; never rejects. Leaves no timer behind. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export interface Random {
  /** [0, 1) */
  fraction(): number;
  /** Lower-case hexadecimal, unguessable, 128 bits. */
  id(): string;
}

export type LogFields = Readonly<Record<string, unknown>>;

export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}

/** What came of enabling the units of the agent. `no-systemd`, `no-units`: nothing was done. */
export interface UnitsEnabled {
  readonly outcome: "enabled" | "no-systemd" | "no-units" | "failed";
  readonly detail: string;
}
