import { Flags } from "@oclif/core";
import { BaseCommand } from "../cli/base.js";
import { agentSettingFlags } from "../settings/flags.js";
import { untilSignal } from "../cli/signals.js";
import { reconcileOnce, runAgent } from "../reconcile/agent.js";
import { withAgentDeps } from "../wiring/agent.js";

export default class Agent extends BaseCommand {
  static override summary = "Run this node's agent: follow head, enforce it, and lead when elected.";
  static override description =
    "Stops cleanly on SIGTERM and SIGINT. Its enforcement stays in force until `ztap enforcement remove`. Logs go to stderr.";
  static override examples = [
    "<%= config.bin %> agent --source https://git.example.com/policies.git",
    "<%= config.bin %> agent --once",
  ];
  static override flags = {
    once: Flags.boolean({ description: "reconcile once, leave enforcement in place and exit", env: "ZTAP_ONCE" }),
    ...agentSettingFlags(),
  };

  async run(): Promise<void> {
    const { flags } = await this.parse(Agent);
    const settings = await this.settings(flags);
    await untilSignal((signal) =>
      withAgentDeps(settings, signal, (deps, options) =>
        flags.once ? reconcileOnce(deps, options) : runAgent(deps, options, signal),
      ),
    );
  }
}
