import { Flags } from "@oclif/core";
import { BaseCommand } from "../../cli/base.js";
import { confirm } from "../../cli/confirm.js";
import { RISK_FLAGS } from "../../cli/risks.js";
import { settingFlags } from "../../settings/flags.js";
import { removalDocument, renderRemovable, renderRemoval } from "../../views/enforcement.js";
import { listRemovable, removeEnforcement } from "../../wiring/machine.js";

export default class EnforcementRemove extends BaseCommand {
  static override summary = "Remove all enforcement from this machine. Needs root. Workloads are open afterwards.";
  static override flags = {
    ...settingFlags("pinRoot", "stateDir"),
    node: Flags.string({
      description: "only the enforcement of this node (default: every node on this machine)",
      helpValue: "NAME",
    }),
    "auto-approve": RISK_FLAGS["auto-approve"],
  };

  async run(): Promise<void> {
    const { flags } = await this.parse(EnforcementRemove);
    const { node, ...rest } = flags;
    const settings = await this.settings(rest);
    const held = await listRemovable(settings, node ?? null);
    if (held.length > 0 && !flags["auto-approve"]) {
      this.logToStderr(renderRemovable(held, this.style));
      await confirm("Remove this enforcement?", "removed");
    }
    const removed = await removeEnforcement(settings, node ?? null);
    this.print(flags, removalDocument(removed), () => renderRemoval(removed, this.style));
  }
}
