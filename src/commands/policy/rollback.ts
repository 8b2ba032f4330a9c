import { Args, Flags } from "@oclif/core";
import { inNamespace, NAMESPACE_FLAG } from "../../cli/output.js";
import { WRITE_FLAGS, WriteCommand } from "../../cli/write-command.js";
import { parsePolicyId } from "../../operations/policy/report.js";
import { rollbackPolicy } from "../../operations/policy/write.js";

export default class PolicyRollback extends WriteCommand {
  static override summary = "Commit an earlier version of a policy as its latest version.";
  static override description =
    "A policy that was deleted is created again. Writes as the leader: refused if another node leads. " +
    "If a source is polled, Git owns the state, and this needs --override.";
  static override examples = [
    "<%= config.bin %> policy rollback shop/web-to-db --to 3 --reason 'version 4 shuts out web'",
  ];
  static override args = {
    name: Args.string({
      ignoreStdin: true,
      description: "NAMESPACE/NAME, or NAME in the namespace default",
      required: true,
    }),
  };
  static override flags = {
    to: Flags.integer({
      description: "the version, as `policy history` lists it",
      env: "ZTAP_TO",
      helpValue: "VERSION",
      min: 1,
      required: true,
    }),
    ...NAMESPACE_FLAG,
    ...WRITE_FLAGS,
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(PolicyRollback);
    const settings = await this.settings(flags);
    const id = parsePolicyId(inNamespace(args.name, flags.namespace, this.isTyped("namespace")));
    await this.write(settings, flags, [], (deps, writer) => rollbackPolicy(deps, id, flags.to, writer));
  }
}
