import { Flags } from "@oclif/core";
import { ask } from "../cli/ask.js";
import { BaseCommand } from "../cli/base.js";
import { EXIT } from "../cli/exit.js";
import type { SetupKey, SetupValues } from "../operations/setup/configuration.js";
import { settingFlags } from "../settings/flags.js";
import { nodeSetupDocument, renderNodeSetup, renderNodeSetupPlan } from "../views/node-setup.js";
import { applyNodeSetup, discoverWorkloads, planNodeSetup, readSetupFile } from "../wiring/setup.js";

/** Flags that become settings of the file. */
const FLAGS: readonly (readonly [flag: string, key: SetupKey])[] = [
  ["node", "node"],
  ["address", "address"],
  ["store", "store"],
  ["source", "source.url"],
  ["branch", "source.branch"],
  ["path", "source.path"],
];

export default class Setup extends BaseCommand {
  static override summary = "Set up this machine: its configuration file, the checks, and the agent's units.";
  static override description =
    "Asks on a terminal for what flags do not say. What the file says already stays. A file that was edited is left alone without --force. Certificates of ztap cluster enroll are found by themselves. The store and the source are checked first: if one cannot be used, the file stays as it is. Exits with 1 if a check failed; then nothing is started.";
  static override examples = [
    "<%= config.bin %> setup --source https://git.example.com/policies.git",
    "<%= config.bin %> setup --store etcds://10.0.0.1:2379,10.0.0.2:2379,10.0.0.3:2379/ztap --dry-run",
    "<%= config.bin %> setup --discover > workloads.yaml",
  ];
  static override flags = {
    ...settingFlags("node", "address", "source.url", "source.branch", "source.path"),
    file: Flags.string({ description: "the file to write", helpValue: "FILE", default: "/etc/ztap/config.yaml" }),
    "dry-run": Flags.boolean({ description: "show what would be done", exclusive: ["discover"] }),
    force: Flags.boolean({ description: "replace a file that was edited; it is kept beside the new one" }),
    discover: Flags.boolean({ description: "print the workloads of this machine, as YAML for the policy repository" }),
    namespace: Flags.string({ char: "n", description: "namespace of proposed workloads", default: "default" }),
  };

  async run(): Promise<void> {
    const { flags } = await this.parse(Setup);
    const settings = await this.settings(flags);
    if (flags.discover) return void process.stdout.write((await discoverWorkloads(settings, flags.namespace)).text);
    const plan = planNodeSetup(flags.file, await this.#values(flags), { force: flags.force });
    if (flags["dry-run"]) return this.log(renderNodeSetupPlan(plan, this.style));
    const done = await applyNodeSetup(plan);
    this.print(flags, nodeSetupDocument(done), () => renderNodeSetup(done, this.style));
    if (done.units === null || done.units.outcome === "failed") process.exitCode = EXIT.failed;
  }

  /** What flags say, and on a terminal the answers to what they do not. */
  async #values(flags: Readonly<Record<string, unknown>> & { readonly file: string }): Promise<SetupValues> {
    const given = Object.fromEntries(
      FLAGS.flatMap(([flag, key]) => (typeof flags[flag] === "string" ? [[key, flags[flag]] as const] : [])),
    );
    const { node, store } = await this.settings(flags);
    const { layer } = readSetupFile(flags.file);
    const defaults: SetupValues = { node, store: store.kind === "file" ? `file:${store.path}` : "" };
    const known: SetupValues = {
      ...Object.fromEntries(Object.entries(layer).map(([key, found]) => [key, found.text])),
      ...given,
    };
    if (!process.stdin.isTTY || flags["dry-run"] === true) return { ...defaults, ...known };
    const questions = (
      [
        ["node", "Name of this node"],
        ["store", "Store: file:PATH, or etcds://HOST:PORT,…/PREFIX of a cluster"],
        ["source.url", "Policy repository, a Git URL"],
      ] as const
    )
      .filter(([key]) => known[key] === undefined)
      .map(([key, text]) => ({ key, text, proposed: defaults[key] ?? "" }));
    return { ...known, ...Object.fromEntries(await ask(questions)) };
  }
}
