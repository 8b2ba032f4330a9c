import { Flags } from "@oclif/core";
import { BaseCommand } from "../cli/base.js";
import { untilSignal } from "../cli/signals.js";
import { OperationError } from "../model/operation-error.js";
import { parseDuration } from "../settings/types.js";
import { printAgentLog } from "../wiring/journal.js";

/** Enough to see why an agent stopped. */
const DEFAULT_LINES = 200;

export default class Logs extends BaseCommand {
  static override summary = "Show the log of this machine's agent, as systemd's journal has it.";
  static override description =
    "Reads the units ztap and ztap-boot, and needs a machine that systemd runs. With --json, one entry of the journal a line. Decisions about packets are no log: `ztap flows` shows them.";
  static override examples = ["<%= config.bin %> logs --follow", "<%= config.bin %> logs --since 2h"];
  static override flags = {
    follow: Flags.boolean({ char: "f", description: "continue with new entries, until Ctrl-C", env: "ZTAP_FOLLOW" }),
    since: Flags.string({
      description: "entries of this time until now: 30m, 2h",
      env: "ZTAP_SINCE",
      helpValue: "TIME",
    }),
    tail: Flags.integer({
      description: `the newest entries (default: ${DEFAULT_LINES}, or with --since all)`,
      env: "ZTAP_TAIL",
      helpValue: "NUMBER",
      min: 0,
    }),
  };

  async run(): Promise<void> {
    const { flags } = await this.parse(Logs);
    const sinceMs = flags.since === undefined ? null : parseDuration("--since", flags.since);
    const lines = flags.tail ?? (sinceMs === null ? DEFAULT_LINES : null);
    if (lines === 0 && !flags.follow) throw new OperationError("usage", "--tail 0 shows nothing without --follow");
    await untilSignal((signal) => printAgentLog({ follow: flags.follow, lines, sinceMs, json: flags.json }, signal));
  }
}
