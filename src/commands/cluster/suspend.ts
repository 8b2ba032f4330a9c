import { Flags } from "@oclif/core";
import { BaseCommand } from "../../cli/base.js";
import { operatorName } from "../../cli/confirm.js";
import { suspendSource } from "../../operations/cluster/source-control.js";
import { parseDuration } from "../../settings/types.js";
import { renderSuspended, suspensionDocument } from "../../views/source-control.js";
import { systemClock } from "../../wiring/host.js";
import { withStore } from "../../wiring/store.js";

export default class ClusterSuspend extends BaseCommand {
  static override summary = "Commit nothing from the source for a while, whoever leads.";
  static override description =
    "Agents go on enforcing head and healing drift, and an operator's apply and policy sync still commit. Doing it again replaces the suspension.";
  static override examples = ["<%= config.bin %> cluster suspend --reason 'incident 42' --for 2h"];
  static override flags = {
    reason: Flags.string({
      char: "m",
      description: "why, for those who find it so",
      env: "ZTAP_REASON",
      helpValue: "TEXT",
      required: true,
    }),
    for: Flags.string({
      description: "after so long it ends by itself: 30m, 2h (default: not before `cluster resume`)",
      env: "ZTAP_FOR",
      helpValue: "TIME",
    }),
  };

  async run(): Promise<void> {
    const { flags } = await this.parse(ClusterSuspend);
    const settings = await this.settings(flags);
    const forMs = flags.for === undefined ? null : parseDuration("--for", flags.for);
    const order = { by: operatorName(), reason: flags.reason };
    const suspension = await withStore(settings, { create: "when-written" }, (store) =>
      suspendSource({ store, clock: systemClock }, order, forMs),
    );
    this.print(flags, suspensionDocument(suspension), () => renderSuspended(suspension, this.style));
  }
}
