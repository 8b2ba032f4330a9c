import { ListCommand } from "../../cli/list-command.js";
import { LIST_FLAGS } from "../../cli/output.js";
import { readClusterStatus } from "../../operations/cluster/membership.js";
import { clusterListDocument, clusterListing } from "../../views/cluster.js";
import { systemClock } from "../../wiring/host.js";

export default class ClusterList extends ListCommand {
  static override summary = "List the nodes: declared, joined and live.";
  static override aliases = ["get:nodes", "get:members"];
  static override hiddenAliases = ["get:node", "get:no", "get:member"];
  static override examples = ["<%= config.bin %> cluster list -o wide", "<%= config.bin %> get nodes --watch"];
  static override flags = LIST_FLAGS;

  async run(): Promise<void> {
    const { flags } = await this.parse(ClusterList);
    await this.list(await this.settings(flags), flags, {
      read: (store) => readClusterStatus({ store, clock: systemClock }),
      document: clusterListDocument,
      listing: clusterListing,
    });
  }
}
