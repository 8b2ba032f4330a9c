import { BaseCommand } from "../../cli/base.js";
import { readClusterStatus } from "../../operations/cluster/membership.js";
import { clusterListDocument, renderClusterList } from "../../views/cluster.js";
import { systemClock } from "../../wiring/host.js";
import { withStore } from "../../wiring/store.js";

export default class ClusterList extends BaseCommand {
  static override summary = "List the nodes: declared, joined and live.";

  async run(): Promise<void> {
    const { flags } = await this.parse(ClusterList);
    const settings = await this.settings(flags);
    const status = await withStore(settings, { create: false }, (store) =>
      readClusterStatus({ store, clock: systemClock }),
    );
    this.print(flags, clusterListDocument(status), () => renderClusterList(status, this.style));
  }
}
