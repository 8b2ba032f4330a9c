import { ListCommand } from "../../cli/list-command.js";
import { LIST_FLAGS, NAMESPACE_FILTER } from "../../cli/output.js";
import { listPolicies } from "../../operations/policy/report.js";
import { policyListDocument, policyListing } from "../../views/policies.js";

export default class PolicyList extends ListCommand {
  static override summary = "List the policies in force, with their versions.";
  static override aliases = ["get:policies"];
  static override hiddenAliases = ["get:policy", "get:networkpolicies", "get:networkpolicy", "get:netpol"];
  static override examples = [
    "<%= config.bin %> policy list -n shop -o wide",
    "<%= config.bin %> get policies --watch",
  ];
  static override flags = { ...LIST_FLAGS, ...NAMESPACE_FILTER };

  async run(): Promise<void> {
    const { flags } = await this.parse(PolicyList);
    const { namespace } = flags;
    await this.list(await this.settings(flags), flags, {
      read: async (store) =>
        (await listPolicies(store)).filter((policy) => namespace === undefined || policy.namespace === namespace),
      document: policyListDocument,
      listing: policyListing,
    });
  }
}
