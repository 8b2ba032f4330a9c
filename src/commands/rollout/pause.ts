import { BaseCommand } from "../../cli/base.js";
import { operatorName } from "../../cli/confirm.js";
import { pauseRollout } from "../../operations/rollout/control.js";
import { renderPaused, rolloutChangeDocument } from "../../views/rollout-status.js";
import { systemClock } from "../../wiring/host.js";
import { withStore } from "../../wiring/store.js";

export default class RolloutPause extends BaseCommand {
  static override summary = "Pause the rollout: no wave begins, and no gate fails it, until `rollout resume`.";
  static override description = "Nodes keep the revision that they have. Needs the store alone, and no leader.";

  async run(): Promise<void> {
    const { flags } = await this.parse(RolloutPause);
    const settings = await this.settings(flags);
    const rollout = await withStore(settings, { create: "when-written" }, (store) =>
      pauseRollout({ store, clock: systemClock }, operatorName()),
    );
    this.print(flags, rolloutChangeDocument(rollout), () => renderPaused(rollout, this.style));
  }
}
