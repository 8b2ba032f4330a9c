/** The way into the CLI: runs oclif and turns every failure into one message and an exit code. */
import { Errors, flush, run } from "@oclif/core";
import { OperationError } from "../operations/error.js";
import { EXIT, InvalidInput } from "./exit.js";

/** @param root the folder of ztap's package.json */
export async function main(argv: readonly string[], root: string): Promise<void> {
  try {
    await run([...argv], root);
    await flush();
  } catch (error) {
    if (error instanceof Errors.ExitError) process.exitCode = error.oclif.exit ?? EXIT.failed;
    else report(error, argv);
  }
}

function report(error: unknown, argv: readonly string[]): void {
  const isUsage = isUsageError(error);
  process.exitCode = isUsage ? EXIT.usage : EXIT.failed;
  const isDebug = argv.some(
    (word, index) => word === "--log-level=debug" || (word === "debug" && argv[index - 1] === "--log-level"),
  );
  const message = error instanceof Error ? describe(error) : String(error);
  const isJson = argv.includes("--json");
  if (isJson)
    process.stdout.write(
      `${JSON.stringify({ formatVersion: 1, error: { code: codeOf(error, isUsage), message } }, null, 2)}\n`,
    );
  process.stderr.write(`ztap: ${message}\n`);
  if (isDebug && error instanceof Error) process.stderr.write(`${error.stack ?? ""}\n`);
}

/** oclif tells a wrong command line by classes of its own, all below CLIError, with its exit code 2. */
function isUsageError(error: unknown): boolean {
  if (error instanceof OperationError) return error.code === "invalid-settings" || error.code === "invalid-query";
  return error instanceof Errors.CLIError;
}

function codeOf(error: unknown, isUsage: boolean): string {
  if (error instanceof InvalidInput) return "invalid-source";
  if (error instanceof Error && "code" in error && typeof error.code === "string") return error.code;
  return isUsage ? "usage" : "failed";
}

function describe(error: Error): string {
  const causes: string[] = [];
  for (let cause = error.cause; cause instanceof Error && causes.length < 3; cause = cause.cause) {
    if (!error.message.includes(cause.message)) causes.push(cause.message);
  }
  return [error.message, ...causes].join(": ");
}
