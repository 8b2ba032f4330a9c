import { Args, Flags } from "@oclif/core";
import { BaseCommand } from "../../cli/base.js";
import { EXIT } from "../../cli/exit.js";
import { inNamespace, NAMESPACE_FLAG, OUTPUT_FLAGS } from "../../cli/output.js";
import { settingFlags } from "../../settings/flags.js";
import { parsePolicyId, reportPolicy } from "../../operations/policy/report.js";
import { readVersion } from "../../operations/policy/versions.js";
import { policyVersionDocument, renderPolicyVersion } from "../../views/policy-versions.js";
import { policyReportDocument, renderPolicyReport } from "../../views/policies.js";
import { isAgentHere, systemClock } from "../../wiring/host.js";
import { openLocalEnforcer, readPartial } from "../../wiring/enforcer.js";
import { readGitObjects } from "../../wiring/source.js";
import { withExistingStore } from "../../wiring/store.js";

export default class PolicyShow extends BaseCommand {
  static override summary = "Show the drift report of a policy: Git, store, node and kernel compared.";
  static override description =
    "With root, a node that is enforced on this machine is read from the kernel; other nodes are shown as they last reported.";
  static override aliases = ["describe:policy"];
  static override hiddenAliases = ["describe:networkpolicy", "describe:netpol"];
  static override args = {
    name: Args.string({
      ignoreStdin: true,
      description: "NAMESPACE/NAME, or NAME in the namespace default",
      required: true,
    }),
  };
  static override flags = {
    ...OUTPUT_FLAGS,
    ...NAMESPACE_FLAG,
    ...settingFlags("stateDir", "pinRoot", "source.url", "source.branch", "source.path"),
    "detailed-exitcode": Flags.boolean({ description: "exit 3 if there is drift", env: "ZTAP_DETAILED_EXITCODE" }),
    version: Flags.integer({
      description: "show this version, as `policy history` lists it, in place of the drift report",
      env: "ZTAP_POLICY_VERSION",
      exclusive: ["detailed-exitcode"],
      helpValue: "VERSION",
      min: 1,
    }),
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(PolicyShow);
    const settings = await this.settings(flags);
    const id = parsePolicyId(inNamespace(args.name, flags.namespace, this.isTyped("namespace")));
    const { version } = flags;
    if (version !== undefined) {
      const content = await withExistingStore(settings, (store) => readVersion(store, id, version));
      return this.present(flags, policyVersionDocument(content), () => renderPolicyVersion(content, this.style));
    }
    const report = await withExistingStore(settings, (store) =>
      reportPolicy(
        {
          store,
          clock: systemClock,
          isAgentHere: (node) => isAgentHere(settings, node),
          openLocal: (node, boot) => openLocalEnforcer(settings, node, boot),
          readPartial: (node) => readPartial(settings, node),
          readGit: () => readGitObjects(settings, store),
        },
        id,
      ),
    );
    await this.present(flags, policyReportDocument(report), () => renderPolicyReport(report, this.style));
    if (flags["detailed-exitcode"] && report.drift) process.exitCode = EXIT.drift;
  }
}
