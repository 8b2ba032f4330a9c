import { Args, Flags } from "@oclif/core";
import { BaseCommand } from "../cli/base.js";
import { EXIT } from "../cli/exit.js";
import { readPaths } from "../cli/read-paths.js";
import { hasErrors } from "../model/diagnostic.js";
import { OperationError } from "../model/operation-error.js";
import { printableJson } from "../model/printable.js";
import { renderValidation, toValidateOutput } from "../views/diagnostics.js";
import { renderGithub } from "../views/reports/github.js";
import { toSarif } from "../views/reports/sarif.js";
import { readBoundedManifests } from "../wiring/manifests.js";

export default class Validate extends BaseCommand {
  static override summary = "Parse and check manifests; show every problem in one run.";
  static override description =
    "Fails if there is nothing to check: no manifest in a folder, or no object in the files.";
  static override examples = [
    "<%= config.bin %> validate",
    "<%= config.bin %> validate policies/ --json",
    "<%= config.bin %> validate --format sarif > ztap.sarif",
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
    format: Flags.option({ options: ["text", "json", "github", "sarif", "junit"] as const })({
      description: "output format; github, sarif and junit name files from the top of the work tree",
      env: "ZTAP_VALIDATE_FORMAT",
      default: "text",
    }),
  };

  async run(): Promise<void> {
    const { argv, flags } = await this.parse(Validate);
    const format = flags.json ? "json" : flags.format;
    const paths = argv.length === 0 ? ["."] : argv.map(String);
    const { files, skipped } = await readPaths(paths, format === "text" || format === "json" ? "here" : "top");
    const { objects, diagnostics, omitted } = readBoundedManifests(files, { skipped });
    if (objects.size === 0 && diagnostics.length === 0) {
      const names = files.map(({ path }) => path).join(", ");
      const advice = paths.every((path) => path === "-") ? "check what is piped in" : "check the path";
      throw new OperationError("not-found", `nothing to validate: there is no object in ${names}; ${advice}`);
    }
    const render = {
      text: () => renderValidation(objects, diagnostics, files, this.style),
      json: () => printableJson(toValidateOutput(objects, diagnostics, omitted), 2),
      github: () => renderGithub(objects, diagnostics),
      sarif: () => printableJson(toSarif(diagnostics, this.config.version), 2),
      // Only this format loads the library that writes XML.
      junit: async () => (await import("../views/reports/junit.js")).renderJunit(objects, diagnostics, files),
    };
    this.log(await render[format]());
    if (hasErrors(diagnostics)) process.exitCode = EXIT.failed;
  }
}
