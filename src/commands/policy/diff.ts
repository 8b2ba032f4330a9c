import { Args, Flags } from "@oclif/core";
import { BaseCommand } from "../../cli/base.js";
import { EXIT } from "../../cli/exit.js";
import { inNamespace, NAMESPACE_FLAG, OUTPUT_FLAGS } from "../../cli/output.js";
import { parsePolicyId } from "../../operations/policy/report.js";
import { parseVersion, readVersions } from "../../operations/policy/versions.js";
import { policyDiffDocument, policyDiffers, renderPolicyDiff } from "../../views/policy-versions.js";
import { withExistingStore } from "../../wiring/store.js";

export default class PolicyDiff extends BaseCommand {
  static override summary = "Show the difference between two versions of a policy.";
  static override examples = [
    "<%= config.bin %> policy diff shop/web-to-db 3 4",
    "<%= config.bin %> policy diff shop/web-to-db 3",
  ];
  static override args = {
    name: Args.string({
      ignoreStdin: true,
      description: "NAMESPACE/NAME, or NAME in the namespace default",
      required: true,
    }),
    from: Args.string({
      ignoreStdin: true,
      description: "the first version, as `policy history` lists it",
      required: true,
    }),
    to: Args.string({ ignoreStdin: true, description: "the second version (default: the last)" }),
  };
  static override flags = {
    ...OUTPUT_FLAGS,
    ...NAMESPACE_FLAG,
    "detailed-exitcode": Flags.boolean({
      description: "exit 2 if the versions differ",
      env: "ZTAP_DETAILED_EXITCODE",
    }),
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(PolicyDiff);
    const settings = await this.settings(flags);
    const id = parsePolicyId(inNamespace(args.name, flags.namespace, this.isTyped("namespace")));
    const [from, to] = [parseVersion(args.from), args.to === undefined ? null : parseVersion(args.to)];
    const pair = await withExistingStore(settings, (store) => readVersions(store, id, from, to));
    await this.present(flags, policyDiffDocument(pair), () => renderPolicyDiff(pair, this.style));
    if (flags["detailed-exitcode"] && policyDiffers(pair)) process.exitCode = EXIT.changes;
  }
}
