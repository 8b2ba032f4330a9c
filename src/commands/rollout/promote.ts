import { Flags } from "@oclif/core";
import { BaseCommand } from "../../cli/base.js";
import { operatorName } from "../../cli/confirm.js";
import { promoteRollout } from "../../operations/rollout/control.js";
import { promotedDocument, renderPromoted } from "../../views/rollout-status.js";
import { systemClock } from "../../wiring/host.js";
import { withStore } from "../../wiring/store.js";

export default class RolloutPromote extends BaseCommand {
  static override summary = "Begin the next wave now, over soak, gates and freeze.";
  static override description =
    "An operator's word for one wave: it says what it goes over. Also begins a rollout again that failed. " +
    "Needs the store alone, and no leader.";
  static override examples = ["<%= config.bin %> rollout promote", "<%= config.bin %> rollout promote --all"];
  static override flags = {
    all: Flags.boolean({ description: "all waves that are left: every node has the revision now", env: "ZTAP_ALL" }),
  };

  async run(): Promise<void> {
    const { flags } = await this.parse(RolloutPromote);
    const settings = await this.settings(flags);
    const promoted = await withStore(settings, { create: "when-written" }, (store) =>
      promoteRollout({ store, clock: systemClock }, { by: operatorName(), all: flags.all }),
    );
    this.print(flags, promotedDocument(promoted), () => renderPromoted(promoted, this.style));
  }
}
