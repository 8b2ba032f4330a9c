import { BaseCommand } from "../../cli/base.js";
import { SETTING_FLAGS } from "../../cli/flags.js";
import { enforcementDocument, renderEnforcement } from "../../views/enforcement.js";
import { inspectMachine } from "../../wiring.js";

export default class EnforcementShow extends BaseCommand {
  static override summary = "What this machine's kernel holds of ztap's, read from the kernel. Needs root.";
  static override flags = { "pin-root": SETTING_FLAGS["pin-root"] };

  async run(): Promise<void> {
    const { flags } = await this.parse(EnforcementShow);
    const found = await inspectMachine(await this.settings(flags));
    this.print(flags, enforcementDocument(found), () => renderEnforcement(found, this.style));
  }
}
