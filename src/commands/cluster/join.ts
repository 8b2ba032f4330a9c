import { Args } from "@oclif/core";
import { BaseCommand } from "../../cli/base.js";
import { joinCluster } from "../../operations/cluster/membership.js";
import { clusterJoinDocument, renderJoined } from "../../views/cluster.js";
import { systemClock } from "../../wiring/host.js";
import { withStore } from "../../wiring/store.js";

export default class ClusterJoin extends BaseCommand {
  static override summary = "Make a node a member, before its agent has ever run.";
  static override description = "An agent joins by itself when it starts. Joining again changes the address.";
  static override examples = ["<%= config.bin %> cluster join web-1 10.0.0.11:9470"];
  static override args = {
    id: Args.string({ ignoreStdin: true, description: "name of the node", required: true }),
    address: Args.string({ ignoreStdin: true, description: "host:port of its agent", required: true }),
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(ClusterJoin);
    const settings = await this.settings(flags);
    const joined = await withStore(settings, { create: true }, (store) =>
      joinCluster({ store, clock: systemClock }, args.id, args.address),
    );
    this.print(flags, clusterJoinDocument(joined), () => renderJoined(joined, this.style));
  }
}
