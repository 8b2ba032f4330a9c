import { Args, Flags } from "@oclif/core";
import { readPaths } from "../../cli/read-paths.js";
import { WRITE_FLAGS, WriteCommand } from "../../cli/write-command.js";
import { OperationError } from "../../model/operation-error.js";
import { syncPolicy } from "../../operations/policy/write.js";

export default class PolicySyncCommand extends WriteCommand {
  static override summary = "Commit one policy of a file as its latest version.";
  static override description =
    "Writes as the leader: refused if another node leads. The file and the resulting state are validated. " +
    "If a source is polled, Git owns the state, and this needs --override.";
  static override examples = [
    "<%= config.bin %> policy sync web.yaml --name web-to-db -n shop",
    "<%= config.bin %> policy sync web.yaml --name web-to-db --override -m 'incident 42'",
  ];
  static override args = {
    file: Args.string({ ignoreStdin: true, description: "YAML file, or - for standard input", required: true }),
  };
  static override flags = {
    name: Flags.string({
      description: "the policy's metadata.name; other documents of the file are left alone",
      env: "ZTAP_NAME",
      helpValue: "NAME",
      required: true,
    }),
    namespace: Flags.string({
      char: "n",
      description: "its namespace (default: the one in the file)",
      env: "ZTAP_NAMESPACE",
      helpValue: "NAMESPACE",
    }),
    ...WRITE_FLAGS,
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(PolicySyncCommand);
    const settings = await this.settings(flags);
    const { files } = await readPaths([args.file]);
    const [file, other] = files;
    if (file === undefined || other !== undefined)
      throw new OperationError("usage", `${args.file} is a folder; name one file`);
    await this.write(settings, flags, files, (deps, writer) =>
      syncPolicy(deps, file, { name: flags.name, namespace: flags.namespace ?? null }, writer),
    );
  }
}
