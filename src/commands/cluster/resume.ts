import { BaseCommand } from "../../cli/base.js";
import { resumeSource } from "../../operations/cluster/source-control.js";
import { renderResumed, resumedDocument } from "../../views/source-control.js";
import { withStore } from "../../wiring/store.js";

export default class ClusterResume extends BaseCommand {
  static override summary = "Follow the source again, from the leader's next poll on.";
  static override aliases = ["rollout:resume"];
  static override description =
    "Changes that were committed over Git meanwhile are reverted to Git's state, unless source.selfHeal is false.";

  async run(): Promise<void> {
    const { flags } = await this.parse(ClusterResume);
    const settings = await this.settings(flags);
    const ended = await withStore(settings, { create: "when-written" }, resumeSource);
    this.print(flags, resumedDocument(ended), () => renderResumed(ended, this.style));
  }
}
