/** The journal of systemd, read by `journalctl`: what it prints goes to this process's own output. */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";

/** What systemd makes when it has started the machine; see sd_booted(3). */
const BOOTED = "/run/systemd/system";

export interface JournalQuery {
  readonly units: readonly string[];
  readonly follow: boolean;
  /** The newest entries; null for all. */
  readonly lines: number | null;
  /** Entries since then; null for all. */
  readonly sinceMs: number | null;
  /** Each entry as a JSON document on a line. */
  readonly json: boolean;
}

/** Why the journal cannot be read. */
export class JournalUnavailable extends Error {
  override readonly name = "JournalUnavailable";
  constructor(
    readonly code: "no-systemd" | "no-journalctl" | "failed",
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/**
 * Prints entries; returns at their end, or once the signal aborts.
 * @throws JournalUnavailable
 */
export async function printJournal(query: JournalQuery, signal: AbortSignal): Promise<void> {
  if (!existsSync(BOOTED)) throw new JournalUnavailable("no-systemd", `there is no ${BOOTED}`);
  const child = spawn("journalctl", journalArguments(query), { stdio: ["ignore", "inherit", "inherit"], signal });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once("close", (status, by) => resolve(by === null ? status : 0));
    child.once("error", (cause: NodeJS.ErrnoException) => {
      if (signal.aborted) resolve(0);
      else reject(new JournalUnavailable("no-journalctl", "journalctl cannot be started", { cause }));
    });
  });
  if (code !== 0) throw new JournalUnavailable("failed", `journalctl ended with ${code ?? "a signal"}`);
}

export function journalArguments({ units, follow, lines, sinceMs, json }: JournalQuery): readonly string[] {
  return [
    "--no-pager",
    "--quiet",
    ...units.map((unit) => `--unit=${unit}`),
    `--output=${json ? "json" : "short-iso"}`,
    ...(follow ? ["--follow"] : []),
    ...(sinceMs === null ? [] : [`--since=-${Math.ceil(sinceMs / 1000)}s`]),
    `--lines=${lines ?? "all"}`,
  ];
}
