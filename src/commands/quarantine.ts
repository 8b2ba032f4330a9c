import { Args } from "@oclif/core";
import { OverrideCommand, OVERRIDE_FLAGS } from "../cli/override-command.js";

export default class Quarantine extends OverrideCommand {
  static override summary = "Cut a workload, or all workloads of a node, off from everything, for a time.";
  static override description =
    "Nothing passes to or from it, also on established connections, on every node where it runs, whatever its policies say. " +
    "A workload still reaches itself. Of a node, the host itself is spared: management access stays. " +
    "The kernel's clock ends it, also where no agent runs; with pf the agent does.";
  static override examples = [
    "<%= config.bin %> quarantine shop/web --for 4h --reason 'incident 42'",
    "<%= config.bin %> quarantine web-1 --for 30m --reason 'incident 42'",
  ];
  static override args = {
    target: Args.string({
      ignoreStdin: true,
      description: "a workload, NAMESPACE/NAME, or the name of a node",
      required: true,
    }),
  };
  static override flags = OVERRIDE_FLAGS;

  async run(): Promise<void> {
    const { args, flags } = await this.parse(Quarantine);
    const { target } = args;
    await this.override(flags, "quarantine", target.includes("/") ? { workload: target } : { node: target });
  }
}
