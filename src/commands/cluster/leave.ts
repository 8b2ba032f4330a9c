import { Args } from "@oclif/core";
import { BaseCommand } from "../../cli/base.js";
import { RISK_FLAGS } from "../../cli/risks.js";
import { leaveCluster } from "../../operations/cluster/membership.js";
import { clusterLeaveDocument, renderLeft } from "../../views/cluster.js";
import { withStore } from "../../wiring/store.js";

export default class ClusterLeave extends BaseCommand {
  static override summary = "Remove a node's membership, heartbeat and status.";
  static override description =
    "The node's kernel keeps the enforcement. A dead node is unhealthy, but stays a member until it is removed.";
  static override args = {
    id: Args.string({ ignoreStdin: true, description: "name of the node", required: true }),
  };
  static override flags = { force: RISK_FLAGS.force };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(ClusterLeave);
    const settings = await this.settings(flags);
    const left = await withStore(settings, { create: "when-written" }, (store) =>
      leaveCluster(store, args.id, flags.force),
    );
    this.print(flags, clusterLeaveDocument(left), () => renderLeft(left, this.style));
  }
}
