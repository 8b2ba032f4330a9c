import { Flags } from "@oclif/core";
import { settingFlags } from "../../settings/flags.js";
import { STATE_ARGS, STATE_FLAGS, StateCommand } from "../../cli/state-command.js";
import { compileNode } from "../../operations/query/compile-node.js";
import { renderingDocument, renderRefusals, renderRendering } from "../../views/rendering.js";
import { renderRuleset } from "../../wiring/machine.js";

export default class EnforcementRender extends StateCommand {
  static override summary = "Print the rules that a node would load. Needs neither root nor that node's system.";
  static override description =
    "For pf: the text for pfctl. For eBPF: the entries of the kernel's tables. Rules that the backend cannot express are reported on stderr.";
  static override examples = [
    "<%= config.bin %> enforcement render --node mac-1 --backend pf",
    "<%= config.bin %> enforcement render https://git.example.net/policies.git --node web-1 --json",
  ];
  static override args = STATE_ARGS;
  static override flags = {
    ...STATE_FLAGS,
    ...settingFlags("node"),
    backend: Flags.option({ options: ["ebpf", "pf"] as const })({
      description: "backend (default: the one of the Node, else ebpf)",
    }),
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(EnforcementRender);
    const { backend, ...rest } = flags;
    const { node } = await this.settings(rest);
    const { objects } = await this.readState(args.source, rest);
    const { ruleset, declared } = compileNode(objects, node);
    const rendered = await renderRuleset(backend ?? declared, ruleset);
    if (!flags.json && rendered.refusals.length > 0) this.logToStderr(renderRefusals(rendered, this.style));
    this.print(flags, renderingDocument(rendered, ruleset.digest), () => renderRendering(rendered, this.style));
  }
}
