import { Flags } from "@oclif/core";
import { BaseCommand } from "../../cli/base.js";
import { confirm } from "../../cli/confirm.js";
import { RISK_FLAGS } from "../../cli/risks.js";
import { renderSetupPlan, renderSetupResult, setupDocument } from "../../views/setup.js";
import { applyPfSetup, planPfSetup } from "../../wiring/machine.js";

export default class EnforcementSetup extends BaseCommand {
  static override summary = "Add the one line to /etc/pf.conf by which pf of macOS comes to ztap's rules. Needs root.";
  static override description =
    "Shows the change and asks. The file that was there is kept as /etc/pf.conf.ztap-backup; the new one is checked by pfctl before it counts, and loaded. Nothing else of ztap's ever writes that file.";
  static override flags = {
    backend: Flags.option({ options: ["pf"] as const, required: true })({ description: "what to set up" }),
    undo: Flags.boolean({ description: "take the line out again" }),
    "auto-approve": RISK_FLAGS["auto-approve"],
  };

  async run(): Promise<void> {
    const { flags } = await this.parse(EnforcementSetup);
    const plan = await planPfSetup(flags.undo);
    if (plan.before !== plan.after && !flags["auto-approve"]) {
      this.logToStderr(renderSetupPlan(plan, this.style));
      await confirm(`Change ${plan.conf} and load it?`, "set up");
    }
    const result = await applyPfSetup(plan);
    this.print(flags, setupDocument(plan, result), () => renderSetupResult(result));
  }
}
