import { Args, Flags } from "@oclif/core";
import { BaseCommand } from "../../cli/base.js";
import { operatorName } from "../../cli/confirm.js";
import { approveCommit } from "../../operations/cluster/source-control.js";
import { approvalDocument, renderApproved } from "../../views/source-control.js";
import { systemClock } from "../../wiring/host.js";
import { withStore } from "../../wiring/store.js";

export default class ClusterApprove extends BaseCommand {
  static override summary = "Approve a commit of the source that the leader holds.";
  static override description =
    "The leader holds a commit that deletes a large part of the objects, and signed history that was rewritten. The approval does not cover later commits, and does not replace a signature.";
  static override examples = ["<%= config.bin %> cluster approve 3f786850e387550fdab836ed7e6dc881de23001b"];
  static override args = {
    commit: Args.string({ ignoreStdin: true, description: "full id of the commit", required: true }),
  };
  static override flags = {
    reason: Flags.string({
      char: "m",
      description: "why, for the record",
      env: "ZTAP_REASON",
      helpValue: "TEXT",
      default: "",
    }),
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(ClusterApprove);
    const settings = await this.settings(flags);
    const order = { by: operatorName(), reason: flags.reason };
    const approval = await withStore(settings, { create: "when-written" }, (store) =>
      approveCommit({ store, clock: systemClock }, args.commit, order),
    );
    this.print(flags, approvalDocument(approval), () => renderApproved(approval, this.style));
  }
}
