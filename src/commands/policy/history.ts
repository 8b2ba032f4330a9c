import { Args } from "@oclif/core";
import { BaseCommand } from "../../cli/base.js";
import { parsePolicyId, readHistory } from "../../operations/policies.js";
import { policyHistoryDocument, renderPolicyHistory } from "../../views/policies.js";
import { withStore } from "../../wiring.js";

export default class PolicyHistory extends BaseCommand {
  static override summary = "List the versions of a policy, newest first.";
  static override args = {
    name: Args.string({
      ignoreStdin: true,
      description: "NAMESPACE/NAME, or NAME in the namespace default",
      required: true,
    }),
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(PolicyHistory);
    const settings = await this.settings(flags);
    const versions = await withStore(settings, { create: false }, (store) =>
      readHistory(store, parsePolicyId(args.name)),
    );
    this.print(flags, policyHistoryDocument(versions), () => renderPolicyHistory(versions, this.style));
  }
}
