/** The entry point of the CLI: runs oclif and turns every failure into one message and an exit code. */
import { Config, Errors, flush, run } from "@oclif/core";
import { printable, printableJson } from "../model/printable.js";
import { systemReason, withReason } from "../model/system-error.js";
import { OperationError } from "../model/operation-error.js";
import { EXIT, InvalidInput } from "./exit.js";
import { describeUsage } from "./usage.js";

/** How long leftovers of a finished command may keep the process alive. */
const LINGER_MS = 300;

/**
 * Runs the command line.
 * @param root the folder of ztap's package.json
 */
export async function main(argv: readonly string[], root: string): Promise<void> {
  // The reader of the output may go away (`| head`); the command continues, without a stack trace.
  for (const stream of [process.stdout, process.stderr]) stream.on("error", ignoreClosedPipe);
  // They concern the authors of packages: gRPC warns of each server that is named by its IP address.
  process.noDeprecation = true;
  process.once("uncaughtException", (error) => {
    report(error, argv);
    process.exit(EXIT.failed);
  });
  // oclif reads a user's theme from HOME, and loads plugins that it finds there. ztap uses neither, least of all as
  // root.
  process.env["ZTAP_DISABLE_THEME"] = "1";
  let commands: readonly string[] = [];
  try {
    const config = await Config.load({ root, userPlugins: false, devPlugins: false });
    commands = config.commands.filter(({ hidden }) => !hidden).map(({ id }) => id);
    await run(helpFirst(argv), config);
    await flush();
  } catch (error) {
    if (error instanceof Errors.ExitError) process.exitCode = error.oclif.exit ?? EXIT.failed;
    else report(error, argv, commands);
  }
  // A connection attempt would keep the process alive until the kernel gives up.
  await Promise.all([process.stdout, process.stderr].map(written));
  setTimeout(() => process.exit(), LINGER_MS).unref();
}

/** Resolves when the stream has passed on everything written to it, or can no longer do so. */
function written(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => {
    if (!stream.writable) resolve();
    else stream.write("", () => resolve());
  });
}

function ignoreClosedPipe(error: NodeJS.ErrnoException): void {
  if (error.code !== "EPIPE") throw error;
}

/** Rewrites `ztap help policy show` as `ztap policy show --help`. */
function helpFirst(argv: readonly string[]): string[] {
  const [first, ...rest] = argv;
  return first === "help" ? [...rest, "--help"] : [...argv];
}

function report(error: unknown, argv: readonly string[], commands: readonly string[] = []): void {
  const isUsage = isUsageError(error);
  const isInterrupted = error instanceof OperationError && error.code === "interrupted";
  process.exitCode = isUsage ? EXIT.usage : isInterrupted ? EXIT.interrupted : EXIT.failed;
  const message = printable(error instanceof Error ? describe(error, commands) : String(error));
  if (wantsJson(argv)) {
    const diagnostics = error instanceof InvalidInput ? { diagnostics: error.diagnostics } : {};
    const document = { formatVersion: 1, error: { code: codeOf(error, isUsage), message, ...diagnostics } };
    process.stdout.write(`${printableJson(document, 2)}\n`);
  }
  // An error quotes texts of others, such as git's: none of their lines may look like one of ztap's.
  process.stderr.write(`ztap: ${isUsage ? message : message.replaceAll("\n", "\n  ")}\n`);
  if (wantsStack(argv) && error instanceof Error) process.stderr.write(`${printable(error.stack ?? "")}\n`);
}

/**
 * Returns whether JSON was requested. The command line may be invalid, so that it is searched here without being
 * parsed.
 */
function wantsJson(argv: readonly string[]): boolean {
  const variable = process.env["ZTAP_JSON"] ?? "";
  return (
    argv.includes("--json") ||
    ["--format", "--output", "-o"].some((flag) => hasOption(argv, flag, "json")) ||
    argv.includes("-ojson") ||
    process.env["ZTAP_OUTPUT"] === "json" ||
    process.env[`ZTAP_${(argv[0] ?? "").toUpperCase()}_FORMAT`] === "json" ||
    /^(1|true|yes|y)$/i.test(variable)
  );
}

function wantsStack(argv: readonly string[]): boolean {
  return hasOption(argv, "--log-level", "debug") || process.env["ZTAP_LOG_LEVEL"] === "debug";
}

function hasOption(argv: readonly string[], flag: string, value: string): boolean {
  return argv.some((word, index) => word === `${flag}=${value}` || (word === value && argv[index - 1] === flag));
}

/**
 * Returns whether the command line was wrong: oclif reports that by its own classes, all below CLIError, with its exit
 * code 2.
 */
function isUsageError(error: unknown): boolean {
  if (error instanceof OperationError) return ["invalid-settings", "invalid-query", "usage"].includes(error.code);
  return error instanceof Errors.CLIError;
}

function codeOf(error: unknown, isUsage: boolean): string {
  if (error instanceof InvalidInput) return "invalid-source";
  if (error instanceof Error && "code" in error && typeof error.code === "string") return error.code;
  return isUsage ? "usage" : "failed";
}

function describe(error: Error, commands: readonly string[]): string {
  let message = error instanceof Errors.CLIError ? describeUsage(error.message, commands) : inWords(error);
  const causes: string[] = [];
  for (let cause = error.cause; cause instanceof Error && causes.length < 3; cause = cause.cause) {
    const why = systemReason(cause) ?? cause.message;
    message = message.replace(cause.message, () => why);
    if (!message.includes(why)) causes.push(why);
  }
  return [message, ...causes].join(": ");
}

/** Describes an unexpected error of a system call with the path that it concerns. */
function inWords(error: Error): string {
  const { dest, path }: NodeJS.ErrnoException & { readonly dest?: string } = error;
  const about = dest ?? path;
  return about === undefined || systemReason(error) === null ? error.message : withReason(about, error);
}
