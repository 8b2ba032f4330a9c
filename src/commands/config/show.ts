import { BaseCommand } from "../../cli/base.js";
import { OUTPUT_FLAGS } from "../../cli/output.js";
import { agentSettingFlags } from "../../settings/flags.js";
import { renderSettings, settingsDocument } from "../../views/settings.js";
import { reportSettings } from "../../wiring/settings.js";

export default class ConfigShow extends BaseCommand {
  static override summary = "Show every setting, its value and where it was set.";
  static override description =
    "A setting comes from a flag, a variable, a line of a configuration file, or the default. Credentials in URLs are masked. " +
    "An invalid setting is an error that names its origin, as in every command.";
  static override examples = ["<%= config.bin %> config show", "sudo <%= config.bin %> config show --json"];
  static override flags = { ...OUTPUT_FLAGS, ...agentSettingFlags() };

  async run(): Promise<void> {
    const { flags } = await this.parse(ConfigShow);
    const report = await reportSettings(this.commandLine(flags));
    await this.present(flags, settingsDocument(report), () => renderSettings(report, this.style));
  }
}
