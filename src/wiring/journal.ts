/** Wiring of `ztap logs`: the agent's log, where systemd keeps it. */
import type { JournalQuery } from "../adapters/system/journal.js";
import { OperationError } from "../model/operation-error.js";

/** The units of the agent: the one that runs, and the one that enforces before the network is up. */
const UNITS = ["ztap.service", "ztap-boot.service"];

/** @throws OperationError `unsupported` where there is no journal */
export async function printAgentLog(query: Omit<JournalQuery, "units">, signal: AbortSignal): Promise<void> {
  const { JournalUnavailable, printJournal } = await import("../adapters/system/journal.js");
  await printJournal({ ...query, units: UNITS }, signal).catch((cause: unknown) => {
    if (!(cause instanceof JournalUnavailable)) throw cause;
    const why = {
      "no-systemd": "systemd does not run this machine, so that there is no journal",
      "no-journalctl": "there is no journalctl, which reads the journal",
      failed: cause.message,
    }[cause.code];
    throw new OperationError(
      "unsupported",
      `no log can be shown: ${why}; an agent writes its log to stderr, which its service manager keeps. \`ztap flows\` shows the agent's decisions`,
    );
  });
}
