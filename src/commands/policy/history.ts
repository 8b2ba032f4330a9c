import { Args } from "@oclif/core";
import { ListCommand } from "../../cli/list-command.js";
import { inNamespace, LIST_FLAGS, NAMESPACE_FLAG } from "../../cli/output.js";
import { OperationError } from "../../model/operation-error.js";
import { readHistory } from "../../operations/policy/history.js";
import { parsePolicyId } from "../../operations/policy/report.js";
import { listRevisions } from "../../operations/policy/revisions.js";
import { policyHistoryDocument, policyHistoryListing } from "../../views/policies.js";
import { revisionListDocument, revisionListing } from "../../views/revisions.js";

export default class PolicyHistoryCommand extends ListCommand {
  static override summary = "List the versions of a policy, or without NAME all revisions; newest first.";
  static override description =
    "Changes of a revision are objects: +created ~updated -deleted. Pruned versions and revisions are reported as such.";
  static override aliases = ["get:revisions"];
  static override args = {
    name: Args.string({
      ignoreStdin: true,
      description: "NAMESPACE/NAME, or NAME in the namespace default; left out: the revisions of the store",
    }),
  };
  static override flags = { ...LIST_FLAGS, ...NAMESPACE_FLAG };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(PolicyHistoryCommand);
    const settings = await this.settings(flags);
    const { name } = args;
    if (name === undefined) {
      if (this.isTyped("namespace"))
        throw new OperationError("usage", "--namespace goes with NAME: a revision is of every namespace");
      return this.list(settings, flags, {
        read: listRevisions,
        document: revisionListDocument,
        listing: revisionListing,
      });
    }
    const id = parsePolicyId(inNamespace(name, flags.namespace, this.isTyped("namespace")));
    await this.list(settings, flags, {
      read: (store) => readHistory(store, id),
      document: policyHistoryDocument,
      listing: policyHistoryListing,
    });
  }
}
