import { Args } from "@oclif/core";
import { BaseCommand } from "../cli/base.js";
import { initDocument, renderInit } from "../views/init.js";
import { scaffoldRepository } from "../wiring/init.js";

export default class Init extends BaseCommand {
  static override summary = "Start a policy repository: layout, example, editor schemas, CI workflow.";
  static override description = "Overwrites nothing: existing files stay as they are.";
  static override args = {
    dir: Args.string({ ignoreStdin: true, description: "folder (default: this one)", default: "." }),
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(Init);
    const result = await scaffoldRepository(this.config.root, args.dir);
    this.print(flags, initDocument(args.dir, result), () => renderInit(args.dir, result, this.style));
  }
}
