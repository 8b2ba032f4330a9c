import { BaseCommand } from "../../cli/base.js";
import { listWorkloads } from "../../operations/workload/list.js";
import { renderWorkloadList, workloadListDocument } from "../../views/workloads.js";
import { systemClock } from "../../wiring/host.js";
import { withStore } from "../../wiring/store.js";

export default class WorkloadList extends BaseCommand {
  static override summary = "List the workloads: declared, found and enforced.";
  static override description =
    "Age is that of the oldest report of the workload's nodes. What nodes report and does not count is listed below, and so are addresses that more than one node has.";

  async run(): Promise<void> {
    const { flags } = await this.parse(WorkloadList);
    const settings = await this.settings(flags);
    const list = await withStore(settings, { create: false }, (store) => listWorkloads({ store, clock: systemClock }));
    this.print(flags, workloadListDocument(list), () => renderWorkloadList(list, this.style));
  }
}
