import { BaseCommand } from "../../cli/base.js";
import { OUTPUT_FLAGS } from "../../cli/output.js";
import { readClusterStatus } from "../../operations/cluster/membership.js";
import { clusterStatusDocument, renderClusterStatus } from "../../views/cluster.js";
import { systemClock } from "../../wiring/host.js";
import { withStore } from "../../wiring/store.js";

export default class ClusterStatusCommand extends BaseCommand {
  static override summary = "Show head, leader, source and nodes.";
  static override flags = OUTPUT_FLAGS;

  async run(): Promise<void> {
    const { flags } = await this.parse(ClusterStatusCommand);
    const settings = await this.settings(flags);
    const status = await withStore(settings, { create: false }, (store) =>
      readClusterStatus({ store, clock: systemClock }),
    );
    await this.present(flags, clusterStatusDocument(status), () =>
      renderClusterStatus(status, this.style, flags.output === "wide"),
    );
  }
}
