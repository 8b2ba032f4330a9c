import { ListCommand } from "../../cli/list-command.js";
import { inNamespace, LIST_FLAGS, NAME_ARG, NAMESPACE_FILTER } from "../../cli/output.js";
import { listPolicies } from "../../operations/policy/report.js";
import { selectNamed } from "../../operations/query/select-named.js";
import { policyListDocument, policyListing } from "../../views/policies.js";

export default class PolicyList extends ListCommand {
  static override summary = "List the policies in force, with their versions.";
  static override aliases = ["get:policies"];
  static override hiddenAliases = ["get:policy", "get:networkpolicies", "get:networkpolicy", "get:netpol"];
  static override examples = [
    "<%= config.bin %> policy list -n shop -o wide",
    "<%= config.bin %> get policies --watch",
    "<%= config.bin %> get policy shop/web-to-db -o yaml",
  ];
  static override args = { name: NAME_ARG };
  static override flags = { ...LIST_FLAGS, ...NAMESPACE_FILTER };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(PolicyList);
    const { namespace, watch } = flags;
    const name = args.name === undefined ? undefined : inNamespace(args.name, namespace, this.isTyped("namespace"));
    await this.list(await this.settings(flags), flags, {
      read: async (store) =>
        selectNamed(await listPolicies(store), { noun: "policy", name, mayBeMissing: watch }).filter(
          (policy) => name !== undefined || namespace === undefined || policy.namespace === namespace,
        ),
      document: policyListDocument,
      listing: policyListing,
    });
  }
}
