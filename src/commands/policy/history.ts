import { Args } from "@oclif/core";
import { BaseCommand } from "../../cli/base.js";
import { parsePolicyId, readHistory } from "../../operations/policy/report.js";
import { listRevisions } from "../../operations/policy/revisions.js";
import { policyHistoryDocument, renderPolicyHistory } from "../../views/policies.js";
import { renderRevisionList, revisionListDocument } from "../../views/revisions.js";
import { withStore } from "../../wiring/store.js";

export default class PolicyHistoryCommand extends BaseCommand {
  static override summary = "List the versions of a policy, or without NAME all revisions; newest first.";
  static override description =
    "Changes of a revision are objects: +created ~updated -deleted. Pruned versions and revisions are reported as such.";
  static override args = {
    name: Args.string({
      ignoreStdin: true,
      description: "NAMESPACE/NAME, or NAME in the namespace default; left out: the revisions of the store",
    }),
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(PolicyHistoryCommand);
    const settings = await this.settings(flags);
    const { name } = args;
    if (name === undefined) {
      const list = await withStore(settings, { create: false }, listRevisions);
      return this.print(flags, revisionListDocument(list), () => renderRevisionList(list, this.style));
    }
    const id = parsePolicyId(name);
    const history = await withStore(settings, { create: false }, (store) => readHistory(store, id));
    this.print(flags, policyHistoryDocument(history), () => renderPolicyHistory(history, this.style));
  }
}
