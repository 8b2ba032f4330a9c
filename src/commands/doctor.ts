import { BaseCommand } from "../cli/base.js";
import { EXIT } from "../cli/exit.js";
import { OUTPUT_FLAGS } from "../cli/output.js";
import { settingFlags } from "../settings/flags.js";
import { doctorDocument, renderDoctor } from "../views/doctor.js";
import { examineMachine } from "../wiring/doctor.js";

export default class Doctor extends BaseCommand {
  static override summary = "Check this machine for everything that ztap needs, and show how to fix problems.";
  static override flags = {
    ...OUTPUT_FLAGS,
    ...settingFlags("node", "stateDir", "pinRoot", "source.url", "source.branch"),
  };

  async run(): Promise<void> {
    const { flags } = await this.parse(Doctor);
    const checks = await examineMachine(await this.settings(flags));
    await this.present(flags, doctorDocument(checks), () => renderDoctor(checks, this.style));
    if (checks.some(({ state }) => state === "failed")) process.exitCode = EXIT.failed;
  }
}
