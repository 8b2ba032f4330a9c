import { Args } from "@oclif/core";
import { BaseCommand } from "../cli/base.js";
import { readCompletable } from "../cli/completion.js";
import { OperationError } from "../model/operation-error.js";
import { renderBash } from "../views/completion/bash.js";
import { renderFish } from "../views/completion/fish.js";
import { renderZsh } from "../views/completion/zsh.js";

const RENDER = { bash: renderBash, zsh: renderZsh, fish: renderFish } as const;

export default class Completion extends BaseCommand {
  static override summary = "Print the completion script of a shell.";
  static override description =
    "Completes commands, flags and their values, and names of policies, workloads, nodes and namespaces from the store. Packages install the scripts.";
  static override examples = [
    "source <(<%= config.bin %> completion bash)",
    '<%= config.bin %> completion zsh > "${fpath[1]}/_ztap"',
    "<%= config.bin %> completion fish > ~/.config/fish/completions/ztap.fish",
  ];
  static override args = {
    shell: Args.string({
      ignoreStdin: true,
      description: "bash, zsh or fish",
      options: ["bash", "zsh", "fish"],
      required: true,
    }),
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(Completion);
    if (flags.json) throw new OperationError("usage", "a completion script is no JSON document; leave out --json");
    const shell = Object.keys(RENDER).find((name): name is keyof typeof RENDER => name === args.shell) ?? "bash";
    this.log(RENDER[shell](readCompletable(this.config)).trimEnd());
  }
}
