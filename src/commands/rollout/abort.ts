import { BaseCommand } from "../../cli/base.js";
import { operatorName } from "../../cli/confirm.js";
import { abortRollout } from "../../operations/rollout/control.js";
import { renderAborted, rolloutChangeDocument } from "../../views/rollout-status.js";
import { systemClock } from "../../wiring/host.js";
import { withStore } from "../../wiring/store.js";

export default class RolloutAbort extends BaseCommand {
  static override summary = "Abort the rollout: every node returns to the last revision that all nodes had.";
  static override description =
    "The revision stays head, and no node enforces it; the source does not bring the same commit again, and a newer one begins anew. " +
    "Needs the store alone, and no leader. A rollout that is complete is taken back by `rollout undo`.";

  async run(): Promise<void> {
    const { flags } = await this.parse(RolloutAbort);
    const settings = await this.settings(flags);
    const rollout = await withStore(settings, { create: "when-written" }, (store) =>
      abortRollout({ store, clock: systemClock }, operatorName()),
    );
    this.print(flags, rolloutChangeDocument(rollout), () => renderAborted(rollout, this.style));
  }
}
