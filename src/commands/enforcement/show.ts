import { BaseCommand } from "../../cli/base.js";
import { settingFlags } from "../../settings/flags.js";
import { enforcementDocument, renderEnforcement } from "../../views/enforcement.js";
import { inspectMachine } from "../../wiring/machine.js";

export default class EnforcementShow extends BaseCommand {
  static override summary =
    "Show ztap's enforcement as read from this machine's kernel, or from pf on macOS. Needs root.";
  static override flags = settingFlags("pinRoot", "stateDir");

  async run(): Promise<void> {
    const { flags } = await this.parse(EnforcementShow);
    const found = await inspectMachine(await this.settings(flags));
    this.print(flags, enforcementDocument(found), () => renderEnforcement(found, this.style));
  }
}
