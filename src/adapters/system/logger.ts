/**
 * The log: one JSON line per entry on stderr, or text for people on a terminal. pino costs 40 ms to import, so that
 * only code that logs loads this module.
 */
import { pino, stdTimeFunctions } from "pino";
import { escapedJson, printableLine } from "../../model/printable.js";
import type { Logger } from "../../interfaces/system.js";

/** Lowest severity that is written; `silent` writes nothing. */
export type LogThreshold = "debug" | "info" | "warn" | "error" | "silent";

export interface LogSink {
  write(line: string): void;
}

/**
 * Creates a logger.
 * @param pretty text for people in place of JSON
 * @param sink receives the lines; stderr, written synchronously, so that a crash loses none
 */
export function createLogger(level: LogThreshold, pretty = false, sink: LogSink = process.stderr): Logger {
  const target = { write: (line: string) => sink.write(pretty ? prettyLine(line) : escapedJson(line)) };
  const log = pino(
    {
      level,
      base: null,
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { error: describeError },
    },
    target,
  );
  return {
    debug: (message, fields) => log.debug(fields ?? {}, message),
    info: (message, fields) => log.info(fields ?? {}, message),
    warn: (message, fields) => log.warn(fields ?? {}, message),
    error: (message, fields) => log.error(fields ?? {}, message),
  };
}

/** Returns an error as a plain object: JSON would show neither its message nor its causes. */
function describeError(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const { name, message } = error;
  const code = "code" in error ? { code: error.code } : {};
  return { name, ...code, message, ...(error.cause === undefined ? {} : { cause: describeError(error.cause) }) };
}

/** Returns `21:35:20.123 warn  the message  key=value`. */
function prettyLine(line: string): string {
  const parsed: unknown = JSON.parse(line);
  const { level, time, msg, ...fields } = Object.fromEntries(Object.entries(parsed ?? {}));
  const extra = Object.entries(fields).map(
    ([name, value]) => `  ${name}=${typeof value === "string" ? value : JSON.stringify(value)}`,
  );
  return `${String(time).slice(11, 23)} ${String(level).padEnd(5)} ${printableLine(String(msg) + extra.join(""))}\n`;
}
