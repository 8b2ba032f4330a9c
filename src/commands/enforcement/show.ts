import { BaseCommand } from "../../cli/base.js";
import { OUTPUT_FLAGS } from "../../cli/output.js";
import { settingFlags } from "../../settings/flags.js";
import { enforcementDocument, renderEnforcement } from "../../views/enforcement.js";
import { inspectMachine } from "../../wiring/machine.js";

export default class EnforcementShow extends BaseCommand {
  static override summary =
    "Show ztap's enforcement as read from this machine's kernel, or from pf on macOS. Needs root.";
  static override flags = { ...OUTPUT_FLAGS, ...settingFlags("pinRoot", "stateDir") };

  async run(): Promise<void> {
    const { flags } = await this.parse(EnforcementShow);
    const found = await inspectMachine(await this.settings(flags));
    await this.present(flags, enforcementDocument(found), () => renderEnforcement(found, this.style));
  }
}
