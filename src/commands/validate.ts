import { Args, Flags } from "@oclif/core";
import { BaseCommand } from "../cli/base.js";
import { EXIT } from "../cli/exit.js";
import { readPaths } from "../cli/read-paths.js";
import { hasErrors } from "../model/diagnostic.js";
import { OperationError } from "../operations/error.js";
import { renderValidation, toValidateOutput } from "../views/diagnostics.js";
import { readManifests } from "../wiring.js";

export default class Validate extends BaseCommand {
  static override summary = "Parse and check manifests; show every problem in one run.";
  static override description =
    "Fails where there is nothing to check: no manifest in a folder, or no object in what was read.";
  static override examples = [
    "<%= config.bin %> validate",
    "<%= config.bin %> validate policies/ --json",
    "cat policy.yaml | <%= config.bin %> validate -",
  ];
  static override strict = false;
  static override args = {
    path: Args.string({
      ignoreStdin: true,
      description: "files or folders, or - for standard input (default: this folder)",
    }),
  };
  static override flags = {
    format: Flags.option({ options: ["text", "json"] as const })({
      description: "output format",
      env: "ZTAP_FORMAT",
      default: "text",
    }),
  };

  async run(): Promise<void> {
    const { argv, flags } = await this.parse(Validate);
    const paths = argv.length === 0 ? ["."] : argv.map(String);
    const files = await readPaths(paths);
    const { objects, diagnostics } = readManifests(files);
    if (objects.size === 0 && diagnostics.length === 0) {
      throw new OperationError(
        "not-found",
        `nothing to validate: no object stands in ${files.map(({ path }) => path).join(", ")}; check the path`,
      );
    }
    const asJson = flags.json || flags.format === "json";
    this.print({ json: asJson }, toValidateOutput(objects, diagnostics), () =>
      renderValidation(objects, diagnostics, files, this.style),
    );
    if (hasErrors(diagnostics)) process.exitCode = EXIT.failed;
  }
}
