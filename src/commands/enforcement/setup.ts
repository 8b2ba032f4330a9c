import { Flags } from "@oclif/core";
import { BaseCommand } from "../../cli/base.js";
import { confirm } from "../../cli/confirm.js";
import { RISK_FLAGS } from "../../cli/risks.js";
import { renderSetupPlan, renderSetupResult, setupDocument } from "../../views/setup.js";
import { applyPfSetup, planPfSetup } from "../../wiring/machine.js";

export default class EnforcementSetup extends BaseCommand {
  static override summary =
    "Add the one line to /etc/pf.conf that makes pf of macOS evaluate ztap's rules. Needs root.";
  static override description =
    "Shows the change and asks. The previous file is kept as /etc/pf.conf.ztap-backup; pfctl checks the new one before it is installed and loaded. No other command writes that file.";
  static override flags = {
    backend: Flags.option({ options: ["pf"] as const, required: true })({ description: "what to set up" }),
    undo: Flags.boolean({ description: "remove the line again" }),
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
