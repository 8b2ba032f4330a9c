import { Flags } from "@oclif/core";
import { OverrideCommand, OVERRIDE_FLAGS } from "../cli/override-command.js";

export default class Breakglass extends OverrideCommand {
  static override summary = "Let everything pass that policy refuses on a node, for a time.";
  static override description =
    "Policy refuses nothing to the workloads of the node, nor to its host. A workload in quarantine stays there, and nobody may send from another's address. " +
    "The kernel's clock ends it, and with it the connections that policy does not allow, also where no agent runs; with pf the agent does.";
  static override examples = ["<%= config.bin %> breakglass --node web-1 --for 1h --reason 'incident 42'"];
  static override flags = {
    ...OVERRIDE_FLAGS,
    node: Flags.string({ description: "the node", helpValue: "NODE", required: true }),
  };

  async run(): Promise<void> {
    const { flags } = await this.parse(Breakglass);
    await this.override(flags, "breakglass", { node: flags.node });
  }
}
