/**
 * The log: one JSON line for each event on stderr, or text for people on a terminal. pino costs
 * 40 ms to import, so this module is loaded only by what logs.
 */
import { pino, stdTimeFunctions } from "pino";
import { escapedJson, printableLine } from "../../model/printable.js";
import type { Logger } from "../../interfaces/system.js";

/** Least severity that is written; `silent` writes nothing. */
export type LogThreshold = "debug" | "info" | "warn" | "error" | "silent";

export interface LogSink {
  write(line: string): void;
}

/**
 * @param pretty text for people in place of JSON
 * @param sink where the lines go; stderr, written without delay, so that a crash loses none
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

/** An error's message is no property that JSON would show, and neither are its causes. */
function describeError(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const { name, message } = error;
  const code = "code" in error ? { code: error.code } : {};
  return { name, ...code, message, ...(error.cause === undefined ? {} : { cause: describeError(error.cause) }) };
}

/** `21:35:20.123 warn  the message  key=value` */
function prettyLine(line: string): string {
  const parsed: unknown = JSON.parse(line);
  const { level, time, msg, ...fields } = Object.fromEntries(Object.entries(parsed ?? {}));
  const extra = Object.entries(fields).map(
    ([name, value]) => `  ${name}=${typeof value === "string" ? value : JSON.stringify(value)}`,
  );
  return `${String(time).slice(11, 23)} ${String(level).padEnd(5)} ${printableLine(String(msg) + extra.join(""))}\n`;
}
