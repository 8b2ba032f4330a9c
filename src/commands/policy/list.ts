import { BaseCommand } from "../../cli/base.js";
import { listPolicies } from "../../operations/policy/report.js";
import { policyListDocument, renderPolicyList } from "../../views/policies.js";
import { withStore } from "../../wiring/store.js";

export default class PolicyList extends BaseCommand {
  static override summary = "List the policies in force, with their versions.";

  async run(): Promise<void> {
    const { flags } = await this.parse(PolicyList);
    const settings = await this.settings(flags);
    const policies = await withStore(settings, { create: false }, listPolicies);
    this.print(flags, policyListDocument(policies), () => renderPolicyList(policies, this.style));
  }
}
