import { Flags } from "@oclif/core";
import { BaseCommand } from "../../cli/base.js";
import { operatorName } from "../../cli/confirm.js";
import { suspendSource } from "../../operations/cluster/source-control.js";
import { parseDuration } from "../../settings/types.js";
import { renderSuspended, suspensionDocument } from "../../views/source-control.js";
import { systemClock } from "../../wiring/host.js";
import { withStore } from "../../wiring/store.js";

export default class ClusterSuspend extends BaseCommand {
  static override summary = "Suspend the source: no leader commits anything from it for a while.";
  static override description =
    "Agents go on enforcing head and healing drift, and operators can still use apply and policy sync. A second suspension replaces the first.";
  static override examples = ["<%= config.bin %> cluster suspend --reason 'incident 42' --for 2h"];
  static override flags = {
    reason: Flags.string({
      char: "m",
      description: "reason, for the other operators",
      env: "ZTAP_REASON",
      helpValue: "TEXT",
      required: true,
    }),
    for: Flags.string({
      description: "end the suspension after this time: 30m, 2h (default: at `cluster resume`)",
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
