import { Args } from "@oclif/core";
import { BaseCommand } from "../../cli/base.js";
import { inNamespace, NAMESPACE_FLAG, OUTPUT_FLAGS } from "../../cli/output.js";
import { reportWorkload } from "../../operations/workload/list.js";
import { renderWorkloadReport, workloadReportDocument } from "../../views/workloads.js";
import { systemClock } from "../../wiring/host.js";
import { withExistingStore } from "../../wiring/store.js";

export default class WorkloadShow extends BaseCommand {
  static override summary = "Show a workload with its instances on all nodes.";
  static override aliases = ["describe:workload"];
  static override hiddenAliases = ["describe:wl"];
  static override args = {
    name: Args.string({
      ignoreStdin: true,
      description: "NAMESPACE/NAME, or NAME in the namespace default",
      required: true,
    }),
  };
  static override flags = { ...OUTPUT_FLAGS, ...NAMESPACE_FLAG };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(WorkloadShow);
    const settings = await this.settings(flags);
    const name = inNamespace(args.name, flags.namespace, this.isTyped("namespace"));
    const report = await withExistingStore(settings, (store) => reportWorkload({ store, clock: systemClock }, name));
    await this.present(flags, workloadReportDocument(report), () => renderWorkloadReport(report, this.style));
  }
}
