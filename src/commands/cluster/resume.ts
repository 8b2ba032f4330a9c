import { Flags } from "@oclif/core";
import { BaseCommand } from "../../cli/base.js";
import { operatorName } from "../../cli/confirm.js";
import { resumeAll } from "../../operations/rollout/control.js";
import { renderResumedAll, resumedAllDocument } from "../../views/rollout-status.js";
import { systemClock } from "../../wiring/host.js";
import { withStore } from "../../wiring/store.js";

export default class ClusterResume extends BaseCommand {
  static override summary = "Follow the source again, from the leader's next poll on, and go on with a paused rollout.";
  static override aliases = ["rollout:resume"];
  static override description =
    "Changes that were committed over Git meanwhile are reverted to Git's state, unless source.selfHeal is false. " +
    "Ends both a suspension and a pause, and says which it ended.";
  static override flags = {
    retry: Flags.boolean({
      description: "also try a rollout again that failed",
      env: "ZTAP_RETRY",
    }),
  };

  async run(): Promise<void> {
    const { flags } = await this.parse(ClusterResume);
    const settings = await this.settings(flags);
    const resumed = await withStore(settings, { create: "when-written" }, (store) =>
      resumeAll({ store, clock: systemClock }, operatorName(), flags.retry),
    );
    this.print(flags, resumedAllDocument(resumed), () => renderResumedAll(resumed, this.style));
  }
}
