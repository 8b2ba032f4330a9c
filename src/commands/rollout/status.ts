import { ListCommand } from "../../cli/list-command.js";
import { OUTPUT_FLAGS, WATCH_FLAG } from "../../cli/output.js";
import type { Store } from "../../interfaces/store.js";
import { readRolloutStatus } from "../../operations/rollout/status.js";
import { renderRolloutStatus, rolloutStatusDocument } from "../../views/rollout-status.js";
import { wrapLines } from "../../views/wrap.js";
import { systemClock } from "../../wiring/host.js";
import { withExistingStore } from "../../wiring/store.js";

export default class RolloutStatusCommand extends ListCommand {
  static override summary = "Show how far a revision has come, what it waits for, and what it would cut.";
  static override description =
    "The newest revision reaches the nodes in the waves of Cluster.spec.rollout. Shows the state and the gates, the nodes that hold it up, " +
    "and how it differs from what is in force on live traffic, by the rule that decides.";
  static override examples = ["<%= config.bin %> rollout status --watch", "<%= config.bin %> rollout status -o json"];
  static override flags = { ...OUTPUT_FLAGS, ...WATCH_FLAG };

  async run(): Promise<void> {
    const { flags } = await this.parse(RolloutStatusCommand);
    const settings = await this.settings(flags);
    const read = (store: Store) => readRolloutStatus({ store, clock: systemClock });
    if (flags.watch)
      return this.follow(settings, flags, { read, document: rolloutStatusDocument }, (found) =>
        this.log(`${wrapLines(renderRolloutStatus(found, this.style), this.style.width)}\n`),
      );
    const found = await withExistingStore(settings, read);
    await this.present(flags, rolloutStatusDocument(found), () => renderRolloutStatus(found, this.style));
  }
}
