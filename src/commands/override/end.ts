import { Args } from "@oclif/core";
import { BaseCommand } from "../../cli/base.js";
import { operatorName } from "../../cli/confirm.js";
import { endOverride } from "../../operations/override/override.js";
import { overrideDocument, renderEnded } from "../../views/overrides.js";
import { systemClock, systemRandom } from "../../wiring/host.js";
import { withStore } from "../../wiring/store.js";

export default class OverrideEnd extends BaseCommand {
  static override summary = "End a quarantine or a break-glass before its time.";
  static override description = "It stays in the list, with who ended it.";
  static override examples = ["<%= config.bin %> override end 3f2a9c01"];
  static override args = {
    id: Args.string({ ignoreStdin: true, description: "its id, as `override list` shows it", required: true }),
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(OverrideEnd);
    const ended = await withStore(await this.settings(flags), { create: "when-written" }, (store) =>
      endOverride({ store, clock: systemClock, random: systemRandom }, args.id, operatorName()),
    );
    this.print(flags, overrideDocument(ended), () => renderEnded(ended, this.style));
  }
}
