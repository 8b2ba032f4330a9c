import { ListCommand } from "../../cli/list-command.js";
import { inNamespace, LIST_FLAGS, NAME_ARG, NAMESPACE_FILTER } from "../../cli/output.js";
import { listWorkloads } from "../../operations/workload/list.js";
import { selectNamed } from "../../operations/query/select-named.js";
import { workloadListDocument, workloadListing } from "../../views/workloads.js";
import { systemClock } from "../../wiring/host.js";

export default class WorkloadList extends ListCommand {
  static override summary = "List the workloads: declared, found and enforced.";
  static override description =
    "Age is that of the oldest report of the workload's nodes. What nodes report and does not count is listed below, and so are addresses that more than one node has; both are of all namespaces.";
  static override aliases = ["get:workloads"];
  static override hiddenAliases = ["get:workload", "get:wl"];
  static override examples = ["<%= config.bin %> workload list -n shop", "<%= config.bin %> get workloads -o json"];
  static override args = { name: NAME_ARG };
  static override flags = { ...LIST_FLAGS, ...NAMESPACE_FILTER };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(WorkloadList);
    const { namespace, watch } = flags;
    const name = args.name === undefined ? undefined : inNamespace(args.name, namespace, this.isTyped("namespace"));
    await this.list(await this.settings(flags), flags, {
      read: async (store) => {
        const { workloads, ...rest } = await listWorkloads({ store, clock: systemClock });
        return {
          ...rest,
          workloads: selectNamed(workloads, { noun: "workload", name, mayBeMissing: watch }).filter(
            (workload) => name !== undefined || namespace === undefined || workload.namespace === namespace,
          ),
        };
      },
      document: workloadListDocument,
      listing: workloadListing,
    });
  }
}
